//! Generations of processors, each with its own root and its own layout of TCB versions.

use core::fmt;

use serde::Deserialize;

/// A generation of EPYC processors, named as AMD's key distribution service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Generation {
    /// Family 19h, models 00h to 0Fh.
    Milan,
    /// Family 19h, models 10h to 1Fh and A0h to AFh (Genoa, Bergamo, Siena).
    Genoa,
    /// Family 1Ah, models 00h to 11h.
    Turin,
}

impl Generation {
    pub(crate) const ALL: [Generation; 3] = [Generation::Milan, Generation::Genoa, Generation::Turin];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Generation::Milan => "Milan",
            Generation::Genoa => "Genoa",
            Generation::Turin => "Turin",
        }
    }

    /// From CPUID family and model (extended family and model included).
    pub(crate) const fn of_processor(family: u8, model: u8) -> Option<Self> {
        match (family, model) {
            (0x19, 0x00..=0x0f) => Some(Generation::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Generation::Genoa),
            (0x1a, 0x00..=0x11) => Some(Generation::Turin),
            _ => None,
        }
    }

    /// From the common name of an ARK.
    pub(crate) fn of_root(common_name: &str) -> Option<Self> {
        let name = common_name.strip_prefix("ARK-")?;
        Self::ALL.into_iter().find(|generation| generation.name() == name)
    }

    /// Whether a leaf's product name is of this generation: the name, or the name and a stepping.
    pub(crate) fn has_product(self, product: &str) -> bool {
        product
            .strip_prefix(self.name())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// Bytes of the hardware id in a VCEK; CHIP_ID is that and zeros.
    pub(crate) const fn hardware_id_bytes(self) -> usize {
        match self {
            Generation::Milan | Generation::Genoa => 64,
            Generation::Turin => 8,
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Generation;

    #[test]
    fn a_product_is_of_one_generation() {
        for (product, of) in [
            ("Milan", Some(Generation::Milan)),
            ("Milan-B0", Some(Generation::Milan)),
            ("Genoa", Some(Generation::Genoa)),
            ("Turin-C1", Some(Generation::Turin)),
            ("Milano", None),
            ("Mila", None),
            ("milan", None),
            ("", None),
        ] {
            for generation in Generation::ALL {
                assert_eq!(
                    generation.has_product(product),
                    of == Some(generation),
                    "{product}"
                );
            }
        }
    }

    #[test]
    fn a_processor_is_of_the_generation_of_its_family_and_model() {
        for (family, models, of) in [
            (0x19, 0x00..=0x0f, Some(Generation::Milan)),
            (0x19, 0x10..=0x1f, Some(Generation::Genoa)),
            (0x19, 0x20..=0x9f, None),
            (0x19, 0xa0..=0xaf, Some(Generation::Genoa)),
            (0x19, 0xb0..=0xff, None),
            (0x1a, 0x00..=0x11, Some(Generation::Turin)),
            (0x1a, 0x12..=0xff, None),
            (0x17, 0x00..=0xff, None),
        ] {
            for model in models {
                assert_eq!(
                    Generation::of_processor(family, model),
                    of,
                    "{family:#x} {model:#x}"
                );
            }
        }
    }
}
