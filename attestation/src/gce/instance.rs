//! What the certificate of a vTPM's key says of the virtual machine: the extension
//! 1.3.6.1.4.1.11129.2.1.21 (Google, instance info), DER.
//!
//! ```text
//! SEQUENCE { zone UTF8String, projectNumber INTEGER, projectId UTF8String, instanceId INTEGER,
//!            instanceName UTF8String, [0] SecurityProperties OPTIONAL }
//! SecurityProperties ::= SEQUENCE { [0] securityVersion INTEGER OPTIONAL,
//!            [1] isProduction BOOLEAN OPTIONAL, further ones }
//! ```

use der::Tag;
use der::asn1::ObjectIdentifier;

use crate::x509::{Asn1Fault, Asn1Reader};

/// Google's arc, instance info.
pub(super) const INSTANCE_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.1.21");
/// Names of Google's resources have at most 63 characters.
const NAME_BYTES_MAX: usize = 63;

/// The virtual machine for which a key was certified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Instance<'a> {
    pub(super) zone: &'a str,
    pub(super) project_number: u64,
    pub(super) project_id: &'a str,
    pub(super) instance_id: u64,
    pub(super) instance_name: &'a str,
    pub(super) is_production: bool,
}

impl<'a> Instance<'a> {
    pub(super) fn parse(extension: &'a [u8]) -> Result<Self, Asn1Fault> {
        let mut reader = Asn1Reader::whole_sequence(extension)?;
        let zone = name(&mut reader)?;
        let project_number = number(&mut reader)?;
        let project_id = name(&mut reader)?;
        let instance_id = number(&mut reader)?;
        let instance_name = name(&mut reader)?;
        let is_production = match reader.explicit(0)? {
            Some(mut properties) => {
                let is_production = is_production(properties.sequence()?)?;
                properties.end()?;
                is_production
            }
            None => false,
        };
        reader.end()?;
        Ok(Self {
            zone,
            project_number,
            project_id,
            instance_id,
            instance_name,
            is_production,
        })
    }
}

fn name<'a>(reader: &mut Asn1Reader<'a>) -> Result<&'a str, Asn1Fault> {
    let contents = reader.contents(Tag::Utf8String)?;
    let text = core::str::from_utf8(contents).map_err(|_| Asn1Fault)?;
    let sound =
        (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if sound { Ok(text) } else { Err(Asn1Fault) }
}

/// A non-negative INTEGER of at most 64 bits.
fn number(reader: &mut Asn1Reader<'_>) -> Result<u64, Asn1Fault> {
    let digits = match reader.integer()? {
        [0x00, digits @ ..] => digits,
        [first, ..] if *first >= 0x80 => return Err(Asn1Fault),
        digits => digits,
    };
    if digits.len() > 8 {
        return Err(Asn1Fault);
    }
    Ok(digits
        .iter()
        .fold(0, |value, digit| value << 8 | u64::from(*digit)))
}

/// Further properties have been added behind these two; none weakens what is asked here.
fn is_production(mut properties: Asn1Reader<'_>) -> Result<bool, Asn1Fault> {
    if let Some(mut version) = properties.explicit(0)? {
        number(&mut version)?;
        version.end()?;
    }
    let is_production = match properties.explicit(1)? {
        Some(mut value) => {
            let is_production = value.boolean()?;
            value.end()?;
            is_production
        }
        None => false,
    };
    for further in 2..16 {
        if let Some(mut property) = properties.explicit(further)? {
            property.element()?;
            property.end()?;
        }
    }
    properties.end()?;
    Ok(is_production)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::Instance;

    /// Of the certificate of an instance in us-west1-b, as Google issued it in 2025.
    const REAL: &str = "30780c0a75732d77657374312d62020534efdffed30c0f6e6f6e766f6c6174696c652d64657602086f7dda3ab68\
                        459840c266a667175696e6e2d7464782d74706d2d7562756e74752d746573742d75732d77657374312d62a020301e\
                        a003020100a1030101ffa2030101ffa303010100a403010100a503010100";

    fn real() -> Vec<u8> {
        hex::decode(REAL).expect("hexadecimal")
    }

    #[test]
    fn a_real_extension_reads() {
        let expected = Instance {
            zone: "us-west1-b",
            project_number: 227_362_733_779,
            project_id: "nonvolatile-dev",
            instance_id: 8_033_817_256_003_918_212,
            instance_name: "jfquinn-tdx-tpm-ubuntu-test-us-west1-b",
            is_production: true,
        };
        assert_eq!(Instance::parse(&real()), Ok(expected));
    }

    #[test]
    fn what_is_cut_or_changed_is_refused_or_says_something_else() {
        let (real, parsed) = (real(), Instance::parse(&real()).is_ok());
        assert!(parsed);
        for end in 0..real.len() {
            assert!(Instance::parse(&real[..end]).is_err(), "{end}");
        }
        let padded = [&real[..], &[0]].concat();
        assert!(Instance::parse(&padded).is_err());
        for at in 0..real.len() {
            for bit in 0..8 {
                let mut changed = real.clone();
                changed[at] ^= 1 << bit;
                let _ = Instance::parse(&changed);
            }
        }
    }

    #[test]
    fn names_and_numbers_are_bounded() {
        let element = |tag: u8, contents: &[u8]| [&[tag, contents.len() as u8][..], contents].concat();
        let reads = |zone: &[u8], number: &[u8]| {
            let parts = [
                element(0x0c, zone),
                element(0x02, number),
                element(0x0c, b"project"),
                element(0x02, &[1]),
                element(0x0c, b"name"),
            ];
            let extension = element(0x30, &parts.concat());
            Instance::parse(&extension)
                .map(|instance| (instance.zone.len(), instance.project_number))
                .ok()
        };
        assert_eq!(reads(b"z", &[1, 2, 3]), Some((1, 0x01_0203)));
        assert_eq!(reads(&[b'z'; 63], &[0x7f]), Some((63, 0x7f)));
        let largest = [&[0][..], &[0xff; 8]].concat();
        assert_eq!(reads(b"z", &largest), Some((1, u64::MAX)));
        for zone in [
            &b""[..],
            &[b'z'; 64],
            b"a zone",
            b"zone\x1b",
            "z\u{f6}ne".as_bytes(),
        ] {
            assert_eq!(reads(zone, &[1]), None, "{zone:?}");
        }
        for number in [&[0x80][..], &[0xff], &[0, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(reads(b"z", number), None, "{number:?}");
        }
    }

    #[test]
    fn without_security_properties_it_is_not_production() {
        let mut without = real();
        let properties = without.len() - 34;
        without.truncate(properties);
        without[1] = (properties - 2) as u8;
        assert_eq!(
            Instance::parse(&without).map(|instance| instance.is_production),
            Ok(false)
        );
    }
}
