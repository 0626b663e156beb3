//! What can be wrong with what a caller hands in. Nothing here depends on the values of weights or activations.

use std::fmt;

use crate::format::Format;

/// Lengths that do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeError {
    /// A row of this format holds whole blocks only.
    InputsNotWholeBlocks {
        /// The format of the weights.
        format: Format,
        /// Elements of a row.
        inputs: usize,
    },
    /// A buffer has another length than its shape says.
    Length {
        /// Which buffer.
        what: &'static str,
        /// Its length, in its own elements (bytes for weights).
        found: usize,
        /// What the shape implies.
        expected: usize,
    },
    /// A size is zero, or the product of sizes does not fit the machine.
    Size {
        /// Which size.
        what: &'static str,
    },
    /// An index is outside.
    Index {
        /// Which index.
        what: &'static str,
        /// Its value.
        index: usize,
        /// How many there are.
        count: usize,
    },
}

impl ShapeError {
    /// Stable identifier, the same for every instance of a variant.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InputsNotWholeBlocks { .. } => "inputs-not-whole-blocks",
            Self::Length { .. } => "length-differs-from-shape",
            Self::Size { .. } => "size-out-of-range",
            Self::Index { .. } => "index-out-of-range",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InputsNotWholeBlocks { .. } => {
                "store this tensor in a format with smaller blocks, such as F16"
            }
            Self::Length { .. } | Self::Size { .. } => {
                "the file's shapes and data disagree: download it again"
            }
            Self::Index { .. } => "a token is beyond the vocabulary of the model",
        }
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InputsNotWholeBlocks { format, inputs } => {
                let block = format.block_elements();
                write!(
                    f,
                    "a row of {inputs} elements is not whole {format:?} blocks of {block}"
                )
            }
            Self::Length {
                what,
                found,
                expected,
            } => write!(f, "{what} has {found} elements, not {expected}"),
            Self::Size { what } => write!(f, "{what} is zero or too large"),
            Self::Index { what, index, count } => write!(f, "{what} {index} of {count}"),
        }
    }
}

impl std::error::Error for ShapeError {}

/// `found` elements where the shape says `expected`.
pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), ShapeError> {
    if found == expected {
        Ok(())
    } else {
        Err(ShapeError::Length {
            what,
            found,
            expected,
        })
    }
}

/// `a * b`, or the error that names what they size.
pub(crate) fn checked_product(what: &'static str, a: usize, b: usize) -> Result<usize, ShapeError> {
    a.checked_mul(b).ok_or(ShapeError::Size { what })
}
