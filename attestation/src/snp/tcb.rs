//! TCB versions (AMD 56860, TCB_VERSION) and firmware versions.
//!
//! | byte | Milan, Genoa | Turin |
//! |---|---|---|
//! | 0 | boot loader | FMC |
//! | 1 | TEE | boot loader |
//! | 2 | zero | TEE |
//! | 3 | zero | SNP |
//! | 4, 5 | zero | zero |
//! | 6 | SNP | zero |
//! | 7 | microcode | microcode |
//!
//! The same integer means different things: never compare the eight bytes as a number.

use alloc::string::String;
use core::fmt;

use serde::Deserialize;

use super::generation::Generation;

/// Security versions of the firmware components, compared one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcbVersion {
    /// Turin only.
    pub(crate) fmc: Option<u8>,
    pub(crate) boot_loader: u8,
    pub(crate) tee: u8,
    pub(crate) snp: u8,
    pub(crate) microcode: u8,
}

impl TcbVersion {
    /// Reads the layout of `generation`; `None` if a byte that it reserves is not zero.
    pub(crate) fn parse(generation: Generation, bytes: &[u8; 8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, microcode] = *bytes;
        match generation {
            Generation::Milan | Generation::Genoa if [c, d, e, f] == [0; 4] => Some(Self {
                fmc: None,
                boot_loader: a,
                tee: b,
                snp: g,
                microcode,
            }),
            Generation::Turin if [e, f, g] == [0; 3] => Some(Self {
                fmc: Some(a),
                boot_loader: b,
                tee: c,
                snp: d,
                microcode,
            }),
            _ => None,
        }
    }

    /// Whether no component is below its counterpart in `minimum`.
    pub(crate) fn is_at_least(&self, minimum: &TcbVersion) -> bool {
        self.fmc.is_some() == minimum.fmc.is_some()
            && self.fmc >= minimum.fmc
            && self.boot_loader >= minimum.boot_loader
            && self.tee >= minimum.tee
            && self.snp >= minimum.snp
            && self.microcode >= minimum.microcode
    }
}

impl fmt::Display for TcbVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "fmc {fmc} ")?;
        }
        write!(
            f,
            "boot-loader {} tee {} snp {} microcode {}",
            self.boot_loader, self.tee, self.snp, self.microcode
        )
    }
}

/// Version of the security processor's firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Firmware {
    pub(crate) major: u8,
    pub(crate) minor: u8,
    pub(crate) build: u8,
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

impl<'de> Deserialize<'de> for Firmware {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut parts = text.split('.').map(str::parse::<u8>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(build)), None) => Ok(Self { major, minor, build }),
            _ => Err(serde::de::Error::custom("expected \"major.minor.build\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TcbVersion;
    use crate::snp::Generation;

    #[test]
    fn the_same_bytes_mean_different_things() {
        let bytes = [1, 2, 0, 0, 0, 0, 3, 4];
        let genoa = TcbVersion::parse(Generation::Genoa, &bytes);
        assert_eq!(
            genoa,
            Some(TcbVersion {
                fmc: None,
                boot_loader: 1,
                tee: 2,
                snp: 3,
                microcode: 4
            })
        );
        assert_eq!(TcbVersion::parse(Generation::Turin, &bytes), None);
        let turin = TcbVersion::parse(Generation::Turin, &[1, 2, 3, 4, 0, 0, 0, 5]);
        assert_eq!(
            turin,
            Some(TcbVersion {
                fmc: Some(1),
                boot_loader: 2,
                tee: 3,
                snp: 4,
                microcode: 5
            })
        );
    }

    #[test]
    fn every_reserved_byte_must_be_zero() {
        for (generation, reserved) in [
            (Generation::Milan, &[2, 3, 4, 5][..]),
            (Generation::Genoa, &[2, 3, 4, 5]),
            (Generation::Turin, &[4, 5, 6]),
        ] {
            for at in reserved {
                let mut bytes = [0; 8];
                bytes[*at] = 1;
                assert_eq!(
                    TcbVersion::parse(generation, &bytes),
                    None,
                    "{generation} byte {at}"
                );
            }
        }
    }

    #[test]
    fn each_component_counts_below_equal_and_above() {
        let base = TcbVersion {
            fmc: Some(5),
            boot_loader: 5,
            tee: 5,
            snp: 5,
            microcode: 5,
        };
        let with = |component: usize, value: u8| {
            let mut tcb = base;
            match component {
                0 => tcb.fmc = Some(value),
                1 => tcb.boot_loader = value,
                2 => tcb.tee = value,
                3 => tcb.snp = value,
                _ => tcb.microcode = value,
            }
            tcb
        };
        for component in 0..5 {
            assert!(!with(component, 4).is_at_least(&base));
            assert!(with(component, 5).is_at_least(&base));
            assert!(with(component, 6).is_at_least(&base));
            assert!(base.is_at_least(&with(component, 4)));
            assert!(!base.is_at_least(&with(component, 6)));
        }
        assert!(!TcbVersion { fmc: None, ..base }.is_at_least(&base));
        assert!(!base.is_at_least(&TcbVersion { fmc: None, ..base }));
    }
}
