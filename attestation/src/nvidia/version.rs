//! Versions of drivers and VBIOSes, ordered.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, Deserializer, Error};

const DRIVER_PARTS_MAX: usize = 4;

/// A driver version: decimal numbers with dots, as in `570.124.03`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DriverVersion(Vec<u32>, String);

/// A VBIOS version: five bytes in hexadecimal digits with dots, as in `96.00.5E.00.01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VbiosVersion([u8; 5]);

impl DriverVersion {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<u32> = text
            .split('.')
            .map(|part| {
                let digits =
                    !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
                part.parse().ok().filter(|_| digits)
            })
            .collect::<Option<_>>()?;
        (2..=DRIVER_PARTS_MAX)
            .contains(&parts.len())
            .then(|| Self(parts, text.into()))
    }
}

impl VbiosVersion {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 5];
        let mut parts = text.split('.');
        for byte in &mut bytes {
            hex::decode_to_slice(parts.next()?, core::slice::from_mut(byte)).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }

    /// From a GPU's report: a little-endian word, a byte, and zeros.
    pub(crate) fn from_report(bytes: &[u8; 8]) -> Option<Self> {
        match *bytes {
            [fourth, third, second, first, fifth, 0, 0, 0] => {
                Some(Self([first, second, third, fourth, fifth]))
            }
            _ => None,
        }
    }
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl fmt::Display for VbiosVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, fourth, fifth] = self.0;
        write!(f, "{first:02X}.{second:02X}.{third:02X}.{fourth:02X}.{fifth:02X}")
    }
}

impl<'de> Deserialize<'de> for DriverVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("expected a driver version like \"570.124.03\""))
    }
}

impl<'de> Deserialize<'de> for VbiosVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("expected a VBIOS version like \"96.00.5E.00.01\""))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::{DriverVersion, VbiosVersion};

    #[test]
    fn versions_are_ordered_by_number_and_not_by_text() {
        let driver = |text| DriverVersion::parse(text).expect("a version");
        assert!(driver("590.12") > driver("570.172.08"));
        assert!(driver("570.172.08") > driver("570.86.10"));
        assert!(driver("590.48.01") > driver("590.48"));
        let vbios = |text| VbiosVersion::parse(text).expect("a version");
        assert!(vbios("96.00.AF.00.01") > vbios("96.00.5E.00.04"));
        assert_eq!(vbios("96.00.5e.00.01").to_string(), "96.00.5E.00.01");
        assert_eq!(
            VbiosVersion::from_report(&[0x1c, 0, 0, 0x96, 1, 0, 0, 0]),
            Some(vbios("96.00.00.1C.01"))
        );
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            "590",
            "590.",
            ".12",
            "590.x",
            "590.+1",
            "1.2.3.4.5",
            "590.12345678901",
            "590 .12",
        ] {
            assert!(DriverVersion::parse(text).is_none(), "{text}");
        }
        for text in [
            "",
            "96.00.5E.00",
            "96.00.5E.00.01.02",
            "96.0.5E.00.01",
            "96.00.5G.00.01",
        ] {
            assert!(VbiosVersion::parse(text).is_none(), "{text}");
        }
        assert!(VbiosVersion::from_report(&[0, 0, 0, 0x96, 1, 0, 0, 1]).is_none());
    }
}
