//! The sample model of models/sample gives its written answers, word for word, under greedy decoding.

use std::{collections::BTreeMap, fs, path::PathBuf};

use inference::{
    ChatMessage, Engine, EngineConfig, FinishReason, GenerateRequest, Model, ModelFiles, PromptInput, Role,
    Sampling, Usage,
};
use serde_json::Value;

const FILES: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];
const ATTESTATION: &str = "What does remote attestation prove?";

/// An entry of questions.jsonl.
struct Entry {
    question: String,
    paraphrases: Vec<String>,
    answer: String,
}

fn sample_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sample")
}

fn entries() -> Vec<Entry> {
    let text = fs::read_to_string(sample_folder().join("questions.jsonl"))
        .expect("the questions are in the repository");
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a JSON object on each line"))
        .map(|entry| Entry {
            question: word(&entry["question"]),
            paraphrases: entry["paraphrases"]
                .as_array()
                .expect("a list")
                .iter()
                .map(word)
                .collect(),
            answer: word(&entry["answer"]),
        })
        .collect()
}

fn engine() -> Engine {
    let files: BTreeMap<&str, Vec<u8>> = FILES
        .into_iter()
        .map(|name| {
            (
                name,
                fs::read(sample_folder().join(name)).expect("the model is in the repository"),
            )
        })
        .collect();
    let borrowed: ModelFiles<'_> = files
        .iter()
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    let model = Model::load(&borrowed).expect("the sample model is valid");
    model
        .engine(EngineConfig::default())
        .expect("the default limits fit the sample model")
}

fn run(engine: &Engine, prompt: PromptInput<'_>) -> (String, Option<FinishReason>, Usage) {
    let request = GenerateRequest {
        sampling: Sampling::greedy(),
        ..GenerateRequest::new(prompt)
    };
    let mut generation = engine.generate(request).expect("a short request is accepted");
    let mut said = String::new();
    for piece in &mut generation {
        said.push_str(piece.expect("the sample model does not fail").text.expose_text());
    }
    (said, generation.finish_reason(), generation.usage())
}

fn ask(engine: &Engine, question: &str) -> String {
    run(
        engine,
        PromptInput::Messages(&[ChatMessage::text(Role::User, question)]),
    )
    .0
}

#[test]
fn fifty_questions_get_their_written_answers() {
    let (engine, entries) = (engine(), entries());
    let step = entries.len() / 50;
    let asked: Vec<_> = entries.iter().step_by(step).take(50).collect();
    assert_eq!(asked.len(), 50);
    for entry in asked {
        assert_eq!(ask(&engine, &entry.question), entry.answer, "{}", entry.question);
    }
}

#[test]
fn the_question_of_the_demo_ends_by_itself_and_is_counted() {
    let (engine, entries) = (engine(), entries());
    let entry = entries
        .iter()
        .find(|entry| entry.question == ATTESTATION)
        .expect("the demo's question is written");
    let messages = [ChatMessage::text(Role::User, ATTESTATION)];
    let (said, finish, usage) = run(&engine, PromptInput::Messages(&messages));
    assert_eq!(said, entry.answer);
    assert_eq!(finish, Some(FinishReason::Stop));
    assert!(
        usage.prompt_tokens > 0 && usage.completion_tokens > 10,
        "{usage:?}"
    );
}

#[test]
fn other_wordings_get_the_same_answer() {
    let (engine, entries) = (engine(), entries());
    let entry = entries
        .iter()
        .find(|entry| entry.question == ATTESTATION)
        .expect("the demo's question is written");
    for paraphrase in &entry.paraphrases {
        assert_eq!(ask(&engine, paraphrase), entry.answer, "{paraphrase}");
    }
    assert_eq!(ask(&engine, &ATTESTATION.to_lowercase()), entry.answer);
    assert_eq!(ask(&engine, ATTESTATION.trim_end_matches('?')), entry.answer);
}

#[test]
fn a_system_message_or_plain_text_changes_nothing() {
    let (engine, entries) = (engine(), entries());
    let entry = entries
        .iter()
        .find(|entry| entry.question == ATTESTATION)
        .expect("the demo's question is written");
    let messages = [
        ChatMessage::text(Role::System, "You are a helpful assistant."),
        ChatMessage::text(Role::User, ATTESTATION),
    ];
    assert_eq!(run(&engine, PromptInput::Messages(&messages)).0, entry.answer);
    assert_eq!(
        run(&engine, PromptInput::Text(ATTESTATION)).0.trim_start(),
        entry.answer
    );
}

#[test]
fn questions_asked_at_once_do_not_mix() {
    let (engine, entries) = (engine(), entries());
    std::thread::scope(|scope| {
        for entry in entries.iter().step_by(entries.len() / 8) {
            let engine = &engine;
            scope.spawn(move || assert_eq!(ask(engine, &entry.question), entry.answer, "{}", entry.question));
        }
    });
}
