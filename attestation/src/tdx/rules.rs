//! The rules of a TDX examination. Citations: QVL is Intel's TDX DCAP Quoting Library API, PCK the
//! PCK certificate and CRL profile, PCS the Provisioning Certification Service API v4, TDX the
//! Architecture Specification of the TDX module.

use crate::examination::rules;

rules! {
    QUOTE_VERSION = "tdx-quote-version", Genuine, Unsupported, "QVL appendix A.3, version",
        "an SGX quote or an unknown format in place of a TD quote";
    QUOTE_FORMAT = "tdx-quote-format", Genuine, Malformed, "QVL appendix A.3",
        "bytes that only look like a quote; lengths that do not add up";
    QUOTE_HEADER = "tdx-quote-header", Genuine, Unsupported, "QVL appendix A.3.1",
        "a quote of an SGX enclave, another key type or another vendor's quoting enclave";
    RESERVED_ZERO = "tdx-reserved-zero", Genuine, Malformed, "QVL appendix A.3, reserved and padding",
        "bytes that no field covers, changed unnoticed; anything but zero padding after the quote";
    CERTIFICATES = "tdx-certificates", Genuine, Malformed, "PCK section 1.3; RFC 7468",
        "a quote without its PCK chain, or with a malformed one";
    PCK_CHAIN = "tdx-pck-chain", Genuine, Untrusted, "PCK section 1.3; RFC 5280 section 6",
        "a PCK chain to a root that is not Intel's, or a pre-production one";
    PCK_PROFILE = "tdx-pck-profile", Genuine, Malformed, "PCK section 1.3.5",
        "a PCK whose missing or doubled SGX extensions a verifier skips";
    TCB_SIGNER = "tdx-tcb-signer", Genuine, Untrusted, "PCS, TCB signing certificate",
        "collateral signed by somebody else than Intel's TCB signing key";
    VALIDITY = "tdx-certificate-validity", Genuine, OutsideValidity, "RFC 5280 section 4.1.2.5",
        "keys used before or after their certificates' time";
    CRL_SIGNATURES = "tdx-crl-signatures", Genuine, Untrusted, "RFC 5280 section 5.1",
        "revocation lists that root and PCK CA did not sign, or none at all";
    NOT_REVOKED = "tdx-not-revoked", Genuine, Revoked, "RFC 5280 section 5.3",
        "a platform, CA or TCB signer that Intel withdrew";
    QE_REPORT_SIGNATURE = "tdx-qe-report-signature", Genuine, Untrusted, "QVL appendix A.3.11",
        "a quoting enclave that the platform's PCK did not certify";
    QE_REPORT_BINDING = "tdx-qe-report-binding", Genuine, Untrusted, "QVL appendix A.3.11, report data",
        "an attestation key that the quoting enclave did not make";
    QUOTE_SIGNATURE = "tdx-quote-signature", Genuine, Untrusted, "QVL appendix A.3.8, FIPS 186-5",
        "a forged or altered quote";
    TCB_INFO = "tdx-tcb-info-signature", Genuine, Untrusted, "PCS, TCB info",
        "TCB info that Intel did not sign";
    TCB_INFO_SUBJECT = "tdx-tcb-info-subject", Genuine, Mismatch, "PCS, TCB info fmspc and pceId",
        "TCB info of another platform (FMSPC, PCEID) or of SGX";
    QE_IDENTITY = "tdx-qe-identity-signature", Genuine, Untrusted, "PCS, enclave identity",
        "a QE identity that Intel did not sign (CVE-2026-22696)";
    QE_IDENTITY_SUBJECT = "tdx-qe-identity-subject", Genuine, Mismatch, "PCS, enclave identity id TD_QE",
        "the identity of another enclave than the TD quoting enclave";
    QUOTING_ENCLAVE = "tdx-quoting-enclave", Genuine, Mismatch, "PCS, enclave identity",
        "a quoting enclave of another signer, under debug, or with other attributes";
    MODULE = "tdx-module-identity", Genuine, Mismatch, "PCS, tdxModule and tdxModuleIdentities",
        "a TDX module of another signer or with debug attributes";

    CRL_CURRENT = "tdx-crl-current", UpToDate, OutsideValidity, "RFC 5280 section 5.1.2.5",
        "an old list that does not name what was revoked since";
    COLLATERAL_CURRENT = "tdx-collateral-current", UpToDate, OutsideValidity, "PCS, issueDate and nextUpdate",
        "TCB info or QE identity outside the time for which Intel issued it";
    COLLATERAL_AGE = "tdx-collateral-age", UpToDate, OutsideValidity, "policy collateral_age_seconds_max",
        "a host that replays the last collateral it likes";
    EVALUATION_NUMBER = "tdx-evaluation-number", UpToDate, OutOfDate, "PCS, tcbEvaluationDataNumber",
        "a host that picks the collateral under which an old platform is still UpToDate";
    PLATFORM_LEVEL = "tdx-platform-level", UpToDate, OutOfDate, "PCS, TCB info tcbLevels",
        "a platform below every level that Intel knows";
    MODULE_LEVEL = "tdx-module-level", UpToDate, OutOfDate, "PCS, tdxModuleIdentities tcbLevels",
        "a TDX module below every level that Intel knows";
    QE_LEVEL = "tdx-qe-level", UpToDate, OutOfDate, "PCS, enclave identity tcbLevels",
        "a quoting enclave below every level that Intel knows";
    TCB_STATUS = "tdx-tcb-status", UpToDate, OutOfDate, "PCS, tcbStatus: worst of platform, module, QE",
        "an out-of-date platform behind an up-to-date module: the worst of the three counts";

    MRTD = "tdx-mrtd", Expected, Mismatch, "TDX, MRTD",
        "other firmware than the release";
    EVENT_LOG = "tdx-event-log", Expected, Malformed, "TCG PC Client Platform Firmware Profile section 10; UEFI section 38.4",
        "a register that is to be judged by its events, without them; bytes that only look like a log";
    EVENT_DIGESTS = "tdx-event-digests", Expected, Mismatch, "TCG PC Client Platform Firmware Profile, events",
        "a log that shows another command line or variable than the one that was measured";
    EVENT_ORDER = "tdx-event-order", Expected, Mismatch, "TCG PC Client Platform Firmware Profile section 3.3.4",
        "events added after the boot: a second separator, a second SecureBoot variable";
    RTMR0_REPLAY = "tdx-rtmr0-replay", Expected, Mismatch, "TDX, TDG.MR.RTMR.EXTEND; UEFI section 38.4.1",
        "a log of another boot, or with events added, left out or moved";
    RTMR1_REPLAY = "tdx-rtmr1-replay", Expected, Mismatch, "TDX, TDG.MR.RTMR.EXTEND; UEFI section 38.4.1",
        "a log of another boot, or with events added, left out or moved";
    RTMR2_REPLAY = "tdx-rtmr2-replay", Expected, Mismatch, "TDX, TDG.MR.RTMR.EXTEND; UEFI section 38.4.1",
        "a log of another boot, or with events added, left out or moved";
    RTMR3_REPLAY = "tdx-rtmr3-replay", Expected, Mismatch, "TDX, TDG.MR.RTMR.EXTEND; UEFI section 38.4.1",
        "a log of another run, or with events added, left out or moved";
    RTMR0 = "tdx-rtmr0", Expected, Mismatch, "TDX, RTMR",
        "another firmware configuration";
    RTMR1 = "tdx-rtmr1", Expected, Mismatch, "TDX, RTMR",
        "another boot loader or kernel";
    RTMR2 = "tdx-rtmr2", Expected, Mismatch, "TDX, RTMR",
        "another command line or initrd";
    RTMR3 = "tdx-rtmr3", Expected, Mismatch, "TDX, RTMR",
        "other software loaded at run time";
    MRCONFIGID = "tdx-mrconfigid", Expected, Mismatch, "TDX, MRCONFIGID",
        "a host that launches the right image with another configuration";
    MROWNER = "tdx-mrowner", Expected, Mismatch, "TDX, MROWNER",
        "a guest of another owner";
    MROWNERCONFIG = "tdx-mrownerconfig", Expected, Mismatch, "TDX, MROWNERCONFIG",
        "a guest with another owner's configuration";
    DEBUG = "tdx-debug", Expected, Refused, "TDX, ATTRIBUTES.TUD",
        "a host that reads and writes the guest's memory (every bit of TUD, not only one)";
    ATTRIBUTES = "tdx-attributes", Expected, Refused, "TDX, ATTRIBUTES",
        "SEPT violations injected by the host, migration, performance counters, unknown attributes";
    XFAM = "tdx-xfam", Expected, Refused, "TDX, XFAM",
        "processor features that the policy does not expect in the guest";
    SERVICE_TD = "tdx-service-td", Expected, Refused, "TDX, SERVTD_HASH",
        "a service TD that can read or migrate the guest";
    ENROLLED = "tdx-enrolled-machine", Expected, Refused, "policy enrolled_machines",
        "a genuine machine that is not ours (evidence relayed from elsewhere, extracted keys)";
}
