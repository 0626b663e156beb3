//! The tokenizer of a GGUF as a `tokenizer.json`, which the tokenizer library then checks and reads.
//!
//! Two kinds are known: `gpt2` (byte-level pairs with merges, cut by the expression that `tokenizer.ggml.pre` names)
//! and `llama` (SentencePiece pairs with scores, from which the merges follow).

use serde_json::{Map, Value as Json, json};
use std::borrow::Cow;
use std::collections::HashMap;

use super::architecture::malformed;
use super::reader::Gguf;
use super::values::Value;
use crate::architecture::fields::unsupported;
use crate::error::InferenceError;
use crate::text::TokenizerFiles;

/// Longest piece whose merges are looked for; longer ones are runs of one character that other merges reach too.
const PIECE_CHARACTERS_MAX: usize = 128;
/// What SentencePiece writes for a space.
const SPACE: &str = "\u{2581}";

// The expressions that the families publish in their own tokenizer.json.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `tokenizer.ggml.token_type`.
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// The pieces of the vocabulary with what the file says of each.
struct Vocabulary<'g, 'a> {
    pieces: &'g [&'a str],
    kinds: Vec<u64>,
}

/// The tokenizer's files, and the tokens beside `eos` that end a text.
pub(super) fn build<'a>(gguf: &Gguf<'a>) -> Result<(TokenizerFiles<'a>, Vec<u32>), InferenceError> {
    let Some(Value::Texts(pieces)) = gguf.value("tokenizer.ggml.tokens") else {
        return Err(malformed("tokenizer.ggml.tokens is missing"));
    };
    let kinds = match gguf.value("tokenizer.ggml.token_type") {
        Some(Value::Numbers(numbers)) if numbers.len() == pieces.len() => {
            numbers.iter().map(|kind| kind.whole().unwrap_or(0)).collect()
        }
        Some(_) => return Err(malformed("tokenizer.ggml.token_type does not fit the tokens")),
        None => vec![1; pieces.len()],
    };
    let vocabulary = Vocabulary { pieces, kinds };
    let id = |key: &str| -> Result<Option<u32>, InferenceError> {
        let Some(value) = gguf.value(key) else {
            return Ok(None);
        };
        let id = value.whole().filter(|id| *id < pieces.len() as u64);
        id.map(|id| Some(id as u32))
            .ok_or_else(|| malformed(&format!("{key} is beyond the tokens")))
    };
    let begin = id("tokenizer.ggml.bos_token_id")?;
    let end = id("tokenizer.ggml.eos_token_id")?;
    let unknown = id("tokenizer.ggml.unknown_token_id")?;
    let other_ends = ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
    let mut end_tokens: Vec<u32> = Vec::new();
    for key in other_ends {
        end_tokens.extend(id(key)?);
    }
    let flag = |key: &str, default: bool| match gguf.value(key) {
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(malformed(&format!("{key} is no bool"))),
        None => Ok(default),
    };
    let mut json = Map::new();
    json.insert("version".into(), "1.0".into());
    json.insert("added_tokens".into(), vocabulary.added_tokens());
    let begins_by_default = match gguf.value("tokenizer.ggml.model") {
        Some(Value::Text("gpt2")) => {
            byte_level(gguf, &vocabulary, &mut json)?;
            false
        }
        Some(Value::Text("llama")) => {
            let prefix = flag("tokenizer.ggml.add_space_prefix", true)?;
            sentence_piece(gguf, &vocabulary, unknown, prefix, &mut json)?;
            true
        }
        Some(Value::Text(other)) => return Err(unsupported("tokenizer.ggml.model", other, "gpt2, llama")),
        _ => return Err(malformed("tokenizer.ggml.model is missing")),
    };
    let begins = flag("tokenizer.ggml.add_bos_token", begins_by_default)?;
    let ends = flag("tokenizer.ggml.add_eos_token", false)?;
    let mut around = Vec::new();
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let special = |id: u32| {
        let piece = pieces[id as usize];
        json!({"SpecialToken": {"id": piece, "type_id": 0}})
    };
    let mut specials = Map::new();
    let sequence = [begin.filter(|_| begins), None, end.filter(|_| ends)];
    for (index, id) in sequence.iter().enumerate() {
        match id {
            Some(id) => {
                let piece = pieces[*id as usize];
                around.push(special(*id));
                specials.insert(piece.into(), json!({"id": piece, "ids": [id], "tokens": [piece]}));
            }
            None if index == 1 => around.push(text.clone()),
            None => {}
        }
    }
    json.insert(
        "post_processor".into(),
        json!({"type": "TemplateProcessing", "single": around, "pair": [text], "special_tokens": specials}),
    );
    let template = match gguf.value("tokenizer.chat_template") {
        Some(Value::Text(template)) => Some((*template).to_owned()),
        _ => None,
    };
    let piece = |id: Option<u32>| id.map(|id| pieces[id as usize].to_owned());
    let bytes = Json::Object(json).to_string().into_bytes();
    let files = TokenizerFiles::built(Cow::Owned(bytes), piece(begin), piece(end), template);
    Ok((files, end_tokens))
}

impl Vocabulary<'_, '_> {
    /// Tokens that are found in a text before it is cut.
    fn added_tokens(&self) -> Json {
        let added = self
            .pieces
            .iter()
            .zip(&self.kinds)
            .enumerate()
            .filter(|(_, (piece, kind))| {
                matches!(**kind, CONTROL | USER_DEFINED | UNKNOWN) && !piece.is_empty()
            });
        let token = |(id, (piece, kind)): (usize, (&&str, &u64))| {
            json!({"id": id, "content": piece, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind != USER_DEFINED})
        };
        Json::Array(added.map(token).collect())
    }

    fn ids(&self) -> Result<HashMap<&str, usize>, InferenceError> {
        let ids: HashMap<&str, usize> = self
            .pieces
            .iter()
            .enumerate()
            .map(|(id, piece)| (*piece, id))
            .collect();
        if ids.len() != self.pieces.len() {
            return Err(malformed("a token is there twice"));
        }
        Ok(ids)
    }
}

fn vocabulary_json(ids: &HashMap<&str, usize>) -> Json {
    ids.iter()
        .map(|(piece, id)| ((*piece).to_owned(), Json::from(*id)))
        .collect::<Map<_, _>>()
        .into()
}

fn byte_level(
    gguf: &Gguf<'_>,
    vocabulary: &Vocabulary<'_, '_>,
    json: &mut Map<String, Json>,
) -> Result<(), InferenceError> {
    let merges: &[&str] = match gguf.value("tokenizer.ggml.merges") {
        Some(Value::Texts(merges)) => merges,
        Some(_) => return Err(malformed("tokenizer.ggml.merges is no list of texts")),
        None => &[],
    };
    let pre = match gguf.value("tokenizer.ggml.pre") {
        Some(Value::Text(pre)) => *pre,
        None => "default",
        Some(_) => return Err(malformed("tokenizer.ggml.pre is no text")),
    };
    let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let cut = |expression: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
        json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
    };
    let digits = || {
        let digits = json!({"type": "Digits", "individual_digits": true});
        json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]})
    };
    // Llama 3 and what came after it look a whole word up before they merge.
    let (pre_tokenizer, whole_words) = match pre {
        "default" | "gpt-2" => (bytes(true), false),
        "llama3" | "llama-v3" | "llama-bpe" | "smaug-bpe" => (cut(LLAMA_3), true),
        "dbrx" => (cut(LLAMA_3), false),
        "qwen2" | "deepseek-r1-qwen" => (cut(QWEN_2), false),
        "gpt-4o" => (cut(GPT_4O), false),
        "tekken" => (cut(TEKKEN), true),
        "smollm" => (digits(), false),
        other => {
            return Err(unsupported(
                "tokenizer.ggml.pre",
                other,
                "default, gpt-2, llama-bpe, qwen2, gpt-4o, tekken, smollm, dbrx",
            ));
        }
    };
    let ids = vocabulary.ids()?;
    json.insert(
        "model".into(),
        json!({"type": "BPE", "vocab": vocabulary_json(&ids), "merges": merges, "ignore_merges": whole_words}),
    );
    json.insert("pre_tokenizer".into(), pre_tokenizer);
    json.insert("decoder".into(), bytes(true));
    Ok(())
}

fn sentence_piece(
    gguf: &Gguf<'_>,
    vocabulary: &Vocabulary<'_, '_>,
    unknown: Option<u32>,
    prefix: bool,
    json: &mut Map<String, Json>,
) -> Result<(), InferenceError> {
    let scores: Vec<f64> = match gguf.value("tokenizer.ggml.scores") {
        Some(Value::Numbers(numbers)) if numbers.len() == vocabulary.pieces.len() => numbers
            .iter()
            .map(|score| score.float().unwrap_or(f64::NEG_INFINITY))
            .collect(),
        _ => return Err(malformed("tokenizer.ggml.scores does not fit the tokens")),
    };
    let ids = vocabulary.ids()?;
    // Two tokens merge where their union is one; the union with the best score goes first.
    let mut merges: Vec<(usize, usize, usize)> = Vec::new();
    for (whole, piece) in vocabulary.pieces.iter().enumerate() {
        if vocabulary.kinds[whole] != 1 || piece.len() > 4 * PIECE_CHARACTERS_MAX {
            continue;
        }
        for (at, _) in piece.char_indices().skip(1).take(PIECE_CHARACTERS_MAX) {
            let (left, right) = piece.split_at(at);
            if let (Some(left), Some(right)) = (ids.get(left), ids.get(right)) {
                merges.push((whole, *left, *right));
            }
        }
    }
    merges.sort_by(|a, b| {
        let by_score = scores[b.0].total_cmp(&scores[a.0]);
        by_score.then((a.1, a.2).cmp(&(b.1, b.2)))
    });
    let pieces = vocabulary.pieces;
    let merges: Vec<Json> = merges
        .iter()
        .map(|(_, left, right)| json!([pieces[*left], pieces[*right]]))
        .collect();
    let mut model = json!({"type": "BPE", "vocab": vocabulary_json(&ids), "merges": merges, "fuse_unk": true,
        "byte_fallback": true});
    if let Some(unknown) = unknown {
        model["unk_token"] = pieces[unknown as usize].into();
    }
    json.insert("model".into(), model);
    let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let mut normalizers = Vec::new();
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        normalizers.push(json!({"type": "Prepend", "prepend": SPACE}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    normalizers.push(spaces);
    json.insert(
        "normalizer".into(),
        json!({"type": "Sequence", "normalizers": normalizers}),
    );
    json.insert(
        "decoder".into(),
        json!({"type": "Sequence", "decoders": decoders}),
    );
    Ok(())
}
