//! What is accepted of a virtual TPM: its registers, and on Google whose it is.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::values::AnyOf;
use crate::PolicyError;
use crate::examination::{Examination, Rule};
use crate::tpm::PcrSet;

/// PCRs of a PC Client TPM.
const PCRS: u8 = 24;

/// `pcrs`: its keys are the PCRs that a quote must cover, exactly; its values say what each must be.
#[derive(Clone, Debug)]
pub(crate) struct PcrPolicy(BTreeMap<u8, Expectation>);

/// What one PCR must be.
#[derive(Clone, Debug)]
enum Expectation {
    /// `"any"`: quoted, and not looked at.
    Any,
    /// One of these.
    Values(AnyOf<32>),
}

impl PcrPolicy {
    /// The PCRs that a quote must cover, no more and no less.
    pub(crate) fn selection(&self) -> PcrSet {
        PcrSet::of(self.0.keys().copied())
    }

    /// Records whether `value` is what `pcr` may have. A PCR that is not in the table has no value to
    /// compare with: it is the selection that refuses it.
    pub(crate) fn check(&self, examination: &mut Examination, rule: &'static Rule, pcr: u8, value: &[u8]) {
        let (holds, expected) = match self.0.get(&pcr) {
            Some(Expectation::Any) => (true, String::from("any")),
            Some(Expectation::Values(values)) => {
                let holds = value.try_into().is_ok_and(|value| values.contains(value));
                (holds, values.to_string())
            }
            None => return,
        };
        examination.check(
            rule,
            holds,
            format!("PCR {pcr}: {expected}"),
            format!("PCR {pcr}: {}", hex::encode(value)),
        );
    }
}

impl<'de> Deserialize<'de> for PcrPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = BTreeMap::<String, Expectation>::deserialize(deserializer)?;
        let mut pcrs = BTreeMap::new();
        for (key, expectation) in written {
            let pcr = key.parse::<u8>().ok().filter(|pcr| *pcr < PCRS);
            // One way to write each: no "+4", no "04".
            let pcr = pcr.filter(|pcr| pcr.to_string() == key);
            let pcr = pcr.ok_or_else(|| D::Error::custom(format_args!("{key:?}: there are PCR 0 to 23")))?;
            pcrs.insert(pcr, expectation);
        }
        if !pcrs
            .values()
            .any(|expectation| matches!(expectation, Expectation::Values(_)))
        {
            return Err(D::Error::custom("no PCR has values: any guest would be accepted"));
        }
        Ok(Self(pcrs))
    }
}

impl<'de> Deserialize<'de> for Expectation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            List(Vec<String>),
        }
        let list = match Written::deserialize(deserializer)? {
            Written::Word(word) if word == "any" => return Ok(Self::Any),
            Written::Word(_) => return Err(D::Error::custom("expected \"any\" or a list of SHA-256 values")),
            Written::List(list) => list,
        };
        let value = |text: &String| {
            let mut value = [0; 32];
            hex::decode_to_slice(text, &mut value).ok().map(|()| value)
        };
        let values = list.iter().map(value).collect::<Option<Vec<_>>>();
        let values = values.ok_or_else(|| D::Error::custom("a PCR value is 64 hexadecimal digits"))?;
        AnyOf::new(values)
            .map(Self::Values)
            .ok_or_else(|| D::Error::custom("an empty list accepts nothing"))
    }
}

/// `"any"`, or a list of which one must match. Never an empty list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Accepted<T> {
    /// Any.
    Any,
    /// These.
    Listed(Vec<T>),
}

impl<T> Accepted<T> {
    /// Whether any is accepted, or `is_this` holds of one that is listed.
    pub(crate) fn any(&self, is_this: impl FnMut(&T) -> bool) -> bool {
        match self {
            Accepted::Any => true,
            Accepted::Listed(values) => values.iter().any(is_this),
        }
    }

    /// Those that are listed.
    pub(super) fn listed(&self) -> &[T] {
        match self {
            Accepted::Any => &[],
            Accepted::Listed(values) => values,
        }
    }
}

impl<T: fmt::Display> fmt::Display for Accepted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Accepted::Listed(values) = self else {
            return f.write_str("any");
        };
        for (at, value) in values.iter().enumerate() {
            write!(f, "{}{value}", if at > 0 { " or " } else { "" })?;
        }
        Ok(())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Accepted<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<T> {
            Word(String),
            List(Vec<T>),
        }
        match Written::deserialize(deserializer)? {
            Written::Word(word) if word == "any" => Ok(Self::Any),
            Written::Word(_) => Err(D::Error::custom("expected \"any\" or a list")),
            Written::List(values) if values.is_empty() => {
                Err(D::Error::custom("an empty list accepts nothing"))
            }
            Written::List(values) => Ok(Self::Listed(values)),
        }
    }
}

/// `[gce_vtpm]`: what is accepted of the vTPM of a Google Compute Engine VM, which travels as a device. The host runs that vTPM: its registers
/// say what booted only as far as the host is believed. `examples/gce-vtpm-policy.toml` documents
/// every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GceVtpmPolicy {
    /// The PCRs that the quote must cover, and what each must be.
    pub(crate) pcrs: PcrPolicy,
    /// Project ids; `"any"` or a list.
    pub(crate) project_ids: Accepted<String>,
    /// Project numbers, which unlike ids are never used again; `"any"` or a list.
    pub(crate) project_numbers: Accepted<u64>,
    /// Zones; `"any"` or a list.
    pub(crate) zones: Accepted<String>,
    /// Instance ids, unsigned, as text: they exceed what TOML counts. `"any"` or a list.
    pub(crate) instance_ids: Accepted<String>,
}

impl GceVtpmPolicy {
    /// Reads a policy of its own from TOML: the keys of `[gce_vtpm]`.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(text)
            .map_err(|error| PolicyError::Syntax(error.to_string().trim_end().to_string()))?;
        policy.check()?;
        Ok(policy)
    }

    /// Checks what types cannot.
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let is_decimal = |id: &String| id.parse::<u64>().is_ok_and(|number| number.to_string() == *id);
        match self.instance_ids.listed().iter().find(|id| !is_decimal(id)) {
            None => Ok(()),
            Some(id) => Err(PolicyError::Value {
                key: String::from("instance_ids"),
                reason: format!("{id:?} is not a decimal number of 64 bits"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::{GceVtpmPolicy, PcrPolicy};
    use crate::tpm::PcrSet;

    const EXAMPLE: &str = include_str!("../../examples/gce-vtpm-policy.toml");

    #[test]
    fn the_example_reads_and_every_key_must_be_there_and_be_sound() {
        GceVtpmPolicy::from_toml(EXAMPLE).expect("the example reads");
        for (from, to) in [
            ("project_ids", "project_idz"),
            ("zones = [\"us-west1-b\"]", ""),
            ("zones = [\"us-west1-b\"]", "zones = []"),
            ("zones = [\"us-west1-b\"]", "zones = \"all\""),
            ("\"8033817256003918212\"", "\"0x10\""),
            ("\"8033817256003918212\"", "\"08\""),
            ("\"8033817256003918212\"", "\"18446744073709551616\""),
        ] {
            assert!(EXAMPLE.contains(from), "{from}");
            assert!(
                GceVtpmPolicy::from_toml(&EXAMPLE.replace(from, to)).is_err(),
                "{to}"
            );
        }
    }

    fn read(text: &str) -> Result<PcrPolicy, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn keys_are_the_selection() {
        let value = "ab".repeat(32);
        let policy = read(&format!("0 = \"any\"\n4 = [\"{value}\"]\n23 = [\"{value}\"]")).expect("it reads");
        assert_eq!(policy.selection(), PcrSet::of([0, 4, 23]));
    }

    #[test]
    fn what_accepts_nothing_or_everything_is_refused() {
        let value = "ab".repeat(32);
        for text in [
            format!("24 = [\"{value}\"]"),
            format!("04 = [\"{value}\"]"),
            format!("\"+4\" = [\"{value}\"]"),
            format!("four = [\"{value}\"]"),
            format!("4 = \"{value}\""),
            "4 = []".into(),
            "4 = [\"ab\"]".into(),
            "4 = \"any\"".into(),
            "".into(),
        ] {
            assert!(read(&text).is_err(), "{text}");
        }
    }
}
