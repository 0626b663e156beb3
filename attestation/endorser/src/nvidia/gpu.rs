//! Which documents a GPU's report leads to. Unverified: it only chooses what to ask for.
//!
//! The evidence is an SPDM 1.1 request and its response (DSP0274, GET_MEASUREMENTS and MEASUREMENTS):
//!
//! | bytes | field |
//! |---|---|
//! | 37 | request: version 0x11, code 0xe0, 2 parameters, nonce(32), slot |
//! | 4 | response: version 0x11, code 0x60, 2 parameters |
//! | 1 + 3 | number of blocks, length of the measurement record (little-endian) |
//! | n | measurement record |
//! | 32 | nonce |
//! | 2 + n | opaque data: fields of type(2), length(2), value |
//! | 96 | signature |

use attestation::pem_certificates;

use super::ocsp::Link;
use crate::EndorserError;
use crate::asn1::CertificateNames;

const REQUEST_BYTES: usize = 37;
const NONCE_BYTES: usize = 32;
const FIELDS_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 64;

const DRIVER_VERSION: u16 = 3;
const VBIOS_VERSION: u16 = 6;
const CHIP_SKU: u16 = 15;
const PROJECT: u16 = 17;
const PROJECT_SKU: u16 = 18;
const CHIP_INFO: u16 = 35;

/// A GPU, as NVIDIA's services know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Id of the driver's reference manifest.
    pub driver_rim_id: String,
    /// Id of the VBIOS's reference manifest.
    pub vbios_rim_id: String,
    /// Certificates, the report's signer first, the root last, DER.
    chain: Vec<Vec<u8>>,
}

impl Gpu {
    /// Reads the evidence and the certificates (PEM, signer first) that came with it.
    pub fn read(evidence: &[u8], chain: &[u8]) -> Result<Self, EndorserError> {
        let unidentified = EndorserError::Unidentified;
        let chain = pem_certificates(chain)
            .filter(|chain| chain.len() >= 3)
            .ok_or(unidentified("the GPU's certificates are not a chain in PEM"))?;
        let fields = Fields::read(evidence).ok_or(unidentified("it is no SPDM 1.1 measurement of a GPU"))?;
        let ids = CertificateNames::read(&chain[0])
            .and_then(|signer| signer.common_name())
            .and_then(|signer| Some((fields.driver_rim_id(signer)?, fields.vbios_rim_id()?)));
        let (driver_rim_id, vbios_rim_id) = ids.ok_or(unidentified(
            "the GPU's report names no driver, VBIOS or known chip",
        ))?;
        Ok(Self {
            driver_rim_id,
            vbios_rim_id,
            chain,
        })
    }

    /// The name under which its endorsements are cached: both ids, and the device's certificate.
    pub fn subject(&self) -> Vec<u8> {
        let device = self
            .chain
            .get(1)
            .and_then(|device| CertificateNames::read(device));
        let serial = device.map_or_else(String::new, |device| hex::encode(device.serial));
        format!("{} {} {serial}", self.driver_rim_id, self.vbios_rim_id).into_bytes()
    }

    /// Every link whose state the responder knows: from the device's certificate up. The signer of the
    /// report is issued inside the GPU at each start.
    pub(crate) fn links(&self) -> Result<Vec<Link>, EndorserError> {
        Link::of_chain(self.chain.get(1..).unwrap_or_default()).ok_or(EndorserError::Unidentified(
            "the GPU's certificates do not form a chain",
        ))
    }
}

/// The opaque data of a response.
struct Fields<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Fields<'a> {
    fn read(evidence: &'a [u8]) -> Option<Self> {
        let (request, response) = evidence.split_at_checked(REQUEST_BYTES)?;
        if request.get(..2)? != [0x11, 0xe0] || response.get(..2)? != [0x11, 0x60] {
            return None;
        }
        let mut rest = Cursor(response.get(5..)?);
        let record = rest.take(3)?;
        let record_bytes =
            usize::from(record[0]) | usize::from(record[1]) << 8 | usize::from(record[2]) << 16;
        rest.take(record_bytes)?;
        rest.take(NONCE_BYTES)?;
        let opaque_bytes = usize::from(rest.u16()?);
        let mut opaque = Cursor(rest.take(opaque_bytes)?);
        let mut fields = Vec::new();
        while !opaque.0.is_empty() {
            let kind = opaque.u16()?;
            let bytes = usize::from(opaque.u16()?);
            let value = opaque.take(bytes)?;
            if fields.len() == FIELDS_MAX {
                return None;
            }
            fields.push((kind, value));
        }
        Some(Self(fields))
    }

    /// The value of a field that occurs once.
    fn value(&self, kind: u16) -> Option<&'a [u8]> {
        let mut values = self.0.iter().filter(|(other, _)| *other == kind);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// A text that may stand in a path, padded with NULs.
    fn text(&self, kind: u16) -> Option<&'a str> {
        let value = self.value(kind)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        let (text, padding) = value.split_at(end);
        let text = std::str::from_utf8(text).ok()?;
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
        let padded = padding.iter().all(|byte| *byte == 0);
        (plain && padded && (1..=TEXT_BYTES_MAX).contains(&text.len())).then_some(text)
    }

    /// By the architecture of the report's signer: Hopper has one chip, Blackwell names it.
    fn driver_rim_id(&self, signer: &str) -> Option<String> {
        let version = self.text(DRIVER_VERSION)?;
        match signer.get(..2)? {
            "GH" => Some(format!("NV_GPU_DRIVER_GH100_{version}")),
            "GB" => {
                let chip = match self.value(CHIP_INFO) {
                    Some(_) => self.text(CHIP_INFO)?,
                    None => "GB100",
                };
                Some(format!("NV_GPU_CC_DRIVER_{chip}_{version}"))
            }
            _ => None,
        }
    }

    fn vbios_rim_id(&self) -> Option<String> {
        // Eight bytes, little-endian: "96.00.A5.00" are the lower four, ".01" is the fifth.
        let [d, c, b, a, e, ..] = *self.value(VBIOS_VERSION)?.first_chunk::<8>()?;
        let version = hex::encode_upper([a, b, c, d, e]);
        Some(format!(
            "NV_GPU_VBIOS_{}_{}_{}_{version}",
            self.text(PROJECT)?.to_ascii_uppercase(),
            self.text(PROJECT_SKU)?.to_ascii_uppercase(),
            self.text(CHIP_SKU)?.to_ascii_uppercase(),
        ))
    }
}

/// Cuts bytes off the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(u16::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;

    fn evidence(fields: &[(u16, &[u8])]) -> Vec<u8> {
        let mut opaque = Vec::new();
        for (kind, value) in fields {
            opaque.extend(kind.to_le_bytes());
            opaque.extend(u16::try_from(value.len()).expect("short").to_le_bytes());
            opaque.extend(*value);
        }
        let mut bytes = vec![0x11, 0xe0, 1, 0xff];
        bytes.extend([7; 33]);
        bytes.extend([0x11, 0x60, 0, 0, 1, 2, 0, 0, 0xaa, 0xaa]);
        bytes.extend([8; 32]);
        bytes.extend(u16::try_from(opaque.len()).expect("short").to_le_bytes());
        bytes.extend(opaque);
        bytes.extend([9; 96]);
        bytes
    }

    const GOOD: &[(u16, &[u8])] = &[
        (3, b"590.12\0"),
        (6, &[0x00, 0xa5, 0x00, 0x96, 0x01, 0, 0, 0]),
        (15, b"885\0\0\0"),
        (17, b"g520\0"),
        (18, b"0200\0"),
    ];

    #[test]
    fn ids_follow_the_architecture() {
        let bytes = evidence(GOOD);
        let fields = Fields::read(&bytes).expect("a response");
        assert_eq!(
            fields.vbios_rim_id().as_deref(),
            Some("NV_GPU_VBIOS_G520_0200_885_9600A50001")
        );
        let driver = |signer| fields.driver_rim_id(signer);
        assert_eq!(
            driver("GH100 A01 GSP FMC LF").as_deref(),
            Some("NV_GPU_DRIVER_GH100_590.12")
        );
        assert_eq!(
            driver("GB100 A01 GSP FMC LF").as_deref(),
            Some("NV_GPU_CC_DRIVER_GB100_590.12")
        );
        assert_eq!(driver("LS10 A01 FSP BROM"), None);
        assert_eq!(driver(""), None);
        let with_chip = evidence(&[GOOD, &[(35, b"GB202\0")]].concat());
        let fields = Fields::read(&with_chip).expect("a response");
        assert_eq!(
            fields.driver_rim_id("GB202").as_deref(),
            Some("NV_GPU_CC_DRIVER_GB202_590.12")
        );
    }

    #[test]
    fn nothing_of_the_evidence_can_leave_the_path() {
        for version in [
            &b"../x"[..],
            b"1/2",
            b"1?x",
            b"1#",
            b"",
            b"1\0x",
            b"1%2f",
            b"\xff",
            b"1 2",
        ] {
            let bytes = evidence(&[&[(3u16, version)], &GOOD[1..]].concat());
            let fields = Fields::read(&bytes).expect("a response");
            assert_eq!(fields.driver_rim_id("GH100"), None, "{version:?}");
        }
        let doubled = evidence(&[GOOD, &[(3, b"1")]].concat());
        assert_eq!(
            Fields::read(&doubled).expect("a response").driver_rim_id("GH100"),
            None
        );
    }

    #[test]
    fn cut_evidence_gives_nothing() {
        let bytes = evidence(GOOD);
        for length in 0..bytes.len() - 96 {
            assert!(Fields::read(&bytes[..length]).is_none(), "{length}");
        }
    }
}
