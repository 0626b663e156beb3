//! A software security processor that signs real-format SNP reports and TDX quotes under its own
//! root. SIMULATED: it protects nothing and proves plumbing, never security.
//!
//! Three things keep its evidence from passing for real: the platform tag and the signature domain,
//! the root that no default policy contains, and that release binaries do not link this crate.
//!
//! 1. [`Platform::manufacture`] makes the manufacturers' keys, certificates and collateral.
//! 2. [`measure`] computes what a launch measures.
//! 3. [`Platform::attester`] signs evidence of that launch.
//! 4. [`Platform::renew`] publishes revocation lists and collateral anew.
//! 5. [`azure::Paravisor`] vouches for a vTPM by such a report, as the paravisor of an Azure confidential VM does.
#![forbid(unsafe_code)]

pub mod adversary;
mod attester;
pub mod azure;
mod certificate;
mod collateral;
mod der;
mod error;
mod files;
pub mod gce;
mod key;
mod measure;
mod platform;
mod policy;
mod snp;
mod tdx;

pub use attestation::UnixTime;
pub use attester::SimulatedAttester;
pub use error::SimulatedError;
pub use measure::measure;
pub use platform::{Flavor, Platform};
