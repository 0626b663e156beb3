//! The fields of a quote in the words of the TPM specification.

use alloc::vec::Vec;

use super::attest::{self, Attest};
use crate::fields::{Field, Fields};

/// Every field of a TPMS_ATTEST that is a quote.
pub(crate) fn fields(attest: &Attest<'_>) -> Vec<Field> {
    let mut fields = Fields::default();
    fields
        .number("magic", 0, attest::GENERATED.into(), "TPM_GENERATED_VALUE")
        .number("type", 4, attest::QUOTE.into(), "TPM_ST_ATTEST_QUOTE")
        .text("qualifiedSigner", Some(6), hex::encode(attest.qualified_signer))
        .text("extraData", None, hex::encode(attest.extra_data))
        .text("clock", None, attest.clock_milliseconds)
        .text("resetCount", None, attest.reset_count)
        .text("restartCount", None, attest.restart_count)
        .text("safe", None, attest.clock_is_safe)
        .text(
            "firmwareVersion",
            None,
            format_args!("{:#018x}", attest.firmware_version),
        );
    for selection in &attest.selections {
        let selected = format_args!("{}: {}", selection.bank, selection.pcrs);
        fields.text("pcrSelect", None, selected);
    }
    fields.text("pcrDigest", None, hex::encode(attest.pcr_digest));
    fields.into_vec()
}
