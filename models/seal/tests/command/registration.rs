//! Registering with a broker, willing and not.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealed_model::{Anchor, ModelKey, OpenOptions, OwnerPublicKey, SealedModel, sha256, silent};
use sealing::{Label, open_once};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::fake_broker::{FakeBroker, Mood};
use crate::{adyton_seal, fails, prepare, seal, succeeds};

pub(crate) fn write_private(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The broker's flags, given by the environment.
fn at_broker(command: &mut Command, folder: &Path, origin: &str) {
    command
        .env("ADYTON_BROKER", origin)
        .env("ADYTON_BROKER_TIMEOUT_SECONDS", "5");
    for (name, file) in [
        ("CA", "ca.pem"),
        ("CERT", "owner.pem"),
        ("KEY", "owner-tls.key"),
        ("POLICY", "release.toml"),
    ] {
        command.env(format!("ADYTON_{name}"), folder.join(file));
    }
}

fn ready(mood: Mood) -> (tempfile::TempDir, FakeBroker) {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let policy = "model_id = \"sample\"\n[appraisal]\nmodel_digests = [\"@MANIFEST_DIGEST@\"]\n";
    fs::write(folder.path().join("release.toml"), policy).unwrap();
    let broker = FakeBroker::start(folder.path(), mood);
    (folder, broker)
}

fn seal_at(folder: &Path, broker: &FakeBroker) -> Command {
    let mut command = seal(folder);
    at_broker(&mut command, folder, &broker.origin);
    command
}

/// What the real broker computes from the registration it was sent.
fn associated_data(body: &Value) -> Vec<u8> {
    let digest = hex::decode(body["manifest_digest"].as_str().unwrap()).unwrap();
    let policy = sha256(body["policy"].as_str().unwrap().as_bytes());
    let version = body["version"].as_u64().unwrap().to_be_bytes();
    [
        b"adyton registration v1".as_slice(),
        &[0, 6],
        b"sample",
        &digest,
        &version,
        &policy,
    ]
    .concat()
}

#[test]
fn the_key_that_arrives_opens_the_model_and_the_wrap_is_kept() {
    let (folder, broker) = ready(Mood::Accepts);
    let sealed = succeeds(&mut seal_at(folder.path(), &broker));
    assert_eq!(
        (&sealed["audit_index"], &sealed["kek_id"]),
        (&9.into(), &"tenant".into())
    );
    let (path, body) = broker.registered.lock().unwrap().pop().expect("a registration");
    assert_eq!(path, "/v1/models/sample");
    assert_eq!(body["manifest_digest"], sealed["manifest_digest"]);
    let policy = body["policy"].as_str().unwrap();
    assert!(
        policy.contains(sealed["manifest_digest"].as_str().unwrap()) && !policy.contains('@'),
        "{policy}"
    );

    let message = BASE64.decode(body["sealed_model_key"].as_str().unwrap()).unwrap();
    let opened = open_once(
        &broker.registration_key,
        Label::KeyRegistration,
        &associated_data(&body),
        &message,
    )
    .unwrap();
    let key = ModelKey::from_bytes(Zeroizing::new(opened.as_slice().try_into().unwrap()));
    let owner = OwnerPublicKey::from_hex(body["owner_key"].as_str().unwrap()).unwrap();
    let model = SealedModel::open_manifest(&folder.path().join("m.sealed"), &owner).unwrap();
    assert_eq!(model.wraps().unwrap().wraps()[0].version, 4);
    let anchor = Anchor::registered("sample", 1, *model.manifest().digest());
    let open = model
        .anchored(&anchor)
        .unwrap()
        .open(&key, &OpenOptions::default(), &silent)
        .unwrap();
    assert_eq!(open.file("config.json").unwrap().expose(), b"{\"a\": 1}");

    // The key is nowhere on disk, in any form that it could have.
    let forms = [
        key.expose_bytes().to_vec(),
        hex::encode(key.expose_bytes()).into_bytes(),
        BASE64.encode(key.expose_bytes()).into_bytes(),
    ];
    for entry in fs::read_dir(folder.path())
        .unwrap()
        .chain(fs::read_dir(folder.path().join("m.sealed")).unwrap())
    {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap_or_default();
        for form in &forms {
            assert!(
                !bytes.windows(form.len()).any(|window| window == form),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn a_kept_key_registers_again() {
    let (folder, broker) = ready(Mood::Accepts);
    let kept = folder.path().join("model.key");
    succeeds(seal(folder.path()).arg("--model-key-file").arg(&kept));
    let register = |key: &Path, owner: &str| {
        let mut command = adyton_seal();
        command
            .arg("register")
            .arg(folder.path().join("m.sealed"))
            .arg("--model-key-file")
            .arg(key);
        command.arg("--owner-key").arg(folder.path().join(owner));
        at_broker(&mut command, folder.path(), &broker.origin);
        command
    };
    succeeds(&mut register(&kept, "owner.key.pub"));
    assert_eq!(broker.registered.lock().unwrap().len(), 1);

    let other = folder.path().join("other.key");
    write_private(
        &other,
        &format!("adyton-model-key-v1 {}\n", BASE64.encode([1; 32])),
    );
    assert_eq!(fails(&mut register(&other, "owner.key.pub"), 10), "wrong-key");
    write_private(&other, &BASE64.encode([1; 32]));
    assert_eq!(fails(&mut register(&other, "owner.key.pub"), 20), "malformed");
    assert_eq!(
        broker.registered.lock().unwrap().len(),
        1,
        "no wrong key is registered"
    );
}

#[test]
fn a_broker_that_does_not_register_leaves_no_model_without_a_key() {
    for (mood, code, exit_code) in [
        (Mood::Refuses, "rolled-back", 10),
        (Mood::Breaks, "audit-unavailable", 1),
        (Mood::Babbles, "broker-answer", 20),
        (Mood::Hangs, "broker-timeout", 1),
    ] {
        let (folder, broker) = ready(mood);
        let mut command = seal_at(folder.path(), &broker);
        command.env("ADYTON_BROKER_TIMEOUT_SECONDS", "2");
        assert_eq!(fails(&mut command, exit_code), code);
        assert!(!folder.path().join("m.sealed").exists(), "{code}");

        let kept = folder.path().join("model.key");
        assert_eq!(fails(command.arg("--model-key-file").arg(&kept), exit_code), code);
        assert!(
            folder.path().join("m.sealed").exists() && kept.exists(),
            "with a kept key, it can be registered later"
        );
    }
}

#[test]
fn what_is_wrong_with_the_connection_is_found_before_sealing() {
    let (folder, broker) = ready(Mood::Accepts);
    let path = folder.path();
    let fails_early = |command: &mut Command, exit_code, code: &str| {
        assert_eq!(fails(command, exit_code), code);
        assert!(!path.join("m.sealed").exists());
    };
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    fails_early(
        seal_at(path, &broker).env("ADYTON_BROKER", format!("https://127.0.0.1:{unused}")),
        1,
        "broker-unreachable",
    );
    // A CA that does not vouch for the broker; a certificate that the broker's CA did not issue.
    let elsewhere = tempfile::tempdir().unwrap();
    let _other = FakeBroker::start(elsewhere.path(), Mood::Accepts);
    fails_early(
        seal_at(path, &broker).env("ADYTON_CA", elsewhere.path().join("ca.pem")),
        1,
        "broker-unreachable",
    );
    let mut stranger = seal_at(path, &broker);
    stranger.env("ADYTON_CERT", elsewhere.path().join("owner.pem"));
    stranger.env("ADYTON_KEY", elsewhere.path().join("owner-tls.key"));
    fails_early(&mut stranger, 1, "broker-unreachable");
    let mismatched = elsewhere.path().join("owner.pem");
    fails_early(seal_at(path, &broker).env("ADYTON_CERT", mismatched), 1, "tls");
    fails_early(
        seal_at(path, &broker).env("ADYTON_CA", path.join("release.toml")),
        20,
        "malformed",
    );

    fs::write(path.join("other.toml"), "model_id = \"other\"").unwrap();
    fails_early(
        seal_at(path, &broker).env("ADYTON_POLICY", path.join("other.toml")),
        20,
        "policy",
    );
    let mut exposed = Command::new("chmod");
    assert!(
        exposed
            .arg("644")
            .arg(path.join("owner-tls.key"))
            .status()
            .unwrap()
            .success()
    );
    fails_early(&mut seal_at(path, &broker), 1, "key-exposed");
    assert!(broker.registered.lock().unwrap().is_empty());
}
