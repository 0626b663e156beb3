//! What people read of a quote.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::attest::Attest;

/// Name and value of each field of a TPMS_ATTEST that is a quote; `None` if it is none. Nothing has
/// been verified.
pub fn tpm_quote_fields(message: &[u8]) -> Option<Vec<(&'static str, String)>> {
    let attest = Attest::parse(message)?;
    let banks = attest.selections.iter();
    let banks = banks.map(|selection| format!("{}: {}", selection.bank, selection.pcrs));
    Some(alloc::vec![
        ("qualified-signer", hex::encode(attest.qualified_signer)),
        ("extra-data", hex::encode(attest.extra_data)),
        ("clock-milliseconds", attest.clock_milliseconds.to_string()),
        ("reset-count", attest.reset_count.to_string()),
        ("restart-count", attest.restart_count.to_string()),
        ("clock-safe", attest.clock_is_safe.to_string()),
        ("firmware-version", format!("{:#018x}", attest.firmware_version)),
        ("pcr-selection", banks.collect::<Vec<_>>().join("; ")),
        ("pcr-digest", hex::encode(attest.pcr_digest)),
    ])
}
