//! The bundle: evidence and everything needed to appraise it offline, as one document.
//!
//! Deterministic CBOR map with integer keys, all required:
//!
//! | key | field | type |
//! |---|---|---|
//! | 1 | format version | 1 |
//! | 2 | platform tag | text |
//! | 3 | evidence: SNP report, TDX quote | bytes, at most 64 KiB |
//! | 4 | statement | bytes, at most 32 KiB |
//! | 5 | event log | bytes, at most 256 KiB, or null |
//! | 6 | endorsements | map from text to bytes |
//! | 7 | devices | array of maps ([`crate::DeviceEvidence`]), at most 32 |

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::Decoder;
use minicbor::data::Type;

use crate::cbor::{self, CborFault};
use crate::device::{DEVICES_MAX, DeviceEvidence};
use crate::error::BundleError;
use crate::{Endorsements, PlatformTag};

/// Bound of an encoded bundle.
pub const BUNDLE_BYTES_MAX: usize = 1024 * 1024;

const VERSION: u64 = 1;
const ENTRIES: u64 = 7;
const EVIDENCE_BYTES_MAX: usize = 64 * 1024;
const STATEMENT_BYTES_MAX: usize = 32 * 1024;
const EVENT_LOG_BYTES_MAX: usize = 256 * 1024;

/// Evidence as it travels. Nothing in it has been checked but its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What kind of evidence this claims to be.
    pub platform: PlatformTag,
    /// The raw evidence.
    pub evidence: Vec<u8>,
    /// The exact bytes of the statement.
    pub statement: Vec<u8>,
    /// The event log behind run-time measurement registers.
    pub event_log: Option<Vec<u8>>,
    /// What the manufacturer published.
    pub endorsements: Endorsements,
    /// Devices of the same machine, in the order in which the statement lists them.
    pub devices: Vec<DeviceEvidence>,
}

impl Bundle {
    /// Encodes; refuses what [`Bundle::decode`] would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, BundleError> {
        let log_bytes = self.event_log.as_ref().map_or(0, Vec::len);
        let devices_fit = self.devices.len() <= DEVICES_MAX && self.devices.iter().all(DeviceEvidence::fits);
        if self.evidence.len() > EVIDENCE_BYTES_MAX
            || self.statement.len() > STATEMENT_BYTES_MAX
            || log_bytes > EVENT_LOG_BYTES_MAX
            || !self.endorsements.fit()
            || !devices_fit
        {
            return Err(BundleError::Bound);
        }
        let bytes = self.to_cbor();
        if bytes.len() > BUNDLE_BYTES_MAX {
            Err(BundleError::Bound)
        } else {
            Ok(bytes)
        }
    }

    /// Decodes; only the deterministic encoding within the bounds is accepted.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::Bound);
        }
        let decoder = &mut Decoder::new(bytes);
        cbor::map_of(decoder, ENTRIES)?;
        cbor::key(decoder, 1)?;
        let version = decoder.u64().map_err(CborFault::from)?;
        if version != VERSION {
            return Err(BundleError::UnknownVersion(version));
        }
        cbor::key(decoder, 2)?;
        let tag = decoder.str().map_err(CborFault::from)?;
        let platform = PlatformTag::from_text(tag)
            .ok_or_else(|| BundleError::UnknownPlatform(tag.chars().take(64).collect::<String>()))?;
        cbor::key(decoder, 3)?;
        let evidence = cbor::bytes(decoder, EVIDENCE_BYTES_MAX)?.to_vec();
        cbor::key(decoder, 4)?;
        let statement = cbor::bytes(decoder, STATEMENT_BYTES_MAX)?.to_vec();
        cbor::key(decoder, 5)?;
        let event_log = match decoder.datatype().map_err(CborFault::from)? {
            Type::Null => {
                decoder.null().map_err(CborFault::from)?;
                None
            }
            _ => Some(cbor::bytes(decoder, EVENT_LOG_BYTES_MAX)?.to_vec()),
        };
        cbor::key(decoder, 6)?;
        let endorsements = Endorsements::read(decoder)?;
        cbor::key(decoder, 7)?;
        let count = decoder
            .array()
            .map_err(CborFault::from)?
            .ok_or(CborFault::Shape)?;
        if count > DEVICES_MAX as u64 {
            return Err(BundleError::Bound);
        }
        let devices = (0..count)
            .map(|_| DeviceEvidence::read(decoder))
            .collect::<Result<_, _>>()?;
        let bundle = Bundle {
            platform,
            evidence,
            statement,
            event_log,
            endorsements,
            devices,
        };
        if bundle.to_cbor() != bytes {
            return Err(BundleError::NotCanonical);
        }
        Ok(bundle)
    }

    fn to_cbor(&self) -> Vec<u8> {
        cbor::encode(|writer| {
            writer.map(ENTRIES)?.u8(1)?.u64(VERSION)?;
            writer.u8(2)?.str(self.platform.as_str())?;
            writer.u8(3)?.bytes(&self.evidence)?;
            writer.u8(4)?.bytes(&self.statement)?;
            writer.u8(5)?;
            match &self.event_log {
                Some(log) => writer.bytes(log)?,
                None => writer.null()?,
            };
            writer.u8(6)?;
            self.endorsements.write(writer)?;
            writer.u8(7)?.array(self.devices.len() as u64)?;
            self.devices.iter().try_for_each(|device| device.write(writer))
        })
    }
}
