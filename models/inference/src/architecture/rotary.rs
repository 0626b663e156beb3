//! `rope_theta` and `rope_scaling` (transformers 4) or `rope_parameters` (transformers 5), with all types of
//! stretching that the families use.

use super::fields::{Fields, unsupported};
use crate::config::rope::{QueryGrowth, Yarn};
use crate::config::{Rope, RopeScaling};
use crate::error::InferenceError;

const TYPES: &str = "default, linear, dynamic, llama3, yarn, longrope";

/// What a rope needs to know of the rest of the config.
pub(crate) struct RopeContext {
    pub(crate) default_theta: f32,
    pub(crate) head_dim: usize,
    pub(crate) context_tokens_max: usize,
    /// Phi-3 wrote `su` and `yarn` for what is `longrope` now.
    pub(crate) old_names_of_longrope: bool,
    /// Heads may be turned in part (Phi-3, Phi-4). Elsewhere transformers ignores the factor, or fails.
    pub(crate) partial: bool,
    /// Ministral 3: `llama_4_scaling_beta` is honoured.
    pub(crate) query_growth: bool,
}

/// The fields beside the rope object.
struct Outer {
    theta: Option<f32>,
    partial: Option<f64>,
    original_context_tokens: Option<usize>,
}

/// One rope for all layers.
pub(crate) fn rope(fields: &mut Fields, context: &RopeContext) -> Result<Rope, InferenceError> {
    let (parameters, outer) = (parameters(fields)?, outer(fields)?);
    one(parameters, &outer, context)
}

/// The ropes of full and of sliding attention (Gemma 3). The older form stretches only the first.
pub(crate) fn rope_of_each_attention(
    fields: &mut Fields,
    context: &RopeContext,
    default_local_theta: f32,
) -> Result<[Rope; 2], InferenceError> {
    let local_theta = fields.take("rope_local_base_freq")?;
    let local_context = RopeContext {
        default_theta: default_local_theta,
        ..*context
    };
    let (parameters, outer) = (parameters(fields)?, outer(fields)?);
    let local_outer = Outer {
        theta: local_theta,
        ..outer
    };
    let nested =
        |fields: &Fields| fields.is_present("full_attention") || fields.is_present("sliding_attention");
    match parameters {
        Some(mut both) if nested(&both) => {
            let (full, sliding) = (both.nested("full_attention")?, both.nested("sliding_attention")?);
            both.finish()?;
            Ok([
                one(full, &outer, context)?,
                one(sliding, &local_outer, &local_context)?,
            ])
        }
        full => Ok([
            one(full, &outer, context)?,
            one(None, &local_outer, &local_context)?,
        ]),
    }
}

fn parameters(fields: &mut Fields) -> Result<Option<Fields>, InferenceError> {
    let (new, old) = (fields.take("rope_parameters")?, fields.take("rope_scaling")?);
    match (new, old) {
        (Some(new), Some(old)) if new != old => {
            Err(fields.malformed("rope_parameters and rope_scaling differ"))
        }
        (new, old) => Ok(new.or(old).map(Fields::of)),
    }
}

fn outer(fields: &mut Fields) -> Result<Outer, InferenceError> {
    Ok(Outer {
        theta: fields.take("rope_theta")?,
        partial: fields.take("partial_rotary_factor")?,
        original_context_tokens: fields.take("original_max_position_embeddings")?,
    })
}

fn one(parameters: Option<Fields>, outer: &Outer, context: &RopeContext) -> Result<Rope, InferenceError> {
    let has_parameters = parameters.is_some();
    let mut fields = parameters.unwrap_or_else(|| Fields::of(serde_json::Map::new()));
    let theta = match (fields.take::<f32>("rope_theta")?, outer.theta) {
        (Some(inner), Some(outer)) if inner != outer => {
            return Err(fields.malformed("rope_theta is given twice"));
        }
        (inner, outer) => inner.or(outer).unwrap_or(context.default_theta),
    };
    let partial = fields.take::<f64>("partial_rotary_factor")?.or(outer.partial);
    let rotary_dim = match partial {
        None => context.head_dim,
        Some(partial) if partial != 1.0 && !context.partial => {
            return Err(unsupported(
                "partial_rotary_factor",
                &partial.to_string(),
                "1, or Phi-3",
            ));
        }
        // Towards zero, as Python's int(); what is not a fraction of a head is refused later.
        Some(partial) if (0.0..=1.0).contains(&partial) => (context.head_dim as f64 * partial) as usize,
        Some(partial) => return Err(fields.malformed(&format!("partial_rotary_factor is {partial}"))),
    };
    let (kind, old_kind) = (
        fields.take::<String>("rope_type")?,
        fields.take::<String>("type")?,
    );
    let kind = match (kind, old_kind) {
        (Some(new), Some(old)) if new != old => return Err(fields.malformed("rope_type and type differ")),
        (new, old) => new.or(old).unwrap_or_else(|| "default".to_owned()),
    };
    let numbers = Numbers::take(&mut fields, outer, context)?;
    let growth = fields.take::<f32>("llama_4_scaling_beta")?;
    if growth.is_some() && !context.query_growth {
        return Err(unsupported("llama_4_scaling_beta", "set", "Ministral 3"));
    }
    if has_parameters {
        // Repeated by Ministral 3 and by nobody read.
        fields.take::<usize>("max_position_embeddings")?;
        fields.take::<bool>("finetuned")?;
    }
    let query_growth = growth.map(|beta| QueryGrowth {
        beta,
        original_context_tokens: numbers.original_context_tokens,
    });
    let scaling = numbers.scaling(&kind, &fields, context)?;
    fields.finish()?;
    Ok(Rope {
        theta,
        rotary_dim,
        scaling,
        query_growth,
    })
}

/// Every number that some type reads.
struct Numbers {
    factor: Option<f64>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_context_tokens: usize,
    original_is_given: bool,
    attention_factor: Option<f32>,
    beta_fast: Option<f32>,
    beta_slow: Option<f32>,
    mscale: Option<f64>,
    mscale_all: Option<f64>,
    truncate: Option<bool>,
    short: Option<Vec<f32>>,
    long: Option<Vec<f32>>,
}

impl Numbers {
    fn take(fields: &mut Fields, outer: &Outer, context: &RopeContext) -> Result<Self, InferenceError> {
        // The field beside the object goes first, as in transformers.
        let inner = fields.take::<usize>("original_max_position_embeddings")?;
        let original = outer.original_context_tokens.or(inner);
        Ok(Self {
            factor: fields.take("factor")?,
            low_freq_factor: fields.take("low_freq_factor")?,
            high_freq_factor: fields.take("high_freq_factor")?,
            original_context_tokens: original.unwrap_or(context.context_tokens_max),
            original_is_given: original.is_some(),
            attention_factor: fields.take("attention_factor")?,
            beta_fast: fields.take("beta_fast")?,
            beta_slow: fields.take("beta_slow")?,
            mscale: fields.take("mscale")?,
            mscale_all: fields.take("mscale_all_dim")?,
            truncate: fields.take("truncate")?,
            short: fields.take("short_factor")?,
            long: fields.take("long_factor")?,
        })
    }

    fn scaling(
        self,
        kind: &str,
        fields: &Fields,
        context: &RopeContext,
    ) -> Result<RopeScaling, InferenceError> {
        let lacks = |name: &str| fields.malformed(&format!("rope of type {kind} lacks {name}"));
        let original = self.original_context_tokens;
        let factor = self.factor;
        // As transformers: the ratio of the contexts where no factor is given.
        let factor_or_ratio = || factor.unwrap_or(context.context_tokens_max as f64 / original.max(1) as f64);
        match kind {
            // Dynamic scaling begins beyond `max_position_embeddings`, where the context ends here.
            "default" | "dynamic" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear {
                factor: factor.ok_or_else(|| lacks("factor"))? as f32,
            }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: factor.ok_or_else(|| lacks("factor"))? as f32,
                low_freq_factor: self.low_freq_factor.ok_or_else(|| lacks("low_freq_factor"))?,
                high_freq_factor: self.high_freq_factor.ok_or_else(|| lacks("high_freq_factor"))?,
                original_context_tokens: original,
            }),
            "su" | "yarn" | "longrope" if kind == "longrope" || context.old_names_of_longrope => {
                let factor = factor_or_ratio();
                let default = if factor <= 1.0 {
                    1.0
                } else {
                    (1.0 + factor.ln() / (original as f64).ln()).sqrt()
                };
                Ok(RopeScaling::LongRope {
                    short: self.short.ok_or_else(|| lacks("short_factor"))?,
                    long: self.long.ok_or_else(|| lacks("long_factor"))?,
                    original_context_tokens: original,
                    attention_factor: self.attention_factor.unwrap_or(default as f32),
                })
            }
            "yarn" => {
                if factor.is_none() && !self.original_is_given {
                    return Err(lacks("factor"));
                }
                let factor = factor_or_ratio();
                let default = Yarn::default_attention_factor(factor, self.mscale, self.mscale_all);
                let beta = |given: Option<f32>, default| given.filter(|beta| *beta != 0.0).unwrap_or(default);
                Ok(RopeScaling::Yarn(Yarn {
                    factor: factor as f32,
                    beta_fast: beta(self.beta_fast, 32.0),
                    beta_slow: beta(self.beta_slow, 1.0),
                    original_context_tokens: original,
                    truncate: self.truncate.unwrap_or(true),
                    attention_factor: self.attention_factor.unwrap_or(default as f32),
                }))
            }
            other => Err(unsupported("rope_type", other, TYPES)),
        }
    }
}
