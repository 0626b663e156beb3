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
