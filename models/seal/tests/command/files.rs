//! Keys, sealing and inspection without a broker.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::{adyton_seal, fails, prepare, seal, succeeds};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_private_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    for (algorithm, digits) in [("ecdsa-p384", 194), ("ed25519", 64)] {
        let key = folder.path().join(algorithm);
        let made = succeeds(
            adyton_seal()
                .args(["keygen", "--algorithm", algorithm, "--out"])
                .arg(&key),
        );
        assert_eq!(made["public_key"].as_str().unwrap().len(), digits);
        assert_eq!(mode(&key), 0o600);
        let shown = succeeds(adyton_seal().args(["public-key", "--owner-key"]).arg(&key));
        assert_eq!(shown["public_key"], made["public_key"]);
        assert_eq!(fails(adyton_seal().args(["keygen", "--out"]).arg(&key), 1), "io");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            fails(adyton_seal().args(["public-key", "--owner-key"]).arg(&key), 1),
            "key-exposed"
        );
    }
    let key = folder.path().join("garbage");
    fs::write(&key, "-----BEGIN PRIVATE KEY-----").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        fails(adyton_seal().args(["public-key", "--owner-key"]).arg(&key), 20),
        "malformed-key"
    );
    fs::write(&key, vec![b' '; 1 << 20]).unwrap();
    assert_eq!(
        fails(adyton_seal().args(["public-key", "--owner-key"]).arg(&key), 1),
        "too-large"
    );
}

#[test]
fn a_folder_is_sealed_and_inspected() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let kept = folder.path().join("model.key");
    let sealed = succeeds(
        seal(folder.path())
            .args(["--model-version", "3", "--model-key-file"])
            .arg(&kept),
    );
    assert_eq!(
        (&sealed["model_id"], &sealed["version"], &sealed["files"]),
        (&"sample".into(), &3.into(), &2.into())
    );
    assert_eq!(mode(&kept), 0o600);
    assert_eq!(
        fails(
            seal(folder.path())
                .arg("--model-key-file")
                .arg(folder.path().join("k2")),
            1
        ),
        "output-exists"
    );
    assert!(!folder.path().join("k2").exists(), "no key is kept for nothing");

    let out = folder.path().join("m.sealed");
    let inspect = || {
        let mut command = adyton_seal();
        command.arg("inspect").arg(&out);
        command
    };
    let claimed = succeeds(&mut inspect());
    assert_eq!(claimed["manifest_digest"], sealed["manifest_digest"]);
    assert_eq!(claimed["signature_verified"], false);
    for key in ["owner.key", "owner.key.pub"] {
        let checked = succeeds(
            inspect()
                .arg("--digests")
                .arg("--owner-key")
                .arg(folder.path().join(key)),
        );
        assert_eq!(
            (&checked["signature_verified"], &checked["digests_verified"]),
            (&true.into(), &true.into())
        );
    }
    let hexadecimal = folder.path().join("owner.hex");
    let public = succeeds(
        adyton_seal()
            .args(["public-key", "--owner-key"])
            .arg(folder.path().join("owner.key")),
    );
    fs::write(
        &hexadecimal,
        format!("{}\n", public["public_key"].as_str().unwrap()),
    )
    .unwrap();
    succeeds(inspect().arg("--owner-key").arg(&hexadecimal));

    succeeds(
        adyton_seal()
            .args(["keygen", "--out"])
            .arg(folder.path().join("other.key")),
    );
    let other = folder.path().join("other.key.pub");
    assert_eq!(
        fails(inspect().arg("--owner-key").arg(other), 10),
        "owner-signature"
    );

    let object = out.join("0001.floe");
    let mut bytes = fs::read(&object).unwrap();
    bytes[1_500_000] ^= 1;
    fs::write(&object, bytes).unwrap();
    let owner = folder.path().join("owner.key.pub");
    assert_eq!(
        fails(inspect().arg("--digests").arg("--owner-key").arg(owner), 10),
        "bit-flipped"
    );
    assert_eq!(
        fails(adyton_seal().arg("inspect").arg(folder.path().join("model")), 1),
        "object-missing"
    );
}

#[test]
fn text_is_for_people_and_free_of_colour_codes_where_nobody_looks() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let mut command = seal(folder.path());
    command
        .arg("--model-key-file")
        .arg(folder.path().join("model.key"))
        .env("NO_COLOR", "1");
    let output = command.output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("manifest digest") && !text.contains('\u{1b}'));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("hint: ") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let before: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    // A limit on file sizes, in blocks of 512 or 1024 bytes, is a disk that fills up after a megabyte or two.
    let mut command = Command::new("sh");
    command.env_clear().env("PATH", "/usr/bin:/bin").args([
        "-c",
        "ulimit -f 2000; trap '' XFSZ; exec \"$@\"",
        "sh",
    ]);
    let sealing = seal(folder.path());
    command.arg(sealing.get_program()).args(sealing.get_args());
    command
        .arg("--model-key-file")
        .arg(folder.path().join("model.key"));
    assert_eq!(fails(&mut command, 1), "disk-full");
    let after: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(before, after);
}

#[test]
fn flags_that_belong_together_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let usage = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(
        usage(&mut seal(folder.path())).contains("--model-key-file"),
        "neither broker nor key file"
    );
    let partial = usage(seal(folder.path()).args(["--broker", "https://localhost:1"]));
    assert!(
        partial.contains("--ca") && partial.contains("--policy"),
        "{partial}"
    );
    for address in [
        "http://localhost:1",
        "localhost:1",
        "https://a@b:1",
        "https://a:1/path",
    ] {
        assert!(
            usage(seal(folder.path()).args(["--broker", address])).contains("https://HOST:PORT"),
            "{address}"
        );
    }
    assert!(!folder.path().join("m.sealed").exists());
}
