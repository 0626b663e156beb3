//! What bytes are, before anybody checks them: for commands that are handed a file.

use alloc::string::String;
use alloc::vec::Vec;

use crate::azure::{self, HclReport};
use crate::bundle::Bundle;
use crate::event_log::EventLog;
use crate::fields::{Field, Fields};
use crate::nvidia;
use crate::snp::{self, Report};
use crate::tdx::{self, Quote};
use crate::time::UnixTime;
use crate::tpm;
use crate::x509::{Certificate, RevocationList, pem_certificates};

/// What a file looks like. Only the first bytes were looked at, or its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A bundle of ours.
    Bundle,
    /// A raw SNP attestation report.
    SnpReport,
    /// A raw TDX quote (or an SGX quote, which the Verifier refuses by name).
    TdxQuote,
    /// The paravisor's report of an Azure confidential VM.
    AzureHclReport,
    /// A quote of a TPM (TPMS_ATTEST), without its signature.
    TpmQuote,
    /// SPDM measurements of an NVIDIA device.
    NvidiaReport,
    /// A certificate in DER.
    Certificate,
    /// A certificate revocation list in DER.
    RevocationList,
    /// Certificates in PEM.
    PemCertificates,
    /// A TCG or CCEL event log.
    EventLog,
    /// A JSON document.
    Json,
    /// An XML document.
    Xml,
}

impl Kind {
    /// The kind in words.
    pub const fn text(self) -> &'static str {
        match self {
            Kind::Bundle => "an Adyton bundle",
            Kind::SnpReport => "an AMD SEV-SNP attestation report",
            Kind::TdxQuote => "an Intel TDX quote",
            Kind::AzureHclReport => "an Azure HCL report",
            Kind::TpmQuote => "a TPM quote",
            Kind::NvidiaReport => "an NVIDIA attestation report",
            Kind::Certificate => "a certificate",
            Kind::RevocationList => "a certificate revocation list",
            Kind::PemCertificates => "certificates in PEM",
            Kind::EventLog => "an event log",
            Kind::Json => "a JSON document",
            Kind::Xml => "an XML document",
        }
    }
}

/// Says what `bytes` look like; `None` if like nothing that is known.
pub fn recognise(bytes: &[u8]) -> Option<Kind> {
    /// TCG_PCClientPCREvent of the header: PCR 0, EV_NO_ACTION, no digest, at least 29 bytes (TCG PC Client
    /// Platform Firmware Profile, section 10.4.1). CCEL begins with register 0 or 1.
    fn is_event_log(bytes: &[u8]) -> bool {
        bytes.get(4..8) == Some(&[3, 0, 0, 0]) && bytes.get(32..48) == Some(b"Spec ID Event03\0")
    }
    let trimmed = bytes.trim_ascii_start();
    let word = |offset: usize| {
        let bytes = bytes.get(offset..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    if bytes.len() == snp::REPORT_BYTES && word(0).is_some_and(|version| (1..=64).contains(&version)) {
        return Some(Kind::SnpReport);
    }
    if bytes.starts_with(b"HCLA") {
        return Some(Kind::AzureHclReport);
    }
    if bytes.starts_with(&[0xff, b'T', b'C', b'G', 0x80, 0x18]) {
        return Some(Kind::TpmQuote);
    }
    if is_event_log(bytes) {
        return Some(Kind::EventLog);
    }
    if bytes.starts_with(&[0x11, 0xe0]) {
        return Some(Kind::NvidiaReport);
    }
    // Version in the low half, key type 2 in the high half; TEE type of SGX or TDX.
    let quote = word(0).is_some_and(|word| (1..=16).contains(&(word & 0xffff)) && word >> 16 <= 3)
        && word(4).is_some_and(|tee| tee == 0 || tee == 0x81);
    if quote && bytes.len() > 432 {
        return Some(Kind::TdxQuote);
    }
    if trimmed.starts_with(b"-----BEGIN CERTIFICATE-----") {
        return Some(Kind::PemCertificates);
    }
    if Certificate::parse(bytes).is_ok() {
        return Some(Kind::Certificate);
    }
    if RevocationList::parse(bytes).is_ok() {
        return Some(Kind::RevocationList);
    }
    match trimmed.first() {
        Some(b'{' | b'[') => Some(Kind::Json),
        Some(b'<') => Some(Kind::Xml),
        _ if Bundle::decode(bytes).is_ok() => Some(Kind::Bundle),
        _ => None,
    }
}

/// Every field of a structure of a recognised kind, named as in its specification; `None` if the bytes are not
/// such a structure, or of a kind without fields of its own.
pub fn inspect(bytes: &[u8]) -> Option<Vec<Field>> {
    match recognise(bytes)? {
        Kind::SnpReport => Report::parse(bytes).map(|report| snp::fields(&report, None)),
        Kind::TdxQuote => Quote::parse(bytes).map(|quote| tdx::fields(&quote)),
        Kind::AzureHclReport => HclReport::parse(bytes).map(|report| azure::fields(&report)),
        Kind::TpmQuote => tpm::Attest::parse(bytes).map(|attest| tpm::fields(&attest)),
        Kind::NvidiaReport => nvidia::Report::parse(bytes).map(|report| nvidia::fields(&report)),
        Kind::Certificate => Certificate::parse(bytes).ok().map(|certificate| {
            let mut fields = Fields::default();
            fields
                .text("subject", None, certificate.common_name().unwrap_or("none"))
                .text("issuer", None, certificate.issuer_common_name().unwrap_or("none"))
                .text("serial", None, hex::encode(certificate.serial))
                .text("not before", None, certificate.not_before)
                .text("not after", None, certificate.not_after);
            snp::leaf_fields(&mut fields, &certificate);
            fields.into_vec()
        }),
        Kind::RevocationList => RevocationList::parse(bytes).ok().map(|list| {
            let mut fields = Fields::default();
            fields
                .text("issuer", None, list.issuer_common_name().unwrap_or("none"))
                .text("this update", None, list.this_update)
                .text("next update", None, list.next_update)
                .text("revoked", None, list.len());
            fields.into_vec()
        }),
        Kind::EventLog => EventLog::parse(bytes).ok().map(|log| log.fields()),
        // dstack's event log is the one document of JSON with fields of its own.
        Kind::Json => EventLog::parse(bytes).ok().map(|log| log.fields()),
        _ => None,
    }
}

/// What a certificate or a revocation list says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedNames {
    /// Common name of a certificate's subject; `None` for a revocation list.
    pub subject: Option<String>,
    /// Common name of the issuer; empty if there is not exactly one.
    pub issuer: String,
    /// Serial number of a certificate; empty for a list.
    pub serial: Vec<u8>,
    /// Start of validity, or thisUpdate.
    pub not_before: UnixTime,
    /// End of validity, or nextUpdate.
    pub not_after: UnixTime,
}

/// Names and times of a certificate or a revocation list in DER; nothing of it is checked.
pub fn published_names(der: &[u8]) -> Option<PublishedNames> {
    if let Ok(certificate) = Certificate::parse(der) {
        return Some(PublishedNames {
            subject: Some(certificate.common_name().unwrap_or_default().into()),
            issuer: certificate.issuer_common_name().unwrap_or_default().into(),
            serial: certificate.serial.to_vec(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        });
    }
    let list = RevocationList::parse(der).ok()?;
    Some(PublishedNames {
        subject: None,
        issuer: list.issuer_common_name().unwrap_or_default().into(),
        serial: Vec::new(),
        not_before: list.this_update,
        not_after: list.next_update,
    })
}

/// The DER of each certificate in PEM text, at most eight; `None` if it is anything else.
pub fn certificates_in_pem(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    pem_certificates(text).ok().filter(|chain| !chain.is_empty())
}
