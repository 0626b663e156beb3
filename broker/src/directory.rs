//! The registered models, in memory: read from the store and checked against the audit log at start, changed only
//! together with a durable record.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use sealed_model::{Wrap, WrapContext};
use wire::ids::ModelId;

use crate::{model_policy::ReleasePolicy, refusal::RefusalCode};

/// One registered model. Replaced whole, never changed in place.
pub struct RegisteredModel {
    /// What the owner decided.
    pub policy: ReleasePolicy,
    /// Version of the sealed model: the floor below which nothing is released.
    pub version: u64,
    /// SHA-256 of the signed manifest payload.
    pub manifest_digest: [u8; 32],
    /// The owner's manifest-signing key, in the hexadecimal form of the sealed-model crate.
    pub owner_key: String,
    /// The model key under the tenant's key.
    pub wrap: Wrap,
    /// Whether the owner has stopped releases.
    pub disabled: bool,
    /// Digests of the versions before this one.
    pub earlier_digests: Vec<[u8; 32]>,
}

impl RegisteredModel {
    /// The model.
    pub fn model_id(&self) -> &ModelId {
        self.policy.model_id()
    }

    /// What the wrap is bound to.
    pub fn wrap_context(&self) -> WrapContext<'_> {
        WrapContext {
            model_id: self.model_id().as_str(),
            manifest_digest: &self.manifest_digest,
        }
    }

    /// Whether a statement that names `digests` serves this version of this model.
    ///
    /// # Errors
    /// `rolled-back` when it names an earlier version, `model-mismatch` when it names none.
    pub fn serves(&self, digests: &[[u8; 32]]) -> Result<(), RefusalCode> {
        if digests.contains(&self.manifest_digest) {
            Ok(())
        } else if digests.iter().any(|digest| self.earlier_digests.contains(digest)) {
            Err(RefusalCode::RolledBack)
        } else {
            Err(RefusalCode::ModelMismatch)
        }
    }
}

/// Everything that a release depends on and an owner can change.
#[derive(Default)]
pub struct Directory(RwLock<State>);

#[derive(Default, Clone)]
struct State {
    models: BTreeMap<String, Arc<RegisteredModel>>,
    kek_disabled: bool,
}

impl Directory {
    /// The directory with what the store holds.
    pub fn new(models: Vec<RegisteredModel>, kek_disabled: bool) -> Self {
        let models = models
            .into_iter()
            .map(|model| (model.model_id().as_str().to_owned(), Arc::new(model)))
            .collect();
        Self(RwLock::new(State { models, kek_disabled }))
    }

    /// The model as it is registered now.
    pub fn model(&self, model_id: &str) -> Option<Arc<RegisteredModel>> {
        self.read(|state| state.models.get(model_id).cloned())
    }

    /// Every model, by name.
    pub fn models(&self) -> Vec<Arc<RegisteredModel>> {
        self.read(|state| state.models.values().cloned().collect())
    }

    /// Whether the tenant's key is disabled.
    pub fn kek_disabled(&self) -> bool {
        self.read(|state| state.kek_disabled)
    }

    /// Whether something may be released under `model` at this moment. Asked first by the gate and again by the one
    /// task that writes records, so that no release is recorded after the record of a disablement.
    ///
    /// # Errors
    /// `kek-disabled`, `model-disabled`; `busy` when the registration was replaced in between.
    pub fn permits(&self, model: &Arc<RegisteredModel>) -> Result<(), RefusalCode> {
        self.read(|state| {
            let current = state
                .models
                .get(model.model_id().as_str())
                .ok_or(RefusalCode::UnknownModel)?;
            if state.kek_disabled {
                return Err(RefusalCode::KekDisabled);
            }
            if current.disabled {
                return Err(RefusalCode::ModelDisabled);
            }
            if !Arc::ptr_eq(current, model) {
                return Err(RefusalCode::Busy);
            }
            Ok(())
        })
    }

    /// Puts a model in the place of its earlier registration. Only after its record is durable.
    pub(crate) fn put(&self, model: RegisteredModel) {
        self.write(|state| {
            state
                .models
                .insert(model.model_id().as_str().to_owned(), Arc::new(model))
        });
    }

    /// Switches the tenant's key. Only after its record is durable.
    pub(crate) fn switch_kek(&self, disabled: bool) {
        self.write(|state| state.kek_disabled = disabled);
    }

    fn read<T>(&self, reader: impl FnOnce(&State) -> T) -> T {
        // A panic cannot leave half a change: every change is one assignment.
        reader(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, writer: impl FnOnce(&mut State) -> T) -> T {
        writer(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}
