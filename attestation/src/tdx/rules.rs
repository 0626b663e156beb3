//! The rules of a TDX examination. Citations: QVL is Intel's TDX DCAP Quoting Library API, PCK the
//! PCK certificate and CRL profile, PCS the Provisioning Certification Service API v4, TDX the
//! Architecture Specification of the TDX module.

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
    QUOTE_VERSION = "tdx-quote-version", Genuine, Unsupported, "QVL appendix A.3, version";
    QUOTE_FORMAT = "tdx-quote-format", Genuine, Malformed, "QVL appendix A.3";
    QUOTE_HEADER = "tdx-quote-header", Genuine, Unsupported, "QVL appendix A.3.1";
    RESERVED_ZERO = "tdx-reserved-zero", Genuine, Malformed, "QVL appendix A.3, reserved and padding";
    CERTIFICATES = "tdx-certificates", Genuine, Malformed, "PCK section 1.3; RFC 7468";
    PCK_CHAIN = "tdx-pck-chain", Genuine, Untrusted, "PCK section 1.3; RFC 5280 section 6";
    PCK_PROFILE = "tdx-pck-profile", Genuine, Malformed, "PCK section 1.3.5";
    TCB_SIGNER = "tdx-tcb-signer", Genuine, Untrusted, "PCS, TCB signing certificate";
    VALIDITY = "tdx-certificate-validity", Genuine, OutsideValidity, "RFC 5280 section 4.1.2.5";
    CRL_SIGNATURES = "tdx-crl-signatures", Genuine, Untrusted, "RFC 5280 section 5.1";
    NOT_REVOKED = "tdx-not-revoked", Genuine, Revoked, "RFC 5280 section 5.3";
    QE_REPORT_SIGNATURE = "tdx-qe-report-signature", Genuine, Untrusted, "QVL appendix A.3.11";
    QE_REPORT_BINDING = "tdx-qe-report-binding", Genuine, Untrusted, "QVL appendix A.3.11, report data";
    QUOTE_SIGNATURE = "tdx-quote-signature", Genuine, Untrusted, "QVL appendix A.3.8, FIPS 186-5";
    TCB_INFO = "tdx-tcb-info-signature", Genuine, Untrusted, "PCS, TCB info";
    TCB_INFO_SUBJECT = "tdx-tcb-info-subject", Genuine, Mismatch, "PCS, TCB info fmspc and pceId";
    QE_IDENTITY = "tdx-qe-identity-signature", Genuine, Untrusted, "PCS, enclave identity";
    QE_IDENTITY_SUBJECT = "tdx-qe-identity-subject", Genuine, Mismatch, "PCS, enclave identity id TD_QE";
    QUOTING_ENCLAVE = "tdx-quoting-enclave", Genuine, Mismatch, "PCS, enclave identity";
    MODULE = "tdx-module-identity", Genuine, Mismatch, "PCS, tdxModule and tdxModuleIdentities";

    CRL_CURRENT = "tdx-crl-current", UpToDate, OutsideValidity, "RFC 5280 section 5.1.2.5";
    COLLATERAL_CURRENT = "tdx-collateral-current", UpToDate, OutsideValidity, "PCS, issueDate and nextUpdate";
    COLLATERAL_AGE = "tdx-collateral-age", UpToDate, OutsideValidity, "policy collateral_age_seconds_max";
    EVALUATION_NUMBER = "tdx-evaluation-number", UpToDate, OutOfDate, "PCS, tcbEvaluationDataNumber";
    PLATFORM_LEVEL = "tdx-platform-level", UpToDate, OutOfDate, "PCS, TCB info tcbLevels";
    MODULE_LEVEL = "tdx-module-level", UpToDate, OutOfDate, "PCS, tdxModuleIdentities tcbLevels";
    QE_LEVEL = "tdx-qe-level", UpToDate, OutOfDate, "PCS, enclave identity tcbLevels";
    TCB_STATUS = "tdx-tcb-status", UpToDate, OutOfDate, "PCS, tcbStatus: worst of platform, module, QE";

    MRTD = "tdx-mrtd", Expected, Mismatch, "TDX, MRTD";
    RTMR0 = "tdx-rtmr0", Expected, Mismatch, "TDX, RTMR";
    RTMR1 = "tdx-rtmr1", Expected, Mismatch, "TDX, RTMR";
    RTMR2 = "tdx-rtmr2", Expected, Mismatch, "TDX, RTMR";
    RTMR3 = "tdx-rtmr3", Expected, Mismatch, "TDX, RTMR";
    MRCONFIGID = "tdx-mrconfigid", Expected, Mismatch, "TDX, MRCONFIGID";
    MROWNER = "tdx-mrowner", Expected, Mismatch, "TDX, MROWNER";
    MROWNERCONFIG = "tdx-mrownerconfig", Expected, Mismatch, "TDX, MROWNERCONFIG";
    DEBUG = "tdx-debug", Expected, Refused, "TDX, ATTRIBUTES.TUD";
    ATTRIBUTES = "tdx-attributes", Expected, Refused, "TDX, ATTRIBUTES";
    XFAM = "tdx-xfam", Expected, Refused, "TDX, XFAM";
    SERVICE_TD = "tdx-service-td", Expected, Refused, "TDX, SERVTD_HASH";
    ENROLLED = "tdx-enrolled-machine", Expected, Refused, "policy enrolled_machines";
}
