//! The report of the host compatibility layer (Azure guest attestation design; OpenHCL
//! `IgvmAttestRequestBase`), little-endian. The hardware signs the hash of the runtime data, not the
//! header around them: what the header says is compared with what is there.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | "HCLA" |
//! | 4 | 4 | version, 1 or 2 |
//! | 8 | 4 | size of all this without the padding |
//! | 12 | 4 | request type: 2, certificate of the attestation key |
//! | 16 | 4 | status: 0 |
//! | 20 | 12 | zero |
//! | 32 | 1184 | hardware report: SNP, or TDREPORT of 1024 bytes and zero |
//! | 1216 | 4 | size of the data from here on |
//! | 1220 | 4 | version of the data, 1 or 2 |
//! | 1224 | 4 | report type: 2 SNP, 4 TDX |
//! | 1228 | 4 | hash of the runtime data: 1 SHA-256, 2 SHA-384, 3 SHA-512 |
//! | 1232 | 4 | size of the runtime data |
//! | 1236 | 4 | only in version 2 of the data: capabilities that the requester names |
//! | | n | runtime data, JSON |
//! | | any | zero padding up to the size of the NV index |

#[cfg(test)]
use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

const MAGIC: [u8; 4] = *b"HCLA";
const HARDWARE_REPORT_AT: usize = 32;
const HARDWARE_REPORT_BYTES: usize = 1184;
const DATA_AT: usize = HARDWARE_REPORT_AT + HARDWARE_REPORT_BYTES;
const DATA_HEADER_BYTES: usize = 20;
const CAPABILITIES_BYTES: usize = 4;
const REPORT_BYTES_MAX: usize = 8 * 1024;

/// What kind of hardware report is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReportType {
    Snp,
    Tdx,
    /// VBS, which no hardware signs; a trusted launch VM, which has none; or not known.
    Other(u32),
}

impl ReportType {
    const fn of(number: u32) -> Self {
        match number {
            2 => Self::Snp,
            4 => Self::Tdx,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for ReportType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snp => f.write_str("SNP"),
            Self::Tdx => f.write_str("TDX"),
            Self::Other(number) => write!(f, "type {number}"),
        }
    }
}

/// How the runtime data are hashed into the hardware's report data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashType {
    Sha256,
    Sha384,
    Sha512,
}

impl HashType {
    const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha384),
            3 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The hash, and zeros up to the 64 bytes of report data.
    pub(crate) fn report_data(self, runtime_data: &[u8]) -> [u8; 64] {
        let mut report_data = [0; 64];
        match self {
            Self::Sha256 => report_data[..32].copy_from_slice(&Sha256::digest(runtime_data)),
            Self::Sha384 => report_data[..48].copy_from_slice(&Sha384::digest(runtime_data)),
            Self::Sha512 => report_data.copy_from_slice(&Sha512::digest(runtime_data)),
        }
        report_data
    }
}

impl fmt::Display for HashType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        })
    }
}

/// A report taken apart; everything borrows the received bytes.
#[derive(Debug)]
pub(crate) struct HclReport<'a> {
    pub(crate) version: u32,
    pub(crate) data_version: u32,
    pub(crate) report_type: ReportType,
    hash_number: u32,
    pub(crate) hardware_report: &'a [u8; HARDWARE_REPORT_BYTES],
    pub(crate) runtime_data: &'a [u8],
}

impl<'a> HclReport<'a> {
    /// Takes a report apart whose sizes agree and whose reserved parts and padding are zero. Versions and
    /// types are for the caller to judge; a data version other than 2 is read as 1.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > REPORT_BYTES_MAX || !bytes.starts_with(&MAGIC) {
            return None;
        }
        let word = |offset: usize| -> Option<u32> {
            let word = bytes.get(offset..)?.first_chunk()?;
            Some(u32::from_le_bytes(*word))
        };
        let size_at = |offset: usize| -> Option<usize> { usize::try_from(word(offset)?).ok() };
        let (request_type, status) = (word(12)?, word(16)?);
        let reserved = bytes.get(20..HARDWARE_REPORT_AT)?;
        if request_type != 2 || status != 0 || reserved.iter().any(|byte| *byte != 0) {
            return None;
        }
        let data_version = word(DATA_AT + 4)?;
        let header_bytes = match data_version {
            2 => DATA_HEADER_BYTES + CAPABILITIES_BYTES,
            _ => DATA_HEADER_BYTES,
        };
        let runtime_bytes = size_at(DATA_AT + 16)?;
        let data_bytes = header_bytes.checked_add(runtime_bytes)?;
        let report_bytes = DATA_AT.checked_add(data_bytes)?;
        if size_at(DATA_AT)? != data_bytes || size_at(8)? != report_bytes {
            return None;
        }
        let (report, padding) = bytes.split_at_checked(report_bytes)?;
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        Some(Self {
            version: word(4)?,
            data_version,
            report_type: ReportType::of(word(DATA_AT + 8)?),
            hash_number: word(DATA_AT + 12)?,
            hardware_report: report.get(HARDWARE_REPORT_AT..)?.first_chunk()?,
            runtime_data: report.get(DATA_AT + header_bytes..)?,
        })
    }

    /// How the runtime data are hashed; the number where it names none of ours.
    pub(crate) fn hash_type(&self) -> Result<HashType, u32> {
        HashType::of(self.hash_number).ok_or(self.hash_number)
    }
}

/// Puts a report together, as the paravisor does; for tests.
#[cfg(test)]
pub(crate) fn assemble(
    report_type: u32,
    hash_type: u32,
    hardware_report: &[u8],
    runtime_data: &[u8],
) -> Vec<u8> {
    let runtime_bytes = runtime_data.len() as u32;
    let mut report = Vec::new();
    report.extend(MAGIC);
    for word in [2, DATA_AT as u32 + 20 + runtime_bytes, 2, 0, 0, 0, 0] {
        report.extend(u32::to_le_bytes(word));
    }
    report.extend(hardware_report);
    report.resize(DATA_AT, 0);
    for word in [20 + runtime_bytes, 1, report_type, hash_type, runtime_bytes] {
        report.extend(u32::to_le_bytes(word));
    }
    report.extend(runtime_data);
    report.resize(report.len() + 100, 0);
    report
}
