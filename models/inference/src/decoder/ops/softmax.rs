//! Scale, causal mask and softmax of the attention scores in one pass, in place.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};

use super::for_each_row;

/// `scores` is (kv heads, group * tokens, past + tokens), rows of a group ordered by head, then by token.
/// The row of token `i` sees the first `past + i + 1` positions.
pub(crate) fn causal_softmax(scores: &Tensor, scale: f32, past: usize, tokens: usize) -> Result<()> {
    scores.inplace_op1(&CausalSoftmax { scale, past, tokens })
}

struct CausalSoftmax {
    scale: f32,
    past: usize,
    tokens: usize,
}

impl InplaceOp1 for CausalSoftmax {
    fn name(&self) -> &'static str {
        "causal-softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (_, rows, width) = layout.shape().dims3()?;
        let (CpuStorage::F32(data), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("scores are not contiguous f32");
        };
        if width != self.past + self.tokens || !rows.is_multiple_of(self.tokens) {
            bail!(
                "scores of {rows} rows and {width} columns for {} tokens",
                self.tokens
            );
        }
        for_each_row(&mut data[start..end], width, |row, scores| {
            let (seen, hidden) = scores.split_at_mut(self.past + row % self.tokens + 1);
            softmax(seen, self.scale);
            hidden.fill(0.0);
        });
        Ok(())
    }
}

fn softmax(scores: &mut [f32], scale: f32) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max) * scale;
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score * scale - max).exp();
        sum += *score;
    }
    let normaliser = f32::recip(sum);
    scores.iter_mut().for_each(|score| *score *= normaliser);
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn a_row_sees_the_past_and_itself_only() {
        let scores = Tensor::zeros((1, 4, 3), DType::F32, &Device::Cpu).expect("scores");
        causal_softmax(&scores, 1.0, 1, 2).expect("two heads, two tokens, one past");
        let rows = scores.to_vec3::<f32>().expect("rows");
        let third = 1.0 / 3.0;
        assert_eq!(
            rows[0],
            [[0.5, 0.5, 0.0], [third; 3], [0.5, 0.5, 0.0], [third; 3]]
        );
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let scores = Tensor::new(&[[[3e38_f32, -3e38]]], &Device::Cpu).expect("scores");
        causal_softmax(&scores, 1.0, 1, 1).expect("one row");
        assert_eq!(scores.to_vec3::<f32>().expect("rows")[0][0], [1.0, 0.0]);
    }
}
