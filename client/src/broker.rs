//! What an auditor asks a broker: its log.

use std::{path::Path, time::Duration};

use audit::Entry;
use serde_json::Value;

use crate::{
    error::ClientError,
    transport::{ClientIdentity, Transport},
};

/// One page of entries (bytes).
const PAGE_BYTES_MAX: usize = 64 << 20;
/// Pages in one export.
const PAGES_MAX: usize = 100_000;

/// A broker's admin listener.
pub struct BrokerAdmin {
    transport: Transport,
}

/// A whole log, not checked yet.
pub struct ExportedLog {
    /// The entries, from the first.
    pub entries: Vec<Entry>,
    /// The signed head that covers them.
    pub checkpoint: String,
    /// The log's public key as the broker names it: as good as the TLS that it came over.
    pub public_key: String,
}

impl BrokerAdmin {
    /// Prepares connections to `url`.
    pub fn connect(
        url: &str,
        ca: Option<&Path>,
        identity: Option<ClientIdentity<'_>>,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            transport: Transport::new(url, ca, identity, timeout)?,
        })
    }

    /// The checkpoint first, then as many entries as it counts: what is added meanwhile is left for the next time.
    pub async fn audit_log(&self) -> Result<ExportedLog, ClientError> {
        let malformed = |problem: String| ClientError::Malformed {
            what: "the broker's audit log",
            problem,
        };
        let head = self.get("/v1/audit/checkpoint").await?;
        let text = |key: &str| {
            head[key]
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| malformed(format!("no {key}")))
        };
        let (checkpoint, public_key) = (text("checkpoint")?, text("public_key")?);
        let size: usize = checkpoint
            .lines()
            .nth(1)
            .and_then(|line| line.parse().ok())
            .ok_or_else(|| malformed("the checkpoint has no size".to_owned()))?;
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..PAGES_MAX {
            if entries.len() >= size {
                break;
            }
            let page = self
                .get(&format!("/v1/audit/entries?from={}", entries.len()))
                .await?;
            let list = page["entries"].as_array().filter(|list| !list.is_empty());
            for entry in list.ok_or_else(|| malformed(format!("it ends after {} entries", entries.len())))? {
                let text = entry.as_str().unwrap_or_default();
                entries.push(Entry::parse(text.as_bytes()).map_err(|error| malformed(error.to_string()))?);
            }
        }
        entries.truncate(size);
        Ok(ExportedLog {
            entries,
            checkpoint,
            public_key,
        })
    }

    async fn get(&self, path: &str) -> Result<Value, ClientError> {
        let bytes = self.transport.get(path, PAGE_BYTES_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Malformed {
            what: "the broker's answer",
            problem: error.to_string(),
        })
    }
}
