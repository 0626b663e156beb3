//! The Verifier of Adyton: decides whether Evidence is genuine, current, expected and fresh.
//!
//! Pure: no clock, no I/O, no randomness, no unsafe. The verdict is a function of the bundle, the
//! policy, the nonce and `now` (invariant I6).
//!
//! 1. [`Bundle::decode`] takes the bytes apart: platform tag, evidence, statement, endorsements.
//! 2. [`Statement::parse`] reads what the enclave says of itself.
//! 3. The platform's examination records one [`Clause`] per check.
//! 4. [`report_data`] ties statement and nonce to the evidence.
//! 5. [`Verifier::appraise`] builds [`VerifiedEvidence`] only if every clause of the platform passed.
//!
//! [`Verifier::explain`] runs the same examination and returns its clauses.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod azure;
mod bundle;
mod cbor;
mod claims;
mod clause;
mod device;
mod endorsements;
mod error;
mod event_log;
mod examination;
mod fields;
mod gce;
mod inspect;
mod lookup;
mod nonce;
mod nvidia;
mod platform;
mod policy;
mod published;
mod report_data;
mod role;
mod roots;
pub mod simulated;
mod snp;
mod statement;
mod subject;
mod tdx;
mod time;
mod tpm;
mod verified;
mod verifier;
mod x509;

pub use azure::AzureEvidence;
pub use bundle::{BUNDLE_BYTES_MAX, Bundle};
pub use claims::{Assurance, Claims, VtpmClaims};
pub use clause::{Clause, ClauseGroup, ClauseNote, Explanation, Outcome, Question, Verdict, catalogue};
pub use device::{DeviceEvidence, DeviceKind, device_nonce};
pub use endorsements::{EndorsementKind, Endorsements};
pub use error::{AppraisalError, BundleError, PolicyError, StatementError};
pub use event_log::{
    Agreement, Bank, EVENT_LOG_AREA_BYTES_MAX, Event, EventKind, EventLog, EventLogError, RegisterLayout,
};
pub use fields::{Field, FieldValue};
pub use gce::vtpm::{
    GceVtpmEvidence, GceVtpmQuestion, VtpmExplanation, explain_gce_ak_certificates, explain_gce_vtpm,
    explain_gce_vtpm_quote,
};
pub use inspect::{Kind, PublishedNames, certificates_in_pem, inspect, published_names, recognise};
pub use lookup::{
    Lookup, PckAuthority, SnpLookup, SnpProduct, SnpSigner, SnpTcb, TdxLookup, device_subject,
    endorsement_lookup, nvidia_manifests,
};
pub use nonce::Nonce;
pub use nvidia::{NvidiaDevice, explain_reference_manifest};
pub use platform::PlatformTag;
pub use policy::{AppraisalPolicy, GceVtpmPolicy};
pub use published::{Published, is_authentic, is_pck_authority, published};
pub use report_data::{ReleaseBinding, ReportData, release_nonce, report_data, vtpm_qualifying_data};
pub use role::Role;
pub use statement::{Statement, StatementFields};
pub use subject::endorsement_subject;
pub use time::UnixTime;
pub use tpm::rsassa_signature;
pub use verified::VerifiedEvidence;
pub use verifier::{
    DevicePolicy, RawEvidence, VerifiedDevices, Verifier, explain_event_log, explain_revocation_list,
};
