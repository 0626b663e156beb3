//! The rules on what Azure's paravisor says, beside those on the processor and on the vTPM's quote.
//! Citations: HCL is Azure's guest attestation design with OpenHCL's `igvm_attest` protocol.

use crate::examination::rules;

rules! {
    EVIDENCE = "azure-evidence-format", Genuine, Malformed, "Adyton vTPM evidence v1; RFC 8949 section 4.2.1",
        "evidence that two readers read differently";
    HCL_FORMAT = "azure-hcl-format", Genuine, Malformed, "HCL, IgvmAttestRequestBase",
        "sizes that do not add up; anything hidden in reserved fields or after the runtime data";
    HCL_VERSION = "azure-hcl-version", Genuine, Unsupported, "HCL, IgvmAttestRequestHeader and IgvmAttestRequestData",
        "a later format read by an earlier one's rules";
    REPORT_TYPE = "azure-report-type", Genuine, Refused, "HCL, IgvmAttestReportType",
        "a report of another processor, of VBS or of a trusted launch VM, which no hardware signs";
    HASH_TYPE = "azure-hash-type", Genuine, Unsupported, "HCL, IgvmAttestHashType",
        "a hash that nobody here computes";
    RUNTIME_HASH = "azure-runtime-data-hash", Genuine, Mismatch, "HCL, report data: hash of the runtime data, then zero",
        "another vTPM's key or other settings than the paravisor's; data in the part that must be zero";
    RUNTIME_DATA = "azure-runtime-data", Genuine, Malformed, "HCL, RuntimeClaims; RFC 8259 section 4",
        "runtime data in which two readers find different keys";
    ATTESTATION_KEY = "azure-attestation-key", Genuine, Untrusted, "HCL, HCLAkPub; RFC 7518 section 6.3",
        "runtime data that name no attestation key, or two, as those of a key release do";
    AK_CERTIFICATES = "azure-ak-certificates", Genuine, Malformed, "RFC 5280 section 4.1; policy absent-ak-certificate",
        "a vTPM whose key Azure did not certify";
    AK_CHAIN = "azure-ak-chain", Genuine, Untrusted, "RFC 5280 section 6; TCG EK Credential Profile section 3.2.16",
        "a certificate of another root than Azure's for vTPMs, or of another kind of key";
    AK_VALIDITY = "azure-ak-validity", Genuine, OutsideValidity, "RFC 5280 section 4.1.2.5",
        "a key used before or after its certificates' time";
    AK_KEY = "azure-ak-key", Genuine, Mismatch, "HCL, HCLAkPub",
        "the certificate of another vTPM";

    SECURE_BOOT = "azure-secure-boot", Expected, Refused, "HCL, secure-boot; policy secure-boot-disabled",
        "a guest whose boot loader nobody checked";
    TPM = "azure-tpm-enabled", Expected, Refused, "HCL, tpm-enabled",
        "a paravisor that says it has no vTPM, beside the quote of one";
    TPM_STATE = "azure-tpm-persisted", Expected, Refused, "HCL, tpm-persisted; policy persisted-vtpm",
        "a vTPM state that the host keeps and can give back later";
    CONSOLE = "azure-console", Expected, Refused, "HCL, console-enabled; policy console-enabled",
        "a console on which the host reads what the guest prints";
    INTERACTIVE_CONSOLE = "azure-interactive-console", Expected, Refused, "HCL, interactive-console-enabled; policy interactive-console",
        "a console into which the host types";
    IPMI = "azure-ipmi", Expected, Refused, "HCL, ipmi-enabled; policy ipmi-enabled",
        "a management interface of the host in the guest";
    DEVICES = "azure-filtered-devices", Expected, Refused, "HCL, filtered-vpci-devices-allowed; policy filtered-devices",
        "devices of the host inside the guest";
    THUMBPRINT = "azure-root-certificate", Expected, Mismatch, "HCL, root-cert-thumbprint; policy root_certificate_thumbprints",
        "a guest provisioned under somebody else's certificate";
    VM_ID = "azure-vm-id", Expected, Refused, "HCL, vmUniqueId; policy vm_ids",
        "a genuine machine that is not ours";
    OTHERS = "azure-other-settings", Expected, Refused, "HCL, RuntimeClaims; policy other_settings_accepted",
        "a setting whose meaning nobody here knows";
    USER_DATA = "azure-user-data", Expected, Mismatch, "HCL, user-data; policy user_data",
        "data that only begin as they should";
}
