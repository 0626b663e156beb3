//! The quote (Intel TDX DCAP Quoting Library API, appendix A.3), read from its raw bytes.
//!
//! | bytes | field |
//! |---|---|
//! | 48 | header: version, attestation key type, TEE type, zero(4), QE vendor, user data |
//! | 2 + 4 | version 5 only: body type, body size |
//! | 584 or 648 | body |
//! | 4 | length of the signature data |
//! | 64 + 64 | quote signature, attestation key |
//! | 2 + 4 | certification data type 6, size |
//! | 384 + 64 | QE report, its signature |
//! | 2 + n | QE authentication data |
//! | 2 + 4 + n | certification data type 5: PCK chain in PEM |
//! | any | zero padding |

use alloc::vec::Vec;

use super::pck::Pck;
use crate::x509::{Certificate, pem_certificates};

/// TDATTRIBUTES bits 0 to 7: TD under debug, in whatever way.
pub(crate) const TUD_MASK: u64 = 0xff;
/// TDATTRIBUTES bit 28.
pub(crate) const SEPT_VE_DISABLE: u64 = 1 << 28;
/// TDATTRIBUTES bit 29.
pub(crate) const MIGRATABLE: u64 = 1 << 29;

const HEADER_BYTES: usize = 48;
const BODY_BYTES: usize = 584;
const BODY_1_5_BYTES: usize = 648;
const QE_REPORT_BYTES: usize = 384;
const AUTHENTICATION_BYTES_MAX: usize = 1024;
const CERTIFICATES_BYTES_MAX: usize = 32 * 1024;

/// A quote taken apart; everything borrows the received bytes.
#[derive(Debug)]
pub(crate) struct Quote<'a> {
    pub(crate) header: Header<'a>,
    pub(crate) body: Body<'a>,
    /// Header to end of body.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: &'a [u8; 64],
    pub(crate) attestation_key: &'a [u8; 64],
    pub(crate) qe_report: QeReport<'a>,
    pub(crate) qe_report_signature: &'a [u8; 64],
    pub(crate) qe_authentication: &'a [u8],
    /// PEM.
    pub(crate) pck_chain: &'a [u8],
    pub(crate) trailing: &'a [u8],
}

/// The first 48 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a>(&'a [u8; HEADER_BYTES]);

/// The TD report body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a>(&'a [u8]);

/// The quoting enclave's SGX report body (Intel SDM volume 3D, table 36-21).
#[derive(Clone, Copy, Debug)]
pub(crate) struct QeReport<'a>(pub(crate) &'a [u8; QE_REPORT_BYTES]);

/// Cuts bytes off the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    /// A 32-bit length within `bytes_max`, and so many bytes.
    fn prefixed(&mut self, bytes_max: usize) -> Option<&'a [u8]> {
        let bytes = usize::try_from(u32::from_le_bytes(*self.array()?)).ok()?;
        if bytes > bytes_max { None } else { self.take(bytes) }
    }
}

/// The version that the first bytes claim.
pub(crate) fn version(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

impl<'a> Quote<'a> {
    /// Takes a version 4 or 5 quote apart.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let header = Header(cursor.array()?);
        let body = match header.version() {
            4 => cursor.take(BODY_BYTES)?,
            5 => {
                let kind = cursor.u16()?;
                let body = cursor.prefixed(BODY_1_5_BYTES)?;
                match (kind, body.len()) {
                    (2, BODY_BYTES) | (3, BODY_1_5_BYTES) => body,
                    _ => return None,
                }
            }
            _ => return None,
        };
        let signed = &bytes[..bytes.len() - cursor.0.len()];
        let mut data = Cursor(cursor.prefixed(CERTIFICATES_BYTES_MAX)?);
        let (signature, attestation_key) = (data.array()?, data.array()?);
        if data.u16()? != 6 {
            return None;
        }
        let mut certification = Cursor(data.prefixed(CERTIFICATES_BYTES_MAX)?);
        let qe_report = QeReport(certification.array()?);
        let qe_report_signature = certification.array()?;
        let authentication_bytes = usize::from(certification.u16()?);
        if authentication_bytes > AUTHENTICATION_BYTES_MAX {
            return None;
        }
        let qe_authentication = certification.take(authentication_bytes)?;
        if certification.u16()? != 5 {
            return None;
        }
        let pck_chain = certification.prefixed(CERTIFICATES_BYTES_MAX)?;
        if !certification.0.is_empty() || !data.0.is_empty() {
            return None;
        }
        Some(Self {
            header,
            body: Body(body),
            signed,
            signature,
            attestation_key,
            qe_report,
            qe_report_signature,
            qe_authentication,
            pck_chain,
            trailing: cursor.0,
        })
    }
}

impl<'a> Header<'a> {
    fn u16_at(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.0[offset], self.0[offset + 1]])
    }

    pub(crate) fn version(&self) -> u16 {
        self.u16_at(0)
    }

    pub(crate) fn attestation_key_type(&self) -> u16 {
        self.u16_at(2)
    }

    pub(crate) fn tee_type(&self) -> u32 {
        u32::from(self.u16_at(4)) | u32::from(self.u16_at(6)) << 16
    }

    pub(crate) fn reserved(&self) -> &'a [u8] {
        &self.0[8..12]
    }

    pub(crate) fn user_data(&self) -> &'a [u8] {
        &self.0[28..48]
    }

    pub(crate) fn qe_vendor(&self) -> &'a [u8] {
        &self.0[12..28]
    }
}

impl<'a> Body<'a> {
    /// `N` bytes at an offset below 584, the length of the shorter body.
    fn at<const N: usize>(&self, offset: usize) -> &'a [u8; N] {
        self.0[offset..offset + N]
            .try_into()
            .expect("N bytes were cut out")
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn tee_tcb_svn(&self) -> &'a [u8; 16] {
        self.at(0)
    }

    pub(crate) fn mrseam(&self) -> &'a [u8; 48] {
        self.at(16)
    }

    pub(crate) fn mrsignerseam(&self) -> &'a [u8; 48] {
        self.at(64)
    }

    pub(crate) fn seam_attributes(&self) -> &'a [u8; 8] {
        self.at(112)
    }

    pub(crate) fn td_attributes(&self) -> u64 {
        u64::from_le_bytes(*self.at(120))
    }

    pub(crate) fn xfam(&self) -> u64 {
        u64::from_le_bytes(*self.at(128))
    }

    pub(crate) fn mrtd(&self) -> &'a [u8; 48] {
        self.at(136)
    }

    pub(crate) fn mrconfigid(&self) -> &'a [u8; 48] {
        self.at(184)
    }

    pub(crate) fn mrowner(&self) -> &'a [u8; 48] {
        self.at(232)
    }

    pub(crate) fn mrownerconfig(&self) -> &'a [u8; 48] {
        self.at(280)
    }

    pub(crate) fn rtmr(&self, number: usize) -> &'a [u8; 48] {
        self.at(328 + 48 * number)
    }

    pub(crate) fn report_data(&self) -> &'a [u8; 64] {
        self.at(520)
    }

    /// TDX 1.5: the module's version after an update that kept the TD running.
    pub(crate) fn tee_tcb_svn_2(&self) -> Option<&'a [u8]> {
        self.0.get(584..600)
    }

    /// TDX 1.5: the measurement of service TDs, zero if none is bound.
    pub(crate) fn mrservicetd(&self) -> Option<&'a [u8]> {
        self.0.get(600..648)
    }
}

impl QeReport<'_> {
    fn at<const N: usize>(&self, offset: usize) -> &[u8; N] {
        self.0[offset..offset + N]
            .try_into()
            .expect("N bytes were cut out")
    }

    pub(crate) fn miscselect(&self) -> &[u8; 4] {
        self.at(16)
    }

    pub(crate) fn mrenclave(&self) -> &[u8; 32] {
        self.at(64)
    }

    pub(crate) fn attributes(&self) -> &[u8; 16] {
        self.at(48)
    }

    pub(crate) fn mrsigner(&self) -> &[u8; 32] {
        self.at(128)
    }

    pub(crate) fn isvprodid(&self) -> u16 {
        u16::from_le_bytes(*self.at(256))
    }

    pub(crate) fn isvsvn(&self) -> u16 {
        u16::from_le_bytes(*self.at(258))
    }

    pub(crate) fn report_data(&self) -> &[u8; 64] {
        self.at(320)
    }
}

/// Intel publishes TCB info by FMSPC and revocation lists by issuing CA.
pub(crate) fn subject(quote: &Quote<'_>) -> Option<Vec<u8>> {
    let chain = pem_certificates(quote.pck_chain).ok()?;
    let certificate = Certificate::parse(chain.first()?).ok()?;
    let pck = Pck::parse(&certificate).ok()?;
    let issuer = Certificate::parse(chain.get(1)?).ok()?;
    let mut subject = pck.fmspc.to_vec();
    subject.extend_from_slice(issuer.common_name()?.as_bytes());
    Some(subject)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::Quote;

    /// A version 4 quote of zeros with so many bytes of authentication data and of certificates.
    fn quote(authentication: usize, certificates: usize) -> Vec<u8> {
        let length = |bytes: usize| (bytes as u32).to_le_bytes();
        let certification = [
            &[0; 384 + 64][..],
            &(authentication as u16).to_le_bytes(),
            &vec![0; authentication],
            &[5, 0],
            &length(certificates),
            &vec![0; certificates],
        ]
        .concat();
        let data = [
            &[0; 64 + 64][..],
            &[6, 0],
            &length(certification.len()),
            &certification,
        ]
        .concat();
        [&[4, 0][..], &[0; 46 + 584], &length(data.len()), &data].concat()
    }

    #[test]
    fn a_quote_is_bounded() {
        let parts = |authentication: usize, certificates: usize| {
            let bytes = quote(authentication, certificates);
            Quote::parse(&bytes).map(|quote| (quote.qe_authentication.len(), quote.pck_chain.len()))
        };
        assert_eq!(parts(1024, 0), Some((1024, 0)));
        assert_eq!(parts(1025, 0), None);
        // The signature data have 32 KiB, of which 590 bytes are not certificates.
        let most = 32 * 1024 - (64 + 64 + 6) - (384 + 64 + 2 + 6);
        assert_eq!(parts(0, most), Some((0, most)));
        assert_eq!(parts(0, most + 1), None);
    }
}
