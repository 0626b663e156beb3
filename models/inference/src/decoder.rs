//! The decoder: tokens and caches in, logits of the next tokens out.
//!
//! Activations are f32 throughout. One pass advances a batch of sequences, each by any number of tokens (prefill)
//! or by one (decode); attention sees what the cache of its sequence holds and what is given, so that a prompt may
//! come in parts.
//!
//! 1. embedding row of each token
//! 2. per layer: norm, fused query-key-value product, norms per head, rotary positions, cache, attention, output
//!    product, sum; norm, gated MLP or experts, sum
//! 3. norm and head of the rows whose logits are wanted

mod attention;
pub(crate) mod batch;
pub(crate) mod block_pool;
pub(crate) mod linear;
mod mlp;
pub(crate) mod ops;

pub(crate) mod kv_cache;

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod oracle_tests;

use candle_core::{Result, Tensor};

use self::attention::Attention;
use self::batch::{Part, Rows};
use self::block_pool::BlockPool;
use self::kv_cache::KvCache;
use self::linear::Linear;
use self::mlp::Mlp;
use self::ops::{RmsNorm, RotaryTable, Rotation, Weights, device, softcap};
use crate::checkpoint::Checkpoint;
use crate::config::{DecoderConfig, LayerConfig};
use crate::error::InferenceError;
use crate::place::Place;

/// Weights and shape of a model; nothing in it changes.
pub(crate) struct Decoder {
    config: DecoderConfig,
    place: Place,
    tables: Vec<RotaryTable>,
    embedding: Weights,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Option<Linear>,
}

struct Layer {
    attention_norm: RmsNorm,
    attention: Attention,
    after_attention: Option<RmsNorm>,
    mlp_norm: RmsNorm,
    mlp: Mlp,
    after_mlp: Option<RmsNorm>,
    rope: Option<usize>,
}

/// Asked between layers; a forward pass that is no longer wanted ends early.
pub(crate) trait Interrupt {
    fn is_interrupted(&self) -> bool;
}

/// Whether a model ends in logits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Head {
    /// A language model.
    Logits,
    /// An embedding model: the hidden states are what is wanted.
    None,
}

impl Decoder {
    /// Takes every tensor that the config implies, and refuses a checkpoint that holds others.
    pub(crate) fn load(
        config: DecoderConfig,
        mut checkpoint: Checkpoint<'_>,
        head: Head,
    ) -> std::result::Result<Self, InferenceError> {
        if head == Head::None {
            checkpoint.add_missing_prefix("model.");
        }
        let hidden = config.hidden;
        let embedding = checkpoint.weights(&[("model.embed_tokens.weight", config.vocabulary)], hidden)?;
        let layers = config
            .layers
            .iter()
            .enumerate()
            .map(|(index, layer)| {
                Layer::load(&config, layer, &mut checkpoint, &format!("model.layers.{index}"))
            })
            .collect::<std::result::Result<_, _>>()?;
        let place = checkpoint.place().clone();
        let norm = checkpoint.floats("model.norm.weight", &[hidden])?;
        let norm = RmsNorm::load(norm, config.norm_offset, config.norm_epsilon, &place)?;
        let head = if config.tied_embeddings || head == Head::None {
            checkpoint.ignore("lm_head.weight");
            (head == Head::Logits).then(|| Linear::new(embedding.clone()))
        } else {
            Some(Linear::new(
                checkpoint.weights(&[("lm_head.weight", config.vocabulary)], hidden)?,
            ))
        };
        checkpoint.finish()?;
        let tables = config.ropes.iter().map(RotaryTable::new).collect();
        Ok(Self {
            config,
            place,
            tables,
            embedding,
            layers,
            norm,
            head,
        })
    }

    /// The numbers it was built from.
    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// A pool of cache blocks where its weights are.
    ///
    /// # Errors
    /// `device-refused`: a device has not that much memory.
    pub(crate) fn pool(&self, blocks_max: usize) -> std::result::Result<BlockPool, InferenceError> {
        let bytes = blocks_max.saturating_mul(KvCache::block_bytes(&self.config));
        BlockPool::new(KvCache::layout_of(&self.config), blocks_max, &self.place).map_err(|error| match self
            .place
            .device()
        {
            None => InferenceError::ComputeFailed,
            Some(_) => device::refused(bytes)(error),
        })
    }

    /// A cache for `capacity` tokens in blocks of its own.
    pub(crate) fn cache(&self, capacity: usize) -> Result<KvCache> {
        KvCache::new(&self.config, capacity, &self.place)
    }

    /// Advances every part and returns the logits that each wants, or `None` when interrupted.
    pub(crate) fn forward(
        &self,
        parts: &mut [Part<'_>],
        interrupt: &dyn Interrupt,
    ) -> Result<Option<Vec<Option<Tensor>>>> {
        let singles: Vec<bool> = parts
            .iter()
            .map(|part| part.logits == batch::Wanted::Last)
            .collect();
        let Some(states) = self.last_states(parts, interrupt)? else {
            return Ok(None);
        };
        let Some(states) = states else {
            return Ok(Some(singles.iter().map(|_| None).collect()));
        };
        let (states, counts) = states;
        let logits = match &self.head {
            Some(head) => head.forward(&states)?,
            None => candle_core::bail!("the model has no head"),
        };
        let logits = match self.config.logit_softcap {
            Some(cap) => softcap(&logits, cap, &self.place)?,
            None => logits,
        };
        let mut first = 0;
        let mut of_part = |(count, single): (&usize, &bool)| {
            if *count == 0 {
                return Ok(None);
            }
            let rows = logits.narrow(0, first, *count)?;
            first += count;
            if *single {
                rows.squeeze(0).map(Some)
            } else {
                Ok(Some(rows))
            }
        };
        counts
            .iter()
            .zip(&singles)
            .map(&mut of_part)
            .collect::<Result<_>>()
            .map(Some)
    }

    /// As [`Self::forward`], the normed hidden states instead of logits: all wanted rows, and how many of each part.
    /// The inner `None` is a pass that wants none.
    #[allow(
        clippy::type_complexity,
        reason = "interrupted, nothing wanted, or the rows with their counts"
    )]
    pub(crate) fn last_states(
        &self,
        parts: &mut [Part<'_>],
        interrupt: &dyn Interrupt,
    ) -> Result<Option<Option<(Tensor, Vec<usize>)>>> {
        let mut rows = Rows::new(parts, &self.config)?;
        let rotations = self
            .tables
            .iter()
            .map(|table| Rotation::new(table, rows.positions(), self.config.head_dim, &self.place))
            .collect::<Result<Vec<_>>>()?;
        let mut hidden = self.embedding.rows(&rows.tokens())?;
        if self.config.embedding_scale != 1.0 {
            hidden = (hidden * f64::from(self.config.embedding_scale))?;
        }
        for (index, layer) in self.layers.iter().enumerate() {
            if interrupt.is_interrupted() {
                return Ok(None);
            }
            hidden = layer.forward(&hidden, &rotations, &mut rows, index)?;
        }
        let wanted = rows.wanted();
        rows.advance();
        let picked = wanted
            .iter()
            .filter(|range| !range.is_empty())
            .map(|range| hidden.narrow(0, range.start, range.len()))
            .collect::<Result<Vec<_>>>()?;
        if picked.is_empty() {
            return Ok(Some(None));
        }
        let states = self.norm.forward(&Tensor::cat(&picked, 0)?)?;
        let counts = wanted.iter().map(ExactSizeIterator::len).collect();
        Ok(Some(Some((states, counts))))
    }
}

impl Layer {
    fn load(
        config: &DecoderConfig,
        layer: &LayerConfig,
        checkpoint: &mut Checkpoint<'_>,
        prefix: &str,
    ) -> std::result::Result<Self, InferenceError> {
        let norm = |checkpoint: &mut Checkpoint<'_>, name: &str| {
            let weight = checkpoint.floats(&format!("{prefix}.{name}.weight"), &[config.hidden])?;
            RmsNorm::load(
                weight,
                config.norm_offset,
                config.norm_epsilon,
                checkpoint.place(),
            )
        };
        let attention_norm = norm(checkpoint, "input_layernorm")?;
        // Gemma's name for the norm after attention is the one that others have for the norm before the MLP.
        let (after_attention, mlp_norm, after_mlp) = if config.norms_after {
            (
                Some(norm(checkpoint, "post_attention_layernorm")?),
                norm(checkpoint, "pre_feedforward_layernorm")?,
                Some(norm(checkpoint, "post_feedforward_layernorm")?),
            )
        } else {
            (None, norm(checkpoint, "post_attention_layernorm")?, None)
        };
        let attention = Attention::load(config, layer, checkpoint, &format!("{prefix}.self_attn"))?;
        // Checkpoints of the first Llama carry the frequencies that the config implies.
        checkpoint.ignore(&format!("{prefix}.self_attn.rotary_emb.inv_freq"));
        let mlp = Mlp::load(config, &layer.mlp, checkpoint, &format!("{prefix}.mlp"))?;
        Ok(Self {
            attention_norm,
            attention,
            after_attention,
            mlp_norm,
            mlp,
            after_mlp,
            rope: layer.rope,
        })
    }

    fn forward(
        &self,
        hidden: &Tensor,
        rotations: &[Rotation],
        rows: &mut Rows<'_, '_>,
        index: usize,
    ) -> Result<Tensor> {
        let rotation = self.rope.map(|rope| &rotations[rope]);
        let attended =
            self.attention
                .forward(&self.attention_norm.forward(hidden)?, rotation, rows, index)?;
        let hidden = (hidden + normed(attended, &self.after_attention)?)?;
        let output = self.mlp.forward(&self.mlp_norm.forward(&hidden)?)?;
        &hidden + normed(output, &self.after_mlp)?
    }
}

fn normed(x: Tensor, norm: &Option<RmsNorm>) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&x),
        None => Ok(x),
    }
}
