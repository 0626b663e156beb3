//! The rules of an SNP examination. Citations: AMD 56860 is the SEV-SNP firmware ABI, AMD 57230 the
//! VCEK and key distribution specification.

use crate::clause::Question::{Expected, Genuine, UpToDate};
use crate::examination::{Fault, Rule};

macro_rules! rules {
    ($($name:ident = $id:literal, $question:ident, $fault:ident, $citation:literal;)*) => {
        $(pub(super) static $name: Rule = Rule::new($id, $question, Fault::$fault, $citation);)*
        /// Every rule, in the order in which they are read.
        pub(crate) static RULES: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    REPORT_FORMAT = "snp-report-format", Genuine, Malformed, "AMD 56860 table 23";
    REPORT_VERSION = "snp-report-version", Genuine, Unsupported, "AMD 56860 table 23, VERSION";
    SIGNATURE_ALGORITHM = "snp-signature-algorithm", Genuine, Unsupported, "AMD 56860 table 139";
    RESERVED_ZERO = "snp-reserved-zero", Genuine, Malformed, "AMD 56860 table 23, reserved fields";
    SIGNING_KEY = "snp-signing-key", Genuine, Refused, "AMD 56860 table 23, SIGNING_KEY";
    CHIP_KEY = "snp-chip-key-unmasked", Genuine, Refused, "AMD 56860 table 23, MASK_CHIP_KEY";
    CERTIFICATES = "snp-certificates", Genuine, Malformed, "RFC 5280 section 4.1";
    ROOT = "snp-root", Genuine, Untrusted, "AMD 57230 section 3; policy";
    INTERMEDIATE = "snp-intermediate-signature", Genuine, Untrusted, "AMD 57230 section 3; RFC 8017 section 8.1";
    LEAF = "snp-leaf-signature", Genuine, Untrusted, "AMD 57230 section 3; RFC 8017 section 8.1";
    LEAF_PROFILE = "snp-leaf-profile", Genuine, Malformed, "AMD 57230 section 3, extensions";
    LEAF_KIND = "snp-leaf-kind", Genuine, Untrusted, "AMD 56860 table 23, SIGNING_KEY";
    PROVIDER = "snp-vlek-provider", Genuine, Refused, "AMD 57230 section 3, CSP_ID; policy vlek_providers";
    VALIDITY = "snp-certificate-validity", Genuine, OutsideValidity, "RFC 5280 section 4.1.2.5";
    CRL_SIGNATURE = "snp-crl-signature", Genuine, Untrusted, "RFC 5280 section 5.1";
    NOT_REVOKED = "snp-not-revoked", Genuine, Revoked, "RFC 5280 section 5.3; AMD 57230";
    REPORT_SIGNATURE = "snp-report-signature", Genuine, Untrusted, "AMD 56860 section 7.3, FIPS 186-5";
    GENERATION = "snp-generation", Genuine, Unsupported, "AMD 56860 table 23, CPUID_FAM_ID";
    CHIP_ID = "snp-chip-id", Genuine, Mismatch, "AMD 57230 section 3, hwID";

    CRL_CURRENT = "snp-crl-current", UpToDate, OutsideValidity, "RFC 5280 section 5.1.2.5";
    COLLATERAL_AGE = "snp-collateral-age", UpToDate, OutsideValidity, "policy collateral_age_seconds_max";
    TCB_LAYOUT = "snp-tcb-layout", UpToDate, Malformed, "AMD 56860 TCB_VERSION";
    TCB_CERTIFIED = "snp-tcb-certified", UpToDate, Mismatch, "AMD 57230 section 3, TCB extensions";
    TCB_ORDER = "snp-tcb-order", UpToDate, Mismatch, "AMD 56860 section 3.3";
    FIRMWARE_ORDER = "snp-firmware-order", UpToDate, Mismatch, "AMD 56860 section 3.3";
    PROCESSOR = "snp-processor-accepted", UpToDate, Refused, "policy minimum_tcb";
    TCB_REPORTED = "snp-tcb-reported", UpToDate, OutOfDate, "policy minimum_tcb";
    TCB_COMMITTED = "snp-tcb-committed", UpToDate, OutOfDate, "policy minimum_tcb";
    TCB_LAUNCH = "snp-tcb-launch", UpToDate, OutOfDate, "policy minimum_tcb";
    FIRMWARE = "snp-firmware", UpToDate, OutOfDate, "policy minimum_tcb.firmware";
    MITIGATIONS = "snp-mitigations", UpToDate, OutOfDate, "policy minimum_tcb.mitigations";
    PLATFORM_INFO = "snp-platform-info", UpToDate, Refused, "AMD 56860 table 23, PLATFORM_INFO";

    MEASUREMENT = "snp-measurement", Expected, Mismatch, "AMD 56860 table 23, MEASUREMENT";
    HOST_DATA = "snp-host-data", Expected, Mismatch, "AMD 56860 table 23, HOST_DATA";
    DEBUG = "snp-debug", Expected, Refused, "AMD 56860 table 9, DEBUG";
    MIGRATION = "snp-migration", Expected, Refused, "AMD 56860 table 9, MIGRATE_MA";
    POLICY_RESERVED = "snp-policy-reserved", Expected, Unsupported, "AMD 56860 table 9, bits 17 and 26 to 63";
    POLICY_REQUIRED = "snp-policy-required", Expected, Refused, "AMD 56860 table 9; policy guest_policy_required";
    POLICY_ALLOWED = "snp-policy-allowed", Expected, Refused, "AMD 56860 table 9; policy guest_policy_accepted";
    POLICY_ABI = "snp-policy-abi", Expected, Refused, "AMD 56860 table 9, ABI_MAJOR and ABI_MINOR";
    VMPL = "snp-vmpl", Expected, Mismatch, "AMD 56860 table 23, VMPL";
    GUEST_SVN = "snp-guest-svn", Expected, OutOfDate, "AMD 56860 table 23, GUEST_SVN";
    FAMILY_ID = "snp-family-id", Expected, Mismatch, "AMD 56860 table 23, FAMILY_ID";
    IMAGE_ID = "snp-image-id", Expected, Mismatch, "AMD 56860 table 23, IMAGE_ID";
    ID_KEY = "snp-id-key", Expected, Mismatch, "AMD 56860 table 23, ID_KEY_DIGEST";
    AUTHOR_KEY = "snp-author-key", Expected, Mismatch, "AMD 56860 table 23, AUTHOR_KEY_DIGEST";
    ENROLLED = "snp-enrolled-machine", Expected, Refused, "policy enrolled_machines";
}
