//! `adyton-bench` as a person and as a script run it, on a model that is too small to measure.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adyton-bench"));
    command
        .env_clear()
        .args(arguments)
        .output()
        .expect("the binary starts")
}

#[test]
fn a_random_model_is_measured_written_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("random.gguf");
    let file = file.to_str().unwrap();
    assert!(
        bench(&["--tiny", "--random", "q8_0", "--write", file])
            .status
            .success()
    );
    assert!(
        !bench(&["--tiny", "--write", file]).status.success(),
        "never written over"
    );

    let output = bench(&[
        file,
        "--prompt-tokens",
        "16",
        "--completion-tokens",
        "8",
        "--streams",
        "1,3",
        "--json",
    ]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let speeds = document["speeds"].as_array().unwrap();
    assert_eq!(speeds.len(), 2);
    for speed in speeds {
        assert!(speed["prefill_tokens_per_second"].as_f64().unwrap() > 0.0);
        assert!(speed["decode_tokens_per_second"].as_f64().unwrap() > 0.0);
    }
    assert!(document["machine"]["reading_gb_per_second"].as_f64().unwrap() > 0.0);

    let table = bench(&["--tiny"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("of reading") && table.lines().count() == 6,
        "{table}"
    );
}

#[test]
fn faster_instructions_are_done_without_and_unknown_ones_are_refused() {
    let short = [
        "--tiny",
        "--json",
        "--prompt-tokens",
        "4",
        "--completion-tokens",
        "2",
        "--streams",
        "1",
    ];
    let output = bench(&[&short[..], &["--instructions", "scalar"]].concat());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["machine"]["isa"], "scalar");
    let refused = bench(&["--instructions", "abacus"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("this CPU has scalar"), "{said}");
}

#[test]
fn what_is_no_model_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.gguf"), "no model").unwrap();
    let output = bench(&[folder.path().to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(20));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        document["error"]["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("GGUF"))
    );
    assert_eq!(bench(&["/nowhere"]).status.code(), Some(1));
}

#[test]
fn a_device_that_is_not_there_is_named_before_anything_is_made() {
    // With the feature and a GPU there would be nothing to refuse.
    if cfg!(feature = "cuda") && std::path::Path::new("/dev/nvidia0").exists() {
        return;
    }
    let output = bench(&["--device", "cuda", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (code, hint) = (&document["error"]["code"], &document["error"]["hint"]);
    let (expected, word) = if cfg!(feature = "cuda") {
        ("device-missing", "nvidia-smi")
    } else {
        ("built-without-cuda", "--features cuda")
    };
    assert_eq!(code, expected);
    let message = &document["error"]["message"];
    assert!(
        message
            .as_str()
            .is_some_and(|message| message.lines().count() == 1),
        "{message}"
    );
    assert!(hint.as_str().is_some_and(|hint| hint.contains(word)), "{hint}");
    assert_eq!(bench(&["--device", "tpu"]).status.code(), Some(2));
}
