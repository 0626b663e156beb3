//! The two policies of a local deployment: what clients accept, and to whom the broker releases the model key.
//!
//! Both accept one simulated platform, one launch measurement, one configuration and one sealed model.

use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::error::ClientError;

/// How long a client relies on evidence before it asks for more (seconds).
const EVIDENCE_AGE_SECONDS_MAX: i64 = 900;
/// How old the simulated manufacturer's documents may be (seconds).
const COLLATERAL_AGE_SECONDS_MAX: i64 = 30 * 24 * 3600;
/// How long a released key may be used (seconds).
const LEASE_SECONDS: i64 = 24 * 3600;

/// What both policies name.
pub struct Accepted<'a> {
    /// `[danger.simulated.…]`: the simulated root and the launch measurement, as the platform prints it.
    pub platform_fragment: &'a str,
    /// The measured configuration's bytes.
    pub enclave_config: &'a [u8],
    /// SHA-256 of the sealed model's signed manifest in hexadecimal, or [`DIGEST_PLACEHOLDER`].
    pub model_digest: &'a str,
}

/// What adyton-seal replaces by the digest of the model that it has sealed.
pub const DIGEST_PLACEHOLDER: &str = "@MANIFEST_DIGEST@";

impl Accepted<'_> {
    /// `policy/client.toml`.
    pub fn client_policy(&self) -> Result<String, ClientError> {
        Ok(format!(
            "# What this deployment's clients accept. SIMULATED: it proves plumbing, never security.\n\n{}",
            self.appraisal()?
        ))
    }

    /// `policy/release.toml`.
    pub fn release_policy(&self, model_id: &str, issuer: &[u8; 32]) -> Result<String, ClientError> {
        let issuers = vec![Value::String(hex::encode(issuer))];
        let mut policy = Table::new();
        policy.insert("model_id".to_owned(), Value::String(model_id.to_owned()));
        policy.insert("lease_seconds".to_owned(), Value::Integer(LEASE_SECONDS));
        policy.insert(
            "tokens".to_owned(),
            Value::Table(Table::from_iter([("issuers".to_owned(), Value::Array(issuers))])),
        );
        policy.insert("appraisal".to_owned(), Value::Table(self.appraisal()?));
        Ok(format!(
            "# To whom the broker releases the model key. SIMULATED: it proves plumbing, never security.\n\n{policy}"
        ))
    }

    fn appraisal(&self) -> Result<Table, ClientError> {
        let fragment = self.platform_fragment.parse::<Table>();
        let mut policy = fragment.map_err(|error| {
            ClientError::State(format!("the simulated platform's policy fragment: {error}"))
        })?;
        let list = |digest: String| Value::Array(vec![Value::String(digest)]);
        policy.insert("version".to_owned(), Value::Integer(1));
        policy.insert("role".to_owned(), Value::String("inference".to_owned()));
        policy.insert(
            "evidence_age_seconds_max".to_owned(),
            Value::Integer(EVIDENCE_AGE_SECONDS_MAX),
        );
        policy.insert(
            "collateral_age_seconds_max".to_owned(),
            Value::Integer(COLLATERAL_AGE_SECONDS_MAX),
        );
        policy.insert("model_digests".to_owned(), list(self.model_digest.to_owned()));
        policy.insert(
            "config_digests".to_owned(),
            list(hex::encode(Sha256::digest(self.enclave_config))),
        );
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_policy_nests_what_the_client_policy_says() {
        let accepted = Accepted {
            platform_fragment: "[danger.simulated.snp]\nmeasurements = [\"aa\"]\n",
            enclave_config: b"x",
            model_digest: DIGEST_PLACEHOLDER,
        };
        let client: Table = accepted.client_policy().expect("a policy").parse().expect("TOML");
        let release: Table = accepted
            .release_policy("sample", &[1; 32])
            .expect("a policy")
            .parse()
            .expect("TOML");
        assert_eq!(release["appraisal"].as_table(), Some(&client));
        assert_eq!(
            release["tokens"]["issuers"][0].as_str(),
            Some("01".repeat(32).as_str())
        );
        assert_eq!(
            client["danger"]["simulated"]["snp"]["measurements"][0].as_str(),
            Some("aa")
        );
        assert_eq!(
            client["config_digests"][0].as_str(),
            Some(hex::encode(Sha256::digest(b"x")).as_str())
        );
    }
}
