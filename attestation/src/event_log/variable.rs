//! UEFI_VARIABLE_DATA: a variable as firmware measures it (Platform Firmware Profile, section 10.2.6).
//!
//! | bytes | field |
//! |---|---|
//! | 16 | vendor GUID |
//! | 8 | length of the name in 16-bit units |
//! | 8 | length of the value in bytes |
//! | 2 · n | name, UTF-16 without NUL |
//! | n | value |

use alloc::string::String;
use alloc::vec::Vec;

/// EFI_GLOBAL_VARIABLE (UEFI section 3.3).
pub(super) const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
const HEADER_BYTES: usize = 32;

/// A variable.
#[derive(Debug)]
pub(super) struct Variable<'a> {
    pub(super) vendor: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> Variable<'a> {
    /// Takes the data of an event apart; `None` unless its lengths are exact.
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let (header, rest) = data.split_at_checked(HEADER_BYTES)?;
        let length = |at: usize| {
            let bytes = header.get(at..at + 8)?.try_into().ok()?;
            usize::try_from(u64::from_le_bytes(bytes)).ok()
        };
        let (name, value) = rest.split_at_checked(length(16)?.checked_mul(2)?)?;
        (value.len() == length(24)?).then_some(Self {
            vendor: &header[..16],
            name,
            value,
        })
    }

    /// Whether this is the variable of that vendor and name.
    pub(super) fn is(&self, vendor: &[u8; 16], name: &str) -> bool {
        self.vendor == vendor && utf16(self.name).as_deref() == Some(name)
    }
}

/// Text from UTF-16 up to its first NUL; `None` if it is not UTF-16.
pub(super) fn utf16(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let units: Vec<u16> = units
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16(&units).ok()
}
