//! The appraisal policy: what a relying party accepts, as a TOML document.
//!
//! Strict: unknown keys are refused, empty lists of reference values are refused, and a key that may
//! be left out then has the strictest value it can have. A platform is accepted only if its table is
//! there. Simulated platforms must be written out under `[danger.simulated]`, each with its root.
//! `examples/policy.toml` documents every key.

mod azure;
mod gce;
mod nvidia;
mod snp;
mod tdx;
mod values;
mod vtpm;

use alloc::string::ToString;
use alloc::vec::Vec;

use serde::Deserialize;
use sha2::{Digest, Sha256};

pub(crate) use azure::{AzureException, AzurePolicy};
pub(crate) use gce::{GceFirmware, Machine};
pub(crate) use nvidia::{NvidiaException, NvidiaPolicy};
pub(crate) use snp::{GuestAllowance, MinimumTcb, SnpException, SnpPolicy};
pub(crate) use tdx::TdxPolicy;
use values::HexBytes;
pub(crate) use values::{AnyOf, RegisterReference};
pub use vtpm::GceVtpmPolicy;
pub(crate) use vtpm::PcrPolicy;

use crate::error::PolicyError;
use crate::{PlatformTag, Role};

const VERSION: u64 = 1;
const EVIDENCE_AGE_SECONDS_MAX: u64 = 366 * 24 * 3600;
/// Archives and test corpora are appraised as of their own time, under documents of that time.
const COLLATERAL_AGE_SECONDS_MAX: u64 = 10 * 366 * 24 * 3600;

/// What a relying party accepts.
#[derive(Clone, Debug)]
pub struct AppraisalPolicy {
    pub(crate) role: Role,
    pub(crate) evidence_age_seconds_max: u64,
    pub(crate) collateral_age_seconds_max: u64,
    pub(crate) model_digests: Vec<[u8; 32]>,
    pub(crate) config_digests: AnyOf<32>,
    pub(crate) snp: Option<SnpPolicy>,
    pub(crate) tdx: Option<TdxPolicy>,
    pub(crate) azure: Option<AzurePolicy>,
    pub(crate) gce_vtpm: Option<GceVtpmPolicy>,
    pub(crate) nvidia: Option<NvidiaPolicy>,
    pub(crate) simulated_snp: Option<SnpPolicy>,
    pub(crate) simulated_tdx: Option<TdxPolicy>,
    pub(crate) simulated_azure: Option<AzurePolicy>,
}

/// The document as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u64,
    role: Role,
    evidence_age_seconds_max: u64,
    collateral_age_seconds_max: u64,
    #[serde(default)]
    model_digests: Vec<HexBytes<32>>,
    config_digests: AnyOf<32>,
    #[serde(default)]
    snp: Option<SnpPolicy>,
    #[serde(default)]
    tdx: Option<TdxPolicy>,
    #[serde(default)]
    azure: Option<AzurePolicy>,
    #[serde(default)]
    gce_vtpm: Option<GceVtpmPolicy>,
    #[serde(default)]
    nvidia: Option<NvidiaPolicy>,
    #[serde(default)]
    danger: Danger,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Danger {
    #[serde(default)]
    simulated: Simulated,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Simulated {
    #[serde(default)]
    snp: Option<SnpPolicy>,
    #[serde(default)]
    tdx: Option<TdxPolicy>,
    #[serde(default)]
    azure: Option<AzurePolicy>,
}

impl AppraisalPolicy {
    /// Reads a policy from TOML.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let document: Document = toml::from_str(text)
            .map_err(|error| PolicyError::Syntax(error.to_string().trim_end().to_string()))?;
        document.check()
    }

    /// SHA-256 of a policy's text, as statements and release records cite it.
    pub fn text_digest(text: &str) -> [u8; 32] {
        Sha256::digest(text.as_bytes()).into()
    }

    /// The role that evidence must claim.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How long evidence may be relied upon after its appraisal, in seconds.
    pub fn evidence_age_seconds_max(&self) -> u64 {
        self.evidence_age_seconds_max
    }

    /// Whether evidence of this kind can be accepted at all.
    pub fn accepts(&self, platform: PlatformTag) -> bool {
        match platform {
            PlatformTag::AmdSevSnp => self.snp.is_some(),
            PlatformTag::IntelTdx => self.tdx.is_some(),
            PlatformTag::AzureAmdSevSnp => self.azure.as_ref().is_some_and(|azure| azure.snp.is_some()),
            PlatformTag::AzureIntelTdx => self.azure.as_ref().is_some_and(|azure| azure.tdx.is_some()),
            PlatformTag::SimulatedAmdSevSnp => self.simulated_snp.is_some(),
            PlatformTag::SimulatedIntelTdx => self.simulated_tdx.is_some(),
            // Read with its table for the processor, or not at all.
            PlatformTag::SimulatedAzureAmdSevSnp => self.simulated_azure.is_some(),
        }
    }
}

/// A policy inside another document, as in a broker's release policy.
impl<'de> Deserialize<'de> for AppraisalPolicy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Document::deserialize(deserializer)?
            .check()
            .map_err(serde::de::Error::custom)
    }
}

impl Document {
    fn check(self) -> Result<AppraisalPolicy, PolicyError> {
        let refuse = |key: &str, reason: &str| {
            Err(PolicyError::Value {
                key: key.to_string(),
                reason: reason.to_string(),
            })
        };
        if self.version != VERSION {
            return refuse("version", "this verifier reads version 1");
        }
        if !(1..=EVIDENCE_AGE_SECONDS_MAX).contains(&self.evidence_age_seconds_max) {
            return refuse("evidence_age_seconds_max", "expected 1 second to 366 days");
        }
        if !(1..=COLLATERAL_AGE_SECONDS_MAX).contains(&self.collateral_age_seconds_max) {
            return refuse("collateral_age_seconds_max", "expected 1 second to 10 years");
        }
        match (self.role, self.model_digests.is_empty()) {
            (Role::Inference, true) => return refuse("model_digests", "an empty list accepts nothing"),
            (Role::Broker, false) => return refuse("model_digests", "a broker serves no model"),
            _ => {}
        }
        let simulated = self.danger.simulated;
        let policy = AppraisalPolicy {
            role: self.role,
            evidence_age_seconds_max: self.evidence_age_seconds_max,
            collateral_age_seconds_max: self.collateral_age_seconds_max,
            model_digests: self.model_digests.into_iter().map(|digest| digest.0).collect(),
            config_digests: self.config_digests,
            snp: self.snp,
            tdx: self.tdx,
            azure: self.azure,
            gce_vtpm: self.gce_vtpm,
            nvidia: self.nvidia,
            simulated_snp: simulated.snp,
            simulated_tdx: simulated.tdx,
            simulated_azure: simulated.azure,
        };
        policy
            .azure
            .iter()
            .try_for_each(|azure| azure.check("azure", false))?;
        policy.gce_vtpm.iter().try_for_each(GceVtpmPolicy::check)?;
        if !PlatformTag::ALL
            .into_iter()
            .any(|platform| policy.accepts(platform))
        {
            return refuse("snp, tdx, azure, danger.simulated", "no platform is accepted");
        }
        policy.snp.iter().try_for_each(|snp| snp.check("snp", false))?;
        policy.tdx.iter().try_for_each(|tdx| tdx.check("tdx", false))?;
        policy
            .nvidia
            .iter()
            .try_for_each(|nvidia| nvidia.check("nvidia"))?;
        policy
            .simulated_snp
            .iter()
            .try_for_each(|snp| snp.check("danger.simulated.snp", true))?;
        policy
            .simulated_tdx
            .iter()
            .try_for_each(|tdx| tdx.check("danger.simulated.tdx", true))?;
        policy
            .simulated_azure
            .iter()
            .try_for_each(|azure| azure.check("danger.simulated.azure", true))?;
        Ok(policy)
    }
}
