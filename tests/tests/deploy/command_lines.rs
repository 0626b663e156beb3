//! What `--dry-run` prints is what the golden files say, and what a run without it does.

use std::fs;

use harness::deployment::workspace;

use crate::{
    cases::{CASES, dry_run, run, script, text},
    recorder::Recorder,
};

#[test]
fn dry_runs_are_those_of_the_golden_files() {
    for case in CASES {
        let printed = dry_run(case);
        let golden = workspace().join(format!("tests/golden/{}.sh", case.name));
        if std::env::var_os("ADYTON_WRITE_GOLDEN").is_some() {
            fs::write(&golden, &printed).expect("written");
        }
        assert_eq!(
            printed,
            fs::read_to_string(&golden).expect("a golden file"),
            "{}",
            case.name
        );
    }
    let files = fs::read_dir(workspace().join("tests/golden")).expect("the folder");
    assert_eq!(files.count(), CASES.len(), "a golden file without a case");
}

/// Cloud tools and our programs are recorders here: the script itself and the program that its dry run printed must call
/// the same commands with the same words.
#[test]
fn a_run_is_what_its_dry_run_printed() {
    for case in CASES {
        let recorder = Recorder::new();
        let direct = run(recorder
            .apply(&mut script(case.script))
            .args(recorder.files(case)));
        assert!(direct.status.success(), "{}: {}", case.name, text(&direct.stderr));
        let ran = recorder.take();

        let printed = run(script(case.script)
            .env("CARGO_TARGET_DIR", recorder.target())
            .args(recorder.files(case))
            .arg("--dry-run"));
        let program = recorder.folder().join("program.sh");
        fs::write(&program, &printed.stdout).expect("written");
        let replay = run(recorder
            .apply(&mut std::process::Command::new("bash"))
            .current_dir(workspace())
            .arg(&program));
        assert!(replay.status.success(), "{}: {}", case.name, text(&replay.stderr));
        assert_eq!(ran, recorder.take(), "{}", case.name);
        assert!(!ran.is_empty(), "{}", case.name);
    }
}

#[test]
fn a_machine_that_is_not_offered_and_a_deployment_that_is_not_ours_stop_everything() {
    for (name, code) in [
        ("azure-image", "azure-not-ours"),
        ("azure-vm-dcesv6", "azure-not-offered"),
        ("azure-down", "azure-not-ours"),
        ("gcp-vm-c3", "gcp-not-offered"),
        ("gcp-down", "gcp-not-ours"),
    ] {
        let case = CASES.iter().find(|case| case.name == name).expect("a case");
        let recorder = Recorder::answering_nothing();
        let output = run(recorder
            .apply(&mut script(case.script))
            .args(recorder.files(case)));
        assert_eq!(output.status.code(), Some(2), "{name}");
        let said = text(&output.stderr);
        assert!(said.contains(&format!("error[{code}]")), "{name}: {said}");
        let changed: Vec<_> = recorder
            .take()
            .into_iter()
            .filter(|words| {
                words
                    .iter()
                    .any(|word| ["create", "delete", "upload"].contains(&word.as_str()))
            })
            .collect();
        assert!(changed.is_empty(), "{name}: {changed:?}");
    }
}
