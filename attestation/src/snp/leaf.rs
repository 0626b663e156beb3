//! The leaf certificate: VCEK or VLEK (AMD 57230, section 3).

use alloc::vec::Vec;

use der::Tag;
use der::asn1::ObjectIdentifier;

use super::generation::Generation;
use super::report::SigningKey;
use super::tcb::TcbVersion;
use crate::x509::{Asn1Fault, Asn1Reader, Certificate};

const STRUCT_VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.1");
const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const BOOT_LOADER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
const TEE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
const SNP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
const SPL_4: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.4");
const SPL_5: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.5");
const SPL_6: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.6");
const SPL_7: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.7");
const MICROCODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
const FMC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
const HARDWARE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
const CSP_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.5");

/// What a leaf says of the processor that it endorses.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) kind: SigningKey,
    pub(crate) tcb: TcbVersion,
    /// VCEK: the hardware id. VLEK: empty.
    pub(crate) hardware_id: Vec<u8>,
    /// VLEK: the cloud provider. VCEK: empty.
    pub(crate) provider: Vec<u8>,
}

impl Leaf {
    /// Reads the profile of `generation`: the exact set of extensions, each with its form, and no
    /// critical one that we do not know. What is missing or doubled is refused, never skipped.
    pub(crate) fn parse(certificate: &Certificate<'_>, generation: Generation) -> Result<Self, Asn1Fault> {
        let kind = match certificate.common_name() {
            Some("SEV-VCEK") => SigningKey::Vcek,
            Some("SEV-VLEK") => SigningKey::Vlek,
            _ => return Err(Asn1Fault),
        };
        let turin = generation == Generation::Turin;
        let identity = if kind == SigningKey::Vcek {
            HARDWARE_ID
        } else {
            CSP_ID
        };
        let expected = [
            STRUCT_VERSION,
            PRODUCT_NAME,
            BOOT_LOADER,
            TEE,
            SNP,
            if turin { FMC } else { SPL_4 },
            SPL_5,
            SPL_6,
            SPL_7,
            MICROCODE,
            identity,
        ];
        let exact = certificate.extensions.len() == expected.len()
            && expected.iter().all(|id| certificate.extension(*id).is_some());
        if !exact || !certificate.knows_critical() || !generation.has_product(product(certificate)?) {
            return Err(Asn1Fault);
        }
        version(certificate, STRUCT_VERSION)?;
        let zero = if turin {
            &[SPL_5, SPL_6, SPL_7][..]
        } else {
            &[SPL_4, SPL_5, SPL_6, SPL_7]
        };
        for id in zero {
            if version(certificate, *id)? != 0 {
                return Err(Asn1Fault);
            }
        }
        let tcb = TcbVersion {
            fmc: if turin {
                Some(version(certificate, FMC)?)
            } else {
                None
            },
            boot_loader: version(certificate, BOOT_LOADER)?,
            tee: version(certificate, TEE)?,
            snp: version(certificate, SNP)?,
            microcode: version(certificate, MICROCODE)?,
        };
        let identity = certificate.extension(identity).ok_or(Asn1Fault)?;
        let (hardware_id, provider) = match kind {
            SigningKey::Vcek => (hardware_id(identity, generation)?.to_vec(), Vec::new()),
            SigningKey::Vlek => (Vec::new(), ia5_string(identity)?.as_bytes().to_vec()),
        };
        Ok(Self {
            kind,
            tcb,
            hardware_id,
            provider,
        })
    }
}

fn product<'a>(certificate: &Certificate<'a>) -> Result<&'a str, Asn1Fault> {
    ia5_string(certificate.extension(PRODUCT_NAME).ok_or(Asn1Fault)?)
}

fn version(certificate: &Certificate<'_>, id: ObjectIdentifier) -> Result<u8, Asn1Fault> {
    let mut reader = Asn1Reader::new(certificate.extension(id).ok_or(Asn1Fault)?)?;
    let version = reader.small_integer()?;
    reader.end()?;
    u8::try_from(version).map_err(|_| Asn1Fault)
}

fn ia5_string(value: &[u8]) -> Result<&str, Asn1Fault> {
    let mut reader = Asn1Reader::new(value)?;
    let text = core::str::from_utf8(reader.contents(Tag::Ia5String)?).map_err(|_| Asn1Fault)?;
    reader.end()?;
    Ok(text)
}

/// AMD issues the hardware id bare on some leaves and as an OCTET STRING on others.
fn hardware_id(value: &[u8], generation: Generation) -> Result<&[u8], Asn1Fault> {
    let bytes = generation.hardware_id_bytes();
    if value.len() == bytes {
        return Ok(value);
    }
    let mut reader = Asn1Reader::new(value)?;
    let octets = reader.octets()?;
    reader.end()?;
    if octets.len() == bytes {
        Ok(octets)
    } else {
        Err(Asn1Fault)
    }
}
