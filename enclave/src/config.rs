//! The measured configuration: one TOML file, parsed once into types, unknown keys refused.
//!
//! Its SHA-256 is part of the identity statement and, with the launch measurement, of what a client or broker
//! accepts: whoever trusts the enclave trusts these values. No secret is in it, and nothing is read from the
//! environment.

use std::path::{Path, PathBuf};

use attestation::DevicePolicy;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use wire::ids::ModelId;

use crate::error::{EnclaveError, Result};

/// Bound of the configuration file.
const CONFIG_BYTES_MAX: u64 = 64 * 1024;

/// A configuration together with the digest of the exact bytes it was parsed from.
pub struct MeasuredConfig {
    /// The parsed values.
    pub values: Config,
    /// SHA-256 of the file as read.
    pub digest: [u8; 32],
}

/// `enclave.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Public key, in hexadecimal, that signs the sealed model's manifest. Trusted to say which model this is.
    pub owner_key: String,
    /// Which HPKE suites the request keys offer.
    #[serde(default)]
    pub profile: Profile,
    /// How response sizes are masked.
    #[serde(default)]
    pub padding: Padding,
    /// Seconds that a request key is offered (default 3600, at least 2): the window of forward secrecy.
    #[serde(default = "default_key_epoch_seconds")]
    pub key_epoch_seconds: u32,
    /// Seconds for which the previous key still opens requests that were sealed before the change (default 60).
    #[serde(default = "default_key_grace_seconds")]
    pub key_grace_seconds: u32,
    /// Seconds that a request's inner `Date` may differ from the enclave's clock (default 120).
    #[serde(default = "default_date_window_seconds")]
    pub date_window_seconds: u32,
    /// Threads that open the model and compute (default: the cores available, at most 256).
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// The model that is served.
    pub model: ModelConfig,
    /// The broker that holds its key.
    pub broker: BrokerConfig,
    /// What is accepted of the GPUs that this enclave uses (default: it uses none). They are appraised before the
    /// broker is asked for the model's key, and their evidence travels in the enclave's own.
    #[serde(default)]
    pub devices: Option<DevicePolicy>,
    /// Bounds on what one request and all requests together may use.
    #[serde(default)]
    pub limits: Limits,
}

/// Which model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The identifier in the signed manifest, and the one that clients name.
    pub id: String,
    /// Absolute path of the sealed model's folder. The bytes there are ciphertext and are not trusted.
    pub path: PathBuf,
}

/// Which broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// SHA-256, in hexadecimal, of the broker's TLS SubjectPublicKeyInfo. Trusted to hand over the right model
    /// key and the token issuers; no other certificate is accepted and no certificate authority is asked.
    pub spki_sha256: String,
}

/// Bounds. Each refusal has its own stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of one opened request (default 4 MiB).
    pub request_bytes_max: usize,
    /// Bytes of text in one prompt, counted before it is tokenised (default 256 KiB).
    pub prompt_bytes_max: usize,
    /// Tokens of one prompt (default 4096).
    pub prompt_tokens_max: usize,
    /// Tokens of one completion, and the default when a request names none (default 1024).
    pub completion_tokens_max: usize,
    /// Requests that are computed at once (default 16). Three times as many wait; more are refused with a retry hint, and
    /// so is a tenant that would leave fewer places than it has.
    pub concurrent_requests_max: usize,
    /// Bytes of key-value cache of all requests together (default: half of the memory that is available once the model is
    /// loaded). A request begins when its worst case fits, and one that never would is refused.
    pub cache_bytes_max: Option<usize>,
    /// Tenants whose requests can reuse what their earlier ones computed, where they name a `prompt_cache_key` (default 8):
    /// the first so many that do. A quarter of the cache is theirs, in equal shares; 0 turns it off.
    pub prefix_cache_tenants: usize,
    /// Seconds that one request may take from its first byte to its last (default 300).
    pub request_seconds_max: u32,
}

/// HPKE suites offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// X-Wing, HKDF-SHA256, AES-256-GCM.
    #[default]
    Default,
    /// The suites whose primitives have validated implementations.
    Fips,
}

/// How response sizes are masked; `docs/` states the cost of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Sizes are visible.
    Off,
    /// Constant-size chunks, bucketed documents.
    #[default]
    Sized,
    /// Constant-size chunks at a constant cadence.
    Constant,
}

impl Limits {
    /// Requests that are computed or wait for it.
    pub(crate) fn places(&self) -> usize {
        self.concurrent_requests_max + self.waiting_requests_max()
    }

    /// Requests that wait. One tenant alone gets half of all places: no fewer than can be computed, and as many waiting.
    pub(crate) fn waiting_requests_max(&self) -> usize {
        3 * self.concurrent_requests_max
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 4 << 20,
            prompt_bytes_max: 256 << 10,
            prompt_tokens_max: 4096,
            completion_tokens_max: 1024,
            concurrent_requests_max: 16,
            cache_bytes_max: None,
            prefix_cache_tenants: 8,
            request_seconds_max: 300,
        }
    }
}

fn default_key_epoch_seconds() -> u32 {
    3600
}
fn default_key_grace_seconds() -> u32 {
    60
}
fn default_date_window_seconds() -> u32 {
    120
}
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |threads| threads.get().min(THREADS_MAX))
}

const THREADS_MAX: usize = 256;

impl MeasuredConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// [`EnclaveError::Config`] when it cannot be read, is over 64 KiB, or does not parse.
    pub fn read(path: &Path) -> Result<Self> {
        use std::io::Read;
        let fault = |error: std::io::Error| EnclaveError::Config(format!("cannot be read: {}", error.kind()));
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .map_err(fault)?
            .take(CONFIG_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(fault)?;
        if bytes.len() as u64 > CONFIG_BYTES_MAX {
            return Err(EnclaveError::Config(format!("over {CONFIG_BYTES_MAX} bytes")));
        }
        Self::parse(&bytes)
    }

    /// Parses and checks; the digest is over `bytes` as given.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| EnclaveError::Config("not UTF-8".to_owned()))?;
        let values: Config =
            toml::from_str(text).map_err(|error| EnclaveError::Config(error.message().to_owned()))?;
        values.check().map_err(EnclaveError::Config)?;
        Ok(Self {
            values,
            digest: Sha256::digest(bytes).into(),
        })
    }
}

impl Config {
    /// The model's identifier as messages carry it.
    pub fn model_id(&self) -> ModelId {
        ModelId::new(&self.model.id).expect("checked when it was parsed")
    }

    /// The broker's pinned SPKI digest.
    pub fn broker_spki_sha256(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        hex::decode_to_slice(&self.broker.spki_sha256, &mut digest).expect("checked when it was parsed");
        digest
    }

    fn check(&self) -> core::result::Result<(), String> {
        if ModelId::new(&self.model.id).is_err() {
            return Err("model.id must be 1 to 128 characters of letters, digits and . _ - / :".to_owned());
        }
        if !self.model.path.is_absolute() {
            return Err("model.path must be absolute".to_owned());
        }
        if hex::decode_to_slice(&self.broker.spki_sha256, &mut [0; 32]).is_err() {
            return Err("broker.spki_sha256 must be 64 hexadecimal digits".to_owned());
        }
        let limits = &self.limits;
        for (key, value, min, max) in [
            (
                "key_epoch_seconds",
                u64::from(self.key_epoch_seconds),
                2,
                30 * 24 * 3600,
            ),
            ("key_grace_seconds", u64::from(self.key_grace_seconds), 1, 3600),
            (
                "date_window_seconds",
                u64::from(self.date_window_seconds),
                1,
                3600,
            ),
            ("threads", self.threads as u64, 1, THREADS_MAX as u64),
            (
                "limits.request_bytes_max",
                limits.request_bytes_max as u64,
                1,
                REQUEST_BYTES_MAX,
            ),
            (
                "limits.prompt_bytes_max",
                limits.prompt_bytes_max as u64,
                1,
                REQUEST_BYTES_MAX,
            ),
            (
                "limits.prompt_tokens_max",
                limits.prompt_tokens_max as u64,
                1,
                1 << 20,
            ),
            (
                "limits.completion_tokens_max",
                limits.completion_tokens_max as u64,
                1,
                1 << 20,
            ),
            (
                "limits.concurrent_requests_max",
                limits.concurrent_requests_max as u64,
                1,
                4096,
            ),
            (
                "limits.cache_bytes_max",
                limits.cache_bytes_max.unwrap_or(CACHE_BYTES_MIN) as u64,
                CACHE_BYTES_MIN as u64,
                1 << 50,
            ),
            (
                "limits.prefix_cache_tenants",
                limits.prefix_cache_tenants as u64,
                0,
                1024,
            ),
            (
                "limits.request_seconds_max",
                u64::from(limits.request_seconds_max),
                1,
                24 * 3600,
            ),
        ] {
            if !(min..=max).contains(&value) {
                return Err(format!("{key} must be from {min} to {max}"));
            }
        }
        if self.key_grace_seconds > self.key_epoch_seconds {
            return Err("key_grace_seconds must not be over key_epoch_seconds".to_owned());
        }
        Ok(())
    }
}

impl From<Profile> for sealing::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Default => Self::Default,
            Profile::Fips => Self::Fips,
        }
    }
}

impl From<Padding> for exchange::Padding {
    fn from(padding: Padding) -> Self {
        match padding {
            Padding::Off => Self::Off,
            Padding::Sized => Self::Sized,
            Padding::Constant => Self::Constant,
        }
    }
}

/// Less does not hold a request of any model that is worth serving.
const CACHE_BYTES_MIN: usize = 1 << 20;

/// No opened request can be longer than the encapsulated one.
const REQUEST_BYTES_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
        owner_key = "aa"
        [model]
        id = "sample"
        path = "/models/sample.sealed"
        [broker]
        spki_sha256 = "0101010101010101010101010101010101010101010101010101010101010101"
    "#;

    fn refusal(text: &str) -> String {
        match MeasuredConfig::parse(text.as_bytes()) {
            Err(EnclaveError::Config(message)) => message,
            Err(other) => panic!("another error: {}", other.code()),
            Ok(_) => panic!("accepted"),
        }
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = MeasuredConfig::parse(SAMPLE.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.digest, <[u8; 32]>::from(Sha256::digest(SAMPLE)));
        assert_eq!(config.values.key_epoch_seconds, 3600);
        assert_eq!(config.values.padding, Padding::Sized);
        assert_eq!(config.values.limits, Limits::default());
        assert_eq!(config.values.broker_spki_sha256(), [1; 32]);
    }

    #[test]
    fn unknown_keys_are_refused_at_every_level() {
        assert!(refusal(&format!("debug = true\n{SAMPLE}")).contains("unknown field"));
        assert!(refusal(&format!("{SAMPLE}\naddress = \"10.0.0.1\"")).contains("unknown field"));
        assert!(refusal(&format!("{SAMPLE}\n[limits]\nunlimited = true")).contains("unknown field"));
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for (line, word) in [
            ("key_epoch_seconds = 0", "key_epoch_seconds"),
            (
                "key_epoch_seconds = 10\nkey_grace_seconds = 11",
                "key_grace_seconds",
            ),
            ("date_window_seconds = 4000", "date_window_seconds"),
            ("threads = 0", "threads"),
            ("padding = \"none\"", "unknown variant"),
            ("profile = \"weak\"", "unknown variant"),
        ] {
            let message = refusal(&format!("{line}\n{SAMPLE}"));
            assert!(message.contains(word), "{line}: {message}");
        }
        assert!(refusal(&SAMPLE.replace("/models/", "models/")).contains("absolute"));
        assert!(refusal(&SAMPLE.replace("0101", "01")).contains("spki"));
        assert!(refusal(&SAMPLE.replace("\"sample\"", "\"sam\\nple\"")).contains("model.id"));
        assert!(
            refusal(&format!("{SAMPLE}\n[limits]\nrequest_seconds_max = 0")).contains("request_seconds_max")
        );
    }

    #[test]
    fn a_changed_byte_changes_the_digest() {
        let one = MeasuredConfig::parse(SAMPLE.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let other = format!("{SAMPLE} ");
        let other = MeasuredConfig::parse(other.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        assert_ne!(one.digest, other.digest);
    }
}
