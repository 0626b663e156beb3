//! The rules on the vTPM of a Google Compute Engine VM, beside those on its quote. The host runs this
//! vTPM, outside the TEE: that all of them hold says which instance Google's host claims to be, and
//! what it says has booted; it says nothing against the host.

use crate::examination::rules;

rules! {
    EVIDENCE = "gce-vtpm-evidence-format", Genuine, Malformed, "Adyton vTPM evidence v1; RFC 8949 section 4.2.1",
        "evidence that two readers read differently";
    PUBLIC = "gce-vtpm-attestation-key", Genuine, Malformed, "TPM section 12.2.4",
        "a key of another kind, or of another signature scheme";
    ATTRIBUTES = "gce-vtpm-key-attributes", Genuine, Untrusted, "TPM section 8.3, TPMA_OBJECT",
        "a key that also signs what comes from outside, and so a made-up quote; a key that left its TPM";
    CERTIFICATES = "gce-vtpm-certificates", Genuine, Malformed, "RFC 5280 section 4.1",
        "a key that Google did not certify";
    CHAIN = "gce-vtpm-chain", Genuine, Untrusted, "RFC 5280 section 6",
        "a certificate of another root than Google's for vTPM keys";
    VALIDITY = "gce-vtpm-validity", Genuine, OutsideValidity, "RFC 5280 section 4.1.2.5",
        "a key used before or after its certificates' time";
    KEY = "gce-vtpm-key", Genuine, Mismatch, "RFC 5280 section 4.1.2.7",
        "the certificate of another vTPM";
    INSTANCE = "gce-vtpm-instance-info", Genuine, Malformed, "Google, extension 1.3.6.1.4.1.11129.2.1.21",
        "a certificate that does not say for which instance it is";
    PRODUCTION = "gce-vtpm-production", Genuine, Refused, "Google, SecurityProperties.isProduction",
        "an instance of Google's own test environments";

    PROJECT = "gce-vtpm-project", Expected, Mismatch, "Google, instance info; policy project_ids, project_numbers",
        "a genuine instance in somebody else's project";
    ZONE = "gce-vtpm-zone", Expected, Mismatch, "Google, instance info; policy zones",
        "a genuine instance in another place";
    INSTANCE_ID = "gce-vtpm-instance-id", Expected, Mismatch, "Google, instance info; policy instance_ids",
        "another instance of the same project";
}
