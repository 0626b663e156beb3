//! Azure's confidential VMs: real evidence from public repositories, and the policy's own strictness.

mod policy;
mod real;
mod vectors;
