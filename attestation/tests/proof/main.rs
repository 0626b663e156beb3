//! Proof of the Verifier by tests that go through everything of a kind: every bit of real evidence, every
//! boundary of every time, every component of every version, every clause of the catalogue, and mutants by
//! the ten thousand. `ADYTON_PROOF=full` makes the samples whole.

mod bits;
mod catalogue;
mod components;
mod devices;
mod documents;
mod flaws;
mod mutants;
mod parts;
mod random;
mod real;
mod sweep;
mod tdx_components;
mod times;
mod times_real;

/// Azure's real evidence and the policy that accepts it.
#[path = "../azure/vectors.rs"]
mod azure;
/// A simulated deployment.
#[path = "../simulated/support.rs"]
mod support;
