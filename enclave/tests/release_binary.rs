//! The release binary contains nothing of the simulated issuer (I8), and refuses what a host might hand it.

use std::{path::Path, process::Command};

use simulated::{Flavor, measure};

/// Strings and symbols that only the simulated issuer has.
const MARKERS: [&str; 4] = [
    "adyton simulated snp launch digest",
    "adyton simulated tdx mrtd",
    "attestation/simulated/src",
    "simulated-crypto",
];

fn markers_in(path: &Path) -> Vec<&'static str> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let holds = |marker: &&str| {
        bytes
            .windows(marker.len())
            .any(|window| window == marker.as_bytes())
    };
    MARKERS.into_iter().filter(holds).collect()
}

#[test]
fn the_release_binary_contains_no_simulated_issuer() {
    assert_eq!(
        markers_in(Path::new(env!("CARGO_BIN_EXE_adyton-enclave"))),
        Vec::<&str>::new()
    );
}

#[test]
fn the_same_search_finds_the_issuer_where_it_is() {
    // This test binary links the issuer, and uses it, so that it is really there.
    assert_ne!(measure(Flavor::Snp, b"a", b"b"), measure(Flavor::Tdx, b"a", b"b"));
    let error = simulated::Platform::load(Path::new("/nonexistent"))
        .err()
        .map(|error| error.code());
    assert_eq!(error, Some("simulated-io"));
    let this = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(markers_in(&this), MARKERS);
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_adyton-enclave"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(output.stdout.is_empty());
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn an_environment_is_refused_before_anything_else() {
    for name in [
        "LD_AUDIT",
        "RUST_LOG",
        "RAYON_NUM_THREADS",
        "SSL_CERT_FILE",
        "ADYTON_CONFIG",
        "HTTPS_PROXY",
    ] {
        let (success, line) = run(&["run", "--config", "/c", "--channel", "/d"], &[(name, "x")]);
        assert!(!success && line.contains("environment-refused"), "{name}: {line}");
    }
}

#[test]
fn faults_at_the_start_are_one_allow_listed_line() {
    let (success, line) = run(&["run", "--config", "/nonexistent", "--channel", "/d"], &[]);
    assert!(!success);
    let document: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(line.matches('\n').count(), 1);
    assert_eq!(
        document,
        serde_json::json!({ "kind": "log", "event": "fault", "part": "start", "code": "config-invalid" })
    );
    let (success, line) = run(&["serve"], &[]);
    assert!(!success && line.contains("command-line-invalid"), "{line}");
}
