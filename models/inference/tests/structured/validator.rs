//! A JSON Schema validator of its own for the keywords of schemas.json: what generates must not be what judges.

use serde_json::Value;

/// Whether `value` is one of `schema`; `root` is where references point into.
pub(crate) fn is_valid(schema: &Value, value: &Value, root: &Value) -> bool {
    let Some(schema) = schema.as_object() else {
        return schema.as_bool().expect("a schema is an object or a boolean");
    };
    schema
        .iter()
        .all(|(keyword, argument)| holds(keyword, argument, value, schema, root))
}

fn holds(
    keyword: &str,
    argument: &Value,
    value: &Value,
    schema: &serde_json::Map<String, Value>,
    root: &Value,
) -> bool {
    let number = value.as_f64();
    let bound = argument.as_f64().unwrap_or(f64::NAN);
    let characters = value.as_str().map(|text| text.chars().count() as f64);
    let items = value.as_array();
    let members = value.as_object();
    match keyword {
        "type" => match argument {
            Value::Array(kinds) => kinds.iter().any(|kind| is_kind(kind, value)),
            kind => is_kind(kind, value),
        },
        "const" => value == argument,
        "enum" => argument.as_array().is_some_and(|all| all.contains(value)),
        "minimum" => number.is_none_or(|number| number >= bound),
        "maximum" => number.is_none_or(|number| number <= bound),
        "exclusiveMinimum" => number.is_none_or(|number| number > bound),
        "exclusiveMaximum" => number.is_none_or(|number| number < bound),
        "multipleOf" => number.is_none_or(|number| number % bound == 0.0),
        "minLength" => characters.is_none_or(|count| count >= bound),
        "maxLength" => characters.is_none_or(|count| count <= bound),
        "pattern" | "format" => value
            .as_str()
            .is_none_or(|text| fits(argument.as_str().unwrap_or_default(), text)),
        "minItems" => items.is_none_or(|items| items.len() as f64 >= bound),
        "maxItems" => items.is_none_or(|items| items.len() as f64 <= bound),
        "prefixItems" => items.is_none_or(|items| {
            let schemas = argument.as_array().expect("a list");
            items
                .iter()
                .zip(schemas)
                .all(|(item, schema)| is_valid(schema, item, root))
        }),
        "items" => items.is_none_or(|items| {
            let before = schema
                .get("prefixItems")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            items
                .iter()
                .skip(before)
                .all(|item| is_valid(argument, item, root))
        }),
        "maxProperties" => members.is_none_or(|members| members.len() as f64 <= bound),
        "required" => members.is_none_or(|members| {
            let names = argument.as_array().expect("a list");
            names
                .iter()
                .all(|name| members.contains_key(name.as_str().expect("a name")))
        }),
        "properties" => members.is_none_or(|members| {
            let known = argument.as_object().expect("an object");
            members.iter().all(|(name, member)| {
                known
                    .get(name)
                    .is_none_or(|schema| is_valid(schema, member, root))
            })
        }),
        "additionalProperties" => members.is_none_or(|members| {
            let known = schema.get("properties").and_then(Value::as_object);
            members
                .iter()
                .filter(|(name, _)| !known.is_some_and(|known| known.contains_key(*name)))
                .all(|(_, member)| is_valid(argument, member, root))
        }),
        "anyOf" => argument
            .as_array()
            .is_some_and(|all| all.iter().any(|schema| is_valid(schema, value, root))),
        "allOf" => argument
            .as_array()
            .is_some_and(|all| all.iter().all(|schema| is_valid(schema, value, root))),
        "$ref" => {
            let pointer = argument.as_str().and_then(|path| path.strip_prefix('#'));
            let target = pointer.and_then(|pointer| root.pointer(pointer));
            is_valid(target.expect("the reference has a target"), value, root)
        }
        "$defs" | "title" | "description" | "default" => true,
        other => panic!("this validator does not know {other}"),
    }
}

fn is_kind(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a word") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("this validator does not know {other}"),
    }
}

/// Patterns and formats of schemas.json, written out by hand.
fn fits(pattern: &str, text: &str) -> bool {
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let parts = |separator: char| text.split(separator).collect::<Vec<_>>();
    match pattern {
        "^[a-z]{2,5}$" => (2..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase()),
        "^\\d{3}-\\d{4}$" => matches!(parts('-')[..], [a, b] if digits(a, 3) && digits(b, 4)),
        "^(yes|no)$" => matches!(text, "yes" | "no"),
        "date" => matches!(parts('-')[..], [y, m, d] if digits(y, 4) && digits(m, 2) && digits(d, 2)),
        "time" => {
            text.len() >= 8
                && matches!(text[..8].split(':').collect::<Vec<_>>()[..],
            [h, m, s] if digits(h, 2) && digits(m, 2) && digits(s, 2))
        }
        "uuid" => parts('-').iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        other => panic!("this validator does not know {other}"),
    }
}
