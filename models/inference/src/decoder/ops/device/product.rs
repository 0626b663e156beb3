//! Products with weights on a device.
//!
//! | in the file | on the device | activations meet it as |
//! |---|---|---|
//! | F32 | F32 | f32 |
//! | F16, BF16 | the same | the same; sums are in f32 |
//! | Q8_0, Q4_0, Q4_K, Q5_K, Q6_K | the library's quantised tensors | blocks of 8 bits, made by its kernels |
//! | MXFP4 | BF16, which holds its numbers exactly, in nearly four times the memory | bf16 |
//!
//! A device that does not multiply bf16 (the library's CPU) has such weights in F32; activations are rounded all the same.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Result, Tensor, bail};
use kernels::{Format, Part, blocks};

use super::refused;
use crate::error::InferenceError;
use crate::place::OnDevice;

/// Kernels read blocks as structures; none of them needs more than this.
const ALIGNMENT: usize = 16;

/// See [`Weights`](crate::decoder::ops::Weights).
#[derive(Clone)]
pub(crate) struct Weights {
    stacked: Arc<Stacked>,
    device: OnDevice,
}

/// Parts of different formats are multiplied one by one.
struct Stacked {
    pieces: Vec<Piece>,
    inputs: usize,
}

enum Piece {
    /// (outputs, inputs), and what activations are rounded to.
    Plain {
        weight: Tensor,
        rounded: DType,
    },
    Blocks(Box<QTensor>),
}

impl Weights {
    pub(crate) fn load(
        parts: &[Part<'_>],
        inputs: usize,
        device: &OnDevice,
        named: impl Fn(&str) -> InferenceError,
    ) -> std::result::Result<Self, InferenceError> {
        let mut pieces = Vec::new();
        for parts in parts.chunk_by(|a, b| a.format == b.format) {
            let Some(Part { format, .. }) = parts.first() else {
                continue;
            };
            let row_bytes = format
                .row_bytes(inputs)
                .map_err(|error| named(&error.to_string()))?;
            for part in parts {
                if part.outputs == 0 || part.outputs.checked_mul(row_bytes) != Some(part.bytes.len()) {
                    return Err(named("has not as many bytes as its shape takes"));
                }
            }
            let outputs = parts.iter().map(|part| part.outputs).sum();
            let bytes = parts.iter().map(|part| part.bytes.len()).sum();
            let piece =
                Piece::load(*format, parts, [outputs, inputs], device.device()).map_err(refused(bytes))?;
            pieces.push(piece);
        }
        if pieces.is_empty() {
            return Err(named("has no rows"));
        }
        Ok(Self {
            stacked: Arc::new(Stacked { pieces, inputs }),
            device: device.clone(),
        })
    }

    pub(crate) fn product(&self, x: &Tensor) -> Result<Tensor> {
        let (_, inputs) = x.dims2()?;
        if inputs != self.stacked.inputs {
            bail!("{inputs} inputs for weights of {}", self.stacked.inputs);
        }
        let x = x.contiguous()?;
        let outputs = self.stacked.pieces.iter().map(|piece| piece.product(&x));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        match outputs.as_slice() {
            [output] => Ok(output.clone()),
            several => Tensor::cat(several, 1),
        }
    }

    pub(crate) fn rows(&self, indices: &[u32]) -> Result<Tensor> {
        let [piece] = self.stacked.pieces.as_slice() else {
            bail!("rows of weights in several formats");
        };
        piece.rows(indices, self.device.device())
    }
}

impl Piece {
    fn load(format: Format, parts: &[Part<'_>], shape: [usize; 2], device: &Device) -> Result<Self> {
        let plain = |dtype: DType| {
            let bytes = match parts {
                [part] => Cow::Borrowed(part.bytes),
                several => Cow::Owned(several.iter().flat_map(|part| part.bytes).copied().collect()),
            };
            let weight = Tensor::from_raw_buffer(&bytes, dtype, &shape, &Device::Cpu)?;
            Self::plain(weight, dtype, device)
        };
        match format {
            Format::F32 => plain(DType::F32),
            Format::F16 => plain(DType::F16),
            Format::Bf16 => plain(DType::BF16),
            Format::Mxfp4 => {
                let mut values = vec![0.0; shape.iter().product()];
                let mut rest = values.as_mut_slice();
                for part in parts {
                    let (of_part, after) = rest.split_at_mut(part.outputs * shape[1]);
                    blocks::decode_row(format, part.bytes, of_part).map_err(candle_core::Error::wrap)?;
                    rest = after;
                }
                let weight = Tensor::from_vec(values, &shape, &Device::Cpu)?.to_dtype(DType::BF16)?;
                Self::plain(weight, DType::BF16, device)
            }
            Format::Q8_0 => Self::blocks(GgmlDType::Q8_0, parts, shape, device),
            Format::Q4_0 => Self::blocks(GgmlDType::Q4_0, parts, shape, device),
            Format::Q4K => Self::blocks(GgmlDType::Q4K, parts, shape, device),
            Format::Q5K => Self::blocks(GgmlDType::Q5K, parts, shape, device),
            Format::Q6K => Self::blocks(GgmlDType::Q6K, parts, shape, device),
        }
    }

    fn plain(weight: Tensor, rounded: DType, device: &Device) -> Result<Self> {
        let weight = if rounded == DType::BF16 && !device.supports_bf16() {
            weight.to_dtype(DType::F32)?
        } else {
            weight
        };
        let weight = weight.to_device(device)?;
        Ok(Self::Plain { weight, rounded })
    }

    fn blocks(stored: GgmlDType, parts: &[Part<'_>], shape: [usize; 2], device: &Device) -> Result<Self> {
        let length: usize = parts.iter().map(|part| part.bytes.len()).sum();
        // The library refuses by a panic what is not aligned for its structures; a file's bytes may lie anywhere.
        let mut bytes: Vec<u8> = Vec::with_capacity(length + ALIGNMENT);
        bytes.resize(bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT), 0);
        let start = bytes.len();
        parts.iter().for_each(|part| bytes.extend_from_slice(part.bytes));
        let storage = QStorage::from_data(Cow::Borrowed(&bytes[start..]), device, stored)?;
        let weight = QTensor::new(storage, (shape[0], shape[1]))?;
        Ok(Self::Blocks(Box::new(weight)))
    }

    fn product(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain { weight, rounded } => {
                let x = x.to_dtype(*rounded)?.to_dtype(weight.dtype())?;
                x.matmul(&weight.t()?)?.to_dtype(DType::F32)
            }
            Self::Blocks(weight) => x.apply_op1_no_bwd(weight.as_ref()),
        }
    }

    fn rows(&self, indices: &[u32], device: &Device) -> Result<Tensor> {
        let outputs = match self {
            Self::Plain { weight, .. } => weight.dim(0)?,
            Self::Blocks(weight) => weight.shape().dims2()?.0,
        };
        // Not every device checks.
        if indices.iter().any(|index| *index as usize >= outputs) {
            bail!("a row beyond {outputs}");
        }
        let indices = Tensor::from_slice(indices, indices.len(), device)?;
        match self {
            Self::Plain { weight, .. } => weight.index_select(&indices, 0)?.to_dtype(DType::F32),
            Self::Blocks(weight) => weight.embedding(&indices)?.to_dtype(DType::F32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole_numbers(count: usize) -> Vec<f32> {
        (0..count).map(|index| (index * 7 % 11) as f32 - 5.0).collect()
    }

    fn named(reason: &str) -> InferenceError {
        InferenceError::TensorMismatch {
            tensor: "t".to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn load(parts: &[Part<'_>], inputs: usize) -> std::result::Result<Weights, InferenceError> {
        Weights::load(parts, inputs, &OnDevice::cpu(), named)
    }

    /// Blocks of 32 ones times `scale`, in Q8_0.
    fn q8_0(scale: f32, blocks: usize) -> Vec<u8> {
        let mut block = half::f16::from_f32(scale).to_le_bytes().to_vec();
        block.extend([1; 32]);
        block.repeat(blocks)
    }

    #[test]
    fn parts_of_every_format_are_one_product() {
        let inputs = 64;
        let values = whole_numbers(2 * inputs);
        let bytes = |pack: fn(f32) -> Vec<u8>| -> Vec<u8> { values.iter().copied().flat_map(pack).collect() };
        let f32s = bytes(|value| value.to_le_bytes().to_vec());
        let f16s = bytes(|value| half::f16::from_f32(value).to_le_bytes().to_vec());
        let bf16s = bytes(|value| half::bf16::from_f32(value).to_le_bytes().to_vec());
        let q8s = q8_0(2.0, 4);
        let part = |format, bytes| Part {
            format,
            bytes,
            outputs: 2,
        };
        let weights = load(
            &[
                part(Format::F32, &f32s),
                part(Format::F32, &f32s),
                part(Format::F16, &f16s),
                part(Format::Bf16, &bf16s),
                part(Format::Q8_0, &q8s),
            ],
            inputs,
        )
        .expect("the shapes fit");
        let x = whole_numbers(inputs);
        let tensor = Tensor::from_slice(&x, (1, inputs), &Device::Cpu).expect("a row");
        let found = weights.product(&tensor).and_then(|y| y.to_vec2::<f32>());
        let found = found.expect("a row").remove(0);
        let of = |weight: &[f32]| -> f32 { x.iter().zip(weight).map(|(x, w)| x * w).sum() };
        let two = [of(&values[..inputs]), of(&values[inputs..])];
        assert_eq!(found[..8], two.repeat(4));
        let sum = 2.0 * x.iter().sum::<f32>();
        assert!(
            found[8..]
                .iter()
                .all(|y| (y - sum).abs() < 0.1 + sum.abs() / 100.0),
            "{found:?} {sum}"
        );
    }

    #[test]
    fn what_mxfp4_holds_is_kept_in_bf16() {
        // 2^(130 - 127) times the sixteen codes, twice.
        let mut block = vec![130_u8];
        block.extend((0..16_u8).map(|code| code | (code << 4)));
        let part = Part {
            format: Format::Mxfp4,
            bytes: &block,
            outputs: 1,
        };
        let mut expected = [0.0; 32];
        blocks::decode_row(Format::Mxfp4, &block, &mut expected).expect("a block");
        let rows = load(&[part], 32).expect("a row").rows(&[0]);
        let rows = rows.and_then(|rows| rows.to_vec2::<f32>()).expect("a row");
        assert_eq!(rows[0], expected);
    }

    #[test]
    fn bytes_anywhere_in_a_file_are_taken() {
        let blocks = q8_0(1.0, 2);
        for offset in 0..4 {
            let mut file = vec![0xff; offset];
            file.extend_from_slice(&blocks);
            let part = Part {
                format: Format::Q8_0,
                bytes: &file[offset..],
                outputs: 2,
            };
            let rows = load(&[part], 32).expect("two rows").rows(&[1]);
            assert_eq!(
                rows.and_then(|rows| rows.to_vec2::<f32>()).expect("a row"),
                [[1.0; 32]]
            );
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let part = Part {
            format: Format::F32,
            bytes: &[0; 32],
            outputs: 2,
        };
        let weights = load(&[part], 4).expect("it has the shape");
        let x = Tensor::zeros((1, 3), DType::F32, &Device::Cpu).expect("a row");
        assert!(weights.product(&x).is_err());
        assert!(weights.rows(&[2]).is_err());
        assert!(load(&[part], 5).is_err());
        let none = Part { outputs: 0, ..part };
        assert!(load(&[none], 4).is_err() && load(&[], 4).is_err());
        let blocks = Part {
            format: Format::Q4K,
            bytes: &[0; 144],
            outputs: 1,
        };
        assert!(load(&[blocks], 256).is_ok() && load(&[blocks], 128).is_err());
    }
}
