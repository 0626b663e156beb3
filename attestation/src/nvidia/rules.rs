//! The rules on one device. Citations: DSP0274 is DMTF's SPDM specification 1.1, DICE is TCG's DICE
//! Attestation Architecture, SDK the documentation of NVIDIA's attestation SDK.

use crate::examination::rules;

rules! {
    REPORT_FORMAT = "nvidia-report-format", Genuine, Malformed, "DSP0274 section 10.11",
        "bytes that only look like a report; lengths that do not add up";
    REQUEST = "nvidia-report-request", Genuine, Unsupported, "DSP0274 section 10.11, request and response header",
        "a signature over something else than all measurements, or from another slot's key";
    TRAILING = "nvidia-report-trailing", Genuine, Malformed, "SDK: nothing follows the signature",
        "bytes that nobody signed, read as if they were part of the report";
    OPAQUE_DATA = "nvidia-opaque-data", Genuine, Malformed, "SDK, opaque data types",
        "a field given twice, of which two readers take different ones; a format of the future";
    CERTIFICATES = "nvidia-certificates", Genuine, Malformed, "DSP0274 section 10.6; RFC 7468",
        "a report without its certificates, or with malformed ones";
    CHAIN = "nvidia-certificate-chain", Genuine, Untrusted, "RFC 5280 section 6",
        "a device that NVIDIA did not make";
    VALIDITY = "nvidia-certificate-validity", Genuine, OutsideValidity, "RFC 5280 section 4.1.2.5",
        "keys used before or after their certificates' time";
    REPORT_SIGNATURE = "nvidia-report-signature", Genuine, Untrusted, "DSP0274 section 10.11, signature; FIPS 186-5",
        "a forged or altered report";
    DEVICE_IDENTITY = "nvidia-device-identity", Genuine, Mismatch, "SDK, device identity certificates",
        "a device that cannot be told from another";
    ARCHITECTURE = "nvidia-architecture", Genuine, Mismatch, "DSP0274 section 10.6; SDK, GPU info",
        "a report of one kind of device under certificates of another";
    FWID = "nvidia-fwid", Genuine, Mismatch, "DICE section 6.1.1, fwids",
        "a leaf of other firmware than the one that reports";
    OCSP_RESPONSES = "nvidia-ocsp-responses", Genuine, Untrusted, "RFC 6960 sections 3.2 and 4.2.2.2",
        "answers of somebody who may not answer, or none: nothing else withdraws NVIDIA's certificates";
    NOT_REVOKED = "nvidia-not-revoked", Genuine, Revoked, "RFC 6960 section 2.2",
        "a device, authority or manifest signer that NVIDIA withdrew or put on hold";

    OCSP_CURRENT = "nvidia-ocsp-current", UpToDate, OutsideValidity, "RFC 6960 section 4.2.2.1",
        "an old answer that does not know what was revoked since";
    OCSP_AGE = "nvidia-ocsp-age", UpToDate, OutsideValidity, "policy collateral_age_seconds_max",
        "a host that replays the last answer it likes";
    VERSIONS = "nvidia-versions", UpToDate, Malformed, "SDK, driver and VBIOS version",
        "a version that cannot be compared";
    MINIMUM_DRIVER = "nvidia-minimum-driver", UpToDate, OutOfDate, "policy minimum_versions",
        "a genuine driver with known holes";
    MINIMUM_VBIOS = "nvidia-minimum-vbios", UpToDate, OutOfDate, "policy minimum_versions",
        "genuine firmware with known holes";

    ACCEPTED_ARCHITECTURE = "nvidia-accepted-architecture", Expected, Refused, "policy minimum_versions",
        "a kind of device that nobody asked for";
    MANIFEST_SUBJECT = "nvidia-manifest-subject", Expected, Mismatch, "SDK, RIM identifiers",
        "the manifest of another driver, VBIOS or chip";
    MANIFESTS_DISJOINT = "nvidia-manifests-disjoint", Expected, Mismatch, "SDK, measurement comparison",
        "two manifests that do not belong together";
    MEASUREMENTS = "nvidia-measurements", Expected, Mismatch, "TCG RIM information model; SDK, measurement comparison",
        "other firmware or another driver than NVIDIA's; debug firmware; secure boot off";
    FIRMWARE_STATE = "nvidia-firmware-state", Expected, Refused, "DICE section 6.1.1, flags",
        "firmware under debug, in recovery, or not secured";
    MODE = "nvidia-mode", Expected, Refused, "SDK, feature flag, protected PCIe status, switch lock status",
        "a weaker mode of confidential computing than expected; a switch that can be rerouted";
    VIDEO_DECODER = "nvidia-video-decoder", Expected, Refused, "SDK, NVDEC0 status",
        "an engine whose firmware manifests measure only when it is on";
    ENROLLED = "nvidia-enrolled-device", Expected, Refused, "policy enrolled_devices",
        "a genuine device that is not ours (evidence relayed from elsewhere, extracted keys)";

    NONCE = "nvidia-nonce", Mine, Mismatch, "DSP0274 section 10.11, nonce",
        "a replayed report, or one that another machine's device made for somebody else";
}
