//! What `adyton-host measure` prints is a part of a policy: pasted into one, the policy's own reader takes it.

use std::{fs, process::Command};

use attestation::AppraisalPolicy;
use harness::deployment::{binary, succeed, workspace};
use toml::{Table, Value};

#[path = "../../host/measurement/tests/support/files.rs"]
mod files;

/// `example` with the keys of `part` in place of its own, and without the keys `without` of the same table.
fn pasted(example: &str, part: &str, without: &[&str]) -> String {
    let path = workspace().join("attestation/examples").join(example);
    let mut policy: Table = fs::read_to_string(path)
        .expect("an example")
        .parse()
        .expect("TOML");
    let part: Table = part.parse().expect("TOML");
    let tables: Vec<_> = part.keys().cloned().collect();
    merge(&mut policy, part);
    for table in tables {
        if let Some(Value::Table(table)) = policy.get_mut(&table) {
            without.iter().for_each(|key| drop(table.remove(*key)));
        }
    }
    toml::to_string(&policy).expect("TOML")
}

/// A list or a value replaces; a table is merged.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn measure(arguments: &[&str]) -> String {
    succeed(Command::new(binary("adyton-host")).arg("measure").args(arguments))
}

#[test]
fn a_measured_launch_is_pasted_into_a_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let kernel = files::pe(&[(".text", b"a kernel")], &[]);
    let image = files::pe(
        &[
            (".linux", &kernel),
            (".cmdline", b"quiet"),
            (".initrd", b"an initrd"),
        ],
        &[],
    );
    for (name, bytes) in [
        ("firmware", &files::firmware()),
        ("kernel", &kernel),
        ("image", &image),
    ] {
        fs::write(path(name), bytes).expect("written");
    }
    let firmware = path("firmware");

    let snp_of = |kernel: &str| {
        measure(&[
            "snp",
            "--firmware",
            &firmware,
            "--kernel",
            &path(kernel),
            "--vcpus",
            "1,2",
            "--vcpu-type",
            "EPYC-Milan",
        ])
    };
    let snp = snp_of("kernel");
    assert!(snp.contains("# ACPI tables: the HOST'S."), "{snp}");
    let entered = files::pe(&[(".text", b"a kernel"), (".entry", b"code")], &[]);
    let unified = files::pe(&[(".linux", &entered), (".cmdline", b"quiet")], &[]);
    for (name, bytes) in [("entered", &entered), ("unified", &unified)] {
        fs::write(path(name), bytes).expect("written");
        let said = snp_of(name);
        assert!(said.contains("# ACPI tables: the image's own\n"), "{said}");
    }
    let said = snp_of("image");
    assert!(said.contains("# ACPI tables: the HOST'S."), "{said}");
    let policy = pasted("policy.toml", &snp, &[]);
    AppraisalPolicy::from_toml(&policy).expect("a policy");
    assert_eq!(snp.matches("    \"").count(), 2);

    for (name, bytes) in [("table-loader", 1_u8), ("rsdp", 2), ("tables", 3)] {
        fs::write(path(name), [bytes; 64]).expect("written");
    }
    let acpi = folder.path().display().to_string();
    let tdx = measure(&[
        "tdx",
        "--firmware",
        &firmware,
        "--memory",
        "4G",
        "--uki",
        &path("image"),
        "--acpi",
        &acpi,
    ]);
    AppraisalPolicy::from_toml(&pasted("policy.toml", &tdx, &["event_digests"])).expect("a policy");
    for key in ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"] {
        assert!(tdx.contains(&format!("\n{key} = [")), "{key}");
    }
    // What was not predicted is not there, and a policy without it is refused.
    let partial = measure(&["tdx", "--firmware", &firmware, "--memory", "4G"]);
    assert!(partial.contains("# rtmr0: not predicted"));
    assert!(
        AppraisalPolicy::from_toml(&pasted("policy.toml", &partial, &["event_digests", "rtmr0"])).is_err()
    );

    let uki = measure(&["uki", &path("image")]);
    AppraisalPolicy::from_toml(&pasted("azure-policy.toml", &uki, &[])).expect("a policy");

    // By events: those of the image are those behind its registers, and the policy takes them in place of values.
    let events = measure(&["uki", &path("image"), "--table", "tdx"]);
    AppraisalPolicy::from_toml(&pasted("policy.toml", &events, &[])).expect("a policy");
    let whole = measure(&[
        "tdx",
        "--firmware",
        &firmware,
        "--memory",
        "4G",
        "--uki",
        &path("image"),
        "--json",
    ]);
    let whole: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
    for key in ["rtmr1_events", "rtmr2_events"] {
        for digest in whole["details"][key].as_array().expect("events") {
            assert!(events.contains(digest.as_str().expect("text")), "{key}: {digest}");
        }
    }
}
