//! A store or key file that somebody changed: the broker does not start, and says why.

use std::{fs, os::unix::fs::PermissionsExt};

use broker::{log::Log, service::Broker};
use simulated::Flavor;
use sqlx::{Connection, SqliteConnection};

use crate::support::{Deployment, MODEL, Options, released};

/// A stopped deployment with one model and three releases.
async fn deployment() -> Deployment {
    let deployment = Deployment::new(Options::default());
    let (broker, _owner, enclave) = deployment.start_with_model(Flavor::Snp).await;
    for _ in 0..3 {
        let _ = released(enclave.ask(broker.addresses().release).await);
    }
    broker.stop().await;
    deployment
}

async fn code(deployment: &Deployment) -> Option<&'static str> {
    match Broker::start(&deployment.config(), Log::discard()).await {
        Ok(broker) => {
            broker.stop().await;
            None
        }
        Err(error) => Some(error.code()),
    }
}

async fn execute(deployment: &Deployment, statement: &'static str) {
    let url = format!("sqlite://{}", deployment.path("broker.sqlite").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("opens");
    sqlx::raw_sql(statement)
        .execute(&mut connection)
        .await
        .expect("changes the store");
    connection.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_store_is_refused_at_start() {
    let original = deployment().await;
    assert_eq!(code(&original).await, None);
    let cases: [(&'static str, &'static str); 14] = [
        ("DELETE FROM audit_entry WHERE entry_index = 3", "entries-missing"),
        ("DELETE FROM audit_entry WHERE entry_index = 1", "entries-missing"),
        ("DELETE FROM audit_entry", "entries-missing"),
        ("INSERT INTO audit_entry VALUES (4, x'7b7d')", "entries-added"),
        (
            "UPDATE audit_entry SET entry = x'7b7d' WHERE entry_index = 2",
            "root-mismatch",
        ),
        (
            "UPDATE audit_entry SET entry = CAST(replace(CAST(entry AS TEXT), 'SIMULATED', 'hardware') AS BLOB)",
            "root-mismatch",
        ),
        ("DELETE FROM audit_checkpoint", "entries-added"),
        (
            "UPDATE audit_checkpoint SET note = replace(note, 'broker.test', 'broken.test')",
            "other-log",
        ),
        (
            "UPDATE audit_checkpoint SET note = replace(note, char(10) || '4' || char(10), char(10) || '3' || char(10))",
            "checkpoint-signature",
        ),
        ("UPDATE model SET version = 0", "registration-damaged"),
        (
            "UPDATE model SET policy = policy || char(10)",
            "registration-damaged",
        ),
        (
            "UPDATE model SET manifest_digest = zeroblob(32)",
            "registration-damaged",
        ),
        (
            "UPDATE model SET wrap = replace(wrap, 'tenant', 'other')",
            "registration-damaged",
        ),
        ("DELETE FROM model", "log-damaged"),
    ];
    for (statement, expected) in cases {
        let copy = copy(&original);
        execute(&copy, statement).await;
        assert_eq!(code(&copy).await, Some(expected), "{statement}");
    }
    assert_eq!(code(&original).await, None, "{MODEL}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_exposed_and_foreign_keys_are_refused_at_start() {
    let original = deployment().await;
    type Change = fn(&std::path::Path);
    let changes: [(&str, Change, &str); 7] = [
        (
            "kek.key",
            |path| fs::remove_file(path).expect("removes"),
            "key-missing",
        ),
        (
            "log.key",
            |path| fs::remove_file(path).expect("removes"),
            "key-missing",
        ),
        ("kek.key", |path| mode(path, 0o640), "key-exposed"),
        ("log.key", |path| mode(path, 0o604), "key-exposed"),
        ("broker.key", |path| mode(path, 0o644), "key-exposed"),
        (
            "kek.key",
            |path| fs::write(path, "adyton-tenant-kek-v1 1 AAAA\n").expect("writes"),
            "key-malformed",
        ),
        (
            "log.key",
            |path| fs::write(path, "not a key").expect("writes"),
            "key-malformed",
        ),
    ];
    for (name, change, expected) in changes {
        let copy = copy(&original);
        change(&copy.path(name));
        assert_eq!(code(&copy).await, Some(expected), "{name}");
    }
    // A new log key did not sign this log.
    let copy = copy(&original);
    fs::copy(
        Deployment::new(Options::default())
            .started_once()
            .await
            .path("log.key"),
        copy.path("log.key"),
    )
    .expect("copies");
    assert_eq!(code(&copy).await, Some("checkpoint-signature"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_start_makes_is_readable_by_its_owner_only() {
    let deployment = deployment().await;
    for name in ["broker.sqlite", "kek.key", "log.key", "broker.sqlite.lock"] {
        let mode = fs::metadata(deployment.path(name))
            .expect("exists")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // No file holds the model key as it is.
    for entry in fs::read_dir(deployment.folder.path()).expect("reads") {
        let bytes = fs::read(entry.expect("reads").path()).expect("reads");
        assert!(
            !bytes
                .windows(16)
                .any(|window| window == &crate::support::MODEL_KEY[..16])
        );
    }
}

fn mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("sets");
}

fn copy(original: &Deployment) -> Deployment {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(original.folder.path()).expect("reads") {
        let path = entry.expect("reads").path();
        fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copies");
    }
    Deployment {
        folder,
        owner: original.owner.clone(),
        host: original.host.clone(),
        stranger: original.stranger.clone(),
    }
}
