//! Structured output with a model that knows nothing: whatever it says has to fit.

mod common;
#[path = "structured/validator.rs"]
mod validator;

use common::Files;
use inference::{
    Constraint, Engine, EngineConfig, FinishReason, GenerateRequest, InferenceError, PromptInput, Sampling,
};
use serde_json::{Value, json};

fn engine() -> Engine {
    let config = EngineConfig {
        max_concurrent: 8,
        ..EngineConfig::default()
    };
    Files::endless()
        .load()
        .and_then(|model| model.engine(config))
        .expect("the fixture loads")
}

/// Says something under `constraint`.
fn say(
    engine: &Engine,
    constraint: Constraint<'_>,
    seed: u64,
    tokens: usize,
) -> Result<(String, FinishReason), InferenceError> {
    let mut generation = engine.generate(GenerateRequest {
        constraint: Some(constraint),
        completion_tokens_max: Some(tokens),
        sampling: Sampling {
            seed: Some(seed),
            ..Sampling::default()
        },
        ..GenerateRequest::new(PromptInput::Text("Answer in JSON:"))
    })?;
    let text = common::text(&mut generation)?;
    Ok((text, generation.finish_reason().expect("it has ended")))
}

fn code(engine: &Engine, constraint: Constraint<'_>) -> &'static str {
    match say(engine, constraint, 1, 4) {
        Ok(_) => "accepted",
        Err(error) => error.code(),
    }
}

#[test]
fn fifty_schemas_are_kept_to() {
    let engine = engine();
    let schemas: Vec<Value> =
        serde_json::from_slice(include_bytes!("structured/schemas.json")).expect("a list of schemas");
    assert!(schemas.len() >= 50);
    let mut ended = 0;
    for (index, schema) in schemas.iter().enumerate() {
        let text = schema.to_string();
        let mut whole = 0;
        for seed in 0..4 {
            let (said, finish) = say(&engine, Constraint::JsonSchema(&text), seed, 300)
                .unwrap_or_else(|error| panic!("schema {index}: {error}"));
            match finish {
                FinishReason::Stop => {
                    let value: Value = serde_json::from_str(&said)
                        .unwrap_or_else(|error| panic!("schema {index}: {error} in {said}"));
                    assert!(
                        validator::is_valid(schema, &value, schema),
                        "schema {index}: {said}"
                    );
                    whole += 1;
                }
                // Cut in the middle: the beginning of something that fits.
                _ => assert!(
                    serde_json::from_str::<Value>(&said).is_err()
                        || said.ends_with(|c: char| c.is_ascii_digit())
                ),
            }
        }
        ended += usize::from(whole > 0);
    }
    assert!(
        ended + 2 >= schemas.len(),
        "only {ended} schemas were ever finished"
    );
}

#[test]
fn members_come_in_the_order_of_the_schema() {
    let schema = r#"{"type":"object","properties":{"z":{"const":1},"a":{"const":2},"m":{"const":3}},
        "required":["a","m","z"],"additionalProperties":false}"#;
    let (said, _) = say(&engine(), Constraint::JsonSchema(schema), 3, 200).expect("it compiles");
    let order: Vec<usize> = ["\"z\"", "\"a\"", "\"m\""]
        .iter()
        .filter_map(|name| said.find(name))
        .collect();
    assert!(order.len() == 3 && order.is_sorted(), "{said}");
}

#[test]
fn any_object_a_pattern_a_grammar_and_a_choice() {
    let engine = engine();
    for seed in 0..6 {
        let (said, finish) = say(&engine, Constraint::JsonObject, seed, 200).expect("it compiles");
        assert!(said.starts_with('{'), "{said}");
        if finish == FinishReason::Stop {
            assert!(
                serde_json::from_str::<Value>(&said).is_ok_and(|value| value.is_object()),
                "{said}"
            );
        }
        let (said, finish) =
            say(&engine, Constraint::Regex("[ab]{3}-(x|yz)"), seed, 50).expect("it compiles");
        assert_eq!(finish, FinishReason::Stop);
        let (letters, end) = said.split_once('-').expect("as the pattern says");
        assert!(
            letters.len() == 3 && letters.bytes().all(|b| b"ab".contains(&b)),
            "{said}"
        );
        assert!(["x", "yz"].contains(&end), "{said}");
        let grammar = "start: sum\nsum: N (\"+\" N){1,3}\nN: /[0-9]/\n";
        let (said, _) = say(&engine, Constraint::Grammar(grammar), seed, 50).expect("it compiles");
        assert!(
            said.split('+').all(|part| part.len() == 1) && said.contains('+'),
            "{said}"
        );
        let choice = ["yes", "no", "naïve \"quoted\"\n"];
        let (said, finish) = say(&engine, Constraint::Choice(&choice), seed, 50).expect("it compiles");
        assert_eq!(finish, FinishReason::Stop);
        assert!(choice.contains(&said.as_str()), "{said}");
    }
}

#[test]
fn a_cut_completion_ends_with_length() {
    let schema = r#"{"type":"array","items":{"const":7},"minItems":50}"#;
    let (said, finish) = say(&engine(), Constraint::JsonSchema(schema), 1, 10).expect("it compiles");
    assert_eq!(finish, FinishReason::Length);
    assert!(said.starts_with('['));
}

#[test]
fn a_stop_string_still_ends_a_completion() {
    let engine = engine();
    let request = GenerateRequest {
        constraint: Some(Constraint::Regex("a{5}b{5}")),
        stop: &["ab"],
        ..GenerateRequest::new(PromptInput::Text("x"))
    };
    let mut generation = engine.generate(request).expect("it compiles");
    assert_eq!(common::text(&mut generation).expect("it ends well"), "aaaa");
    assert_eq!(generation.finish_reason(), Some(FinishReason::Stop));
}

#[test]
fn a_model_with_an_end_token_ends_only_where_the_grammar_may() {
    let files = Files::fixture("bias-f32");
    let engine = files
        .load()
        .and_then(|model| model.engine(EngineConfig::default()))
        .expect("it loads");
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let (said, finish) = say(&engine, Constraint::Regex("(ab)+"), seed, 12).expect("it compiles");
        assert!(
            said.replace("ab", "").len() <= usize::from(finish == FinishReason::Length),
            "{said}"
        );
        if finish == FinishReason::Stop {
            assert!(!said.is_empty() && said.len() % 2 == 0, "{said}");
        }
        lengths.insert(said.len());
    }
    assert!(lengths.len() > 1, "{lengths:?}");
}

#[test]
fn several_completions_match_each_on_its_own() {
    let engine = engine();
    let request = GenerateRequest {
        constraint: Some(Constraint::Regex("[0-9]{8}")),
        choices: 5,
        sampling: Sampling {
            seed: Some(5),
            ..Sampling::default()
        },
        ..GenerateRequest::new(PromptInput::Text("x"))
    };
    let mut said = vec![String::new(); 5];
    for piece in engine.generate(request).expect("it compiles") {
        let piece = piece.expect("it ends well");
        said[piece.choice].push_str(piece.text.expose_text());
    }
    assert!(said.iter().all(|text| text.len() == 8), "{said:?}");
    said.sort();
    said.dedup();
    assert!(said.len() > 1, "they draw differently");
}

#[test]
fn what_cannot_be_compiled_is_refused_by_name() {
    let engine = engine();
    for schema in [
        "not json",
        "5",
        r#"{"type":"nonsense"}"#,
        r#"{"type":"string","pattern":"("}"#,
        r##"{"$ref":"#/$defs/missing"}"##,
        r#"{"$ref":"https://example.com/schema"}"#,
        r#"{"type":"integer","minimum":5,"maximum":4}"#,
        r#"{"not":{"type":"string"}}"#,
        r#"{"x-guidance":{"lenient":true},"not":{"type":"string"}}"#,
    ] {
        assert_eq!(
            code(&engine, Constraint::JsonSchema(schema)),
            "constraint-invalid",
            "{schema}"
        );
    }
    for pattern in ["(", "a(?=b)", "(a)\\1", "[z-a]"] {
        assert_eq!(
            code(&engine, Constraint::Regex(pattern)),
            "constraint-invalid",
            "{pattern}"
        );
    }
    for grammar in [
        "",
        "nonsense",
        "start: missing\n",
        "start: %json {\"type\":\"nonsense\"}\n",
    ] {
        assert_eq!(
            code(&engine, Constraint::Grammar(grammar)),
            "constraint-invalid",
            "{grammar}"
        );
    }
    assert_eq!(code(&engine, Constraint::Choice(&[])), "constraint-invalid");
    assert_eq!(code(&engine, Constraint::Choice(&[""])), "constraint-invalid");
}

#[test]
fn constraints_that_explode_are_bounded() {
    let engine = engine();
    let wide = json!({"type": "object", "properties": (0..2000).map(|i| (format!("p{i}"), json!({"type": "string"})))
        .collect::<serde_json::Map<_, _>>()});
    let nested = (0..60).fold(
        json!({"type": "integer"}),
        |inner, _| json!({"anyOf": [inner, {"type": "null"}]}),
    );
    let product = json!({"allOf": (0..14).map(|i| json!({"anyOf": [
        {"properties": {format!("a{i}"): {"type": "integer"}}},
        {"properties": {format!("b{i}"): {"type": "string"}}}]})).collect::<Vec<_>>()});
    let long = json!({"type": "string", "minLength": 1_000_000});
    let loops =
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"});
    let schemas = [wide, nested, product, long, loops].map(|schema| schema.to_string());
    let deep = format!("{}{}", "(".repeat(30_000), ")".repeat(30_000));
    let grammar = format!("start: {deep}\n");
    let many: String = (0..3000)
        .map(|i| format!("r{i}: \"a\" r{} | \"b\" r{}\n", i + 1, i + 1))
        .collect();
    let many = format!("start: r0\n{many}r3000: \"c\"\n");
    let start = std::time::Instant::now();
    let mut bombs: Vec<Constraint<'_>> = schemas.iter().map(|text| Constraint::JsonSchema(text)).collect();
    bombs.push(Constraint::Regex(&deep));
    bombs.push(Constraint::Regex("(((a{1,100}){1,100}){1,100}){1,100}"));
    bombs.push(Constraint::Regex("(a|b)*a(a|b){400}"));
    bombs.push(Constraint::Regex("(\\w+\\s?){1,500}(.*a){1,50}"));
    bombs.push(Constraint::Grammar(&grammar));
    bombs.push(Constraint::Grammar(&many));
    let count = bombs.len() as u32;
    for constraint in bombs {
        // Refused, or a completion of four tokens: both within the bounds of work.
        let code = code(&engine, constraint);
        assert!(
            ["accepted", "constraint-invalid", "constraint-failed"].contains(&code),
            "{code}"
        );
    }
    let mean = start.elapsed() / count;
    assert!(mean < std::time::Duration::from_secs(5), "{mean:?} each");
    let big = format!("{{\"const\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(code(&engine, Constraint::JsonSchema(&big)), "constraint-invalid");
}

#[test]
fn a_tokenizer_without_bytes_takes_no_constraint() {
    let mut files = Files::endless();
    files.edit("tokenizer.json", |tokenizer| {
        tokenizer.insert(
            "decoder".into(),
            json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        );
    });
    let engine = files
        .load()
        .and_then(|model| model.engine(EngineConfig::default()))
        .expect("it loads");
    assert_eq!(code(&engine, Constraint::JsonObject), "constraint-unsupported");
}
