//! Which PCRs are quoted, always of the SHA-256 bank.

use sha2::{Digest as _, Sha256};

/// TPM_ALG_SHA256 (TCG TPM 2.0 Library, part 2, table 9).
pub(super) const SHA256: u16 = 0x000b;

const PCRS: usize = 24;
const BITMAP_BYTES: usize = PCRS / 8;

/// A set of the PCRs 0 to 23; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcrSelection([u8; BITMAP_BYTES]);

impl PcrSelection {
    /// All 24.
    pub const ALL: PcrSelection = PcrSelection([0xff; BITMAP_BYTES]);

    /// These PCRs; `None` if there is none, or a number that no PCR has.
    pub fn of(numbers: &[u8]) -> Option<Self> {
        let mut bitmap = [0; BITMAP_BYTES];
        for number in numbers {
            let octet = bitmap.get_mut(usize::from(number / 8))?;
            *octet |= 1 << (number % 8);
        }
        (!numbers.is_empty()).then_some(Self(bitmap))
    }

    /// The numbers, in order.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..PCRS as u8).filter(move |number| self.contains(*number))
    }

    /// Whether PCR `number` is in the set.
    pub fn contains(self, number: u8) -> bool {
        self.0
            .get(usize::from(number / 8))
            .is_some_and(|octet| octet >> (number % 8) & 1 == 1)
    }

    /// TPML_PCR_SELECTION with one bank (part 2, section 10.9.7).
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = 1_u32.to_be_bytes().to_vec();
        bytes.extend(SHA256.to_be_bytes());
        bytes.push(BITMAP_BYTES as u8);
        bytes.extend(self.0);
        bytes
    }

    pub(super) fn len(self) -> usize {
        self.numbers().count()
    }

    /// Takes away what `other` has; `None` if nothing is left.
    pub(super) fn without(self, other: Self) -> Option<Self> {
        let mut left = self.0;
        for (octet, gone) in left.iter_mut().zip(other.0) {
            *octet &= !gone;
        }
        (left != [0; BITMAP_BYTES]).then_some(Self(left))
    }

    /// The set in a TPML_PCR_SELECTION with one bank of SHA-256; `None` if it is another one.
    pub(super) fn from_bitmap(bitmap: &[u8]) -> Option<Self> {
        let bitmap: [u8; BITMAP_BYTES] = bitmap.try_into().ok()?;
        (bitmap != [0; BITMAP_BYTES]).then_some(Self(bitmap))
    }

    pub(super) fn is_within(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(octet, of)| octet & !of == 0)
    }
}

/// The digest that a quote has of PCR values (part 3, section 18.4): over their concatenation.
pub(super) fn digest(values: &[u8]) -> [u8; 32] {
    Sha256::digest(values).into()
}

#[cfg(test)]
mod tests {
    use super::PcrSelection;

    #[test]
    fn a_selection_is_its_bitmap() {
        let some = PcrSelection::of(&[0, 7, 8, 23]).expect("a selection");
        assert_eq!(some.encode(), [0, 0, 0, 1, 0, 0x0b, 3, 0x81, 0x01, 0x80]);
        assert!(some.numbers().eq([0, 7, 8, 23]));
        assert_eq!(some.len(), 4);
        assert_eq!(PcrSelection::ALL.len(), 24);
        assert!(some.is_within(PcrSelection::ALL) && !PcrSelection::ALL.is_within(some));
        assert_eq!(PcrSelection::ALL.without(some).map(PcrSelection::len), Some(20));
        assert_eq!(some.without(PcrSelection::ALL), None);
    }

    #[test]
    fn what_is_no_selection_is_refused() {
        assert_eq!(PcrSelection::of(&[]), None);
        assert_eq!(PcrSelection::of(&[1, 24]), None);
        for bitmap in [&[][..], &[0, 0, 0], &[1, 1], &[1, 1, 1, 1]] {
            assert_eq!(PcrSelection::from_bitmap(bitmap), None);
        }
    }
}
