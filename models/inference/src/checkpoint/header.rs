//! The header of one safetensors file, validated in full before anything is read through it.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | `n`, length of the header, little endian |
//! | 8 | n | JSON object: name to `{dtype, shape, data_offsets: [begin, end]}`, and `__metadata__` |
//! | 8 + n | rest | the data; offsets count from here |
//!
//! What holds afterwards: names are unique; every `[begin, end)` lies inside the data and has exactly the
//! bytes its shape and type need; together they cover the data with no gap and no overlap.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use kernels::Format;
use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

/// Longest header, as in the reference implementation.
const HEADER_BYTES_MAX: usize = 100_000_000;
const TENSORS_MAX: usize = 1 << 20;
const NAME_BYTES_MAX: usize = 1024;
const RANK_MAX: usize = 8;

/// What the elements of a tensor are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stored {
    /// Weights.
    Weights(Format),
    /// Bytes that something else is packed into.
    Bytes,
    /// A type that the format knows and no tensor here has.
    Other,
}

/// One tensor: what it is and where in the file.
#[derive(Debug)]
pub(crate) struct TensorEntry {
    pub(crate) stored: Stored,
    pub(crate) shape: Vec<usize>,
    /// Offsets into the whole file.
    pub(crate) range: Range<usize>,
}

/// Parses and validates; the error says which rule is broken.
pub(crate) fn parse(file: &[u8]) -> Result<BTreeMap<String, TensorEntry>, String> {
    let (length, rest) = file
        .split_first_chunk::<8>()
        .ok_or("shorter than its length field")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| "header length overflows")?;
    if length > HEADER_BYTES_MAX {
        return Err(format!("header of {length} bytes"));
    }
    let (header, data) = rest.split_at_checked(length).ok_or("header is cut off")?;
    if header.first() != Some(&b'{') {
        return Err("header is not an object".to_owned());
    }
    let RawHeader(entries) = serde_json::from_slice(header)
        .map_err(|error| format!("header line {}, column {}", error.line(), error.column()))?;
    let data_start = 8 + length;
    let mut tensors = BTreeMap::new();
    for (name, raw) in entries {
        let entry = raw
            .validate(data_start, data.len())
            .map_err(|reason| format!("{reason} in {}", shown(&name)))?;
        if tensors.insert(name, entry).is_some() {
            return Err("a tensor is named twice".to_owned());
        }
    }
    check_cover(&tensors, data_start, file.len())?;
    Ok(tensors)
}

/// The ranges follow each other from the first data byte to the last.
fn check_cover(tensors: &BTreeMap<String, TensorEntry>, start: usize, end: usize) -> Result<(), String> {
    let mut ranges: Vec<_> = tensors.values().map(|entry| entry.range.clone()).collect();
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut position = start;
    for range in ranges {
        if range.start != position {
            return Err("tensors overlap or leave a gap".to_owned());
        }
        position = range.end;
    }
    if position != end {
        return Err("bytes after the last tensor".to_owned());
    }
    Ok(())
}

/// A name for an error message: bounded.
fn shown(name: &str) -> String {
    name.chars().take(120).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl RawEntry {
    fn validate(self, data_start: usize, data_bytes: usize) -> Result<TensorEntry, &'static str> {
        let (element_bytes, stored) = match self.dtype.as_str() {
            "F32" => (4, Stored::Weights(Format::F32)),
            "F16" => (2, Stored::Weights(Format::F16)),
            "BF16" => (2, Stored::Weights(Format::Bf16)),
            "U8" => (1, Stored::Bytes),
            "F64" | "I64" | "U64" => (8, Stored::Other),
            "I32" | "U32" => (4, Stored::Other),
            "I16" | "U16" => (2, Stored::Other),
            "I8" | "BOOL" | "F8_E4M3" | "F8_E5M2" => (1, Stored::Other),
            _ => return Err("unknown dtype"),
        };
        if self.shape.len() > RANK_MAX {
            return Err("too many dimensions");
        }
        let elements = self
            .shape
            .iter()
            .try_fold(1_usize, |product, dim| product.checked_mul(*dim));
        let bytes = elements
            .and_then(|n| n.checked_mul(element_bytes))
            .ok_or("shape overflows")?;
        let (begin, end) = self.data_offsets;
        if begin > end || end > data_bytes {
            return Err("offsets outside the file");
        }
        if end - begin != bytes {
            return Err("offsets differ from the shape");
        }
        Ok(TensorEntry {
            stored,
            shape: self.shape,
            range: data_start + begin..data_start + end,
        })
    }
}

/// The entries in file order; a map type would silently keep the last of two equal names.
struct RawHeader(Vec<(String, RawEntry)>);

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<BTreeMap<String, String>>()?;
                        continue;
                    }
                    if entries.len() == TENSORS_MAX || name.len() > NAME_BYTES_MAX {
                        return Err(A::Error::custom("too many or too long names"));
                    }
                    entries.push((name, map.next_value()?));
                }
                Ok(RawHeader(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data_bytes: usize) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.resize(file.len() + data_bytes, 0);
        file
    }

    const TWO: &str = r#"{"__metadata__":{"format":"pt"},
        "a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},
        "b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]}}"#;

    #[test]
    fn a_good_header_gives_ranges_of_the_file() {
        let file = file(TWO, 14);
        let tensors = parse(&file).expect("it is well formed");
        assert_eq!(tensors["b"].stored, Stored::Weights(Format::Bf16));
        assert_eq!(tensors["b"].range, file.len() - 6..file.len());
    }

    #[test]
    fn each_broken_rule_has_its_own_words() {
        let cases: [(&str, usize, &str); 11] = [
            (TWO, 13, "outside the file"),
            (TWO, 15, "after the last"),
            (&TWO.replace("[8,14]", "[6,12]"), 14, "overlap"),
            (&TWO.replace("[8,14]", "[9,15]"), 15, "gap"),
            (&TWO.replace("[8,14]", "[14,8]"), 14, "outside the file"),
            (&TWO.replace("[3]", "[4]"), 14, "differ from the shape"),
            (
                &TWO.replace("[3]", "[4294967296,4294967296,4294967296]"),
                14,
                "overflows",
            ),
            (
                &TWO.replace("[3]", "[3,1,1,1,1,1,1,1,1]"),
                14,
                "too many dimensions",
            ),
            (&TWO.replace("BF16", "Q4"), 14, "unknown dtype"),
            (&TWO.replace("\"b\"", "\"a\""), 14, "named twice"),
            (&TWO.replacen('{', "[", 1), 14, "not an object"),
        ];
        for (header, data_bytes, words) in cases {
            let error = parse(&file(header, data_bytes)).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        let good = file(TWO, 14);
        for length in [
            0,
            1,
            7,
            15,
            good.len() as u64 - 7,
            HEADER_BYTES_MAX as u64 + 1,
            u64::MAX,
        ] {
            let mut bad = good.clone();
            bad[..8].copy_from_slice(&length.to_le_bytes());
            parse(&bad).expect_err("a length that lies");
        }
        for cut in 0..good.len() {
            parse(&good[..cut]).expect_err("a file that is cut");
        }
    }
}
