//! How a model key gets here: sealed by its owner to this process's registration key, then wrapped under the tenant's
//! key. The key is in the clear only between the two.

use sealed_model::{ModelKey, OwnerPublicKey, WrapContext};
use sealing::{KeyPair, Label, Suite, open_once};
use wire::{KeyConfig, ids::ModelId};
use zeroize::Zeroizing;

use crate::{
    directory::RegisteredModel,
    error::{BrokerError, Result},
    key_store::TenantKeys,
    model_policy::ReleasePolicy,
};

/// First bytes of the associated data of a registration.
const DOMAIN: &[u8] = b"adyton registration v1";
/// The largest integer that every reader of a record reads exactly (RFC 7493 section 2.2).
const VERSION_MAX: u64 = (1 << 53) - 1;

/// The key to which owners seal; a new one at every start.
pub struct RegistrationKey(KeyPair);

impl RegistrationKey {
    /// Makes the key.
    ///
    /// # Errors
    /// `random` when the system gives no random bytes.
    pub fn generate() -> Result<Self> {
        KeyPair::generate(Suite::XWING_SHA256_AES256, 1)
            .map(Self)
            .map_err(|_| BrokerError::Random)
    }

    /// The public half.
    pub fn key_config(&self) -> &KeyConfig {
        self.0.key_config()
    }
}

/// What an owner asks to be registered.
pub struct Registration<'a> {
    /// The model.
    pub model_id: &'a ModelId,
    /// SHA-256 of the signed manifest payload.
    pub manifest_digest: [u8; 32],
    /// Version of the sealed model.
    pub version: u64,
    /// The manifest-signing key in hexadecimal form.
    pub owner_key: &'a str,
    /// The release policy.
    pub policy: &'a str,
    /// The model key, sealed with [`associated_data`] under [`Label::KeyRegistration`].
    pub sealed_model_key: &'a [u8],
}

/// Associated data of a sealed registration:
/// `"adyton registration v1" || len16(id) || id || manifest digest || version as 64 bits || SHA-256(policy)`.
pub fn associated_data(
    model_id: &ModelId,
    manifest_digest: &[u8; 32],
    version: u64,
    policy_digest: &[u8; 32],
) -> Vec<u8> {
    let id = model_id.as_str().as_bytes();
    let id_bytes = u16::try_from(id.len()).expect("a model id is at most 128 bytes");
    [
        DOMAIN,
        &id_bytes.to_be_bytes(),
        id,
        manifest_digest,
        &version.to_be_bytes(),
        policy_digest,
    ]
    .concat()
}

impl Registration<'_> {
    /// Checks the request and wraps the key.
    ///
    /// # Errors
    /// `policy`, or `registration` with what was wrong.
    pub fn accept(&self, key: &RegistrationKey, keys: &TenantKeys) -> Result<RegisteredModel> {
        let refused = |code, detail| BrokerError::Registration { code, detail };
        let policy = ReleasePolicy::parse(self.policy)?;
        if policy.model_id() != self.model_id {
            return Err(refused("malformed-request", "the policy is for another model"));
        }
        if !(1..=VERSION_MAX).contains(&self.version) {
            return Err(refused("malformed-request", "version must be 1 to 2^53 - 1"));
        }
        OwnerPublicKey::from_hex(self.owner_key)
            .map_err(|_| refused("malformed-request", "owner_key is no manifest-signing key"))?;
        let aad = associated_data(
            self.model_id,
            &self.manifest_digest,
            self.version,
            policy.digest(),
        );
        let opened = open_once(&key.0, Label::KeyRegistration, &aad, self.sealed_model_key)
            .map_err(|_| refused("registration-key", "the sealed model key does not open"))?;
        let mut bytes = Zeroizing::new([0; 32]);
        if opened.len() != bytes.len() {
            return Err(refused("malformed-request", "a model key has 32 bytes"));
        }
        bytes.copy_from_slice(&opened);
        let context = WrapContext {
            model_id: self.model_id.as_str(),
            manifest_digest: &self.manifest_digest,
        };
        let wrap = keys
            .wrap(&ModelKey::from_bytes(bytes), &context)
            .map_err(|_| refused("key-unavailable", "the tenant's key cannot wrap"))?;
        Ok(RegisteredModel {
            policy,
            version: self.version,
            manifest_digest: self.manifest_digest,
            owner_key: self.owner_key.to_owned(),
            wrap,
            disabled: false,
            earlier_digests: Vec::new(),
        })
    }
}
