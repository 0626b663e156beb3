//! Fetches evidence and reads policies: everything that appraisal needs and does not do itself.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use attestation::{AppraisalPolicy, Bundle, Nonce, UnixTime, Verifier};

use crate::{cli::Deployment, error::ClientError, layers, private_file, transport::Transport};

/// Policy files above this are refused (bytes).
const POLICY_BYTES_MAX: u64 = 1 << 20;

/// A policy and where it came from.
pub struct NamedPolicy {
    /// The file.
    pub path: PathBuf,
    /// What it accepts.
    pub policy: AppraisalPolicy,
}

/// A bundle with the nonce that it has to answer.
pub struct Fetched {
    /// What was sent to the host.
    pub nonce: Nonce,
    /// The bytes that came back.
    pub bytes: Vec<u8>,
    /// The same, taken apart; nothing of it is checked.
    pub bundle: Bundle,
}

/// The policy at `path`, else the one beside the default configuration file. There is no built-in policy: which code
/// to trust is for the Relying Party to say.
pub fn policy(path: Option<&Path>) -> Result<NamedPolicy, ClientError> {
    let beside_config = || layers::default_path().map(|config| config.with_file_name("policy.toml"));
    let path = match path {
        Some(path) => path.to_owned(),
        None => beside_config()
            .filter(|path| path.exists())
            .ok_or(ClientError::PolicyMissing)?,
    };
    let text = private_file::read_text(&path, POLICY_BYTES_MAX)?;
    match AppraisalPolicy::from_toml(&text) {
        Ok(policy) => Ok(NamedPolicy { path, policy }),
        Err(source) => Err(ClientError::Policy { path, source }),
    }
}

/// A connection to the deployment's host.
pub fn transport(deployment: &Deployment, url: Option<&str>) -> Result<Transport, ClientError> {
    let url = url.or(deployment.url.as_deref());
    let url = url.ok_or_else(|| ClientError::Usage("name the host with --url".to_owned()))?;
    Transport::new(
        url,
        deployment.ca.as_deref(),
        None,
        Duration::from_secs(deployment.timeout_seconds),
    )
}

/// The verifier of the deployment's policy.
pub fn verifier(deployment: &Deployment) -> Result<Verifier, ClientError> {
    Ok(Verifier::new(policy(deployment.policy.as_deref())?.policy))
}

/// Asks the host for evidence over a nonce of our own, used once.
pub async fn fetch(transport: &Transport) -> Result<Fetched, ClientError> {
    let mut bytes = [0; Nonce::BYTES];
    getrandom::fill(&mut bytes).map_err(|_| ClientError::State("the system has no randomness".to_owned()))?;
    let nonce = Nonce::from_bytes(bytes);
    let bytes = transport.evidence(&nonce).await?.to_vec();
    let bundle = Bundle::decode(&bytes)?;
    Ok(Fetched { nonce, bytes, bundle })
}

/// The moment that verdicts are about when nobody says another.
pub fn now() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime::from_seconds(since.as_secs())
}

/// A moment on the command line: `2026-11-24T03:09:00Z` or seconds since 1970.
pub fn parse_time(text: &str) -> Result<UnixTime, ClientError> {
    text.parse::<u64>()
        .ok()
        .map(UnixTime::from_seconds)
        .or_else(|| UnixTime::parse_rfc3339(text))
        .ok_or_else(|| ClientError::Usage(format!("`{text}` is not a time; write 2026-11-24T03:09:00Z")))
}

/// 64 hex digits.
pub fn parse_32_bytes(what: &str, text: &str) -> Result<[u8; 32], ClientError> {
    hex::decode(text.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| ClientError::Usage(format!("{what} must be 64 hex digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc3339_or_seconds() {
        let expected = UnixTime::from_seconds(1_795_489_740);
        assert_eq!(parse_time("2026-11-24T03:09:00Z").expect("a time"), expected);
        assert_eq!(parse_time("1795489740").expect("a time"), expected);
        for wrong in ["", "yesterday", "2026-11-24", "-1"] {
            assert_eq!(parse_time(wrong).expect_err("no time").code(), "usage", "{wrong}");
        }
    }

    #[test]
    fn hex_of_another_length_is_refused() {
        assert_eq!(
            parse_32_bytes("nonce", &"ab".repeat(32)).expect("32 bytes"),
            [0xab; 32]
        );
        for wrong in ["", "ab", &"ab".repeat(33), &"zz".repeat(32)] {
            assert!(parse_32_bytes("nonce", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn there_is_no_policy_without_a_file() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let error = policy(Some(&dir.path().join("none.toml")))
            .err()
            .expect("no file");
        assert_eq!(error.code(), "file-unreadable");
    }
}
