//! The collectors of device files, in a process that sees devices which this machine need not have.
//!
//! Each test runs this program again, below a library in C that stands between it and the system
//! (`fake.c`), and reads what the child collected.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use attestation::EndorsementKind;
use attester::sev_guest::SevGuest;
use attester::tdx_guest::TdxGuest;
use attester::{Attester, AttesterError, Collected};
use tempfile::TempDir;

const REPORT_DATA: [u8; 64] = [0x5a; 64];
const SNP_REPORT_BYTES: usize = 1184;

/// What the child does, if it is one.
const WORK: &str = "ADYTON_DEVICES_WORK";

#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let compiled = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("fake.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/devices/fake.c");
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o"])
            .args([&file, &source])
            .arg("-ldl")
            .output();
        let Ok(output) = compiler else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no cc here");
            eprintln!("NOT RUN: no cc here (Debian package gcc)");
            return None;
        };
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some((folder, file))
    });
    compiled.as_ref().map(|(_, file)| file.as_path())
}

/// Runs `work` in a child that sees `devices`; its lines of output.
fn child(devices: &str, work: &str) -> Option<Vec<String>> {
    let program = std::env::current_exe().expect("this program");
    let output: Output = Command::new(program)
        .args(["--exact", "the_child_collects", "--nocapture"])
        .env("LD_PRELOAD", library()?)
        .env("ADYTON_FAKE", devices)
        .env(WORK, work)
        .output()
        .expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{devices}: {text}");
    let lines = text
        .lines()
        .filter_map(|line| line.split_once("RESULT ").map(|(_, rest)| rest.to_owned()));
    let lines: Vec<String> = lines.collect();
    assert!(!lines.is_empty(), "{devices}: {text}");
    Some(lines)
}

/// Length and content without the zeros at the end, so that a failure can be read.
fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}:{}", bytes.len(), digits.trim_end_matches('0'))
}

/// Not a test by itself: what the children of the others do.
#[test]
fn the_child_collects() {
    let Ok(work) = std::env::var(WORK) else {
        return;
    };
    let attester: Result<Box<dyn Attester>, AttesterError> = match work.as_str() {
        "detect" => attester::detect().map(|detected| {
            say(&format!("source {}", detected.source));
            detected.attester
        }),
        "snp-at-2" => SevGuest::open()
            .and_then(|guest| guest.with_privilege_level(2))
            .map(|guest| Box::new(guest) as _),
        "snp-at-4" => SevGuest::open()
            .and_then(|guest| guest.with_privilege_level(4))
            .map(|guest| Box::new(guest) as _),
        "snp" => SevGuest::open().map(|guest| Box::new(guest) as _),
        _ => TdxGuest::open().map(|guest| Box::new(guest) as _),
    };
    match attester.and_then(|attester| attester.evidence(&REPORT_DATA)) {
        Ok(collected) => show(&collected),
        Err(error) => say(&format!("error {} {error}", error.code())),
    }
}

#[allow(clippy::print_stdout, reason = "the parent reads it")]
fn say(line: &str) {
    println!("RESULT {line}");
}

fn show(collected: &Collected) {
    say(&format!("evidence {}", hex(&collected.evidence)));
    for kind in [EndorsementKind::SnpLeaf, EndorsementKind::SnpIntermediate] {
        if let Some(document) = collected.endorsements.document(kind) {
            say(&format!("{} {}", kind.as_str(), hex(document)));
        }
    }
}

fn table() -> Vec<u8> {
    let mut table = vec![0x8d, 0x75, 0xda, 0x63, 0x64, 0xe6, 0x64, 0x45];
    table.extend([
        0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd, 48, 0, 0, 0, 4, 0, 0, 0,
    ]);
    table.resize(48, 0);
    table.extend(b"VCEK");
    table
}

fn snp_report(level: u8) -> String {
    let mut report = vec![0; SNP_REPORT_BYTES];
    report[0] = 3;
    report[0x30] = level;
    report[0x50..0x90].copy_from_slice(&REPORT_DATA);
    format!("evidence {}", hex(&report))
}

#[test]
fn an_snp_report_comes_with_the_hosts_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table");
    let devices = format!("snp table={}", file.display());
    std::fs::write(&file, table()).expect("a table");
    let Some(lines) = child(&devices, "snp") else {
        return;
    };
    assert_eq!(lines, [snp_report(0), format!("snp-leaf {}", hex(b"VCEK"))]);
    assert_eq!(
        child("snp", "snp"),
        Some(vec![snp_report(0)]),
        "the host attached none"
    );
    assert_eq!(
        child("snp basic", "snp"),
        Some(vec![snp_report(0)]),
        "it cannot attach any"
    );
    assert_eq!(child("snp", "snp-at-2"), Some(vec![snp_report(2)]));

    // A table that is beyond what the kernel takes is like none; one that leads out of its buffer would
    // have the host choose what is published.
    std::fs::write(&file, vec![1; 20 * 1024]).expect("a table");
    assert_eq!(child(&devices, "snp"), Some(vec![snp_report(0)]));
    for (at, byte) in [(18, 1), (22, 1), (19, 0x80)] {
        let mut outside = table();
        outside[at] = byte;
        std::fs::write(&file, outside).expect("a table");
        let lines = child(&devices, "snp").expect("it ran before");
        assert!(lines[0].starts_with("error attester-malformed"), "{lines:?}");
    }
}

#[test]
fn an_snp_processor_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let Some(lines) = child("snp busy=3", "snp") else {
        return;
    };
    assert_eq!(lines, [snp_report(0)]);
    let first = |devices, work| child(devices, work).expect("it ran before").remove(0);
    assert!(first("snp busy=1000", "snp").starts_with("error attester-busy"));
    let refused = first("snp refuses", "snp");
    assert!(
        refused.starts_with("error attester-device /dev/sev-guest: "),
        "{refused}"
    );
    assert!(first("", "snp").starts_with("error attester-not-available"));
    assert!(first("snp", "snp-at-4").starts_with("error attester-privilege-level"));
}

#[test]
fn a_td_quote_is_taken_if_it_is_one_of_ours() {
    let Some(lines) = child("tdx", "tdx") else {
        return;
    };
    let mut quote = vec![0; 5000];
    quote[0] = 4;
    quote[568..632].copy_from_slice(&REPORT_DATA);
    assert_eq!(lines, [format!("evidence {}", hex(&quote))]);
    assert_eq!(child("tdx slow", "tdx"), Some(lines));
    for (devices, code) in [
        // Somebody else's report data; a quote that ends before them.
        ("tdx other", "attester-malformed"),
        ("tdx quote=600", "attester-malformed"),
        // As long as the crate's slice, which is longer than what the host filled.
        ("tdx quote=16384", "attester-malformed"),
        // Lengths at which the crate panics.
        ("tdx quote=16385", "attester-device"),
        ("tdx short", "attester-device"),
        // The service failed; the kernel has no quote requests.
        ("tdx qgs", "attester-device"),
        ("tdx mainline", "attester-device"),
        // TDX 1.0, which the crate would prefer.
        (
            "tdx tdx1",
            "attester-device /dev/tdx-guest: the driver of TDX 1.0,",
        ),
        ("", "attester-not-available"),
    ] {
        let lines = child(devices, "tdx").expect("it ran before");
        assert!(
            lines[0].starts_with(&format!("error {code} ")),
            "{devices}: {lines:?}"
        );
    }
}

#[test]
fn a_device_is_detected_and_two_are_not_chosen_from() {
    let Some(lines) = child("snp", "detect") else {
        return;
    };
    assert_eq!(lines, ["source /dev/sev-guest".to_owned(), snp_report(0)]);
    let first = |devices| child(devices, "detect").expect("it ran before").remove(0);
    assert_eq!(first("tdx"), "source /dev/tdx_guest");
    let error = first("snp tdx");
    assert!(error.starts_with("error attester-ambiguous "), "{error}");
    assert!(
        error.contains("/dev/sev-guest: SEV-SNP; /dev/tdx_guest: TDX"),
        "{error}"
    );
    let error = first("");
    assert!(error.starts_with("error attester-nothing-found "), "{error}");
}
