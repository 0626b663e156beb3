//! A software security processor that signs real-format SNP reports and TDX quotes under its own
//! root. SIMULATED: it protects nothing and proves plumbing, never security.
//!
//! Three things keep its evidence from passing for real: the platform tag and the signature domain,
//! the root that no default policy contains, and that release binaries do not link this crate.
#![forbid(unsafe_code)]

mod error;
mod measure;
mod platform;

pub use error::SimulatedError;
pub use measure::measure;
pub use platform::{Flavor, Platform, SimulatedAttester};
