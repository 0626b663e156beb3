//! Kinds of values in a policy, each refused at reading when it would accept nothing or everything.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, Deserializer, Error};

/// `N` bytes, written as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct HexBytes<const N: usize>(pub(crate) [u8; N]);

impl<'de, const N: usize> Deserialize<'de> for HexBytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; N];
        hex::decode_to_slice(&text, &mut bytes)
            .map_err(|_| D::Error::custom(format_args!("expected {} hexadecimal digits", 2 * N)))?;
        Ok(Self(bytes))
    }
}

/// Reference values of which one must match. Never empty: an empty list is refused at reading.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AnyOf<const N: usize>(Vec<[u8; N]>);

impl<const N: usize> AnyOf<N> {
    /// Only zero: the strict default of fields that are zero unless set.
    pub(crate) fn zero() -> Self {
        Self(alloc::vec![[0; N]])
    }

    /// Whether `value` is one of the reference values.
    pub(crate) fn contains(&self, value: &[u8; N]) -> bool {
        self.0.contains(value)
    }

    /// From a list that was read; `None` if it is empty.
    pub(crate) fn new(values: Vec<[u8; N]>) -> Option<Self> {
        if values.is_empty() {
            None
        } else {
            Some(Self(values))
        }
    }
}

impl<'de, const N: usize> Deserialize<'de> for AnyOf<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::<HexBytes<N>>::deserialize(deserializer)?;
        Self::new(values.into_iter().map(|value| value.0).collect())
            .ok_or_else(|| D::Error::custom("an empty list accepts nothing"))
    }
}

impl<const N: usize> fmt::Display for AnyOf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" or ")?;
            }
            f.write_str(&hex::encode(value))?;
        }
        Ok(())
    }
}

impl<const N: usize> fmt::Debug for AnyOf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a run-time measurement register is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegisterReference {
    /// Whole values, of which one must match.
    Values(AnyOf<48>),
    /// Its events, each of which must be listed; written `"events"`.
    Events,
}

impl<'de> Deserialize<'de> for RegisterReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            List(Vec<HexBytes<48>>),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Word(word)) if word == "events" => Ok(Self::Events),
            Ok(Written::List(list)) => AnyOf::new(list.into_iter().map(|value| value.0).collect())
                .map(Self::Values)
                .ok_or_else(|| D::Error::custom("an empty list accepts nothing")),
            Ok(Written::Word(_)) | Err(_) => Err(D::Error::custom(
                "expected \"events\" or a list of values of 96 hexadecimal digits",
            )),
        }
    }
}

impl fmt::Display for RegisterReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegisterReference::Values(values) => fmt::Display::fmt(values, f),
            RegisterReference::Events => f.write_str("only events of event_digests"),
        }
    }
}

/// Sizes of machines (virtual processors, GiB of memory) for which a firmware was endorsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MachineSizes {
    /// Any for which there is an endorsement; written `"any"`.
    Any,
    /// These.
    Listed(AnyNumber),
}

impl MachineSizes {
    pub(crate) fn contains(&self, size: u32) -> bool {
        match self {
            MachineSizes::Any => true,
            MachineSizes::Listed(sizes) => sizes.contains(size.into()),
        }
    }
}

impl<'de> Deserialize<'de> for MachineSizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            List(Vec<u64>),
        }
        match Written::deserialize(deserializer)? {
            Written::Word(word) if word == "any" => Ok(Self::Any),
            Written::Word(_) => Err(D::Error::custom("expected \"any\" or a list of sizes")),
            Written::List(list) if list.is_empty() => Err(D::Error::custom("an empty list accepts nothing")),
            Written::List(list) => Ok(Self::Listed(AnyNumber(list))),
        }
    }
}

impl fmt::Display for MachineSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MachineSizes::Any => f.write_str("any"),
            MachineSizes::Listed(sizes) => {
                for (at, size) in sizes.iter().enumerate() {
                    write!(f, "{}{size}", if at > 0 { " or " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// Numbers of which one must match. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnyNumber(Vec<u64>);

impl AnyNumber {
    pub(crate) fn of(values: &[u64]) -> Self {
        Self(values.to_vec())
    }

    pub(crate) fn contains(&self, value: u64) -> bool {
        self.0.contains(&value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }
}

impl<'de> Deserialize<'de> for AnyNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::<u64>::deserialize(deserializer)?;
        if values.is_empty() {
            Err(D::Error::custom("an empty list accepts nothing"))
        } else {
            Ok(Self(values))
        }
    }
}

impl fmt::Display for AnyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            write!(f, "{}{value:#x}", if at > 0 { " or " } else { "" })?;
        }
        Ok(())
    }
}

/// Which machines are accepted, by the hardware id in the manufacturer's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EnrolledMachines {
    /// Any genuine machine; written `"any"`.
    Any,
    /// These, by hexadecimal hardware id.
    Listed(Vec<Vec<u8>>),
}

impl EnrolledMachines {
    pub(crate) fn contains(&self, hardware_id: &[u8]) -> bool {
        match self {
            EnrolledMachines::Any => true,
            EnrolledMachines::Listed(ids) => ids.iter().any(|id| id == hardware_id),
        }
    }
}

impl<'de> Deserialize<'de> for EnrolledMachines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            List(Vec<String>),
        }
        match Written::deserialize(deserializer)? {
            Written::Word(word) if word == "any" => Ok(Self::Any),
            Written::Word(_) => Err(D::Error::custom("expected \"any\" or a list of hardware ids")),
            Written::List(list) if list.is_empty() => Err(D::Error::custom("an empty list accepts nothing")),
            Written::List(list) => list
                .iter()
                .map(|id| hex::decode(id).ok().filter(|id| !id.is_empty()))
                .collect::<Option<Vec<_>>>()
                .map(Self::Listed)
                .ok_or_else(|| D::Error::custom("a hardware id is hexadecimal digits")),
        }
    }
}

impl fmt::Display for EnrolledMachines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnrolledMachines::Any => f.write_str("any"),
            EnrolledMachines::Listed(ids) => write!(f, "one of {} enrolled machines", ids.len()),
        }
    }
}

/// A root certificate, base64 of its DER; only simulated platforms name theirs.
#[derive(Clone, Debug)]
pub(crate) struct RootCertificate(pub(crate) crate::x509::TrustAnchor);

impl<'de> Deserialize<'de> for RootCertificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let text = String::deserialize(deserializer)?;
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .ok()
            .and_then(|certificate| crate::x509::TrustAnchor::parse(&certificate).ok())
            .map(Self)
            .ok_or_else(|| D::Error::custom("expected base64 of a root certificate in DER"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec;

    use super::{AnyNumber, AnyOf, EnrolledMachines, MachineSizes, RegisterReference};

    #[test]
    fn a_clause_says_what_the_policy_accepts() {
        let (one, two) = (
            AnyOf::new(vec![[1, 2]]).expect("one"),
            AnyOf::new(vec![[1, 2], [3, 4], [5, 6]]).expect("three"),
        );
        let numbers = |numbers: &[u64]| AnyNumber::of(numbers);
        let machines = |ids| EnrolledMachines::Listed(ids);
        for (shown, expected) in [
            (one.to_string(), "0102"),
            (two.to_string(), "0102 or 0304 or 0506"),
            (alloc::format!("{two:?}"), "0102 or 0304 or 0506"),
            (AnyOf::<2>::zero().to_string(), "0000"),
            (numbers(&[3]).to_string(), "0x3"),
            (numbers(&[3, 0x10, 5]).to_string(), "0x3 or 0x10 or 0x5"),
            (MachineSizes::Any.to_string(), "any"),
            (
                MachineSizes::Listed(numbers(&[4, 8, 16])).to_string(),
                "4 or 8 or 16",
            ),
            (EnrolledMachines::Any.to_string(), "any"),
            (
                machines(vec![vec![1], vec![2]]).to_string(),
                "one of 2 enrolled machines",
            ),
            (
                RegisterReference::Events.to_string(),
                "only events of event_digests",
            ),
            (
                RegisterReference::Values(AnyOf::new(vec![[7; 48]]).expect("one")).to_string(),
                &"07".repeat(48),
            ),
        ] {
            assert_eq!(shown, expected);
        }
        assert!(AnyOf::<2>::new(vec![]).is_none());
    }

    #[test]
    fn a_machine_is_enrolled_by_its_whole_identifier() {
        let listed = EnrolledMachines::Listed(vec![vec![1, 2], vec![3]]);
        for (id, expected) in [
            (&[1, 2][..], true),
            (&[3], true),
            (&[1], false),
            (&[2], false),
            (&[1, 2, 3], false),
            (&[], false),
        ] {
            assert_eq!(listed.contains(id), expected, "{id:?}");
            assert!(EnrolledMachines::Any.contains(id));
        }
        let sizes = MachineSizes::Listed(AnyNumber::of(&[4, 8]));
        assert!(sizes.contains(4) && sizes.contains(8) && !sizes.contains(6));
        assert!(MachineSizes::Any.contains(6));
    }
}
