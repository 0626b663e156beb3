//! The broker's configuration: one TOML file, parsed once into types, unknown keys refused.
//!
//! No secret is in it: it names files that must be readable by the broker alone.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::error::BrokerError;

/// The configuration file. Relative paths are relative to the file's own folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where models, wraps and audit entries are kept.
    pub store: StoreConfig,
    /// The key under which model keys are wrapped.
    pub kek: KekConfig,
    /// The log of releases.
    pub audit: AuditConfig,
    /// Where enclaves come for keys.
    pub release: ReleaseConfig,
    /// Where model owners register.
    pub admin: AdminConfig,
    /// Where the operator looks.
    pub ops: OpsConfig,
}

/// The embedded store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// The SQLite file; made on the first start with mode 0600. Who can write it can destroy the log, but not
    /// change it unnoticed: the broker checks the whole of it at start.
    pub file: PathBuf,
    /// Bytes that the file may grow to (default 16 GiB, at least 1 MiB). A full store releases nothing.
    #[serde(default = "store_bytes_max")]
    pub bytes_max: u64,
}

/// The software key store: development grade, for a broker whose own disk is trusted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KekConfig {
    /// The key file, mode 0600; made on the first start. Who reads it and the store holds every model key.
    pub file: PathBuf,
    /// The name of the key in wraps (default `tenant`).
    #[serde(default = "kek_id")]
    pub id: String,
}

/// The audit log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The log's origin line in checkpoints, unique in the world, without spaces or `+`: `broker.example.org/adyton`.
    pub origin: String,
    /// Ed25519 key that signs checkpoints (PKCS#8 PEM), mode 0600; made on the first start. Who holds it can sign
    /// another history.
    pub log_key: PathBuf,
    /// Refusals recorded in any minute (default 600); further ones are counted in the metrics only, so that a
    /// stranger cannot fill the disk. Releases are always recorded.
    #[serde(default = "refusals_per_minute_max")]
    pub refusals_per_minute_max: u32,
}

/// The release listener and its bounds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseConfig {
    /// Address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// PEM certificate. Enclaves pin its SubjectPublicKeyInfo in their measured configuration.
    pub certificate: PathBuf,
    /// PEM private key of the certificate, mode 0600.
    pub private_key: PathBuf,
    /// Connections open at once (default 256, each with at most 1.1 MiB of request); further ones wait in the listen
    /// queue.
    #[serde(default = "connections_max")]
    pub connections_max: usize,
    /// Appraisals waiting or running at once (default 256); further requests are refused with `busy`.
    #[serde(default = "appraisals_max")]
    pub appraisals_max: usize,
    /// Seconds for each step of a connection: handshake, request, answer (default 10).
    #[serde(default = "step_seconds_max")]
    pub step_seconds_max: u64,
}

/// The admin listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// PEM certificate chain that owners verify.
    pub certificate: PathBuf,
    /// PEM private key of the certificate, mode 0600.
    pub private_key: PathBuf,
    /// PEM certificates of the admin CA. Who holds its key can make itself an owner.
    pub client_ca: PathBuf,
    /// Connections open at once (default 32).
    #[serde(default = "admin_connections_max")]
    pub connections_max: usize,
}

/// The operator's listener: plain HTTP without authentication.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsConfig {
    /// Address; must be a loopback address.
    pub listen: SocketAddr,
}

fn store_bytes_max() -> u64 {
    16 << 30
}
fn kek_id() -> String {
    "tenant".to_owned()
}
fn refusals_per_minute_max() -> u32 {
    600
}
fn connections_max() -> usize {
    256
}
fn appraisals_max() -> usize {
    256
}
fn step_seconds_max() -> u64 {
    10
}
fn admin_connections_max() -> usize {
    32
}

impl Config {
    /// Reads and checks the file; relative paths become relative to its folder.
    ///
    /// # Errors
    /// [`BrokerError::Config`] when the file cannot be read, has unknown or missing keys, or a value out of range.
    pub fn load(path: &Path) -> Result<Self, BrokerError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BrokerError::Config(format!("{}: {error}", path.display())))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, base)
            .map_err(|message| BrokerError::Config(format!("{}: {message}", path.display())))
    }

    fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check()?;
        for path in [
            &mut config.store.file,
            &mut config.kek.file,
            &mut config.audit.log_key,
            &mut config.release.certificate,
            &mut config.release.private_key,
            &mut config.admin.certificate,
            &mut config.admin.private_key,
            &mut config.admin.client_ca,
        ] {
            *path = base.join(&*path);
        }
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let at_least_one = [
            ("release.connections_max", self.release.connections_max as u64),
            ("release.appraisals_max", self.release.appraisals_max as u64),
            ("release.step_seconds_max", self.release.step_seconds_max),
            ("admin.connections_max", self.admin.connections_max as u64),
        ];
        if let Some((key, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{key} must be at least 1"));
        }
        if self.store.bytes_max < 1 << 20 {
            return Err("store.bytes_max must be at least 1048576".to_owned());
        }
        if !self.ops.listen.ip().is_loopback() {
            return Err("ops.listen must be a loopback address: it has no authentication".to_owned());
        }
        let name =
            |text: &str| !text.is_empty() && text.len() <= 128 && text.chars().all(|c| c.is_ascii_graphic());
        if !name(&self.audit.origin) || self.audit.origin.contains('+') {
            return Err(
                "audit.origin must be 1 to 128 printable ASCII characters without spaces or +".to_owned(),
            );
        }
        if !name(&self.kek.id) {
            return Err("kek.id must be 1 to 128 printable ASCII characters without spaces".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../broker.example.toml");

    #[test]
    fn the_sample_file_is_valid_and_paths_are_relative_to_it() {
        let config = Config::parse(SAMPLE, Path::new("/state")).expect("the sample is valid");
        assert_eq!(config.store.file, Path::new("/state/broker.sqlite"));
        assert_eq!(config.release.connections_max, 256);
        assert_eq!(config.kek.id, "tenant");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (from, to, word) in [
            ("[store]", "[store]\nurl = \"x\"", "url"),
            ("[release]", "[release]\nconnections_max = 0", "connections_max"),
            ("[release]", "[release]\nstep_seconds_max = 0", "step_seconds_max"),
            ("[release]", "[release]\nappraisals_max = 0", "appraisals_max"),
            ("[admin]", "[admin]\nconnections_max = 0", "connections_max"),
            ("[store]", "[store]\nbytes_max = 4096", "bytes_max"),
            ("127.0.0.1:7446", "0.0.0.0:7446", "loopback"),
            ("broker.example.org/adyton", "two words", "origin"),
            ("broker.example.org/adyton", "a+b", "origin"),
            ("[kek]", "[kek]\nid = \"\"", "kek.id"),
        ] {
            assert!(SAMPLE.contains(from), "{from}");
            let message = Config::parse(&SAMPLE.replace(from, to), Path::new("/")).expect_err(to);
            assert!(message.contains(word), "{to}: {message}");
        }
    }
}
