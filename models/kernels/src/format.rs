//! How weights are stored in files: the plain types of safetensors and the block formats of GGUF.

use crate::error::ShapeError;

/// Storage of one tensor's rows, named as in the GGUF specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// 32 signed bytes and one f16 scale.
    Q8_0,
    /// 32 nibbles around 8 and one f16 scale.
    Q4_0,
    /// 256 nibbles; eight 6-bit scales and minima, and two f16 that scale those.
    Q4K,
    /// As [`Self::Q4K`], with a fifth bit.
    Q5K,
    /// 256 6-bit numbers around 32; sixteen 8-bit scales and one f16 that scales those.
    Q6K,
    /// 32 numbers of E2M1 in four bits each, and one scale of E8M0 (OCP Microscaling Formats 1.0).
    Mxfp4,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 9] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Mxfp4,
    ];

    /// Elements that are stored together.
    pub const fn block_elements(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Mxfp4 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of those elements, as ggml's `type_size`.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::Mxfp4 => 17,
        }
    }

    /// Whether activations are rounded to bytes before they meet weights in this format.
    pub const fn rounds_activations(self) -> bool {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 | Self::Mxfp4 => false,
            Self::Q8_0 | Self::Q4_0 | Self::Q4K | Self::Q5K | Self::Q6K => true,
        }
    }

    /// Bytes of a row of `elements`; rows follow each other without padding.
    pub fn row_bytes(self, elements: usize) -> Result<usize, ShapeError> {
        if elements == 0 {
            return Err(ShapeError::Size { what: "a row" });
        }
        if !elements.is_multiple_of(self.block_elements()) {
            return Err(ShapeError::InputsNotWholeBlocks {
                format: self,
                inputs: elements,
            });
        }
        (elements / self.block_elements())
            .checked_mul(self.block_bytes())
            .ok_or(ShapeError::Size { what: "a row" })
    }
}
