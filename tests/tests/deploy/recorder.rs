//! Programs under the names of az, gcloud and ours that write down how they were called.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::cases::Case;

/// Answers as the clouds do where a script asks before it acts: each is the value that a deployment of the cases has.
const PROGRAM: &str = r#"#!/bin/bash
{ printf '%s\0' "${0##*/}" "$@"; printf '\n'; } >>"$ADYTON_RECORD"
[ -z "$ADYTON_RECORD_ANSWERS" ] && exit 0
case "$*" in
    *list-skus*) while [ "$1" != --size ]; do shift; done; echo "$2" ;;
    *ipAddress*) echo 192.0.2.7 ;;
    *"machine-types describe"*) echo "$4" ;;
    *"group list"*) echo 0 ;;
    *tags.adyton* | *labels.adyton*) echo deployment ;;
    *describe*--format=*) echo described ;;
    *describe*) exit 1 ;;
    *--query*) echo "/an/id" ;;
esac
"#;

pub(crate) struct Recorder {
    folder: TempDir,
    answers: bool,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let release = folder.path().join("target/release");
        fs::create_dir_all(&release).expect("made");
        for (place, name) in [
            (folder.path(), "az"),
            (folder.path(), "gcloud"),
            (folder.path(), "scp"),
            (folder.path(), "ssh"),
            (release.as_path(), "adyton"),
            (release.as_path(), "adyton-host"),
            (release.as_path(), "adyton-image"),
        ] {
            let program = folder.path().join("recorder");
            if !program.exists() {
                fs::write(&program, PROGRAM).expect("written");
                fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
            }
            symlink(&program, place.join(name)).expect("linked");
        }
        Self {
            folder,
            answers: true,
        }
    }

    pub(crate) fn answering_nothing() -> Self {
        Self {
            answers: false,
            ..Self::new()
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.folder().join("target")
    }

    /// Puts the recorders in the place of the real programs.
    pub(crate) fn apply<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", self.folder().display()))
            .env("CARGO_TARGET_DIR", self.target())
            .env("ADYTON_RECORD", self.folder().join("record"))
            .env("ADYTON_RECORD_ANSWERS", if self.answers { "1" } else { "" })
    }

    /// The case's arguments with files that exist, since a real run reads them, and outputs in our folder.
    pub(crate) fn files(&self, case: &Case) -> Vec<String> {
        let file = self.folder().join("a file.pub");
        fs::write(&file, "contents").expect("written");
        let out = self.folder().join("out.toml");
        let mut words: Vec<String> = case.arguments().map(str::to_owned).collect();
        let has = |words: &[String], option: &str| words.iter().any(|word| word == option);
        let (file, out) = (file.display().to_string(), out.display().to_string());
        let verb = case.script.split('/').next_back().unwrap_or_default();
        let wanted: &[(&str, &String)] = match verb {
            "image" => &[("--uki", &file)],
            "supply" => &[("--supply", &file)],
            "relay" if case.script.starts_with("azure") => &[
                ("--ssh-key", &file),
                ("--certificate", &file),
                ("--private-key", &file),
            ],
            "relay" => &[("--certificate", &file), ("--private-key", &file)],
            "policy" => &[("--uki", &file), ("--ca", &file), ("--out", &out)],
            "verify" => &[("--policy", &file), ("--ca", &file)],
            _ => &[],
        };
        for (option, value) in wanted {
            if has(&words, option) {
                let place = words.iter().position(|word| word == option).expect("it is there");
                words[place + 1] = (*value).clone();
            } else {
                words.extend([(*option).to_owned(), (*value).clone()]);
            }
        }
        words
    }

    /// The calls since the last time, each as its words.
    pub(crate) fn take(&self) -> Vec<Vec<String>> {
        let record = self.folder().join("record");
        let text = fs::read_to_string(&record).unwrap_or_default();
        let _ = fs::remove_file(&record); // nothing was called
        text.split("\0\n")
            .filter(|call| !call.is_empty())
            .map(|call| call.split('\0').map(str::to_owned).collect())
            .collect()
    }
}
