//! What an owner can change. Each change is checked against the directory in the task that writes records, becomes
//! durable together with its record, and takes effect only after that.

use sealed_model::Anchor;

use crate::{
    directory::{Directory, RegisteredModel},
    error::{BrokerError, Result},
    history::{owner_key_sha256, wrap_sha256},
    key_store::TenantKeys,
    model_policy::ReleasePolicy,
    record::{Detail, ModelRegistration},
    store::{ModelRow, RowChange},
    tls::SpkiDigest,
};

/// A change by an owner.
#[non_exhaustive]
pub enum Change {
    /// Registers a model, a new version of it, or a new policy for the version.
    Register {
        /// The model, its key wrapped.
        model: Box<RegisteredModel>,
        /// The owner's end of the TLS connection.
        registrar_spki_sha256: SpkiDigest,
    },
    /// Stops releases of a model.
    Disable {
        /// Which model.
        model_id: String,
    },
    /// Stops or resumes every release.
    SwitchKek {
        /// Stop.
        disabled: bool,
    },
    /// Makes a new version of the tenant's key and wraps every model key under it.
    RotateKek,
}

/// A change that may be made: its records, its rows, and what it will do.
pub(crate) struct Prepared {
    pub(crate) details: Vec<Detail>,
    pub(crate) rows: Vec<RowChange>,
    pub(crate) effect: Effect,
}

/// What a change does to the directory once it is durable.
pub(crate) enum Effect {
    Put(Vec<RegisteredModel>),
    SwitchKek { disabled: bool },
}

impl Effect {
    pub(crate) fn apply(self, directory: &Directory) {
        match self {
            Self::Put(models) => models.into_iter().for_each(|model| directory.put(model)),
            Self::SwitchKek { disabled } => directory.switch_kek(disabled),
        }
    }
}

impl Change {
    pub(crate) fn prepare(self, directory: &Directory, keys: &mut TenantKeys) -> Result<Prepared> {
        match self {
            Self::Register {
                model,
                registrar_spki_sha256,
            } => register(*model, registrar_spki_sha256, directory),
            Self::Disable { model_id } => disable(&model_id, directory),
            Self::SwitchKek { disabled } => Ok(switch_kek(disabled, keys)),
            Self::RotateKek => rotate(directory, keys),
        }
    }
}

fn anchor(model: &RegisteredModel) -> Anchor {
    Anchor::registered(model.model_id().as_str(), model.version, model.manifest_digest)
}

fn register(
    mut model: RegisteredModel,
    registrar_spki_sha256: SpkiDigest,
    directory: &Directory,
) -> Result<Prepared> {
    if let Some(current) = directory.model(model.model_id().as_str()) {
        anchor(&current)
            .advance(&anchor(&model))
            .map_err(|error| BrokerError::Registration {
                code: error.code(),
                detail: "the registered version stands",
            })?;
        model.earlier_digests.clone_from(&current.earlier_digests);
        if current.manifest_digest != model.manifest_digest {
            model.earlier_digests.push(current.manifest_digest);
        }
    }
    let details = vec![Detail::ModelRegistration(ModelRegistration {
        model_id: model.model_id().as_str().to_owned(),
        model_version: model.version,
        manifest_digest: hex::encode(model.manifest_digest),
        policy_digest: hex::encode(model.policy.digest()),
        owner_key_sha256: owner_key_sha256(&model.owner_key),
        wrap_sha256: wrap_sha256(&model.wrap),
        registrar_spki_sha256: hex::encode(registrar_spki_sha256),
    })];
    let rows = vec![RowChange::Put(ModelRow {
        model_id: model.model_id().as_str().to_owned(),
        version: model.version,
        manifest_digest: model.manifest_digest,
        owner_key: model.owner_key.clone(),
        policy: model.policy.text().to_owned(),
        wrap: wrap_json(&model),
    })];
    Ok(Prepared {
        details,
        rows,
        effect: Effect::Put(vec![model]),
    })
}

fn disable(model_id: &str, directory: &Directory) -> Result<Prepared> {
    let current = directory.model(model_id).ok_or(BrokerError::UnknownModel)?;
    let mut model = again(&current)?;
    model.disabled = true;
    let details = vec![Detail::ModelDisablement {
        model_id: model_id.to_owned(),
    }];
    Ok(Prepared {
        details,
        rows: Vec::new(),
        effect: Effect::Put(vec![model]),
    })
}

fn switch_kek(disabled: bool, keys: &TenantKeys) -> Prepared {
    let kek_id = keys.kek_id().to_owned();
    let detail = if disabled {
        Detail::KekDisablement { kek_id }
    } else {
        Detail::KekEnablement { kek_id }
    };
    Prepared {
        details: vec![detail],
        rows: Vec::new(),
        effect: Effect::SwitchKek { disabled },
    }
}

fn rotate(directory: &Directory, keys: &mut TenantKeys) -> Result<Prepared> {
    // The new version is in the key file before anything is wrapped under it. Should the record fail, it stays there
    // unused: the old wraps still name the old version.
    keys.rotate()?;
    let mut details = vec![Detail::KekRotation {
        kek_id: keys.kek_id().to_owned(),
        kek_version: keys.version(),
    }];
    let (mut rows, mut models) = (Vec::new(), Vec::new());
    for current in directory.models() {
        let unusable = |_| BrokerError::Registration {
            code: "key-unavailable",
            detail: "a stored key does not open",
        };
        let key = keys
            .unwrap(&current.wrap, &current.wrap_context())
            .map_err(unusable)?;
        let mut model = again(&current)?;
        model.wrap = keys.wrap(&key, &current.wrap_context()).map_err(unusable)?;
        let model_id = model.model_id().as_str().to_owned();
        details.push(Detail::ModelRewrap {
            model_id: model_id.clone(),
            wrap_sha256: wrap_sha256(&model.wrap),
        });
        rows.push(RowChange::Rewrap {
            model_id,
            wrap: wrap_json(&model),
        });
        models.push(model);
    }
    Ok(Prepared {
        details,
        rows,
        effect: Effect::Put(models),
    })
}

/// A copy of a registration, to be changed and put in its place.
fn again(model: &RegisteredModel) -> Result<RegisteredModel> {
    Ok(RegisteredModel {
        policy: ReleasePolicy::parse(model.policy.text())?,
        version: model.version,
        manifest_digest: model.manifest_digest,
        owner_key: model.owner_key.clone(),
        wrap: model.wrap.clone(),
        disabled: model.disabled,
        earlier_digests: model.earlier_digests.clone(),
    })
}

fn wrap_json(model: &RegisteredModel) -> String {
    serde_json::to_string(&model.wrap).expect("a wrap is text and numbers")
}
