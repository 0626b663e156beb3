//! Which endorsements a piece of evidence needs.

use alloc::vec::Vec;

use crate::azure;
use crate::snp::{self, Report};
use crate::tdx::{self, Quote};
use crate::{BundleError, PlatformTag};

/// The name under which the endorsements of `evidence` are published and cached: SNP chip id and
/// reported TCB; TDX FMSPC and issuing CA; on Azure those
/// of the processor inside. Unverified: it only chooses what to look up.
pub fn endorsement_subject(platform: PlatformTag, evidence: &[u8]) -> Result<Vec<u8>, BundleError> {
    match platform {
        PlatformTag::AmdSevSnp | PlatformTag::SimulatedAmdSevSnp => {
            Report::parse(evidence).as_ref().map(snp::subject)
        }
        PlatformTag::IntelTdx | PlatformTag::SimulatedIntelTdx => {
            Quote::parse(evidence).as_ref().and_then(tdx::subject)
        }
        PlatformTag::AzureAmdSevSnp | PlatformTag::AzureIntelTdx | PlatformTag::SimulatedAzureAmdSevSnp => {
            azure::subject(evidence)
        }
    }
    .ok_or(BundleError::Shape)
}
