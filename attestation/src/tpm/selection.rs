//! PCR banks and sets of PCRs (TPM 2.0 Part 2 sections 6.3 and 10.6).

use core::fmt;

use super::cursor::Cursor;

/// Banks in one selection; a TPM has one for each hash algorithm (HASH_COUNT).
const BANKS_MAX: u32 = 16;
/// PCR_SELECT_MIN of a PC Client TPM: 24 PCRs.
const SELECT_BYTES_MIN: usize = 3;
/// 32 PCRs; no platform here has more.
const SELECT_BYTES_MAX: usize = 4;

/// TPM_ALG_ID of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashAlgorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    /// One that names no bank of this verifier.
    Other(u16),
}

impl HashAlgorithm {
    pub(crate) const fn of(id: u16) -> Self {
        match id {
            0x0004 => Self::Sha1,
            0x000b => Self::Sha256,
            0x000c => Self::Sha384,
            0x000d => Self::Sha512,
            other => Self::Other(other),
        }
    }

    /// Bytes of a digest; `None` where the algorithm is not known.
    pub(crate) const fn digest_bytes(self) -> Option<usize> {
        match self {
            Self::Sha1 => Some(20),
            Self::Sha256 => Some(32),
            Self::Sha384 => Some(48),
            Self::Sha512 => Some(64),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha1 => f.write_str("SHA-1"),
            Self::Sha256 => f.write_str("SHA-256"),
            Self::Sha384 => f.write_str("SHA-384"),
            Self::Sha512 => f.write_str("SHA-512"),
            Self::Other(id) => write!(f, "algorithm {id:#06x}"),
        }
    }
}

/// A set of PCRs, 0 to 31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PcrSet(u32);

impl PcrSet {
    /// The set of these PCRs; numbers above 31 name none.
    pub(crate) fn of(pcrs: impl IntoIterator<Item = u8>) -> Self {
        Self(
            pcrs.into_iter()
                .fold(0, |set, pcr| set | 1u32.checked_shl(pcr.into()).unwrap_or(0)),
        )
    }

    /// In ascending order, which is the order of a quote's digest.
    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..32u8).filter(move |pcr| self.0 >> pcr & 1 == 1)
    }

    pub(crate) const fn len(self) -> usize {
        self.0.count_ones() as usize
    }
}

impl fmt::Display for PcrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("none");
        }
        let has = |pcr: u8| self.iter().any(|other| other == pcr);
        let mut separator = "";
        for first in self.iter().filter(|pcr| *pcr == 0 || !has(pcr - 1)) {
            let last = (first..32).take_while(|pcr| has(*pcr)).last().unwrap_or(first);
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ", ";
        }
        Ok(())
    }
}

/// TPMS_PCR_SELECTION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PcrSelection {
    pub(crate) bank: HashAlgorithm,
    pub(crate) pcrs: PcrSet,
}

impl PcrSelection {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let bank = HashAlgorithm::of(cursor.u16()?);
        let bytes = usize::from(cursor.u8()?);
        if !(SELECT_BYTES_MIN..=SELECT_BYTES_MAX).contains(&bytes) {
            return None;
        }
        // Octet 0 holds PCR 0 to 7, the least significant bit PCR 0.
        let pcrs = cursor
            .take(bytes)?
            .iter()
            .rev()
            .fold(0u32, |set, octet| set << 8 | u32::from(*octet));
        Some(Self {
            bank,
            pcrs: PcrSet(pcrs),
        })
    }
}

/// Reads a TPML_PCR_SELECTION.
pub(super) fn read_list(cursor: &mut Cursor<'_>) -> Option<alloc::vec::Vec<PcrSelection>> {
    let count = cursor.u32()?;
    if count > BANKS_MAX {
        return None;
    }
    (0..count).map(|_| PcrSelection::read(cursor)).collect()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::{Cursor, HashAlgorithm, PcrSelection, PcrSet, read_list};

    #[test]
    fn bits_count_from_the_least_significant_of_the_first_octet() {
        let bytes = [0x00, 0x0b, 0x03, 0x11, 0x00, 0x80];
        let selection = PcrSelection::read(&mut Cursor::new(&bytes)).expect("a selection");
        assert_eq!(selection.bank, HashAlgorithm::Sha256);
        assert_eq!(selection.pcrs, PcrSet::of([0, 4, 23]));
        assert_eq!(selection.pcrs.len(), 3);
    }

    #[test]
    fn sizes_outside_the_bounds_are_refused() {
        for bytes in [0u8, 1, 2, 5, 255] {
            let mut selection = alloc::vec![0x00, 0x0b, bytes];
            selection.resize(3 + usize::from(bytes), 0);
            assert_eq!(PcrSelection::read(&mut Cursor::new(&selection)), None, "{bytes}");
        }
        for (bytes, pcrs) in [(3usize, 24), (4, 32)] {
            let selection = [&[0x00, 0x0b, bytes as u8][..], &[0xff; 4][..bytes]].concat();
            let selection = PcrSelection::read(&mut Cursor::new(&selection)).expect("a selection");
            assert_eq!(selection.pcrs, PcrSet::of(0..pcrs));
        }
        let banks = |count: u32| {
            let list = [
                &count.to_be_bytes()[..],
                &[0, 0x0b, 3, 0, 0, 0].repeat(count as usize),
            ]
            .concat();
            read_list(&mut Cursor::new(&list)).map(|banks| banks.len())
        };
        assert_eq!((banks(16), banks(17)), (Some(16), None));
        assert_eq!(read_list(&mut Cursor::new(&u32::MAX.to_be_bytes())), None);
    }

    #[test]
    fn sets_are_written_as_ranges() {
        assert_eq!(PcrSet::of([]).to_string(), "none");
        assert_eq!(PcrSet::of([7]).to_string(), "7");
        assert_eq!(PcrSet::of(0..24).to_string(), "0-23");
        assert_eq!(PcrSet::of([0, 1, 2, 9, 31]).to_string(), "0-2, 9, 31");
        assert_eq!(PcrSet::of([32, 255]), PcrSet::of([]));
        assert_eq!(PcrSet::of([7, 7]), PcrSet::of([7]));
    }
}
