//! The command under test, and the vectors.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a run of the command came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// The clauses that failed, by `--json`.
    pub(crate) fn failed(&self) -> Vec<String> {
        let document = self.json();
        let clauses = document["clauses"].as_array().expect("clauses");
        clauses
            .iter()
            .filter(|clause| clause["outcome"] == "fail")
            .map(|clause| clause["id"].as_str().expect("an id").to_owned())
            .collect()
    }
}

/// Runs `adyton` with nothing of this machine's configuration.
pub(crate) fn adyton(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_adyton"))
        .args(arguments)
        .env_clear()
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that does not read closes the pipe: its exit code says what it thought.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    Ran {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// The vectors, or `None` (said plainly) if they are not here. In CI they must be.
#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
pub(crate) fn vectors() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    if folder.join("MANIFEST.toml").is_file() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "no vectors in {}",
        folder.display()
    );
    eprintln!(
        "NOT RUN: no evidence vectors in {} (set ADYTON_VECTORS)",
        folder.display()
    );
    None
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
