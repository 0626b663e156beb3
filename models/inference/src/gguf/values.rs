//! The values of the metadata, and the cursor that reads them.

/// Longest key, as the specification says.
pub(super) const KEY_BYTES_MAX: usize = u16::MAX as usize;
/// Longest name of a tensor; the specification says 64, files in use go a little beyond.
pub(super) const NAME_BYTES_MAX: usize = 256;
/// Most elements of all arrays of texts together: four times the largest vocabulary in use, with its merges.
pub(super) const TEXTS_MAX: usize = 1 << 22;

/// A value of the metadata.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(&'a str),
    Texts(Vec<&'a str>),
    /// Numbers of one type, read when they are asked for.
    Numbers(Numbers<'a>),
}

/// An array of numbers as it lies in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers<'a> {
    kind: Kind,
    bytes: &'a [u8],
}

/// The number of a value type in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

impl Kind {
    fn parse(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// `bytes` has the length of the kind; `None` for a bool that is neither 0 nor 1.
    fn read<'a>(self, bytes: &[u8]) -> Option<Value<'a>> {
        let mut wide = [0_u8; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let unsigned = u64::from_le_bytes(wide);
        Some(match self {
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => Value::Unsigned(unsigned),
            Self::I8 => Value::Signed(i64::from(unsigned as u8 as i8)),
            Self::I16 => Value::Signed(i64::from(unsigned as u16 as i16)),
            Self::I32 => Value::Signed(i64::from(unsigned as u32 as i32)),
            Self::I64 => Value::Signed(unsigned as i64),
            Self::F32 => Value::Float(f64::from(f32::from_bits(unsigned as u32))),
            Self::F64 => Value::Float(f64::from_bits(unsigned)),
            Self::Bool => Value::Bool(match unsigned {
                0 => false,
                1 => true,
                _ => return None,
            }),
        })
    }
}

impl<'a> Numbers<'a> {
    pub(super) fn len(self) -> usize {
        self.bytes.len() / self.kind.bytes()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Value<'a>> {
        self.bytes
            .chunks_exact(self.kind.bytes())
            .filter_map(move |bytes| self.kind.read(bytes))
    }
}

impl<'a> Value<'a> {
    /// A whole number that is not negative, of whatever type.
    pub(super) fn whole(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// Any number.
    pub(super) fn float(&self) -> Option<f64> {
        match *self {
            Self::Float(value) => Some(value),
            Self::Unsigned(value) => Some(value as f64),
            Self::Signed(value) => Some(value as f64),
            _ => None,
        }
    }
}

/// Reads what is hostile: every step is checked against what is left.
pub(super) struct Cursor<'a> {
    file: &'a [u8],
    rest: &'a [u8],
    texts: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self {
            file,
            rest: file,
            texts: 0,
        }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.file.len() - self.rest.len()
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or("the file is cut off")?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or("the file is cut off")?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or("the file is cut off")?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// A count of things that take at least `bytes_each` of what is left.
    pub(super) fn count(&mut self, bytes_each: usize) -> Result<usize, String> {
        let count = usize::try_from(self.u64()?).map_err(|_| "a count overflows")?;
        if count > self.rest.len() / bytes_each {
            return Err("a count is larger than the file".to_owned());
        }
        Ok(count)
    }

    pub(super) fn text(&mut self, bytes_max: usize) -> Result<&'a str, String> {
        let length = self.count(1)?;
        if length > bytes_max {
            return Err(format!("a text of {length} bytes"));
        }
        std::str::from_utf8(self.take(length)?).map_err(|_| "a text is not UTF-8".to_owned())
    }

    pub(super) fn value(&mut self) -> Result<Value<'a>, String> {
        match self.u32()? {
            TEXT => self.text(usize::MAX).map(Value::Text),
            ARRAY => self.array(),
            other => {
                let kind = Kind::parse(other).ok_or("unknown type of value")?;
                let bytes = self.take(kind.bytes())?;
                kind.read(bytes)
                    .ok_or_else(|| "a bool is neither 0 nor 1".to_owned())
            }
        }
    }

    fn array(&mut self) -> Result<Value<'a>, String> {
        match self.u32()? {
            TEXT => {
                // A text takes eight bytes for its length.
                let count = self.count(8)?;
                self.texts = self.texts.saturating_add(count);
                if self.texts > TEXTS_MAX {
                    return Err("too many texts".to_owned());
                }
                (0..count)
                    .map(|_| self.text(usize::MAX))
                    .collect::<Result<_, _>>()
                    .map(Value::Texts)
            }
            ARRAY => Err("an array of arrays".to_owned()),
            other => {
                let kind = Kind::parse(other).ok_or("unknown type of array")?;
                let count = self.count(kind.bytes())?;
                let bytes = self.take(count * kind.bytes())?;
                let numbers = Numbers { kind, bytes };
                if numbers.iter().count() != count {
                    return Err("a bool is neither 0 nor 1".to_owned());
                }
                Ok(Value::Numbers(numbers))
            }
        }
    }
}
