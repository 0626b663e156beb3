//! Configs as published, field by field.

use super::*;
use crate::config::{MlpConfig, RopeScaling};

const LLAMA_3_2: &str = r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":128256,
    "hidden_size":2048,"intermediate_size":8192,"num_hidden_layers":16,"num_attention_heads":32,
    "num_key_value_heads":8,"head_dim":64,"max_position_embeddings":131072,"rms_norm_eps":1e-05,
    "hidden_act":"silu","rope_theta":500000.0,"tie_word_embeddings":true,"eos_token_id":[128001,128008,128009],
    "rope_scaling":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
    "original_max_position_embeddings":8192,"rope_type":"llama3"},"torch_dtype":"bfloat16"}"#;

const GEMMA_3_1B: &str = r#"{"architectures":["Gemma3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,
    "attn_logit_softcapping":null,"bos_token_id":2,"cache_implementation":"hybrid","eos_token_id":[1,106],
    "final_logit_softcapping":null,"head_dim":256,"hidden_activation":"gelu_pytorch_tanh","hidden_size":1152,
    "initializer_range":0.02,"intermediate_size":6912,"max_position_embeddings":32768,"model_type":"gemma3_text",
    "num_attention_heads":4,"num_hidden_layers":26,"num_key_value_heads":1,"pad_token_id":0,
    "query_pre_attn_scalar":256,"rms_norm_eps":1e-06,"rope_local_base_freq":10000,"rope_scaling":null,
    "rope_theta":1000000,"sliding_window":512,"sliding_window_pattern":6,"torch_dtype":"bfloat16",
    "transformers_version":"4.50.0.dev0","use_cache":true,"vocab_size":262144}"#;

const GPT_OSS_20B: &str = r#"{"architectures":["GptOssForCausalLM"],"attention_bias":true,"attention_dropout":0.0,
    "eos_token_id":200002,"experts_per_token":4,"head_dim":64,"hidden_act":"silu","hidden_size":2880,
    "initial_context_length":4096,"initializer_range":0.02,"intermediate_size":2880,"layer_types":[
    "sliding_attention","full_attention"],"max_position_embeddings":131072,"model_type":"gpt_oss",
    "num_attention_heads":64,"num_experts_per_tok":4,"num_hidden_layers":2,"num_key_value_heads":8,
    "num_local_experts":32,"output_router_logits":false,"pad_token_id":199999,"quantization_config":{
    "modules_to_not_convert":["model.layers.*.self_attn"],"quant_method":"mxfp4"},"rms_norm_eps":1e-05,
    "rope_scaling":{"beta_fast":32.0,"beta_slow":1.0,"factor":32.0,"original_max_position_embeddings":4096,
    "rope_type":"yarn","truncate":false},"rope_theta":150000,"router_aux_loss_coef":0.9,"sliding_window":128,
    "swiglu_limit":7.0,"tie_word_embeddings":false,"transformers_version":"4.55.0.dev0","use_cache":true,
    "vocab_size":201088}"#;

fn change(
    base: &str,
    change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
) -> Result<Architecture, InferenceError> {
    let mut value: serde_json::Value = serde_json::from_str(base).expect("the constant is JSON");
    change(value.as_object_mut().expect("the constant is an object"));
    Architecture::parse(value.to_string().as_bytes())
}

fn with(
    edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
) -> Result<Architecture, InferenceError> {
    change(LLAMA_3_2, edit)
}

#[test]
fn a_published_config_is_understood() {
    let architecture = with(|_| ()).expect("Llama 3.2 1B");
    assert_eq!(architecture.end_tokens, [128001, 128008, 128009]);
    assert_eq!(architecture.decoder.kv_heads, 8);
    assert_eq!(architecture.decoder.ropes[0].theta, 500_000.0);
    assert!(matches!(
        architecture.decoder.ropes[0].scaling,
        RopeScaling::Llama3 { factor: 32.0, .. }
    ));
}

#[test]
fn the_older_and_the_newer_form_of_rope_agree() {
    let old = with(|_| ()).expect("the older form").decoder;
    let new = with(|config| {
        let mut rope = config.remove("rope_scaling").expect("it is there");
        rope["rope_theta"] = config.remove("rope_theta").expect("it is there");
        config.insert("rope_parameters".into(), rope);
    });
    assert_eq!(new.expect("the newer form").decoder, old);

    let old = change(GEMMA_3_1B, |config| {
        config.insert(
            "rope_scaling".into(),
            serde_json::json!({"rope_type": "linear", "factor": 8.0}),
        );
    })
    .expect("the older form");
    let new = change(GEMMA_3_1B, |config| {
        for name in ["rope_theta", "rope_local_base_freq", "rope_scaling"] {
            config.remove(name);
        }
        let ropes = serde_json::json!({
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        });
        config.insert("rope_parameters".into(), ropes);
    });
    assert_eq!(new.expect("the newer form").decoder, old.decoder);
}

#[test]
fn gemma_alternates_and_takes_the_defaults_of_its_class() {
    let decoder = change(GEMMA_3_1B, |_| ()).expect("Gemma 3 1B").decoder;
    assert!(decoder.tied_embeddings && decoder.norms_after && decoder.query_key_norm);
    assert_eq!((decoder.score_scale, decoder.norm_offset), (1.0 / 16.0, 1.0));
    let windows: Vec<_> = decoder
        .layers
        .iter()
        .map(|layer| (layer.window, layer.rope))
        .collect();
    assert_eq!(windows[4], (Some(512), Some(1)));
    assert_eq!(windows[5], (None, Some(0)));
    assert_eq!((decoder.ropes[0].theta, decoder.ropes[1].theta), (1e6, 1e4));
}

#[test]
fn gpt_oss_is_understood_and_no_other_family_may_be_mxfp4() {
    let decoder = change(GPT_OSS_20B, |_| ()).expect("gpt-oss 20b").decoder;
    assert_eq!(
        decoder
            .layers
            .iter()
            .map(|layer| layer.window)
            .collect::<Vec<_>>(),
        [Some(128), None]
    );
    assert!(matches!(&decoder.layers[0].mlp, MlpConfig::Experts(experts) if experts.count == 32));
    assert!(matches!(&decoder.ropes[0].scaling, RopeScaling::Yarn(yarn) if !yarn.truncate));
    let error = with(|config| {
        let quantization = serde_json::json!({"quant_method": "mxfp4"});
        config.insert("quantization_config".into(), quantization);
    });
    assert_eq!(error.expect_err("Llama is not").code(), "model-unsupported");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let cases: [(&str, serde_json::Value, &str); 10] = [
        (
            "architectures",
            serde_json::json!(["Gemma3ForConditionalGeneration"]),
            "Gemma3ForConditionalGeneration",
        ),
        ("model_type", serde_json::json!("mistral"), "mistral"),
        ("hidden_act", serde_json::json!("relu"), "relu"),
        (
            "rope_scaling",
            serde_json::json!({"rope_type": "proportional", "factor": 4.0}),
            "proportional",
        ),
        (
            "rope_scaling",
            serde_json::json!({"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "surprise": 1}),
            "surprise",
        ),
        (
            "rope_scaling",
            serde_json::json!({"rope_type": "yarn", "factor": 4.0, "llama_4_scaling_beta": 0.1}),
            "llama_4_scaling_beta",
        ),
        (
            "partial_rotary_factor",
            serde_json::json!(0.5),
            "partial_rotary_factor",
        ),
        (
            "residual_multiplier",
            serde_json::json!(0.5),
            "residual_multiplier",
        ),
        ("rope_interleaved", serde_json::json!(true), "rope_interleaved"),
        (
            "quantization_config",
            serde_json::json!({"quant_method": "gptq"}),
            "quantization_config",
        ),
    ];
    for (key, value, name) in cases {
        let error = with(|config| drop(config.insert(key.into(), value))).expect_err(key);
        assert_eq!(error.code(), "model-unsupported", "{key}: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_field_that_says_nothing_is_not_in_the_way() {
    for (key, value) in [
        ("rope_interleaved", serde_json::json!(false)),
        ("new_field", serde_json::json!(null)),
        ("_name_or_path", serde_json::json!("somewhere")),
        ("attention_dropout", serde_json::json!(0.1)),
    ] {
        with(|config| drop(config.insert(key.into(), value))).expect(key);
    }
}

#[test]
fn impossible_numbers_are_malformed() {
    let huge = u64::MAX;
    let cases: [(&str, serde_json::Value); 17] = [
        ("vocab_size", serde_json::json!(0)),
        ("vocab_size", serde_json::json!(huge)),
        ("hidden_size", serde_json::json!(-1)),
        ("hidden_size", serde_json::json!(1_u64 << 40)),
        ("intermediate_size", serde_json::json!(0)),
        ("num_hidden_layers", serde_json::json!(0)),
        ("num_hidden_layers", serde_json::json!(100_000)),
        ("num_hidden_layers", serde_json::json!(huge)),
        ("num_attention_heads", serde_json::json!(0)),
        ("num_key_value_heads", serde_json::json!(0)),
        ("num_key_value_heads", serde_json::json!(5)),
        ("head_dim", serde_json::json!(63)),
        ("head_dim", serde_json::json!(1 << 23)),
        ("rms_norm_eps", serde_json::json!(0.0)),
        ("rope_theta", serde_json::json!(-3.0)),
        ("max_position_embeddings", serde_json::json!(0)),
        ("max_position_embeddings", serde_json::json!(huge)),
    ];
    for (key, value) in cases {
        let text = value.to_string();
        let error = with(|config| drop(config.insert(key.into(), value))).expect_err(key);
        assert_eq!(error.code(), "model-file-malformed", "{key} = {text}");
    }
}

#[test]
fn a_head_is_turned_in_part_by_whole_pairs() {
    const PHI_4_MINI: &str = r#"{"architectures":["Phi3ForCausalLM"],"model_type":"phi3","vocab_size":200064,
        "hidden_size":3072,"intermediate_size":8192,"num_hidden_layers":2,"num_attention_heads":24,
        "num_key_value_heads":8,"max_position_embeddings":131072,"original_max_position_embeddings":4096,
        "full_attn_mod":1,"interpolate_factor":1,"lm_head_bias":false,"partial_rotary_factor":0.75,
        "rope_scaling":null,"rope_theta":10000.0,"sliding_window":262144,"tie_word_embeddings":true}"#;
    let decoder = change(PHI_4_MINI, |_| ()).expect("without its lists").decoder;
    assert_eq!((decoder.head_dim, decoder.ropes[0].rotary_dim), (128, 96));
    for factor in [0.0, 1.5, 0.51] {
        let changed = change(PHI_4_MINI, |config| {
            config.insert("partial_rotary_factor".into(), factor.into());
        });
        assert_eq!(
            changed.expect_err("no whole pairs").code(),
            "model-file-malformed",
            "{factor}"
        );
    }
}
