//! The release policy as the owner wrote it. The broker decides what it means; here only the model it is for is looked
//! at, and the digest is filled in, which nobody can know before sealing.

use std::path::{Path, PathBuf};

use crate::error::{Result, SealError};
use crate::secret_file::read_public;

/// Stands for the digest of the model being sealed.
const PLACEHOLDER: &str = "@MANIFEST_DIGEST@";
const POLICY_BYTES_MAX: u64 = 256 << 10;

/// A policy, perhaps with placeholders.
#[derive(Debug)]
pub(crate) struct PolicyTemplate {
    text: String,
}

impl PolicyTemplate {
    /// Reads a policy that must be for `model_id`.
    pub(crate) fn read(path: &Path, model_id: &str) -> Result<Self> {
        let text = read_public(path, POLICY_BYTES_MAX)?.to_string();
        Self::parse(path.to_owned(), text, model_id)
    }

    fn parse(path: PathBuf, text: String, model_id: &str) -> Result<Self> {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                return Err(SealError::Policy {
                    path,
                    problem: error.to_string(),
                });
            }
        };
        match table.get("model_id").and_then(toml::Value::as_str) {
            Some(found) if found == model_id => Ok(Self { text }),
            Some(found) => Err(SealError::Policy {
                path,
                problem: format!("it is for the model {found:?}, not {model_id:?}"),
            }),
            None => Err(SealError::Policy {
                path,
                problem: "model_id is missing".to_owned(),
            }),
        }
    }

    /// The text that is registered.
    pub(crate) fn for_manifest(&self, digest: &[u8; 32]) -> String {
        self.text.replace(PLACEHOLDER, &hex::encode(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PolicyTemplate> {
        PolicyTemplate::parse("p".into(), text.to_owned(), "sample")
    }

    #[test]
    fn the_digest_is_filled_in() {
        let policy = parse("model_id = \"sample\"\ndigests = [\"@MANIFEST_DIGEST@\"]").unwrap();
        let text = policy.for_manifest(&[0xab; 32]);
        assert!(text.ends_with(&format!("[\"{}\"]", "ab".repeat(32))));
    }

    #[test]
    fn a_policy_for_another_model_is_refused() {
        for text in ["model_id = \"other\"", "", "model_id = 1", "model_id"] {
            assert_eq!(parse(text).unwrap_err().code(), "policy", "{text}");
        }
    }
}
