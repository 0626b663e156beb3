//! A model's release policy: which enclaves get its key, and what they get with it. One TOML text per model, written by
//! the owner and registered with the key; its SHA-256 is in every record and in the sealed registration.
//!
//! ```toml
//! model_id = "sample"
//! lease_seconds = 86400                 # the enclave asks again before the lease ends
//! [tokens]
//! issuers = ["<64 hex digits>"]         # Ed25519 keys whose API tokens the enclave takes
//! [appraisal]                           # an appraisal policy of the attestation crate, whole
//! ```

use attestation::{AppraisalPolicy, Verifier};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use wire::{ids::ModelId, limits};

use crate::error::{BrokerError, Result};

/// A policy text is a page; certificates of simulated roots make it several.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
const LEASE_SECONDS_MIN: u32 = 60;
const LEASE_SECONDS_MAX: u32 = 30 * 24 * 3600;

/// A release policy that was read in full.
pub struct ReleasePolicy {
    model_id: ModelId,
    lease_seconds: u32,
    token_issuers: Vec<[u8; 32]>,
    verifier: Verifier,
    text: String,
    digest: [u8; 32],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    model_id: String,
    lease_seconds: u32,
    tokens: Tokens,
    appraisal: AppraisalPolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    issuers: Vec<String>,
}

impl ReleasePolicy {
    /// Reads a policy; unknown keys are refused and no key is optional.
    ///
    /// # Errors
    /// [`BrokerError::Policy`] with what is wrong. The text came from an authenticated owner, so it may be quoted.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |message: String| BrokerError::Policy(message);
        if text.len() > POLICY_BYTES_MAX {
            return Err(refused(format!("longer than {POLICY_BYTES_MAX} bytes")));
        }
        let file: PolicyFile = toml::from_str(text).map_err(|error| refused(error.to_string()))?;
        let model_id = ModelId::new(&file.model_id).map_err(|error| refused(format!("model_id: {error}")))?;
        if !(LEASE_SECONDS_MIN..=LEASE_SECONDS_MAX).contains(&file.lease_seconds) {
            return Err(refused(format!(
                "lease_seconds must be {LEASE_SECONDS_MIN} to {LEASE_SECONDS_MAX}"
            )));
        }
        let token_issuers = issuers(&file.tokens.issuers).map_err(refused)?;
        Ok(Self {
            model_id,
            lease_seconds: file.lease_seconds,
            token_issuers,
            verifier: Verifier::new(file.appraisal),
            text: text.to_owned(),
            digest: digest(text),
        })
    }

    /// The model that the policy is for.
    pub fn model_id(&self) -> &ModelId {
        &self.model_id
    }

    /// How long a released key may be used before it must be asked for again.
    pub fn lease_seconds(&self) -> u32 {
        self.lease_seconds
    }

    /// Ed25519 public keys of the issuers whose API tokens the enclave takes.
    pub fn token_issuers(&self) -> &[[u8; 32]] {
        &self.token_issuers
    }

    /// The verifier under this policy.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The exact text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// SHA-256 of a policy text, as records and registrations cite it.
pub fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn issuers(texts: &[String]) -> core::result::Result<Vec<[u8; 32]>, String> {
    if texts.is_empty() || texts.len() > limits::TOKEN_ISSUERS_MAX {
        return Err(format!(
            "tokens.issuers must name 1 to {} keys",
            limits::TOKEN_ISSUERS_MAX
        ));
    }
    let mut keys = Vec::new();
    for text in texts {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key)
            .map_err(|_| "tokens.issuers: a key is 64 hexadecimal digits".to_owned())?;
        ed25519_dalek::VerifyingKey::from_bytes(&key)
            .map_err(|_| "tokens.issuers: not an Ed25519 public key".to_owned())?;
        if keys.contains(&key) {
            return Err("tokens.issuers: a key is named twice".to_owned());
        }
        keys.push(key);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::issuers;

    const BASE_POINT: &str = "5866666666666666666666666666666666666666666666666666666666666666";

    #[test]
    fn issuers_are_distinct_ed25519_keys_and_at_least_one() {
        assert_eq!(issuers(&[BASE_POINT.to_owned()]).map(|keys| keys.len()), Ok(1));
        assert!(issuers(&[]).is_err());
        assert!(issuers(&[BASE_POINT.to_owned(), BASE_POINT.to_owned()]).is_err());
        assert!(issuers(&["58".to_owned()]).is_err());
        assert!(issuers(&["zz".repeat(32)]).is_err());
        // y = 2 is not on the curve.
        assert!(issuers(&[format!("02{}", "00".repeat(31))]).is_err());
        assert!(issuers(&vec![BASE_POINT.to_owned(); 17]).is_err());
    }
}
