//! The `tools` of a request.

use serde_json::Value;

use crate::error::InferenceError;
use crate::limits::{TOOL_NAME_BYTES_MAX, TOOLS_BYTES_MAX, TOOLS_MAX};
use crate::request::{ToolChoice, Tools};
use crate::secret_json::SecretJson;

/// Definitions that were checked, as the template shows them.
pub(crate) struct Functions {
    definitions: SecretJson,
}

impl Functions {
    /// Reads `[{"type": "function", "function": {"name", "description", "parameters", "strict"}}, …]`.
    pub(crate) fn read(tools: &Tools<'_>) -> Result<Self, InferenceError> {
        let invalid = || InferenceError::RequestInvalid {
            parameter: "tools",
            expected: "at most 128 functions with distinct names of 1 to 64 letters, digits, _ and -, and a schema",
        };
        if tools.definitions.len() > TOOLS_BYTES_MAX {
            return Err(invalid());
        }
        let mut definitions = SecretJson::parse(tools.definitions).ok_or_else(invalid)?;
        let list = definitions.expose_mut().as_array_mut().ok_or_else(invalid)?;
        if !(1..=TOOLS_MAX).contains(&list.len()) || !list.iter_mut().all(normalise) {
            return Err(invalid());
        }
        let mut names: Vec<&str> = list.iter().filter_map(name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(invalid());
        }
        if let ToolChoice::Function(wanted) = tools.choice
            && !names.contains(&wanted)
        {
            return Err(InferenceError::RequestInvalid {
                parameter: "tool_choice",
                expected: "none, auto, required, or one of the functions in tools",
            });
        }
        Ok(Self { definitions })
    }

    /// The list, for the template.
    pub(crate) fn expose(&self) -> &Value {
        self.definitions.expose()
    }

    /// Names with the schemas of their arguments, of all functions or of the one chosen.
    pub(crate) fn schemas(&self, choice: ToolChoice<'_>) -> Vec<(&str, Value)> {
        let list = self
            .definitions
            .expose()
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let wanted = |name: &str| match choice {
            ToolChoice::Function(wanted) => wanted == name,
            ToolChoice::Auto | ToolChoice::Required => true,
        };
        list.iter()
            .filter_map(|tool| {
                let name = name(tool).filter(|name| wanted(name))?;
                let schema = tool.pointer("/function/parameters").cloned();
                Some((
                    name,
                    schema.unwrap_or_else(|| serde_json::json!({"type": "object"})),
                ))
            })
            .collect()
    }
}

fn name(tool: &Value) -> Option<&str> {
    tool.pointer("/function/name").and_then(Value::as_str)
}

/// Checks one tool and takes away what is not for the model: `strict`, and members that are null.
fn normalise(tool: &mut Value) -> bool {
    if tool.get("type").and_then(Value::as_str) != Some("function") {
        return false;
    }
    let Some(function) = tool.get_mut("function").and_then(Value::as_object_mut) else {
        return false;
    };
    function.retain(|name, value| name != "strict" && !value.is_null());
    let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
    let fits = (1..=TOOL_NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let described = function.get("description").is_none_or(Value::is_string);
    fits && described && function.get("parameters").is_none_or(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(definitions: &str, choice: ToolChoice<'_>) -> Result<Functions, InferenceError> {
        Functions::read(&Tools {
            definitions,
            choice,
            parallel: true,
        })
    }

    #[test]
    fn functions_are_checked_and_cleaned() {
        let definitions = r#"[{"type":"function","function":{"name":"a-b_1","description":"d","strict":true,
            "parameters":{"type":"object","properties":{"z":{},"a":{}}}}},
            {"type":"function","function":{"name":"plain","description":null}}]"#;
        let functions = read(definitions, ToolChoice::Auto).expect("they are good");
        assert_eq!(
            functions.expose()[0].to_string(),
            r#"{"type":"function","function":{"name":"a-b_1","description":"d","parameters":{"type":"object","properties":{"z":{},"a":{}}}}}"#,
            "in the order of the request"
        );
        assert_eq!(functions.schemas(ToolChoice::Required).len(), 2);
        let one = functions.schemas(ToolChoice::Function("plain"));
        assert_eq!(one, [("plain", serde_json::json!({"type": "object"}))]);
    }

    #[test]
    fn others_are_refused_by_name() {
        let function = |name: &str| format!(r#"{{"type":"function","function":{{"name":"{name}"}}}}"#);
        let long = "x".repeat(65);
        let many = format!(
            "[{}]",
            (0..129)
                .map(|i| function(&format!("f{i}")))
                .collect::<Vec<_>>()
                .join(",")
        );
        let twice = format!("[{},{}]", function("a"), function("a"));
        let deep = "[".repeat(100_000);
        for definitions in [
            "[]",
            "{}",
            "[1]",
            "nonsense",
            &deep,
            &many,
            &twice,
            &format!("[{}]", function("")),
            &format!("[{}]", function("a b")),
            &format!("[{}]", function(&long)),
            r#"[{"type":"custom","custom":{"name":"a"}}]"#,
            r#"[{"type":"function","function":{"name":"a","parameters":[]}}]"#,
            r#"[{"type":"function","function":{"name":"a","description":5}}]"#,
        ] {
            let error = read(definitions, ToolChoice::Auto).err().expect("refused");
            assert!(error.to_string().starts_with("tools"), "{error}");
        }
        let error = read(&format!("[{}]", function("a")), ToolChoice::Function("b"))
            .err()
            .expect("refused");
        assert!(error.to_string().starts_with("tool_choice"), "{error}");
    }
}
