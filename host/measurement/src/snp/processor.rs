//! The CPUID signature of a processor model, which the save areas hold in EDX (AMD 25481, function 0000_0001 EAX).

use crate::error::{MeasureError, Part};

/// Bound of the virtual processors of one machine.
pub const VCPUS_MAX: u32 = 512;

/// A processor's CPUID signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor(pub u32);

/// QEMU's models (target/i386/cpu.c): name, family, model, stepping.
const MODELS: &[(&str, u32, u32, u32)] = &[
    ("EPYC", 23, 1, 2),
    ("EPYC-Rome", 23, 49, 0),
    ("EPYC-Milan", 25, 1, 1),
    ("EPYC-Genoa", 25, 17, 0),
    ("EPYC-Turin", 26, 0, 0),
];

impl Processor {
    /// The signature of family, model and stepping.
    pub const fn of(family: u32, model: u32, stepping: u32) -> Self {
        let (low, high) = if family > 0xf {
            (0xf, (family - 0xf) & 0xff)
        } else {
            (family, 0)
        };
        Self(high << 20 | (model >> 4 & 0xf) << 16 | low << 8 | (model & 0xf) << 4 | stepping & 0xf)
    }

    /// The signature of a QEMU model; `-v1` and so on name the same processor, as does `EPYC-IBPB`.
    ///
    /// # Errors
    /// [`MeasureError::Malformed`] when the name is none of QEMU's EPYC models.
    pub fn of_model(name: &str) -> Result<Self, MeasureError> {
        let base = match name.rsplit_once("-v") {
            Some((base, version)) if version.parse::<u8>().is_ok_and(|version| version > 0) => base,
            _ => name,
        };
        let base = if base == "EPYC-IBPB" { "EPYC" } else { base };
        MODELS
            .iter()
            .find(|(model, ..)| *model == base)
            .map(|(_, family, model, stepping)| Self::of(*family, *model, *stepping))
            .ok_or_else(|| MeasureError::malformed(Part::Processors, "not an EPYC model of QEMU"))
    }
}

#[cfg(test)]
mod tests {
    use super::Processor;

    #[test]
    fn models_and_versions_are_known_and_others_are_not() {
        assert_eq!(Processor::of_model("EPYC-v4"), Ok(Processor(0x0080_0f12)));
        assert_eq!(Processor::of_model("EPYC-IBPB"), Processor::of_model("EPYC"));
        assert_eq!(Processor::of_model("EPYC-Rome-v2"), Ok(Processor(0x0083_0f10)));
        assert_eq!(Processor::of_model("EPYC-Turin-v1"), Ok(Processor(0x00b0_0f00)));
        for name in [
            "",
            "host",
            "EPYC-",
            "EPYC-v0",
            "EPYC-v",
            "epyc",
            "EPYC-Milan-v256",
            "EPYC-v1-v1",
        ] {
            assert!(Processor::of_model(name).is_err(), "{name}");
        }
    }
}
