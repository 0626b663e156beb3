//! The file, validated in full before anything is read through it (GGUF specification, versions 2 and 3, little
//! endian).
//!
//! | part | content |
//! |---|---|
//! | head | `GGUF`, version u32, number of tensors u64, number of keys u64 |
//! | metadata | per key: its name (u64 length, UTF-8), type u32, value |
//! | tensors | per tensor: name, number of dimensions u32, each u64 (fastest first), type u32, offset u64 |
//! | data | from the next multiple of the alignment; offsets count from here and are multiples of it |
//!
//! What holds afterwards: keys and names are unique; every tensor lies inside the file and has exactly the bytes
//! its shape and type need, in rows of whole blocks; no two overlap.

use std::collections::BTreeMap;
use std::ops::Range;

use kernels::Format;

use super::values::{Cursor, KEY_BYTES_MAX, NAME_BYTES_MAX, Value};

const MAGIC: &[u8; 4] = b"GGUF";
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
const KEYS_MAX: usize = 1 << 16;
const TENSORS_MAX: usize = 1 << 18;
const RANK_MAX: u32 = 4;
const DEFAULT_ALIGNMENT: usize = 32;
/// Largest alignment: a page of the largest kind in use.
const ALIGNMENT_MAX: usize = 1 << 21;

/// A file that holds what it claims.
pub(super) struct Gguf<'a> {
    pub(super) metadata: BTreeMap<&'a str, Value<'a>>,
    /// What each tensor is, and its bytes.
    pub(super) tensors: BTreeMap<&'a str, (TensorEntry, &'a [u8])>,
}

/// One tensor: what it is and where in the file.
#[derive(Debug, Clone)]
pub(super) struct TensorEntry {
    pub(super) format: Format,
    /// Slowest first, as everywhere else here.
    pub(super) shape: Vec<usize>,
    range: Range<usize>,
}

/// The numbers of ggml for the types that are read.
fn format(number: u32) -> Option<Format> {
    Some(match number {
        0 => Format::F32,
        1 => Format::F16,
        2 => Format::Q4_0,
        8 => Format::Q8_0,
        12 => Format::Q4K,
        13 => Format::Q5K,
        14 => Format::Q6K,
        30 => Format::Bf16,
        39 => Format::Mxfp4,
        _ => return None,
    })
}

impl<'a> Gguf<'a> {
    /// Parses and validates; the error says which rule is broken.
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, String> {
        let mut cursor = Cursor::new(file);
        if cursor.take(4)? != MAGIC {
            return Err("it does not begin with GGUF".to_owned());
        }
        let version = cursor.u32()?;
        if !VERSIONS.contains(&version) {
            return Err(format!("version {version}, read are 2 and 3"));
        }
        // A tensor takes at least 33 bytes of the file, a key at least 13.
        let (tensors, keys) = (cursor.count(33)?, cursor.count(13)?);
        if tensors > TENSORS_MAX || keys > KEYS_MAX {
            return Err(format!("{tensors} tensors and {keys} keys"));
        }
        let mut metadata = BTreeMap::new();
        for _ in 0..keys {
            let key = cursor.text(KEY_BYTES_MAX)?;
            if metadata.insert(key, cursor.value()?).is_some() {
                return Err("a key is there twice".to_owned());
            }
        }
        let alignment = alignment(metadata.get("general.alignment"))?;
        let mut raw = Vec::new();
        for _ in 0..tensors {
            raw.push(RawEntry::read(&mut cursor)?);
        }
        let data = cursor.position().next_multiple_of(alignment);
        let mut entries = BTreeMap::new();
        for tensor in raw {
            let name = tensor.name;
            let entry = tensor
                .validate(data, alignment, file.len())
                .map_err(|reason| format!("{reason} in {}", shown(name)))?;
            if entries.insert(name, entry).is_some() {
                return Err("a tensor is named twice".to_owned());
            }
        }
        check_overlap(entries.values())?;
        let tensors = entries.into_iter().map(|(name, entry)| {
            let bytes = &file[entry.range.clone()];
            (name, (entry, bytes))
        });
        Ok(Self {
            metadata,
            tensors: tensors.collect(),
        })
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value<'a>> {
        self.metadata.get(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.metadata.keys().copied()
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (&'a str, &TensorEntry, &'a [u8])> {
        self.tensors
            .iter()
            .map(|(name, (entry, bytes))| (*name, entry, *bytes))
    }

    pub(super) fn tensor(&self, name: &str) -> Option<(&TensorEntry, &'a [u8])> {
        self.tensors.get(name).map(|(entry, bytes)| (entry, *bytes))
    }
}

fn alignment(value: Option<&Value<'_>>) -> Result<usize, String> {
    let Some(value) = value else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let alignment = value
        .whole()
        .and_then(|alignment| usize::try_from(alignment).ok());
    alignment
        .filter(|alignment| alignment.is_power_of_two() && *alignment <= ALIGNMENT_MAX)
        .ok_or_else(|| "general.alignment is no power of two, or too large".to_owned())
}

struct RawEntry<'a> {
    name: &'a str,
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

impl<'a> RawEntry<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, String> {
        let name = cursor.text(NAME_BYTES_MAX)?;
        let rank = cursor.u32()?;
        if !(1..=RANK_MAX).contains(&rank) {
            return Err(format!("{rank} dimensions in {}", shown(name)));
        }
        let mut shape = Vec::with_capacity(RANK_MAX as usize);
        for _ in 0..rank {
            shape.push(usize::try_from(cursor.u64()?).map_err(|_| "a dimension overflows")?);
        }
        shape.reverse();
        Ok(Self {
            name,
            shape,
            kind: cursor.u32()?,
            offset: cursor.u64()?,
        })
    }

    fn validate(self, data: usize, alignment: usize, file_bytes: usize) -> Result<TensorEntry, String> {
        let format = format(self.kind).ok_or_else(|| format!("type {} is not read", self.kind))?;
        let (block_elements, block_bytes) = (format.block_elements(), format.block_bytes());
        let row = self.shape.last().copied().unwrap_or(0);
        if !row.is_multiple_of(block_elements) {
            return Err(format!("rows of {row} are not whole blocks"));
        }
        let elements = self
            .shape
            .iter()
            .try_fold(1_usize, |product, dimension| product.checked_mul(*dimension))
            .filter(|elements| *elements > 0)
            .ok_or("the shape is empty or overflows")?;
        let bytes = (elements / block_elements)
            .checked_mul(block_bytes)
            .ok_or("the shape overflows")?;
        let offset = usize::try_from(self.offset).map_err(|_| "the offset overflows")?;
        if !offset.is_multiple_of(alignment) {
            return Err("the offset is not aligned".to_owned());
        }
        let start = data.checked_add(offset).ok_or("the offset overflows")?;
        let end = start.checked_add(bytes).ok_or("the offset overflows")?;
        if end > file_bytes {
            return Err("it lies outside the file".to_owned());
        }
        Ok(TensorEntry {
            format,
            shape: self.shape,
            range: start..end,
        })
    }
}

fn check_overlap<'t>(tensors: impl Iterator<Item = &'t TensorEntry>) -> Result<(), String> {
    let mut ranges: Vec<_> = tensors
        .map(|entry| (entry.range.start, entry.range.end))
        .collect();
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err("tensors overlap".to_owned());
    }
    Ok(())
}

/// A name for an error message: bounded.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(120).collect()
}
