//! Replays the committed corpus of the fuzz targets through the targets' own functions, without libFuzzer: what was
//! found once stays found, and the targets keep compiling.

#[path = "../fuzz/src/entry.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the fuzz targets")]
mod entry;

use std::fs;
use std::path::{Path, PathBuf};

/// Of all committed inputs together.
const CORPUS_BYTES_MAX: u64 = 1024 * 1024;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let folder = corpus().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a file").path());
    paths.map(|path| fs::read(path).expect("an input")).collect()
}

#[test]
fn every_committed_input_is_taken_by_its_target() {
    let mut bytes = 0;
    for (name, target) in entry::TARGETS {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "{name} has inputs");
        for input in inputs {
            bytes += input.len() as u64;
            target(&input);
        }
    }
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes of inputs");
}

#[test]
fn every_target_has_its_program_and_no_corpus_is_without_target() {
    let names: Vec<_> = entry::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let of = |folder: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| {
                let path = entry.expect("an entry").path();
                path.file_stem().expect("a name").to_string_lossy().into_owned()
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(of("fuzz_targets"), names);
    assert_eq!(of("corpus"), names);
}

#[test]
fn shortened_and_lengthened_inputs_are_taken() {
    for (name, target) in entry::TARGETS {
        for input in inputs(name).iter().filter(|input| input.len() <= 4096).take(3) {
            for length in (0..input.len()).step_by(input.len() / 16 + 1) {
                target(&input[..length]);
            }
            target(&[input.as_slice(), &[0]].concat());
        }
    }
}
