//! The host's configuration: one TOML file, parsed once, unknown keys refused.
//!
//! Nothing in it is trusted by anybody: the enclave measures its own configuration, and a client or broker
//! believes evidence only. A wrong value here costs availability, never secrecy.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    confidential_vm::config::ConfidentialVmConfig, error::HostError, remote::config::RemoteConfig,
    simulated_vm::config::SimulatedVmConfig,
};

/// The host's configuration file. Relative paths are relative to the file's own folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients reach the relay.
    pub relay: RelayConfig,
    /// Where the operator reaches health and metrics.
    pub ops: OpsConfig,
    /// Where the enclave's broker connections are piped to.
    pub broker: BrokerConfig,
    /// The sockets between host and enclave.
    pub channel: ChannelConfig,
    /// What `--tee simulated` launches.
    #[serde(default)]
    pub enclave: Option<EnclaveConfig>,
    /// What `--tee snp` and `--tee tdx` launch.
    #[serde(default)]
    pub confidential_vm: Option<ConfidentialVmConfig>,
    /// What `--tee simulated-vm` launches.
    #[serde(default)]
    pub simulated_vm: Option<SimulatedVmConfig>,
    /// What `--tee remote` relays to.
    #[serde(default)]
    pub remote: Option<RemoteConfig>,
    /// The cache of vendor endorsements.
    pub endorsements: EndorsementsConfig,
    /// What the enclave lets out: allow-listed log lines and content-free audit records.
    pub log: LogConfig,
}

/// The relay's listener and bounds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayConfig {
    /// Address of the TLS 1.3 listener; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// PEM certificate chain. Clients trust it for transport only: prompts are sealed to the enclave.
    pub certificate: PathBuf,
    /// PEM private key of the certificate.
    pub private_key: PathBuf,
    /// Connections open at once; further ones wait in the listen queue.
    #[serde(default = "connections_max")]
    pub connections_max: usize,
    /// Requests inside the enclave at once; further ones get 429 with Retry-After.
    #[serde(default = "requests_max")]
    pub requests_max: usize,
    /// Seconds without a byte from the enclave after which a response is cut.
    #[serde(default = "idle_seconds_max")]
    pub idle_seconds_max: u64,
}

/// The operator's listener: plain HTTP, meant for loopback.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsConfig {
    /// Address of `/healthz`, `/readyz` and `/metrics`.
    pub listen: SocketAddr,
}

/// The broker's release listener. TLS ends in the enclave: the host pipes bytes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// `host:port` of the broker's release listener.
    pub address: String,
}

/// The host channel in process mode.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// Folder of `enclave.sock` (the enclave listens) and `host.sock` (the host listens).
    pub directory: PathBuf,
}

/// The enclave process of `--tee simulated`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnclaveConfig {
    /// The enclave binary that is launched and measured.
    pub binary: PathBuf,
    /// The enclave's configuration file, measured with the binary.
    pub config: PathBuf,
    /// Folder of the simulated platform's keys (`adyton-enclave-simulated manufacture`).
    pub platform: PathBuf,
    /// Which vendor's evidence format the simulated platform speaks.
    pub flavor: Flavor,
    /// Seconds from launch to the enclave's first answer before it is taken for dead.
    #[serde(default = "start_seconds_max")]
    pub start_seconds_max: u64,
}

/// Vendor format of simulated evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// AMD SEV-SNP reports.
    Snp,
    /// Intel TDX quotes.
    Tdx,
}

impl Flavor {
    /// The value on the enclave's command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snp => "snp",
            Self::Tdx => "tdx",
        }
    }
}

/// The endorsement cache: files named by subject. Everybody verifies what it serves.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndorsementsConfig {
    /// Folder of the cache.
    pub directory: PathBuf,
}

/// Where lines from the enclave are kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Folder of `enclave.jsonl` (allow-listed log lines) and `enclave.stderr`.
    pub directory: PathBuf,
    /// Folder of `requests.jsonl`, the enclave's audit records.
    pub audit_directory: PathBuf,
    /// Bytes after which `enclave.jsonl` is rotated once to `enclave.jsonl.1`. Audit records are never dropped.
    #[serde(default = "log_bytes_max")]
    pub log_bytes_max: u64,
}

fn connections_max() -> usize {
    1024
}
fn requests_max() -> usize {
    256
}
fn idle_seconds_max() -> u64 {
    120
}
fn start_seconds_max() -> u64 {
    60
}
fn log_bytes_max() -> u64 {
    16 << 20
}

impl Config {
    /// Reads and checks the file; relative paths become relative to its folder.
    ///
    /// # Errors
    /// [`HostError::Config`] when the file cannot be read, has unknown or missing keys, or a bound of zero.
    pub fn load(path: &Path) -> Result<Self, HostError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| HostError::Config(format!("{}: {error}", path.display())))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, base)
            .map_err(|message| HostError::Config(format!("{}: {message}", path.display())))
    }

    fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (key, bound) in [
            ("relay.connections_max", config.relay.connections_max as u64),
            ("relay.requests_max", config.relay.requests_max as u64),
            ("relay.idle_seconds_max", config.relay.idle_seconds_max),
            (
                "enclave.start_seconds_max",
                config
                    .enclave
                    .as_ref()
                    .map_or(1, |enclave| enclave.start_seconds_max),
            ),
            ("log.log_bytes_max", config.log.log_bytes_max),
        ] {
            if bound == 0 {
                return Err(format!("{key} must be at least 1"));
            }
        }
        for path in [
            &mut config.relay.certificate,
            &mut config.relay.private_key,
            &mut config.channel.directory,
            &mut config.endorsements.directory,
            &mut config.log.directory,
            &mut config.log.audit_directory,
        ] {
            *path = base.join(&*path);
        }
        if let Some(enclave) = &mut config.enclave {
            for path in [&mut enclave.binary, &mut enclave.config, &mut enclave.platform] {
                *path = base.join(&*path);
            }
        }
        if let Some(machine) = &mut config.confidential_vm {
            machine.settle(base)?;
        }
        if let Some(machine) = &mut config.simulated_vm {
            machine.settle(base)?;
        }
        if let Some(remote) = &config.remote {
            remote.check()?;
        }
        Ok(config)
    }

    /// The guest of `--tee remote`.
    ///
    /// # Errors
    /// [`HostError::Config`] when the table is missing.
    pub fn remote(&self) -> Result<&RemoteConfig, HostError> {
        self.remote
            .as_ref()
            .ok_or_else(|| HostError::Config("the table remote is missing".to_owned()))
    }

    /// The enclave of `--tee simulated`.
    ///
    /// # Errors
    /// [`HostError::Config`] when the table is missing.
    pub fn enclave(&self) -> Result<&EnclaveConfig, HostError> {
        self.enclave
            .as_ref()
            .ok_or_else(|| HostError::Config("the table enclave is missing".to_owned()))
    }

    /// The machine of `--tee simulated-vm`.
    ///
    /// # Errors
    /// [`HostError::Config`] when the table is missing.
    pub fn simulated_vm(&self) -> Result<&SimulatedVmConfig, HostError> {
        self.simulated_vm
            .as_ref()
            .ok_or_else(|| HostError::Config("the table simulated_vm is missing".to_owned()))
    }

    /// The machine of `--tee snp` and `--tee tdx`.
    ///
    /// # Errors
    /// [`HostError::Config`] when the table is missing.
    pub fn confidential_vm(&self) -> Result<&ConfidentialVmConfig, HostError> {
        self.confidential_vm
            .as_ref()
            .ok_or_else(|| HostError::Config("the table confidential_vm is missing".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
        [relay]
        listen = "127.0.0.1:0"
        certificate = "pki/host.pem"
        private_key = "pki/host.key"
        [ops]
        listen = "127.0.0.1:0"
        [broker]
        address = "127.0.0.1:7443"
        [channel]
        directory = "channel"
        [enclave]
        binary = "/opt/adyton/adyton-enclave-simulated"
        config = "config/enclave.toml"
        platform = "platform"
        flavor = "tdx"
        [endorsements]
        directory = "endorsements"
        [log]
        directory = "log"
        audit_directory = "audit"
    "#;

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = Config::parse(SAMPLE, Path::new("/state")).expect("the sample is valid");
        assert_eq!(config.channel.directory, Path::new("/state/channel"));
        let enclave = config.enclave().expect("the table is there");
        assert_eq!(enclave.binary, Path::new("/opt/adyton/adyton-enclave-simulated"));
        assert_eq!(enclave.config, Path::new("/state/config/enclave.toml"));
        assert_eq!(enclave.flavor, Flavor::Tdx);
        assert!(config.confidential_vm().is_err());
        assert_eq!(config.relay.requests_max, 256);
    }

    #[test]
    fn unknown_keys_and_zero_bounds_are_refused() {
        let unknown = SAMPLE.replace("[broker]", "[broker]\nproxy = \"x\"");
        assert!(Config::parse(&unknown, Path::new("/")).is_err());
        let zero = SAMPLE.replace("[ops]", "requests_max = 0\n[ops]");
        assert!(
            Config::parse(&zero, Path::new("/"))
                .expect_err("zero")
                .contains("requests_max")
        );
    }
}
