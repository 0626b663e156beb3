//! What a TPM signs when it quotes PCRs: TPMS_ATTEST with a TPMS_QUOTE_INFO (TPM 2.0 Part 2 section
//! 10.12), big-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic: TPM_GENERATED_VALUE |
//! | 2 | type: TPM_ST_ATTEST_QUOTE |
//! | 2 + n | qualified name of the signer, at most 66 |
//! | 2 + n | extraData: the caller's qualifying data, at most 66 |
//! | 8 + 4 + 4 + 1 | clock in milliseconds, resetCount, restartCount, safe |
//! | 8 | firmwareVersion |
//! | 4 | number of banks, at most 16 |
//! | 2 + 1 + n | each: hash algorithm, octets of the bit map, 3 or 4, bit map |
//! | 2 + n | digest of the selected PCRs, at most 64 |

use alloc::vec::Vec;

use super::cursor::Cursor;
use super::selection::{PcrSelection, read_list};

/// TPM_GENERATED_VALUE: a restricted key signs nothing from outside that begins so.
pub(crate) const GENERATED: u32 = 0xff54_4347;
/// TPM_ST_ATTEST_QUOTE.
pub(crate) const QUOTE: u16 = 0x8018;
/// A TPMT_HA with the largest digest.
const NAME_BYTES_MAX: usize = 66;
const DIGEST_BYTES_MAX: usize = 64;

/// Magic and type, which come before anything that depends on them.
pub(crate) fn kind(bytes: &[u8]) -> Option<(u32, u16)> {
    let mut cursor = Cursor::new(bytes);
    Some((cursor.u32()?, cursor.u16()?))
}

/// A quote's message, taken apart.
#[derive(Debug)]
pub(crate) struct Attest<'a> {
    pub(crate) qualified_signer: &'a [u8],
    pub(crate) extra_data: &'a [u8],
    pub(crate) clock_milliseconds: u64,
    pub(crate) reset_count: u32,
    pub(crate) restart_count: u32,
    pub(crate) clock_is_safe: bool,
    pub(crate) firmware_version: u64,
    pub(crate) selections: Vec<PcrSelection>,
    pub(crate) pcr_digest: &'a [u8],
}

impl<'a> Attest<'a> {
    /// Takes a message apart whose [`kind`] is that of a quote; nothing may follow it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        if (cursor.u32()?, cursor.u16()?) != (GENERATED, QUOTE) {
            return None;
        }
        let attest = Self {
            qualified_signer: cursor.sized(NAME_BYTES_MAX)?,
            extra_data: cursor.sized(NAME_BYTES_MAX)?,
            clock_milliseconds: cursor.u64()?,
            reset_count: cursor.u32()?,
            restart_count: cursor.u32()?,
            clock_is_safe: match cursor.u8()? {
                0 => false,
                1 => true,
                _ => return None,
            },
            firmware_version: cursor.u64()?,
            selections: read_list(&mut cursor)?,
            pcr_digest: cursor.sized(DIGEST_BYTES_MAX)?,
        };
        cursor.end()?;
        Some(attest)
    }
}
