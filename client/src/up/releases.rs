//! Keeps what an auditor needs beside the deployment: the broker's log of releases and the keys that sign the logs.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use super::state::StateDir;
use crate::{
    broker::BrokerAdmin,
    error::ClientError,
    private_file::{self, PUBLIC_MODE},
    transparency::LogKey,
    transport::ClientIdentity,
};

/// How long the broker may take to hand over its log.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The broker's log, one line an entry.
const RELEASES: &str = "audit/releases.jsonl";
/// Keys that sign logs, one a line.
const KEYS: &str = "audit/keys.txt";

/// Where the broker's owner reaches it.
#[derive(Clone)]
pub struct AdminAddress {
    /// The admin listener.
    pub url: String,
    /// Who vouches for its TLS.
    pub ca: PathBuf,
    /// The owner's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
}

/// Writes the broker's log as it stands now.
pub async fn export(state: &StateDir, admin: &AdminAddress) -> Result<(), ClientError> {
    let identity = ClientIdentity {
        certificate: &admin.certificate,
        private_key: &admin.private_key,
    };
    let broker = BrokerAdmin::connect(&admin.url, Some(&admin.ca), Some(identity), TIMEOUT)?;
    let log = broker.audit_log().await?;
    let mut text = String::new();
    for (index, entry) in log.entries.iter().enumerate() {
        let entry: serde_json::Value = serde_json::from_slice(entry.as_bytes()).expect("an entry is JSON");
        let last = index + 1 == log.entries.len();
        let line = json!({ "kind": "audit", "index": index, "entry": entry, "checkpoint": last.then_some(&log.checkpoint) });
        text.push_str(&line.to_string());
        text.push('\n');
    }
    private_file::write(&state.path(RELEASES), text.as_bytes(), PUBLIC_MODE)?;
    remember_key(&keys_file(state), &LogKey::parse(&log.public_key)?)
}

/// Remembers a key that signs a log of this deployment.
pub fn remember_key(keys: &Path, key: &LogKey) -> Result<(), ClientError> {
    let Some(vkey) = key.to_vkey() else { return Ok(()) };
    let path = keys.to_owned();
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    if known.lines().any(|line| line == vkey) {
        return Ok(());
    }
    let appended = std::fs::OpenOptions::new().append(true).create(true).open(&path);
    let appended = appended.and_then(|mut file| writeln!(file, "{vkey}").and_then(|()| file.sync_all()));
    appended.map_err(|source| ClientError::Write { path, source })
}

/// Where [`remember_key`] writes.
pub fn keys_file(state: &StateDir) -> PathBuf {
    state.path(KEYS)
}
