//! Google's launch endorsement (gce-tcb-verifier, `proto/endorsement.proto`).
//!
//! | message | field | content |
//! |---|---|---|
//! | VMLaunchEndorsement | 1 | `serialized_uefi_golden`: the signed bytes, a VMGoldenMeasurement |
//! | | 2 | `signature`: RSASSA-PSS with SHA-256 |
//! | VMGoldenMeasurement | 1 | `timestamp`: seconds 1, nanoseconds 2 |
//! | | 2, 3 | `cl_spec`, `commit`: the source |
//! | | 4 | `cert`: the signer's certificate, DER |
//! | | 5 | `digest`: SHA-384 of the firmware |
//! | | 6 | `ca_bundle`: root to last intermediate, PEM |
//! | | 7 | `sev_snp`: svn 1, measurements 2 (map: vCPUs to digest), policy 5, svsm_measurement 7, and others |
//! | | 8 | `tdx`: svn 1, measurements 2 (ram_gib 1, early_accept 2, mrtd 3) |
//!
//! Within the signed bytes a field that is not known here is stepped over: what Google adds later cannot make an
//! endorsement say more than it says. The wrapper is not signed and has nothing but its two fields.

use alloc::vec::Vec;

use super::protobuf::{Message, Value};
use crate::UnixTime;
use crate::x509::pem_certificates;

const BYTES_MAX: usize = 64 * 1024;
const COMMIT_BYTES_MAX: usize = 64;

/// An endorsement that was taken apart. Nothing in it was checked but its shape.
#[derive(Debug)]
pub(super) struct LaunchEndorsement<'a> {
    /// What was signed.
    pub(super) golden: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) issued: UnixTime,
    pub(super) certificate: &'a [u8],
    /// DER, from root to last intermediate; may be empty.
    pub(super) authorities: Vec<Vec<u8>>,
    /// SHA-384 of the firmware.
    pub(super) firmware_digest: [u8; 48],
    pub(super) snp: Option<Measurements>,
    pub(super) tdx: Option<Measurements>,
}

/// What is endorsed for one kind of machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Measurements {
    pub(super) svn: u32,
    /// Size of the machine (virtual processors, GiB of memory), and what its launch measures.
    pub(super) of_sizes: Vec<(u32, [u8; 48])>,
}

impl<'a> LaunchEndorsement<'a> {
    /// Takes an endorsement apart.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > BYTES_MAX {
            return None;
        }
        let wrapper = Message::parse(bytes)?;
        let (golden, signature) = (wrapper.bytes(1)?, wrapper.bytes(2)?);
        if !wrapper.has_only(&[1, 2]) || golden.is_empty() || signature.is_empty() {
            return None;
        }
        let message = Message::parse(golden)?;
        let timestamp = message.message(1)??;
        // A Timestamp is a signed number; one before 1970 has the highest bit set.
        let seconds = i64::try_from(timestamp.number(1)?).ok()?;
        timestamp
            .number(2)
            .filter(|nanoseconds| *nanoseconds < 1_000_000_000)?;
        message.number(2)?;
        message
            .bytes(3)
            .filter(|commit| commit.len() <= COMMIT_BYTES_MAX)?;
        let authorities = pem_certificates(message.bytes(6)?).ok()?;
        let snp = match message.message(7)? {
            Some(snp) => Some(snp_measurements(&snp)?),
            None => None,
        };
        let tdx = match message.message(8)? {
            Some(tdx) => Some(tdx_measurements(&tdx)?),
            None => None,
        };
        Some(Self {
            golden,
            signature,
            issued: UnixTime::from_seconds(seconds.unsigned_abs()),
            certificate: message.bytes(4)?,
            authorities,
            firmware_digest: message.bytes(5)?.try_into().ok()?,
            snp,
            tdx,
        })
    }
}

fn snp_measurements(message: &Message<'_>) -> Option<Measurements> {
    let mut of_sizes: Vec<(u32, [u8; 48])> = Vec::new();
    for entry in message.all(2) {
        let Value::Bytes(entry) = entry else { return None };
        let entry = Message::parse(entry)?;
        let vcpus = u32::try_from(entry.number(1)?).ok()?;
        // A map has each key once.
        if !entry.has_only(&[1, 2]) || of_sizes.iter().any(|(other, _)| *other == vcpus) {
            return None;
        }
        of_sizes.push((vcpus, entry.bytes(2)?.try_into().ok()?));
    }
    Some(Measurements {
        svn: u32::try_from(message.number(1)?).ok()?,
        of_sizes,
    })
}

fn tdx_measurements(message: &Message<'_>) -> Option<Measurements> {
    let mut of_sizes = Vec::new();
    for entry in message.all(2) {
        let Value::Bytes(entry) = entry else { return None };
        let entry = Message::parse(entry)?;
        let ram_gib = u32::try_from(entry.number(1)?).ok()?;
        entry.number(2).filter(|early_accept| *early_accept <= 1)?;
        of_sizes.push((ram_gib, entry.bytes(3)?.try_into().ok()?));
    }
    Some(Measurements {
        svn: u32::try_from(message.number(1)?).ok()?,
        of_sizes,
    })
}
