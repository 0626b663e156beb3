//! The rules of a vTPM quote. Citations: TPM is the TCG TPM 2.0 Library specification, Part 2.

use crate::examination::rules;

rules! {
    KIND = "vtpm-quote-kind", Genuine, Unsupported, "TPM section 10.12.12, magic and type",
        "a signature over something that the TPM did not make, or that is no quote";
    FORMAT = "vtpm-quote-format", Genuine, Malformed, "TPM section 10.12.12",
        "bytes that only look like a quote; lengths that do not add up; anything after it";
    SIGNATURE = "vtpm-quote-signature", Genuine, Untrusted, "RFC 8017 section 8.2; TPM section 11.2.1",
        "a forged or altered quote; a quote under another key than the one that the hardware vouches for";
    PCR_COUNT = "vtpm-pcr-count", Genuine, Malformed, "TPM section 10.6.2",
        "values that belong to other PCRs than the quote names";
    PCR_DIGEST = "vtpm-pcr-digest", Genuine, Mismatch, "TPM section 10.12.1, pcrDigest",
        "PCR values that the TPM did not quote";

    PCR_BANK = "vtpm-pcr-bank", Expected, Refused, "TPM section 10.6.2; policy pcrs",
        "a bank that nobody extends, or SHA-1; two banks of which only one is looked at";
    PCR_SELECTION = "vtpm-pcr-selection", Expected, Refused, "TPM section 10.6.2; policy pcrs",
        "a quote that leaves out the PCRs that would show the change";
    PCR_VALUES = "vtpm-pcr-values", Expected, Mismatch, "TCG PC Client Platform Firmware Profile; policy pcrs",
        "other firmware settings, boot loader, kernel or command line inside the guest";
    EVENT_LOG = "vtpm-event-log", Expected, Mismatch, "TCG PC Client Platform Firmware Profile section 10; TPM Part 1 section 17.2",
        "a log that tells another boot than the one whose PCRs were quoted";

    EXTRA_DATA = "vtpm-extra-data", Mine, Mismatch, "TPM section 10.12.12, extraData",
        "an old quote replayed; a quote for somebody else's keys";
}
