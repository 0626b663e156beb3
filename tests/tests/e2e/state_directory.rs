//! The state directory: one owner at a time, private, without a plain byte of the model, and good for a second start.

use std::{net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command};

use harness::{
    canary::{Canary, search_files},
    deployment::{Deployment, binary, told, workspace},
};

fn up(state: &Path, more: &[&str]) -> std::process::Output {
    Command::new(binary("adyton"))
        .args(["up", "--dir"])
        .arg(state)
        .args(more)
        .env("ADYTON_SAMPLE_MODEL", workspace().join("models/sample"))
        .output()
        .expect("it was built")
}

#[test]
fn a_second_up_in_the_same_directory_is_refused_and_the_first_goes_on() {
    let deployment = Deployment::start("snp");
    let second = up(&deployment.state(), &[]);
    assert!(!second.status.success());
    let said = told(&second);
    assert!(
        said.contains("already-running") && said.contains("hint"),
        "{said}"
    );
    assert!(
        deployment
            .adyton()
            .arg("verify")
            .output()
            .expect("it was built")
            .status
            .success()
    );
}

#[test]
fn a_taken_port_is_an_error_that_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = taken.local_addr().expect("bound").port().to_string();
    let folder = tempfile::tempdir().expect("temporary folder");
    let refused = up(&folder.path().join("state"), &["--port", &port]);
    assert!(!refused.status.success());
    assert!(told(&refused).contains("port-taken"), "{}", told(&refused));
}

#[test]
fn secrets_are_private_and_no_model_byte_is_plain() {
    let deployment = Deployment::start("snp");
    let state = deployment.state();
    let mut open = vec![state.clone()];
    while let Some(path) = open.pop() {
        let data = std::fs::symlink_metadata(&path).expect("it was listed");
        let mode = data.permissions().mode() & 0o777;
        if data.is_dir() {
            // Whatever lies deeper cannot be reached by others either.
            let top = path == state || path.parent() == Some(&*state);
            assert!(!top || mode == 0o700, "{}: {mode:o}", path.display());
            open.extend(
                std::fs::read_dir(&path)
                    .expect("ours")
                    .map(|entry| entry.expect("ours").path()),
            );
        } else if path
            .extension()
            .is_some_and(|extension| extension == "key" || extension == "token")
        {
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }

    let model = workspace().join("models/sample");
    let mut canaries = Vec::new();
    for file in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        let bytes = std::fs::read(model.join(file)).expect("the sample model");
        for part in bytes.chunks_exact(64).step_by(bytes.len() / 64 / 16 + 1) {
            if part.iter().any(|byte| *byte != part[0]) {
                canaries.push(Canary::new("model bytes", part));
            }
        }
    }
    let (hits, extent) = search_files(&state, &canaries, &|_| false);
    assert!(hits.is_empty(), "{hits:?}");
    assert!(
        extent.bytes > 1 << 20,
        "the sealed model was searched too: {extent:?}"
    );
    let (control, _) = search_files(&model, &canaries, &|_| false);
    assert!(!control.is_empty(), "the search finds the plain model");
}

#[test]
fn a_second_start_uses_what_the_first_made() {
    let first = Deployment::start("snp");
    let model = |state: &Path| {
        let manifest = std::fs::read_dir(state.join("models/sample.sealed")).expect("the sealed model");
        let mut files: Vec<_> = manifest.map(|entry| entry.expect("ours").path()).collect();
        files.sort();
        files
            .into_iter()
            .map(|file| std::fs::read(file).expect("ours"))
            .collect::<Vec<_>>()
    };
    let sealed = model(&first.state());
    let folder = first.stop();
    let second = Deployment::start_in(folder, "snp");
    assert!(sealed == model(&second.state()), "the model is not sealed again");
    assert!(
        second
            .adyton()
            .arg("verify")
            .output()
            .expect("it was built")
            .status
            .success()
    );
}
