//! What the verified audit log says is registered, disabled and rotated. The model table is checked against it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{
    directory::RegisteredModel,
    error::{BrokerError, Result},
    record::{Detail, ModelRegistration},
};

/// The state that the log's entries add up to.
#[derive(Debug, Default)]
pub(crate) struct History {
    models: BTreeMap<String, ModelHistory>,
    pub(crate) kek_disabled: bool,
    /// An entry that this program did not write.
    pub(crate) unreadable: bool,
}

#[derive(Debug)]
pub(crate) struct ModelHistory {
    current: ModelRegistration,
    pub(crate) disabled: bool,
    pub(crate) earlier_digests: Vec<[u8; 32]>,
}

impl History {
    /// Takes up the next entry.
    pub(crate) fn push(&mut self, entry: &[u8]) {
        match Detail::of_entry(entry) {
            Some(Detail::ModelRegistration(registration)) => self.register(registration),
            Some(Detail::ModelDisablement { model_id }) => match self.models.get_mut(&model_id) {
                Some(model) => model.disabled = true,
                None => self.unreadable = true,
            },
            Some(Detail::ModelRewrap {
                model_id,
                wrap_sha256,
            }) => match self.models.get_mut(&model_id) {
                Some(model) => model.current.wrap_sha256 = wrap_sha256,
                None => self.unreadable = true,
            },
            Some(Detail::KekDisablement { .. }) => self.kek_disabled = true,
            Some(Detail::KekEnablement { .. }) => self.kek_disabled = false,
            Some(Detail::KeyRelease(_) | Detail::KeyRefusal(_) | Detail::KekRotation { .. }) => {}
            None => self.unreadable = true,
        }
    }

    fn register(&mut self, registration: ModelRegistration) {
        let earlier = self.models.remove(&registration.model_id);
        let mut earlier_digests = Vec::new();
        if let Some(model) = earlier {
            earlier_digests = model.earlier_digests;
            let mut digest = [0; 32];
            if model.current.manifest_digest != registration.manifest_digest {
                match hex::decode_to_slice(&model.current.manifest_digest, &mut digest) {
                    Ok(()) => earlier_digests.push(digest),
                    Err(_) => self.unreadable = true,
                }
            }
        }
        let model_id = registration.model_id.clone();
        self.models.insert(
            model_id,
            ModelHistory {
                current: registration,
                disabled: false,
                earlier_digests,
            },
        );
    }

    /// Models that the log knows.
    pub(crate) fn models(&self) -> usize {
        self.models.len()
    }

    /// What the log says of one model.
    pub(crate) fn model(&self, model_id: &str) -> Option<&ModelHistory> {
        self.models.get(model_id)
    }
}

impl ModelHistory {
    /// Refuses a row of the model table that is not what was registered.
    pub(crate) fn check(&self, model: &RegisteredModel) -> Result<()> {
        let differs = |difference| BrokerError::RegistrationDamaged {
            model_id: model.model_id().as_str().to_owned(),
            difference,
        };
        if self.current.model_version != model.version {
            return Err(differs("version"));
        }
        if self.current.manifest_digest != hex::encode(model.manifest_digest) {
            return Err(differs("manifest digest"));
        }
        if self.current.policy_digest != hex::encode(model.policy.digest()) {
            return Err(differs("policy"));
        }
        if self.current.owner_key_sha256 != owner_key_sha256(&model.owner_key) {
            return Err(differs("owner key"));
        }
        if self.current.wrap_sha256 != wrap_sha256(&model.wrap) {
            return Err(differs("wrap"));
        }
        Ok(())
    }
}

/// The digest of an owner key in records.
pub(crate) fn owner_key_sha256(owner_key: &str) -> String {
    hex::encode(Sha256::digest(owner_key.as_bytes()))
}

/// The digest of a wrap in records: over its fields, each behind its length.
pub(crate) fn wrap_sha256(wrap: &sealed_model::Wrap) -> String {
    let version = wrap.version.to_be_bytes();
    let fields: [&[u8]; 4] = [
        wrap.kek_id.as_bytes(),
        &version,
        wrap.algorithm.as_bytes(),
        wrap.wrapped.as_bytes(),
    ];
    let mut digest = Sha256::new_with_prefix(b"adyton wrap v1");
    for field in fields {
        digest.update((field.len() as u64).to_be_bytes());
        digest.update(field);
    }
    hex::encode(digest.finalize())
}
