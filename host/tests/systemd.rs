//! The unit's sandbox, by systemd's own score: 0 is none exposed, 10 is everything.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::{path::Path, process::Command};

/// The network, devices and one's own user are what it needs; the rest is closed.
const EXPOSURE_MAX: f32 = 2.0;

#[test]
fn the_units_exposure_is_small() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/adyton-host.service");
    let analyze = |path: &Path| {
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(path)
            .output()
    };
    let Ok(output) = analyze(&unit) else {
        eprintln!("NOT RUN: the exposure of the systemd unit: no systemd-analyze");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let score = text
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for adyton-host.service: "))
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f32>().ok());
    let Some(score) = score else {
        let old = String::from_utf8_lossy(&output.stderr);
        eprintln!("NOT RUN: the exposure of the systemd unit: systemd-analyze has no offline score: {old}");
        return;
    };
    assert!(score <= EXPOSURE_MAX, "exposure {score}");
}

/// systemd reads the drop-in of a relay without a word, and says a word about a key that it does not know.
#[test]
fn the_relays_drop_in_is_understood() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("adyton-host.service");
    let drop_ins = folder.path().join("adyton-host.service.d");
    std::fs::create_dir(&drop_ins).expect("made");
    let read = |name: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name))
            .expect("there")
    };
    // Whether the program is installed is not the question.
    let service = read("adyton-host.service").replace("/usr/bin/adyton-host", "/bin/true");
    std::fs::write(&unit, service).expect("written");
    for (drop_in, understood) in [
        (read("remote.conf"), true),
        (
            read("remote.conf").replace("LoadCredential", "LoadCredentials"),
            false,
        ),
    ] {
        std::fs::write(drop_ins.join("remote.conf"), drop_in).expect("written");
        let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&unit).output() else {
            eprintln!("NOT RUN: the drop-in of the systemd unit: no systemd-analyze");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let ours = said.lines().any(|line| line.contains("remote.conf"));
        assert_eq!(output.status.success() && !ours, understood, "{said}");
    }
}
