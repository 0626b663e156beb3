//! The commands of the SIMULATED enclave, run as a person or the launcher runs them.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

const CONFIG: &str = r#"
owner_key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
[model]
id = "sample"
path = "/nonexistent/sample.sealed"
[broker]
spki_sha256 = "0101010101010101010101010101010101010101010101010101010101010101"
"#;

fn command(arguments: &[&str], paths: &[(&str, &Path)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adyton-enclave-simulated"));
    command.env_clear().args(arguments);
    for (flag, path) in paths {
        command.arg(flag).arg(path);
    }
    command
}

fn output(arguments: &[&str], paths: &[(&str, &Path)]) -> Output {
    command(arguments, paths).output().expect("it starts")
}

fn printed(arguments: &[&str], paths: &[(&str, &Path)]) -> String {
    let output = output(arguments, paths);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The commands in the order of a deployment: one platform, because its RSA keys take seconds.
#[test]
fn a_platform_is_manufactured_measured_and_named_in_a_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    let platform = folder.path().join("platform");
    let config = folder.path().join("enclave.toml");
    std::fs::write(&config, CONFIG).expect("space");

    assert!(
        printed(&["manufacture"], &[("--platform", &platform)]).contains("SIMULATED platform manufactured")
    );
    for entry in std::fs::read_dir(&platform).expect("a folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
    }
    assert!(printed(&["manufacture"], &[("--platform", &platform)]).contains("SIMULATED platform renewed"));

    let measure = |flavor: &str| printed(&["measure", "--flavor", flavor], &[("--config", &config)]);
    let (snp, tdx) = (measure("snp"), measure("tdx"));
    assert_eq!((snp.trim().len(), snp == tdx), (96, false));
    let json = printed(
        &["measure", "--flavor", "snp", "--json"],
        &[("--config", &config)],
    );
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (json["launch_measurement"].as_str(), json["simulated"].as_bool()),
        (Some(snp.trim()), Some(true))
    );

    for (flavor, measurement) in [("snp", &snp), ("tdx", &tdx)] {
        let arguments = ["anchors", "--flavor", flavor];
        let anchors = printed(&arguments, &[("--platform", &platform), ("--config", &config)]);
        assert!(anchors.contains("SIMULATED") && anchors.contains(&format!("[danger.simulated.{flavor}]")));
        assert!(anchors.contains(measurement.trim()));
    }

    std::fs::write(&config, CONFIG.replace("0101", "0102")).expect("space");
    assert_ne!(
        measure("snp"),
        snp,
        "another configuration is another measurement"
    );

    // What the launcher runs, wrongly and rightly.
    let channel = folder.path().join("channel");
    std::fs::create_dir(&channel).expect("space");
    let run = |config: &Path| {
        let paths = [
            ("--platform", &*platform),
            ("--config", config),
            ("--channel", &*channel),
        ];
        command(&["run", "--flavor", "snp"], &paths)
    };
    let refused = run(&config).env("LD_BIND_NOW", "1").output().expect("it starts");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("environment-refused"));
    let refused = run(&folder.path().join("other.toml"))
        .output()
        .expect("it starts");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("config-invalid"));
    let refused = run(&config).output().expect("it starts");
    assert!(
        !refused.status.success() && refused.stdout.is_empty(),
        "there is no model"
    );
    assert!(
        String::from_utf8_lossy(&refused.stderr)
            .lines()
            .all(|line| line.starts_with('{'))
    );
}

#[test]
fn a_missing_platform_is_said() {
    let paths: [(&str, &Path); 2] = [
        ("--platform", Path::new("/nonexistent")),
        ("--config", Path::new("/dev/null")),
    ];
    let output = output(&["anchors", "--flavor", "snp"], &paths);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
}
