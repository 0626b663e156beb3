//! The collector against a library in C that is compiled here and keeps the rules of NVIDIA's header.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::Gpus;
use attestation::DeviceKind;

use crate::{AttesterError, Device as _};

/// The library with these definitions; `None` (said plainly) without a C compiler. In CI there must be one.
fn library(definitions: &[&str]) -> Option<(TempDir, Gpus)> {
    let (folder, outcome) = try_library(definitions)?;
    Some((folder, outcome.expect("it opens")))
}

fn try_library(definitions: &[&str]) -> Option<(TempDir, Result<Gpus, AttesterError>)> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("libnvidia-ml.so.1");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nvidia/fake.c");
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o"])
        .args([&file, &source])
        .args(definitions)
        .output();
    let Ok(output) = compiler else {
        crate::vectors::not_run("no cc here (Debian package gcc)");
        return None;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some((folder, Gpus::open_with(file.as_os_str())))
}

#[test]
fn every_gpu_reports_over_the_nonce() {
    let Some((_folder, gpus)) = library(&[]) else {
        return;
    };
    for nonce in [[1; 32], [2; 32]] {
        let reports = gpus.reports(&nonce).expect("reports");
        assert_eq!(reports.len(), 2);
        for (number, report) in (0..).zip(&reports) {
            assert_eq!(report.kind, DeviceKind::NvidiaGpu);
            assert_eq!(report.evidence, [&[number][..], &nonce].concat());
            assert_eq!(report.certificates, format!("PEM of GPU {number}").into_bytes());
        }
    }
    let report = gpus.evidence(&[7; 64]).expect("reports").remove(0);
    assert_eq!(report.evidence[1..], attestation::device_nonce(&[7; 64]));
}

#[test]
fn a_gpu_that_does_not_answer_as_it_should_fails_the_whole() {
    for (fault, call) in [
        (
            "-DFAULT=NO_REPORT",
            "nvmlDeviceGetConfComputeGpuAttestationReport",
        ),
        (
            "-DFAULT=EMPTY_REPORT",
            "nvmlDeviceGetConfComputeGpuAttestationReport",
        ),
        (
            "-DFAULT=LONG_REPORT",
            "nvmlDeviceGetConfComputeGpuAttestationReport",
        ),
        (
            "-DFAULT=SECOND_FAILS",
            "nvmlDeviceGetConfComputeGpuAttestationReport",
        ),
        ("-DFAULT=NO_CALL", "nvmlDeviceGetConfComputeGpuAttestationReport"),
        ("-DFAULT=LONG_CHAIN", "nvmlDeviceGetConfComputeGpuCertificate"),
        ("-DGPUS=0", "nvmlDeviceGetCount_v2"),
        ("-DGPUS=17", "nvmlDeviceGetCount_v2"),
    ] {
        let Some((_folder, gpus)) = library(&[fault]) else {
            return;
        };
        let error = gpus.reports(&[1; 32]).expect_err(fault);
        assert!(
            matches!(&error, AttesterError::Nvml { call: of, .. } if *of == call),
            "{fault}: {error}"
        );
    }
}

#[test]
fn without_confidential_computing_or_the_library_nothing_opens() {
    for board in ["-DBOARD=0", "-DBOARD=-1"] {
        let Some((_folder, outcome)) = try_library(&["-DCC=0", board]) else {
            return;
        };
        let error = outcome.err().expect("it is off");
        assert!(error.to_string().contains("off"), "{error}");
    }
    assert!(library(&["-DCC=0", "-DBOARD=1"]).is_some(), "protected PCIe");
    let folder = tempfile::tempdir().expect("a folder");
    let absent = folder.path().join("libnvidia-ml.so.1");
    let error = Gpus::open_with(absent.as_os_str()).err().expect("no library");
    assert_eq!(error.code(), "attester-nvml");
    // A library that is another one has none of the calls.
    let other = folder.path().join("other.so");
    let source = folder.path().join("other.c");
    std::fs::write(&source, "int other;\n").expect("a source");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&other, &source])
        .status();
    assert!(compiled.expect("cc ran before").success());
    let error = Gpus::open_with(other.as_os_str()).err().expect("another library");
    assert!(
        matches!(
            error,
            AttesterError::Nvml {
                call: "nvmlInit_v2",
                ..
            }
        ),
        "{error}"
    );
}
