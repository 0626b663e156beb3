//! The tensors of a GGUF under the names and in the layout of Hugging Face checkpoints.

use std::borrow::Cow;

use super::architecture::Family;
use super::keys::malformed;
use super::reader::Gguf;
use crate::checkpoint::Checkpoint;
use crate::config::DecoderConfig;
use crate::error::InferenceError;

pub(super) fn checkpoint<'a>(
    gguf: &Gguf<'a>,
    config: &DecoderConfig,
    family: Family,
) -> Result<Checkpoint<'a>, InferenceError> {
    let mut checkpoint = Checkpoint::empty();
    for (name, entry, bytes) in gguf.tensors() {
        // Read with the metadata.
        if matches!(
            name,
            "rope_freqs.weight" | "rope_factors_short.weight" | "rope_factors_long.weight"
        ) {
            continue;
        }
        let ours = newer_name(name, family)
            .ok_or_else(|| malformed(&format!("tensor {name} is not part of the architecture")))?;
        if checkpoint.has(&ours) {
            return Err(malformed(&format!("tensor {name} is there under two names")));
        }
        let mut bytes = Cow::Borrowed(bytes);
        let turned_heads = match name.rsplit('.').nth(1) {
            Some("attn_q") => config.heads,
            Some("attn_k") => config.kv_heads,
            _ => 0,
        };
        if matches!(family, Family::Llama | Family::SmolLm3) && turned_heads > 0 {
            bytes = Cow::Owned(halves_together(&bytes, &entry.shape, turned_heads)?);
        }
        checkpoint.insert(ours, entry.format, entry.shape.clone(), bytes);
    }
    Ok(checkpoint)
}

/// llama.cpp turns neighbouring rows of a head, Hugging Face rows of its two halves: row `2 j + half` of a head
/// becomes row `half * width / 2 + j`.
fn halves_together(bytes: &[u8], shape: &[usize], heads: usize) -> Result<Vec<u8>, InferenceError> {
    let rows = shape.first().copied().unwrap_or(0);
    if rows == 0 || !rows.is_multiple_of(2 * heads) || !bytes.len().is_multiple_of(rows) {
        return Err(malformed("queries or keys do not divide among their heads"));
    }
    let (row_bytes, width) = (bytes.len() / rows, rows / heads);
    let mut output = Vec::with_capacity(bytes.len());
    for head in bytes.chunks_exact(width * row_bytes) {
        for half in [0, 1] {
            for row in head.chunks_exact(row_bytes).skip(half).step_by(2) {
                output.extend_from_slice(row);
            }
        }
    }
    Ok(output)
}

/// `None` for a name that no architecture has.
fn newer_name(name: &str, family: Family) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("model.embed_tokens.weight".to_owned()),
        "output_norm.weight" => return Some("model.norm.weight".to_owned()),
        "output.weight" => return Some("lm_head.weight".to_owned()),
        _ => {}
    }
    let (number, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let number: usize = number.parse().ok()?;
    let (part, suffix) = rest.rsplit_once('.')?;
    if !matches!(suffix, "weight" | "bias") {
        return None;
    }
    let newer = match (part, family) {
        ("attn_norm", _) => "input_layernorm",
        ("attn_q", _) => "self_attn.q_proj",
        ("attn_k", _) => "self_attn.k_proj",
        ("attn_v", _) => "self_attn.v_proj",
        ("attn_qkv", _) => "self_attn.qkv_proj",
        ("attn_output", _) => "self_attn.o_proj",
        ("attn_q_norm", _) => "self_attn.q_norm",
        ("attn_k_norm", _) => "self_attn.k_norm",
        ("attn_sinks", _) => return Some(format!("model.layers.{number}.self_attn.sinks")),
        ("ffn_norm", Family::Gemma3) => "pre_feedforward_layernorm",
        ("ffn_norm" | "post_attention_norm", _) => "post_attention_layernorm",
        ("post_ffw_norm", _) => "post_feedforward_layernorm",
        ("ffn_up", Family::Phi3) => "mlp.gate_up_proj",
        ("ffn_gate", _) => "mlp.gate_proj",
        ("ffn_up", _) => "mlp.up_proj",
        ("ffn_down", _) => "mlp.down_proj",
        ("ffn_gate_inp", Family::GptOss) => "mlp.router",
        ("ffn_gate_inp", _) => "mlp.gate",
        ("ffn_gate_exps" | "ffn_up_exps" | "ffn_down_exps", _) => {
            let part = part.strip_prefix("ffn_")?.strip_suffix("_exps")?;
            let suffix = if suffix == "bias" { "_bias" } else { "" };
            return Some(format!("model.layers.{number}.mlp.experts.{part}_proj{suffix}"));
        }
        _ => return None,
    };
    Some(format!("model.layers.{number}.{newer}.{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_head_go_back_to_their_halves() {
        let rows = halves_together(&[0, 2, 1, 3, 10, 12, 11, 13], &[8, 1], 2).expect("two heads");
        assert_eq!(rows, [0, 1, 2, 3, 10, 11, 12, 13]);
        assert!(halves_together(&[0; 6], &[6, 1], 4).is_err());
    }
}
