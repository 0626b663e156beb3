//! Opaque data of a report: what a device says of itself next to its measurements.
//!
//! Records without gaps, each a type (2 bytes), a size (2 bytes) and so many bytes, little-endian. The
//! types are those of NVIDIA's attestation tools; GPUs and switches number some of them differently. A
//! type that is not known here is listed and means nothing: it is signed by the device, and no check
//! rests on what it does not say. A newer version of the whole (type 34) is refused.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::cursor::Cursor;

const RECORDS_MAX: usize = 64;
const VERSION_MAX: u16 = 1;

/// Types of records that checks read.
pub(super) const DRIVER_VERSION: u16 = 3;
pub(super) const GPU_INFO: u16 = 4;
pub(super) const VBIOS_VERSION: u16 = 6;
pub(super) const NVDEC0_STATUS: u16 = 11;
pub(super) const CHIP_SKU: u16 = 15;
pub(super) const PROJECT: u16 = 17;
pub(super) const PROJECT_SKU: u16 = 18;
pub(super) const FWID: u16 = 20;
pub(super) const PROTECTED_PCIE_STATUS: u16 = 21;
/// On a GPU: the switch at each link. On a switch: its own.
pub(super) const PDI: u16 = 22;
pub(super) const SWITCH_LOCK_STATUS: u16 = 25;
/// On a switch: the GPUs at its links, then a port for each.
pub(super) const SWITCH_GPU_PDIS: u16 = 26;
const DATA_VERSION: u16 = 34;
pub(super) const CHIP_INFO: u16 = 35;
pub(super) const FEATURE_FLAG: u16 = 36;

const NAMES: &[(u16, &str)] = &[
    (1, "certificate issuer name"),
    (2, "certificate authority key identifier"),
    (DRIVER_VERSION, "driver version"),
    (GPU_INFO, "GPU info"),
    (5, "SKU"),
    (VBIOS_VERSION, "VBIOS version"),
    (7, "manufacturer id"),
    (8, "tamper detection"),
    (9, "SMC"),
    (10, "VPR"),
    (NVDEC0_STATUS, "NVDEC0 status"),
    (12, "measurement counts"),
    (13, "compute protected region"),
    (14, "board id"),
    (CHIP_SKU, "chip SKU"),
    (16, "chip SKU modification"),
    (PROJECT, "project"),
    (PROJECT_SKU, "project SKU"),
    (19, "project SKU modification"),
    (FWID, "FWID"),
    (PROTECTED_PCIE_STATUS, "protected PCIe status"),
    (PDI, "PDI"),
    (23, "disabled ports"),
    (24, "position"),
    (SWITCH_LOCK_STATUS, "switch lock status"),
    (SWITCH_GPU_PDIS, "GPU PDIs"),
    (27, "switch ports"),
    (32, "GPU link connections"),
    (33, "system enable status"),
    (DATA_VERSION, "opaque data version"),
    (CHIP_INFO, "chip"),
    (FEATURE_FLAG, "feature flag"),
];

/// The records, each type once.
#[derive(Debug)]
pub(super) struct OpaqueData<'a>(Vec<(u16, &'a [u8])>);

impl<'a> OpaqueData<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let mut records: Vec<(u16, &[u8])> = Vec::new();
        while !cursor.0.is_empty() {
            let (kind, bytes) = (cursor.u16()?, cursor.u16()?);
            let value = cursor.take(usize::from(bytes))?;
            if records.len() == RECORDS_MAX || records.iter().any(|(other, _)| *other == kind) {
                return None;
            }
            records.push((kind, value));
        }
        let data = Self(records);
        let version = data.get(DATA_VERSION).is_none() || data.number(DATA_VERSION)? <= VERSION_MAX;
        version.then_some(data)
    }

    pub(super) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.0
            .iter()
            .find(|(other, _)| *other == kind)
            .map(|(_, value)| *value)
    }

    pub(super) fn array<const N: usize>(&self, kind: u16) -> Option<&'a [u8; N]> {
        self.get(kind)?.try_into().ok()
    }

    /// A number of two bytes.
    pub(super) fn number(&self, kind: u16) -> Option<u16> {
        self.array(kind).map(|bytes| u16::from_le_bytes(*bytes))
    }

    /// Printable ASCII, padded with zeros.
    pub(super) fn text(&self, kind: u16) -> Option<&'a str> {
        let bytes = self.get(kind)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let (text, padding) = bytes.split_at(end);
        let clean = text.iter().all(u8::is_ascii_graphic) && padding.iter().all(|byte| *byte == 0);
        core::str::from_utf8(text)
            .ok()
            .filter(|text| clean && !text.is_empty())
    }

    /// Device identifiers of eight bytes each; none may be missing a part.
    pub(super) fn identifiers(bytes: &[u8]) -> Option<Vec<[u8; 8]>> {
        let (identifiers, rest) = bytes.as_chunks::<8>();
        rest.is_empty().then(|| identifiers.to_vec())
    }

    /// Every record by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (String, &'a [u8])> {
        self.0.iter().map(|(kind, value)| {
            let name = NAMES.iter().find(|(of, _)| of == kind);
            let name = name.map_or_else(|| alloc::format!("type {kind}"), |(_, name)| (*name).to_string());
            (name, *value)
        })
    }
}
