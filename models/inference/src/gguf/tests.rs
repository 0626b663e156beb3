//! Files made by the PyPI package gguf from the weights of other fixtures (`scripts/oracle`).

use super::GgufModel;
use super::reader::Gguf;
use crate::decoder::batch::{Part, Wanted};
use crate::decoder::{Decoder, Head, Interrupt};
use crate::error::InferenceError;
use crate::model::{Model, ModelFiles};
use crate::place::{Place, test_places};
use crate::text::{Special, TextTokenizer};

struct Never;

impl Interrupt for Never {
    fn is_interrupted(&self) -> bool {
        false
    }
}

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn of_gguf(name: &str, place: &Place) -> Model {
    let file = std::fs::read(folder().join(format!("gguf/{name}.gguf"))).expect("it is committed");
    let files: ModelFiles<'_> = [("model.gguf", file.as_slice())].into_iter().collect();
    Model::load_at(&files, place).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn of_safetensors(name: &str, place: &Place) -> Model {
    let names = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ];
    let mut contents: Vec<(&str, Vec<u8>)> = Vec::new();
    for file in names.into_iter().chain(["model.safetensors"]) {
        contents.push((
            file,
            std::fs::read(folder().join(name).join(file)).expect("it is committed"),
        ));
    }
    let files: ModelFiles<'_> = contents
        .iter()
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    Model::load_at(&files, place).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn logits(decoder: &Decoder, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut cache = decoder.cache(tokens.len()).expect("a small cache");
    let part = Part {
        tokens,
        cache: &mut cache,
        logits: Wanted::All,
    };
    let logits = decoder
        .forward(&mut [part], &Never)
        .expect("a step")
        .expect("not interrupted");
    logits[0].as_ref().expect("wanted").to_vec2().expect("rows")
}

/// The same bits in both files give the same bits in the logits: F32, F16, BF16 and MXFP4 alike.
#[test]
fn the_same_weights_in_both_formats_agree_exactly() {
    for name in [
        "gqa-untied-f32",
        "qwen2-full",
        "qwen3",
        "qwen3-moe-all",
        "gemma3",
        "phi3-plain",
        "gpt-oss",
        "gpt-oss-mxfp4",
        "smollm3-full",
    ] {
        let cpu = Place::cpu();
        let (gguf, safetensors) = (of_gguf(name, &cpu), of_safetensors(name, &cpu));
        let tokens: Vec<u32> = (0..40).map(|index| index * 37 % 256).collect();
        let found = logits(gguf.decoder(), &tokens);
        let expected = logits(safetensors.decoder(), &tokens);
        let differences = found.iter().flatten().zip(expected.iter().flatten());
        let largest = differences.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // gpt-oss has parts in bf16 that its GGUF has in f32: the same numbers, and other activations where the CPU
        // multiplies bf16 itself.
        let rounds = name.starts_with("gpt-oss") && kernels::Isa::best().rounds_to_bf16();
        let tolerance = if rounds { 0.1 } else { 0.0 };
        assert!(largest <= tolerance, "{name}: {largest}");
        let messages = "What is naïve? 🙂 the <s> 123";
        let tokens = |model: &Model| {
            let tokens = model
                .tokenizer()
                .encode(messages, true, 4096)
                .expect("it encodes");
            tokens.expose_tokens().to_vec()
        };
        assert_eq!(tokens(&gguf), tokens(&safetensors), "{name}");
        assert!(gguf.has_chat_template());
        let end = safetensors.tokenizer().token("</s>").expect("it is there");
        assert!(gguf.is_end_token(end));
    }
}

/// By the package gguf: `qwen2-full` again, in several files.
#[test]
fn a_model_in_several_files_is_the_one_in_one_file_and_none_may_be_missing_or_another() {
    let names: Vec<String> = (1..=3)
        .map(|number| format!("split-{number:05}-of-00003.gguf"))
        .collect();
    let contents: Vec<Vec<u8>> = names
        .iter()
        .map(|name| std::fs::read(folder().join("gguf").join(name)).expect("it is committed"))
        .collect();
    let load = |files: &[(&str, usize)]| {
        let files: ModelFiles<'_> = files
            .iter()
            .map(|(name, content)| (*name, contents[*content].as_slice()))
            .collect();
        Model::load(&files)
    };
    let [first, second, third] = [0, 1, 2].map(|index| names[index].as_str());
    let split = load(&[(third, 2), (first, 0), (second, 1)]).expect("all are there");
    let tokens: Vec<u32> = (0..40).map(|index| index * 37 % 256).collect();
    let whole = of_gguf("qwen2-full", &Place::cpu());
    assert_eq!(logits(split.decoder(), &tokens), logits(whole.decoder(), &tokens));

    for (files, why) in [
        (&[(first, 0)][..], "it is one of 3 files, and 1 are there"),
        (&[(first, 0), (second, 1)], "a second GGUF file"),
        (&[(second, 1), (third, 2)], "a second GGUF file"),
        (
            &[(first, 0), ("split-00002-of-00002.gguf", 1)],
            "it is one of 3 files, and 2 are there",
        ),
        (&[(first, 0), (second, 2), (third, 1)], "by its own word"),
        (&[(first, 0), (second, 1), (third, 1)], "by its own word"),
        (
            &[(first, 0), (second, 1), ("other-00003-of-00003.gguf", 2)],
            "a second GGUF file",
        ),
        (
            &[("model.gguf", 0), (second, 1), (third, 2)],
            "a second GGUF file",
        ),
    ] {
        let error = load(files).err().expect(why).to_string();
        assert!(error.contains(why), "{error} instead of {why}");
    }
}

/// A file behind the first with words of its own, or with a tensor that was there.
#[test]
fn what_files_behind_the_first_may_not_say_is_refused() {
    let file = |number: u16, tensor: &str, more: &[&str]| {
        let mut keys = vec![("split.count", 2_u16), ("split.no", number)];
        keys.extend(more.iter().map(|key| (*key, 1)));
        of_keys(&keys, tensor)
    };
    let parse = |second: &[u8]| Gguf::parse_files(&[&file(0, "a", &[]), second]).map(|_| ());
    assert_eq!(parse(&file(1, "b", &[])), Ok(()));
    for (second, why) in [
        (file(1, "a", &[]), "a is in two files"),
        (
            file(1, "b", &["llama.block_count"]),
            "llama.block_count stands behind",
        ),
        (file(0, "b", &[]), "by its own word"),
    ] {
        let error = parse(&second).expect_err(why);
        assert!(error.contains(why), "{error} instead of {why}");
    }
    let announced = of_keys(
        &[("split.count", 2), ("split.no", 0), ("split.tensors.count", 3)],
        "a",
    );
    let error = Gguf::parse_files(&[&announced, &file(1, "b", &[])]).err();
    assert!(error.is_some_and(|error| error.contains("more or fewer tensors")));
    assert!(Gguf::parse_files(&[]).is_err());
}

/// A file with these numbers and one tensor of a float.
fn of_keys(keys: &[(&str, u16)], tensor: &str) -> Vec<u8> {
    let text = |file: &mut Vec<u8>, text: &str| {
        file.extend((text.len() as u64).to_le_bytes());
        file.extend(text.as_bytes());
    };
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(1_u64.to_le_bytes());
    file.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        text(&mut file, key);
        file.extend(2_u32.to_le_bytes()); // UINT16
        file.extend(value.to_le_bytes());
    }
    text(&mut file, tensor);
    for word in [1_u32, 1, 0, 0, 0, 0] {
        file.extend(word.to_le_bytes()); // one dimension of 1, F32, offset 0
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(1.0_f32.to_le_bytes());
    file
}

/// Every format in one file; `quantised.json` has the values that the package reads.
#[test]
fn quantised_weights_are_read_bit_for_bit() {
    let file = std::fs::read(folder().join("gguf/quantised.gguf")).expect("it is committed");
    let expected = std::fs::read(folder().join("gguf/quantised.json")).expect("it is committed");
    let expected: std::collections::BTreeMap<String, u64> =
        serde_json::from_slice(&expected).expect("it is JSON");
    let gguf = Gguf::parse(&file).expect("it is well formed");
    let mut formats = std::collections::BTreeSet::new();
    for (name, entry, bytes) in gguf.tensors() {
        let format = entry.format;
        let mut values = vec![0.0; entry.shape.iter().product()];
        kernels::blocks::decode_row(format, bytes, &mut values).expect("whole blocks");
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(fnv(&bytes), expected[name], "{name}");
        formats.insert(format!("{format:?}"));
    }
    assert_eq!(formats.len(), 8, "{formats:?}");
    let model = of_gguf("quantised", &Place::cpu());
    let logits = logits(model.decoder(), &[1, 2, 3, 4]);
    assert!(logits.iter().flatten().all(|logit| logit.is_finite()));
}

/// Activations are rounded to eight bits before they meet quantised weights; nothing else differs.
#[test]
fn quantised_products_are_close_to_those_of_the_same_weights_in_f32() {
    let file = std::fs::read(folder().join("gguf/quantised.gguf")).expect("it is committed");
    let open = || GgufModel::open("quantised", &[&file]).expect("it is well formed");
    let (narrow, wide) = (open(), open());
    let narrow =
        Decoder::load(narrow.architecture.decoder, narrow.checkpoint, Head::Logits).expect("it loads");
    let wide = Decoder::load(wide.architecture.decoder, wide.checkpoint.widened(), Head::Logits);
    let wide = wide.expect("it loads");
    let tokens: Vec<u32> = (0..20).map(|index| index * 37 % 256).collect();
    let (found, expected) = (logits(&narrow, &tokens), logits(&wide, &tokens));
    let cosine = cosine(&found, &expected);
    assert!(cosine > 0.999, "{cosine}");
    // And a batch equals its sequences, here too.
    let halves = [&tokens[..7], &tokens[7..]];
    let mut caches = halves.map(|half| narrow.cache(half.len()).expect("a small cache"));
    let mut parts: Vec<Part<'_>> = caches
        .iter_mut()
        .zip(halves)
        .map(|(cache, tokens)| Part {
            tokens,
            cache,
            logits: Wanted::All,
        })
        .collect();
    let batch = narrow
        .forward(&mut parts, &Never)
        .expect("a step")
        .expect("not interrupted");
    for (batch, half) in batch.iter().zip(halves) {
        let rows: Vec<Vec<f32>> = batch.as_ref().expect("wanted").to_vec2().expect("rows");
        assert_eq!(rows, logits(&narrow, half));
    }
}

/// The same two questions to the operations for devices, which have kernels of their own for every block format.
#[test]
fn devices_agree_on_gguf() {
    for place in test_places() {
        let tokens: Vec<u32> = (0..40).map(|index| index * 37 % 256).collect();
        for name in ["gqa-untied-f32", "qwen2-full", "qwen3", "gemma3", "phi3-plain"] {
            let [gguf, safetensors] = [of_gguf(name, &place), of_safetensors(name, &place)];
            let found = logits(gguf.decoder(), &tokens);
            let expected = logits(safetensors.decoder(), &tokens);
            assert!(found == expected, "{name}: {}", cosine(&found, &expected));
        }
        // Their routers are in f32 here and in 16 bits there.
        for name in ["qwen3-moe-all", "gpt-oss", "gpt-oss-mxfp4", "quantised"] {
            let model = of_gguf(name, &place);
            let file = std::fs::read(folder().join(format!("gguf/{name}.gguf"))).expect("it is committed");
            let wide = GgufModel::open(name, &[&file]).expect("it is well formed");
            let wide = Decoder::load(wide.architecture.decoder, wide.checkpoint.widened(), Head::Logits);
            let (found, expected) = (
                logits(model.decoder(), &tokens),
                logits(&wide.expect("it loads"), &tokens),
            );
            let cosine = cosine(&found, &expected);
            assert!(cosine > 0.999, "{name}: {cosine}");
        }
    }
}

fn cosine(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let dot = |a: &[Vec<f32>], b: &[Vec<f32>]| -> f64 {
        let pairs = a.iter().flatten().zip(b.iter().flatten());
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Fowler, Noll and Vo's hash, 64 bits, 1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn patched(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut file = std::fs::read(folder().join("gguf/qwen3.gguf")).expect("it is committed");
    change(&mut file);
    Gguf::parse(&file).err().expect("it is refused")
}

#[test]
fn each_broken_rule_has_its_own_words() {
    assert!(patched(|file| file[0] = b'g').contains("begin with GGUF"));
    assert!(patched(|file| file[4] = 4).contains("version 4"));
    assert!(patched(|file| file[4] = 1).contains("version 1"));
    assert!(patched(|file| file[8..16].fill(0xff)).contains("count"));
    assert!(patched(|file| file[16..24].fill(0xff)).contains("count"));
    assert!(patched(|file| file.truncate(file.len() - 64)).contains("outside the file"));
    assert!(patched(|file| file.truncate(100)).contains("larger than the file"));
    // The file is little endian whatever the machine; a big-endian one has another version number.
    assert!(patched(|file| file[4..8].reverse()).contains("version"));
}

/// The smallest file: one tensor of two numbers.
fn small(alignment: u32, offset: u64, dimensions: &[u64], kind: u32, data: usize) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    let text = |file: &mut Vec<u8>, text: &str| {
        file.extend((text.len() as u64).to_le_bytes());
        file.extend(text.as_bytes());
    };
    file.extend(1_u64.to_le_bytes());
    file.extend(1_u64.to_le_bytes());
    text(&mut file, "general.alignment");
    file.extend(4_u32.to_le_bytes());
    file.extend(alignment.to_le_bytes());
    text(&mut file, "t");
    file.extend((dimensions.len() as u32).to_le_bytes());
    dimensions
        .iter()
        .for_each(|dimension| file.extend(dimension.to_le_bytes()));
    file.extend(kind.to_le_bytes());
    file.extend(offset.to_le_bytes());
    if alignment > 0 && alignment < 1 << 20 {
        file.resize(file.len().next_multiple_of(alignment as usize), 0);
    }
    file.resize(file.len() + data, 0);
    file
}

#[test]
fn numbers_that_lie_are_refused() {
    assert!(Gguf::parse(&small(32, 0, &[2], 0, 8)).is_ok());
    assert!(Gguf::parse(&small(1, 0, &[2], 0, 8)).is_ok());
    assert!(Gguf::parse(&small(32, 0, &[64, 3], 39, 102)).is_ok());
    let cases: [(Vec<u8>, &str); 16] = [
        (small(0, 0, &[2], 0, 8), "power of two"),
        (small(24, 0, &[2], 0, 8), "power of two"),
        (small(1 << 31, 0, &[2], 0, 8), "power of two"),
        (small(32, 16, &[2], 0, 64), "not aligned"),
        (small(32, 32, &[2], 0, 8), "outside the file"),
        (small(32, u64::MAX - 31, &[2], 0, 8), "overflows"),
        (small(32, 0, &[u64::MAX, 2], 0, 8), "overflows"),
        (small(32, 0, &[1 << 33, 1 << 33], 0, 8), "overflows"),
        (small(32, 0, &[0], 0, 8), "empty"),
        (small(32, 0, &[2, 1, 1, 1, 1], 0, 8), "5 dimensions"),
        (small(32, 0, &[2], 2, 8), "whole blocks"),
        (small(32, 0, &[2], 7, 8), "type 7"),
        (small(32, 0, &[48, 2], 39, 102), "whole blocks"),
        (small(32, 0, &[64, 3], 39, 101), "outside the file"),
        (small(32, 0, &[1 << 63, 1], 39, 102), "outside the file"),
        (small(32, 0, &[32, 1 << 60], 39, 102), "overflows"),
    ];
    for (file, words) in cases {
        let error = Gguf::parse(&file).err().expect(words);
        assert!(error.contains(words), "{error}");
    }
}

/// Writes files of metadata only.
#[derive(Default)]
struct Metadata {
    keys: u64,
    bytes: Vec<u8>,
}

impl Metadata {
    fn key(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.keys += 1;
        put_text(&mut self.bytes, key);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(value);
        self
    }

    fn text(self, key: &str, text: &str) -> Self {
        let mut value = Vec::new();
        put_text(&mut value, text);
        self.key(key, 8, &value)
    }

    fn flag(self, key: &str, flag: bool) -> Self {
        self.key(key, 7, &[u8::from(flag)])
    }

    fn number(self, key: &str, number: u32) -> Self {
        self.key(key, 4, &number.to_le_bytes())
    }

    fn texts(self, key: &str, texts: &[String]) -> Self {
        let mut value = [
            8_u32.to_le_bytes().as_slice(),
            &(texts.len() as u64).to_le_bytes(),
        ]
        .concat();
        texts.iter().for_each(|text| put_text(&mut value, text));
        self.key(key, 9, &value)
    }

    fn numbers(self, key: &str, kind: u32, numbers: &[[u8; 4]]) -> Self {
        let mut value = [
            kind.to_le_bytes().as_slice(),
            &(numbers.len() as u64).to_le_bytes(),
        ]
        .concat();
        value.extend(numbers.iter().flatten());
        self.key(key, 9, &value)
    }

    fn tokenizer(self) -> Result<TextTokenizer, InferenceError> {
        let mut file = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend(self.keys.to_le_bytes());
        file.extend(self.bytes);
        // A head counts at least as many bytes as its tensors and keys need.
        file.resize(file.len() + 64, 0);
        let gguf = Gguf::parse(&file).expect("it is well formed");
        let (files, _) = super::tokenizer::build(&gguf)?;
        TextTokenizer::load(&files, 1 << 20)
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn pieces(tokenizer: &TextTokenizer, vocabulary: &[String], text: &str) -> Vec<String> {
    let tokens = tokenizer.encode(text, true, 1 << 20).expect("it encodes");
    let piece = |token: &u32| vocabulary[*token as usize].clone();
    tokens.expose_tokens().iter().map(piece).collect()
}

fn byte_level(pre: &str) -> Result<Vec<String>, InferenceError> {
    let mut vocabulary: Vec<String> = (b'!'..=b'~').map(|byte| char::from(byte).to_string()).collect();
    let merges = ["1 2", "12 3", "123 4", "d o", "do n", "' t", "don 't", "Ġ x"].map(str::to_owned);
    vocabulary.push("Ġ".to_owned());
    vocabulary.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    let tokenizer = Metadata::default()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .texts("tokenizer.ggml.tokens", &vocabulary)
        .texts("tokenizer.ggml.merges", &merges)
        .tokenizer()?;
    Ok(pieces(&tokenizer, &vocabulary, "don't 1234 x"))
}

#[test]
fn the_expression_that_is_named_cuts_the_text() {
    let cases: [(&str, &[&str]); 5] = [
        ("default", &["don", "'t", "Ġ", "1234", "Ġx"]),
        ("llama-bpe", &["don", "'t", "Ġ", "123", "4", "Ġx"]),
        ("qwen2", &["don", "'t", "Ġ", "1", "2", "3", "4", "Ġx"]),
        ("gpt-4o", &["don't", "Ġ", "123", "4", "Ġx"]),
        ("smollm", &["don", "'t", "Ġ", "1", "2", "3", "4", "Ġx"]),
    ];
    for (pre, expected) in cases {
        assert_eq!(byte_level(pre).expect(pre), expected, "{pre}");
    }
    assert!(byte_level("tekken").is_ok() && byte_level("dbrx").is_ok());
    let error = byte_level("falcon").expect_err("it is not known");
    assert!(error.to_string().contains("falcon"), "{error}");
}

#[test]
fn a_vocabulary_that_merges_in_every_way_is_refused() {
    // Every text over two letters up to eight of them.
    let mut vocabulary: Vec<String> = vec!["a".to_owned(), "b".to_owned()];
    let mut last = vocabulary.clone();
    for _ in 1..8 {
        last = last
            .iter()
            .flat_map(|text| ["a", "b"].map(|letter| format!("{text}{letter}")))
            .collect();
        vocabulary.extend(last.iter().cloned());
    }
    let scores: Vec<[u8; 4]> = vocabulary.iter().map(|_| 0.0_f32.to_le_bytes()).collect();
    let error = Metadata::default()
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &vocabulary)
        .numbers("tokenizer.ggml.scores", 6, &scores)
        .tokenizer();
    assert!(
        error
            .err()
            .expect("too many")
            .to_string()
            .contains("too many ways")
    );
    let error = Metadata::default()
        .text("tokenizer.ggml.model", "gpt2")
        .texts("tokenizer.ggml.tokens", &vocabulary)
        .texts("tokenizer.ggml.merges", &["a".to_owned()])
        .tokenizer();
    assert!(error.err().expect("one token").to_string().contains("two tokens"));
}

#[test]
fn scores_decide_what_sentence_piece_merges() {
    let vocabulary = [
        "<unk>",
        "<s>",
        "</s>",
        "<0xC3>",
        "<0xA9>",
        "\u{2581}",
        "a",
        "b",
        "c",
        "ab",
        "bc",
        "\u{2581}ab",
    ]
    .map(str::to_owned);
    let kinds: [u32; 12] = [2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 1, 1];
    let build = |scores: [f32; 12], prefix: bool| {
        Metadata::default()
            .text("tokenizer.ggml.model", "llama")
            .texts("tokenizer.ggml.tokens", &vocabulary)
            .numbers("tokenizer.ggml.token_type", 5, &kinds.map(u32::to_le_bytes))
            .numbers("tokenizer.ggml.scores", 6, &scores.map(f32::to_le_bytes))
            .number("tokenizer.ggml.bos_token_id", 1)
            .number("tokenizer.ggml.eos_token_id", 2)
            .number("tokenizer.ggml.unknown_token_id", 0)
            .flag("tokenizer.ggml.add_bos_token", true)
            .flag("tokenizer.ggml.add_space_prefix", prefix)
            .tokenizer()
            .expect("it is known")
    };
    let mut scores = [0.0, 0.0, 0.0, 0.0, 0.0, -9.0, -9.0, -9.0, -9.0, -1.0, -2.0, -3.0];
    let tokenizer = build(scores, true);
    // "ab" has the better score and goes first; its union with the space follows.
    assert_eq!(pieces(&tokenizer, &vocabulary, "abc"), ["<s>", "\u{2581}ab", "c"]);
    assert_eq!(
        pieces(&tokenizer, &vocabulary, "é</s>"),
        ["<s>", "\u{2581}", "<0xC3>", "<0xA9>", "</s>"]
    );
    assert_eq!(
        *tokenizer
            .decode(&[11, 8, 3, 4], Special::LeftOut)
            .expect("it decodes"),
        "abcé"
    );
    scores[10] = -0.5;
    let tokenizer = build(scores, false);
    assert_eq!(pieces(&tokenizer, &vocabulary, "abc"), ["<s>", "a", "bc"]);
}
