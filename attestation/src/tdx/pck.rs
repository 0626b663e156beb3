//! The platform's certificate (Intel SGX PCK Certificate and CRL Profile, section 1.3.5).

use der::Tag;
use der::asn1::ObjectIdentifier;

use crate::x509::{Asn1Fault, Asn1Reader, Certificate};

const SGX_EXTENSIONS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1");
const PPID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.1");
const TCB: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.2");
const PCEID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.3");
const FMSPC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1.4");

/// What a PCK certificate says of the platform.
#[derive(Debug)]
pub(crate) struct Pck {
    pub(crate) ppid: [u8; 16],
    pub(crate) fmspc: [u8; 6],
    pub(crate) pceid: [u8; 2],
    /// SGX TCB components.
    pub(crate) components: [u8; 16],
    pub(crate) pcesvn: u16,
}

impl Pck {
    pub(crate) fn parse(certificate: &Certificate<'_>) -> Result<Self, Asn1Fault> {
        let mut reader = Asn1Reader::whole_sequence(certificate.extension(SGX_EXTENSIONS).ok_or(Asn1Fault)?)?;
        let (mut ppid, mut tcb, mut pceid, mut fmspc) = (None, None, None, None);
        while !reader.is_at_end() {
            let mut entry = reader.sequence()?;
            let doubled = match entry.object_identifier()? {
                PPID => ppid.replace(octets(&mut entry)?).is_some(),
                TCB => tcb.replace(components(entry.sequence()?)?).is_some(),
                PCEID => pceid.replace(octets(&mut entry)?).is_some(),
                FMSPC => fmspc.replace(octets(&mut entry)?).is_some(),
                // SGX type, platform instance, configuration: claims of the platform, not identity.
                _ => {
                    entry.element()?;
                    false
                }
            };
            entry.end()?;
            if doubled {
                return Err(Asn1Fault);
            }
        }
        let (components, pcesvn) = tcb.ok_or(Asn1Fault)?;
        Ok(Self {
            ppid: ppid.ok_or(Asn1Fault)?,
            fmspc: fmspc.ok_or(Asn1Fault)?,
            pceid: pceid.ok_or(Asn1Fault)?,
            components,
            pcesvn,
        })
    }
}

fn octets<const N: usize>(reader: &mut Asn1Reader<'_>) -> Result<[u8; N], Asn1Fault> {
    reader.octets()?.try_into().map_err(|_| Asn1Fault)
}

/// Components 1 to 16, PCESVN (17) and CPUSVN (18), in this order.
fn components(mut reader: Asn1Reader<'_>) -> Result<([u8; 16], u16), Asn1Fault> {
    let mut value = |number: u32| -> Result<Option<u32>, Asn1Fault> {
        let mut entry = reader.sequence()?;
        let id = entry.object_identifier()?;
        if id.parent() != Some(TCB) || id.arcs().last() != Some(number) {
            return Err(Asn1Fault);
        }
        let value = if entry.next_is(Tag::OctetString) {
            entry.octets()?;
            None
        } else {
            Some(entry.small_integer()?)
        };
        entry.end()?;
        Ok(value)
    };
    let mut components = [0; 16];
    for (number, component) in (1..).zip(&mut components) {
        *component = value(number)?
            .and_then(|value| u8::try_from(value).ok())
            .ok_or(Asn1Fault)?;
    }
    let pcesvn = value(17)?
        .and_then(|value| u16::try_from(value).ok())
        .ok_or(Asn1Fault)?;
    value(18)?;
    reader.end()?;
    Ok((components, pcesvn))
}
