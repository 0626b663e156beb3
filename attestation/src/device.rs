//! Devices whose evidence travels beside the processor's: GPUs, switches, a vTPM outside the TEE.
//!
//! A device is bound to the processor's evidence in both directions: the statement lists the digest of
//! each device's certificate, so that `report_data` commits to them, and the nonce that the device
//! signs is [`device_nonce`] of that same `report_data`, a vTPM's [`crate::vtpm_qualifying_data`]. A device of another machine that is asked with the same
//! relying party's nonce answers for another `report_data`.
//!
//! One entry of the bundle's array is a deterministic CBOR map with integer keys, all required:
//!
//! | key | field | type |
//! |---|---|---|
//! | 1 | kind | text |
//! | 2 | evidence | bytes, at most 64 KiB |
//! | 3 | certificates, leaf first, PEM | bytes, at most 32 KiB |
//! | 4 | endorsements | map from text to bytes |

use alloc::vec::Vec;

use minicbor::Decoder;
use sha2::{Digest, Sha256};

use crate::cbor::{self, CborFault, Writer};
use crate::error::BundleError;
use crate::x509::pem_certificates;
use crate::{Endorsements, ReportData};

/// Most devices of one machine.
pub(crate) const DEVICES_MAX: usize = 32;
const ENTRIES: u64 = 4;
const EVIDENCE_BYTES_MAX: usize = 64 * 1024;
const CERTIFICATES_BYTES_MAX: usize = 32 * 1024;
const NONCE_DOMAIN: &[u8] = b"adyton device nonce v1";

/// What kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// An NVIDIA GPU: SPDM measurements.
    NvidiaGpu,
    /// An NVIDIA switch between GPUs: SPDM measurements.
    NvidiaSwitch,
    /// Google's vTPM, which the host runs: it proves nothing against the host.
    GceVtpm,
}

impl DeviceKind {
    /// Every kind.
    pub const ALL: [DeviceKind; 3] = [Self::NvidiaGpu, Self::NvidiaSwitch, Self::GceVtpm];

    /// The text in bundles and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeviceKind::NvidiaGpu => "nvidia-gpu",
            DeviceKind::NvidiaSwitch => "nvidia-switch",
            DeviceKind::GceVtpm => "gce-vtpm",
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Evidence of one device as it travels. Nothing in it has been checked but its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEvidence {
    /// What kind of device this claims to be.
    pub kind: DeviceKind,
    /// What the device signed.
    pub evidence: Vec<u8>,
    /// Certificates of the key that signed, leaf first, PEM.
    pub certificates: Vec<u8>,
    /// What the manufacturer published about this device.
    pub endorsements: Endorsements,
}

impl DeviceEvidence {
    /// SHA-256 of the leaf certificate's DER, as statements list it.
    pub fn digest(&self) -> Option<[u8; 32]> {
        let chain = pem_certificates(&self.certificates).ok()?;
        Some(Sha256::digest(chain.first()?).into())
    }

    pub(crate) fn fits(&self) -> bool {
        self.evidence.len() <= EVIDENCE_BYTES_MAX
            && self.certificates.len() <= CERTIFICATES_BYTES_MAX
            && self.endorsements.fit()
    }

    pub(crate) fn write(
        &self,
        writer: &mut Writer,
    ) -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
        writer.map(ENTRIES)?;
        writer.u8(1)?.str(self.kind.as_str())?;
        writer.u8(2)?.bytes(&self.evidence)?;
        writer.u8(3)?.bytes(&self.certificates)?;
        writer.u8(4)?;
        self.endorsements.write(writer)
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, BundleError> {
        cbor::map_of(decoder, ENTRIES)?;
        cbor::key(decoder, 1)?;
        let kind = decoder.str().map_err(CborFault::from)?;
        let kind = DeviceKind::from_text(kind).ok_or(BundleError::UnknownDevice)?;
        cbor::key(decoder, 2)?;
        let evidence = cbor::bytes(decoder, EVIDENCE_BYTES_MAX)?.to_vec();
        cbor::key(decoder, 3)?;
        let certificates = cbor::bytes(decoder, CERTIFICATES_BYTES_MAX)?.to_vec();
        cbor::key(decoder, 4)?;
        let endorsements = Endorsements::read(decoder)?;
        Ok(Self {
            kind,
            evidence,
            certificates,
            endorsements,
        })
    }
}

/// The nonce that a device signs: `SHA-256("adyton device nonce v1" || report_data)`.
pub fn device_nonce(report_data: &ReportData) -> [u8; 32] {
    Sha256::new()
        .chain_update(NONCE_DOMAIN)
        .chain_update(report_data)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::device_nonce;

    #[test]
    fn the_nonce_is_the_documented_function() {
        // python3: sha256(b"adyton device nonce v1" + bytes([7])*64)
        assert_eq!(
            hex::encode(device_nonce(&[7; 64])),
            "c889bba0e676253280b9015ff67d09d23a0bf4b776cab6e072f0a83e483600d6"
        );
        assert_ne!(device_nonce(&[7; 64]), device_nonce(&[8; 64]));
    }
}
