//! A deployment in a temporary folder, an owner and a simulated enclave.

mod deployment;
mod enclave;
mod owner;
mod platform;

pub(crate) use deployment::{Deployment, Options, policy};
pub(crate) use enclave::{Enclave, Session};
pub(crate) use owner::{Credentials, Owner};
pub(crate) use platform::{platform, unix_now};

use wire::release::{ReleaseAnswer, ReleaseRecord};

/// The model of every test.
pub(crate) const MODEL: &str = "acme/sample:1";
/// SHA-256 of its manifest, as far as the broker cares.
pub(crate) const MANIFEST: [u8; 32] = [0x11; 32];
/// Its key: recognisable in whatever leaks.
pub(crate) const MODEL_KEY: [u8; 32] = *b"MODEL-KEY-CANARY-0123456789abcde";
/// What the policy calls the issuer of API tokens: the base point of Ed25519.
pub(crate) const TOKEN_ISSUER: &str = "5866666666666666666666666666666666666666666666666666666666666666";

/// The record and the sealed payload of an answer that must be a release.
pub(crate) fn released(answer: ReleaseAnswer) -> (Vec<u8>, Vec<u8>) {
    match answer {
        ReleaseAnswer::Released { record, sealed } => (record, sealed),
        ReleaseAnswer::Refused { code, hint, .. } => panic!("refused: {code}: {hint}"),
    }
}

/// The code and the hint of an answer that must be a refusal.
pub(crate) fn refused(answer: ReleaseAnswer) -> (&'static str, String) {
    match answer {
        ReleaseAnswer::Refused { code, hint, .. } => (code.as_str(), hint),
        ReleaseAnswer::Released { record, .. } => {
            panic!("released: {:?}", ReleaseRecord::from_cbor(&record))
        }
    }
}
