//! `adyton-host measure` as a command: what it prints, and when it fails.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use measurement::snp::{IdAuth, IdBlock};

fn vectors() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS")
        .map_or(default, PathBuf::from)
        .join("measurement");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "no vectors in {}",
        folder.display()
    );
    eprintln!(
        "NOT RUN: adyton-host measure on the vectors: none in {} (set ADYTON_VECTORS)",
        folder.display()
    );
    None
}

fn measure(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_adyton-host"))
        .arg("measure")
        .args(arguments)
        .env_remove("ADYTON_FIRMWARE")
        .env_remove("ADYTON_JSON")
        .output()
        .expect("it starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn every_launch_digest_of_the_vectors_agrees_and_a_changed_one_does_not() {
    let Some(vectors) = vectors() else { return };
    for (name, count) in [("snp.json", 40), ("tcg-boot.json", 2)] {
        let output = measure(&["--check", &vectors.join(name).display().to_string()]);
        assert!(output.status.success(), "{}", said(&output));
        let lines = said(&output);
        assert_eq!(
            lines.lines().filter(|line| line.starts_with("agrees")).count(),
            count
        );
    }
    let text = fs::read_to_string(vectors.join("snp.json")).expect("a vector");
    let folder = tempfile::tempdir().expect("a folder");
    let changed = folder.path().join("snp.json");
    fs::write(
        &changed,
        text.replacen("\"launch_digest\": \"2", "\"launch_digest\": \"3", 1),
    )
    .expect("written");
    let output = measure(&["--check", &changed.display().to_string(), "--json"]);
    assert!(!output.status.success());
    assert!(said(&output).contains("39 of 40"), "{}", said(&output));
}

#[test]
fn a_case_without_its_files_has_not_agreed() {
    let Some(vectors) = vectors() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let alone = folder.path().join("tdx-mrtd.json");
    fs::copy(vectors.join("tdx-mrtd.json"), &alone).expect("copied");
    let output = measure(&["--check", &alone.display().to_string()]);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("NOT RUN") && said(&output).contains("0 of 10"),
        "{}",
        said(&output)
    );
    fs::copy(vectors.join("tdvf-64k.bin"), folder.path().join("tdvf.bin")).expect("copied");
    let output = measure(&["--check", &alone.display().to_string()]);
    assert!(said(&output).contains("2 of 10"), "{}", said(&output));
    fs::write(&alone, "{\"cases\": []}").expect("written");
    assert!(
        !measure(&["--check", &alone.display().to_string()])
            .status
            .success()
    );
}

#[test]
fn a_launch_is_measured_and_its_id_block_verifies() {
    let Some(vectors) = vectors() else { return };
    let file = |name: &str| vectors.join(name).display().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    // PKCS#8 of P-384 (RFC 5915, RFC 5958) around a scalar of the test's own.
    let mut der = vec![
        0x30, 0x4e, 2, 1, 0, 0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0,
        0x22, 4, 0x37, 0x30, 0x35, 2, 1, 1, 4, 0x30,
    ];
    der.extend([9; 48]);
    let label = "PRIVATE KEY";
    let pem = format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        BASE64_STANDARD.encode(der)
    );
    fs::write(path("key.pem"), wrapped(&pem)).expect("written");
    let output = measure(&[
        "snp",
        "--firmware",
        &file("fw-hashes-64k.bin"),
        "--kernel",
        &file("kernel.bin"),
        "--initrd",
        &file("initrd.bin"),
        "--append",
        "console=ttyS0 panic=-1",
        "--vcpus",
        "1",
        "--vcpu-type",
        "EPYC-v4",
        "--id-key",
        &path("key.pem"),
        "--id-block",
        &path("block"),
        "--id-auth",
        &path("auth"),
        "--json",
    ]);
    assert!(output.status.success(), "{}", said(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let digest = json["reference_values"]["launch_measurements"][0]
        .as_str()
        .expect("a digest");
    assert!(digest.starts_with("234d819234efc036"), "{digest}");
    let decode = |name: &str| {
        BASE64_STANDARD
            .decode(fs::read(path(name)).expect("written"))
            .expect("base64")
    };
    let block = IdBlock::parse(&decode("block")).expect("an ID block");
    assert_eq!(block.launch_digest[..4], [0x23, 0x4d, 0x81, 0x92]);
    let keys = IdAuth::parse(&decode("auth"))
        .expect("signatures")
        .verify(&block)
        .expect("signed");
    let shown = json["reference_values"]["id_key_digests"][0]
        .as_str()
        .expect("a digest");
    assert!(shown.starts_with(&format!(
        "{:02x}{:02x}",
        keys.id_key_digest[0], keys.id_key_digest[1]
    )));
}

/// PEM has lines of 64 letters (RFC 7468).
fn wrapped(pem: &str) -> String {
    let lines = pem.lines().flat_map(|line| {
        let chunks: Vec<_> = line
            .as_bytes()
            .chunks(64)
            .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
            .collect();
        chunks
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn wrong_inputs_are_named_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let junk = folder.path().join("junk");
    fs::write(&junk, [0; 8192]).expect("written");
    let junk = junk.display().to_string();
    for (arguments, words) in [
        (
            vec!["snp", "--firmware", &junk, "--vcpus", "1", "--vcpu-type", "EPYC"],
            "[malformed]",
        ),
        (vec!["tdx", "--firmware", &junk, "--memory", "4G"], "[malformed]"),
        (vec!["uki", &junk], "[malformed]"),
        (vec!["uki", "/absent"], "[io]"),
        (vec!["--check", &junk], "[config]"),
        (vec!["tdx", "--firmware", &junk, "--memory", "4"], "16G"),
        (
            vec![
                "snp",
                "--firmware",
                &junk,
                "--vcpus",
                "1",
                "--vcpu-type",
                "EPYC",
                "--append",
                "x",
            ],
            "--kernel",
        ),
    ] {
        let output = measure(&arguments);
        assert!(
            !output.status.success() && said(&output).contains(words),
            "{arguments:?}: {}",
            said(&output)
        );
    }
}
