//! The rules of an SNP examination. Citations: AMD 56860 is the SEV-SNP firmware ABI, AMD 57230 the
//! VCEK and key distribution specification.

use crate::examination::rules;

rules! {
    REPORT_FORMAT = "snp-report-format", Genuine, Malformed, "AMD 56860 table 23",
        "bytes that only look like a report; parsers that guess lengths";
    REPORT_VERSION = "snp-report-version", Genuine, Unsupported, "AMD 56860 table 23, VERSION",
        "a later format read by an earlier one's rules; version 2, which cannot show the alias check";
    SIGNATURE_ALGORITHM = "snp-signature-algorithm", Genuine, Unsupported, "AMD 56860 table 139",
        "a signature checked by another algorithm than the one it names";
    RESERVED_ZERO = "snp-reserved-zero", Genuine, Malformed, "AMD 56860 table 23, reserved fields",
        "bytes that no field covers, changed unnoticed where a verifier re-encodes";
    SIGNING_KEY = "snp-signing-key", Genuine, Refused, "AMD 56860 table 23, SIGNING_KEY",
        "a report that no key signed; a Milan VCEK, whose seed can be extracted (BadFuse); a cloud's VLEK that nobody asked for";
    CHIP_KEY = "snp-chip-key-unmasked", Genuine, Refused, "AMD 56860 table 23, MASK_CHIP_KEY",
        "a host that masks the chip key, so that reports carry no signature";
    CERTIFICATES = "snp-certificates", Genuine, Malformed, "RFC 5280 section 4.1",
        "evidence without the manufacturer's certificates, or with malformed ones";
    ROOT = "snp-root", Genuine, Untrusted, "AMD 57230 section 3; policy",
        "a chain to a root that is not AMD's";
    INTERMEDIATE = "snp-intermediate-signature", Genuine, Untrusted, "AMD 57230 section 3; RFC 8017 section 8.1",
        "an ASK that the ARK did not issue; an ASVK in place of an ASK";
    LEAF = "snp-leaf-signature", Genuine, Untrusted, "AMD 57230 section 3; RFC 8017 section 8.1",
        "a VCEK that AMD did not issue";
    LEAF_PROFILE = "snp-leaf-profile", Genuine, Malformed, "AMD 57230 section 3, extensions",
        "a leaf whose missing, doubled or unknown extensions a verifier skips";
    LEAF_KIND = "snp-leaf-kind", Genuine, Untrusted, "AMD 56860 table 23, SIGNING_KEY",
        "a VLEK where the report claims a VCEK, or the other way round";
    PROVIDER = "snp-vlek-provider", Genuine, Refused, "AMD 57230 section 3, CSP_ID; policy vlek_providers",
        "a genuine VLEK of another cloud";
    VALIDITY = "snp-certificate-validity", Genuine, OutsideValidity, "RFC 5280 section 4.1.2.5",
        "keys used before or after their certificates' time";
    CRL_SIGNATURE = "snp-crl-signature", Genuine, Untrusted, "RFC 5280 section 5.1",
        "a revocation list that the ARK did not sign, or none at all";
    NOT_REVOKED = "snp-not-revoked", Genuine, Revoked, "RFC 5280 section 5.3; AMD 57230",
        "an ASK that AMD withdrew (leaves all have serial 0 and cannot be named)";
    REPORT_SIGNATURE = "snp-report-signature", Genuine, Untrusted, "AMD 56860 section 7.3, FIPS 186-5",
        "a forged or altered report; a signature over a re-encoding";
    GENERATION = "snp-generation", Genuine, Unsupported, "AMD 56860 table 23, CPUID_FAM_ID",
        "a report of one processor generation under another's chain";
    CHIP_ID = "snp-chip-id", Genuine, Mismatch, "AMD 57230 section 3, hwID",
        "a report of one chip under the VCEK of another";

    CRL_CURRENT = "snp-crl-current", UpToDate, OutsideValidity, "RFC 5280 section 5.1.2.5",
        "an old list that does not name what was revoked since";
    COLLATERAL_AGE = "snp-collateral-age", UpToDate, OutsideValidity, "policy collateral_age_seconds_max, revocation_list_age_seconds_max",
        "a host that replays the last list it likes";
    TCB_LAYOUT = "snp-tcb-layout", UpToDate, Malformed, "AMD 56860 TCB_VERSION",
        "a TCB version read in another generation's layout; hidden reserved bytes";
    TCB_CERTIFIED = "snp-tcb-certified", UpToDate, Mismatch, "AMD 57230 section 3, TCB extensions",
        "a report that claims another TCB than its VCEK was derived for";
    TCB_ORDER = "snp-tcb-order", UpToDate, Mismatch, "AMD 56860 section 3.3",
        "versions that cannot stand together: rolled back or never committed";
    FIRMWARE_ORDER = "snp-firmware-order", UpToDate, Mismatch, "AMD 56860 section 3.3",
        "firmware that was rolled back behind what was committed";
    PROCESSOR = "snp-processor-accepted", UpToDate, Refused, "policy minimum_tcb",
        "a model or stepping for which nobody stated what is new enough";
    TCB_REPORTED = "snp-tcb-reported", UpToDate, OutOfDate, "policy minimum_tcb",
        "known-vulnerable firmware or microcode (EntrySign, CacheWarp)";
    TCB_COMMITTED = "snp-tcb-committed", UpToDate, OutOfDate, "policy minimum_tcb",
        "a platform that can be rolled back to vulnerable firmware";
    TCB_LAUNCH = "snp-tcb-launch", UpToDate, OutOfDate, "policy minimum_tcb",
        "a guest launched on vulnerable firmware and updated afterwards";
    FIRMWARE = "snp-firmware", UpToDate, OutOfDate, "policy minimum_tcb.firmware",
        "an old security processor firmware";
    MITIGATIONS = "snp-mitigations", UpToDate, OutOfDate, "policy minimum_tcb.mitigations",
        "a platform on which a named mitigation was off at launch or is off now";
    PLATFORM_INFO = "snp-platform-info", UpToDate, Refused, "AMD 56860 table 23, PLATFORM_INFO",
        "memory aliasing (BadRAM), no ECC, power side channels, readable ciphertext";

    MEASUREMENT = "snp-measurement", Expected, Mismatch, "AMD 56860 table 23, MEASUREMENT",
        "other code than the release: kernel, initrd, command line, firmware";
    HOST_DATA = "snp-host-data", Expected, Mismatch, "AMD 56860 table 23, HOST_DATA",
        "a host that launches the right image with another configuration";
    DEBUG = "snp-debug", Expected, Refused, "AMD 56860 table 9, DEBUG",
        "a host that reads and writes the guest's memory by debug commands";
    MIGRATION = "snp-migration", Expected, Refused, "AMD 56860 table 9, MIGRATE_MA",
        "a migration agent that can move the guest's memory elsewhere";
    POLICY_RESERVED = "snp-policy-reserved", Expected, Unsupported, "AMD 56860 table 9, bits 17 and 26 to 63",
        "a policy bit whose meaning nobody here knows";
    POLICY_REQUIRED = "snp-policy-required", Expected, Refused, "AMD 56860 table 9; policy guest_policy_required",
        "a guest that did not demand the protections that the policy wants";
    POLICY_ALLOWED = "snp-policy-allowed", Expected, Refused, "AMD 56860 table 9; policy guest_policy_accepted",
        "sibling threads of the host (SMT), CXL memory";
    POLICY_ABI = "snp-policy-abi", Expected, Refused, "AMD 56860 table 9, ABI_MAJOR and ABI_MINOR",
        "firmware whose ABI lacks what the guest relies upon";
    VMPL = "snp-vmpl", Expected, Mismatch, "AMD 56860 table 23, VMPL",
        "a less privileged layer asking for evidence in the guest's name";
    GUEST_SVN = "snp-guest-svn", Expected, OutOfDate, "AMD 56860 table 23, GUEST_SVN",
        "an old, withdrawn image under the same identity key";
    FAMILY_ID = "snp-family-id", Expected, Mismatch, "AMD 56860 table 23, FAMILY_ID",
        "another family of images under the same identity key";
    IMAGE_ID = "snp-image-id", Expected, Mismatch, "AMD 56860 table 23, IMAGE_ID",
        "another image of the same family";
    ID_KEY = "snp-id-key", Expected, Mismatch, "AMD 56860 table 23, ID_KEY_DIGEST",
        "an identity block that somebody else signed";
    AUTHOR_KEY = "snp-author-key", Expected, Mismatch, "AMD 56860 table 23, AUTHOR_KEY_DIGEST",
        "an identity key that the author did not sign; a digest without its flag";
    ENROLLED = "snp-enrolled-machine", Expected, Refused, "policy enrolled_machines",
        "a genuine machine that is not ours (evidence relayed from elsewhere, extracted keys)";
}
