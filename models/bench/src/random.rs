//! A checkpoint of random weights in GGUF, in the shape of a Llama of 1.1 billion parameters.
//!
//! Blocks are filled with random codes behind scales of a usual size, so that every value is one that a trained model
//! could have. The file is one that other engines read, too.

use std::fmt;

/// How the weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mix {
    /// Q4_K, with Q6_K where that name has it.
    #[value(name = "q4_k_m")]
    Q4KM,
    /// Q8_0.
    #[value(name = "q8_0")]
    Q8,
    /// bf16.
    #[value(name = "bf16")]
    Bf16,
}

impl fmt::Display for Mix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Q4KM => "Q4_K_M",
            Self::Q8 => "Q8_0",
            Self::Bf16 => "BF16",
        })
    }
}

/// The shape of a decoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) context: usize,
}

impl Shape {
    /// 1.1 billion parameters.
    pub(crate) const LLAMA_1B: Self = Self {
        vocabulary: 32_000,
        hidden: 2_048,
        intermediate: 5_632,
        layers: 22,
        heads: 32,
        kv_heads: 4,
        context: 8_192,
    };
    /// Some hundred thousand parameters, for a look at the file.
    pub(crate) const TINY: Self = Self {
        vocabulary: 512,
        hidden: 256,
        intermediate: 512,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        context: 2_048,
    };
}

/// Numbers of `ggml_type` and layout of a block.
#[derive(Clone, Copy)]
struct Type {
    number: u32,
    elements: usize,
    bytes: usize,
}

const F32: Type = Type {
    number: 0,
    elements: 1,
    bytes: 4,
};
const Q8_0: Type = Type {
    number: 8,
    elements: 32,
    bytes: 34,
};
const Q4_K: Type = Type {
    number: 12,
    elements: 256,
    bytes: 144,
};
const Q6_K: Type = Type {
    number: 14,
    elements: 256,
    bytes: 210,
};
const BF16: Type = Type {
    number: 30,
    elements: 1,
    bytes: 2,
};

struct Tensor {
    name: String,
    /// Inputs, then outputs, as GGUF orders them.
    dimensions: Vec<usize>,
    stored: Type,
}

impl Tensor {
    fn bytes(&self) -> usize {
        self.dimensions.iter().product::<usize>() / self.stored.elements * self.stored.bytes
    }
}

/// GGUF's alignment of tensors where none is named.
const ALIGNMENT: usize = 32;

/// The file, whole.
pub(crate) fn gguf(shape: Shape, mix: Mix) -> Vec<u8> {
    let tensors = tensors(shape, mix);
    let mut head = Writer::default();
    head.bytes.extend_from_slice(b"GGUF");
    head.u32(3);
    head.u64(tensors.len());
    let count_at = head.bytes.len();
    head.u64(0);
    let pairs = metadata(&mut head, shape);
    head.bytes[count_at..count_at + 8].copy_from_slice(&(pairs as u64).to_le_bytes());
    let mut offset = 0_usize;
    for tensor in &tensors {
        head.text(&tensor.name);
        head.u32(tensor.dimensions.len() as u32);
        for dimension in &tensor.dimensions {
            head.u64(*dimension);
        }
        head.u32(tensor.stored.number);
        head.u64(offset);
        offset = (offset + tensor.bytes()).next_multiple_of(ALIGNMENT);
    }
    let mut file = head.bytes;
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    file.reserve_exact(offset);
    let mut random = Random(1);
    for tensor in &tensors {
        fill(tensor, &mut file, &mut random);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    }
    file
}

fn tensors(shape: Shape, mix: Mix) -> Vec<Tensor> {
    let Shape {
        vocabulary,
        hidden,
        intermediate,
        layers,
        heads,
        kv_heads,
        ..
    } = shape;
    let kv = hidden / heads * kv_heads;
    let (most, finer) = match mix {
        Mix::Q4KM => (Q4_K, Q6_K),
        Mix::Q8 => (Q8_0, Q8_0),
        Mix::Bf16 => (BF16, BF16),
    };
    let tensor = |name: String, dimensions: &[usize], stored| Tensor {
        name,
        dimensions: dimensions.to_vec(),
        stored,
    };
    let mut all = vec![
        tensor("token_embd.weight".into(), &[hidden, vocabulary], most),
        tensor("output_norm.weight".into(), &[hidden], F32),
        tensor("output.weight".into(), &[hidden, vocabulary], finer),
    ];
    for layer in 0..layers {
        // The first and the last eighth of the layers, and every third between.
        let eighth = layers / 8;
        let is_finer = layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
        let sensitive = if is_finer { finer } else { most };
        for (name, dimensions, stored) in [
            ("attn_norm", vec![hidden], F32),
            ("attn_q", vec![hidden, hidden], most),
            ("attn_k", vec![hidden, kv], most),
            ("attn_v", vec![hidden, kv], sensitive),
            ("attn_output", vec![hidden, hidden], most),
            ("ffn_norm", vec![hidden], F32),
            ("ffn_gate", vec![hidden, intermediate], most),
            ("ffn_up", vec![hidden, intermediate], most),
            ("ffn_down", vec![intermediate, hidden], sensitive),
        ] {
            all.push(tensor(format!("blk.{layer}.{name}.weight"), &dimensions, stored));
        }
    }
    all
}

/// Writes what describes the model; returns how many pairs that are.
fn metadata(head: &mut Writer, shape: Shape) -> usize {
    let numbers = [
        ("llama.block_count", shape.layers),
        ("llama.context_length", shape.context),
        ("llama.embedding_length", shape.hidden),
        ("llama.feed_forward_length", shape.intermediate),
        ("llama.attention.head_count", shape.heads),
        ("llama.attention.head_count_kv", shape.kv_heads),
        ("llama.rope.dimension_count", shape.hidden / shape.heads),
        ("llama.vocab_size", shape.vocabulary),
        ("tokenizer.ggml.bos_token_id", 0),
        ("tokenizer.ggml.eos_token_id", 1),
    ];
    let texts = [
        ("general.architecture", "llama"),
        ("general.name", "random"),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "llama-bpe"),
    ];
    for (key, text) in texts {
        head.text(key);
        head.u32(8);
        head.text(text);
    }
    for (key, number) in numbers {
        head.text(key);
        head.u32(4);
        head.u32(number as u32);
    }
    head.text("llama.attention.layer_norm_rms_epsilon");
    head.u32(6);
    head.bytes.extend_from_slice(&1e-5_f32.to_le_bytes());
    // Two control tokens, all 256 bytes as byte-level vocabularies write them, one merge, and words that no text has.
    let bytes = (0..=255_u8).map(byte_level);
    let words = (0..shape.vocabulary.saturating_sub(259)).map(|word| format!("<{word}>"));
    let tokens: Vec<String> = ["<s>", "</s>"]
        .map(str::to_owned)
        .into_iter()
        .chain(bytes)
        .chain(["th".to_owned()])
        .chain(words)
        .collect();
    head.text("tokenizer.ggml.tokens");
    head.array(8, tokens.len());
    for token in &tokens {
        head.text(token);
    }
    head.text("tokenizer.ggml.token_type");
    head.array(5, tokens.len());
    for token in 0..tokens.len() {
        head.u32(if token < 2 { 3 } else { 1 });
    }
    head.text("tokenizer.ggml.merges");
    head.array(8, 1);
    head.text("t h");
    texts.len() + numbers.len() + 4
}

/// A byte as a printable character: itself, or one beyond 255 (the table of GPT-2).
fn byte_level(byte: u8) -> String {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let code = if printable(byte) {
        u32::from(byte)
    } else {
        256 + (0..byte).filter(|other| !printable(*other)).count() as u32
    };
    char::from_u32(code).map(String::from).unwrap_or_default()
}

fn fill(tensor: &Tensor, file: &mut Vec<u8>, random: &mut Random) {
    let blocks = tensor.bytes() / tensor.stored.bytes;
    // f16: about 1e-4, 5e-4 and 2e-4, which give weights of about 0.02.
    let (small, negative_small, byte_scale) = ([0x8e, 0x06], [0x10, 0x0a], [0x8e, 0x0a]);
    for _ in 0..blocks {
        let start = file.len();
        match tensor.stored.number {
            0 => file.extend_from_slice(&1.0_f32.to_le_bytes()),
            30 => {
                let value = (random.next() >> 40) as f32 / (1 << 24) as f32 * 0.08 - 0.04;
                file.extend_from_slice(&value.to_le_bytes()[2..]);
            }
            8 => {
                file.extend_from_slice(&byte_scale);
                random.fill(file, 32);
            }
            12 => {
                file.extend_from_slice(&small);
                file.extend_from_slice(&negative_small);
                random.fill(file, 140);
            }
            _ => {
                random.fill(file, 208);
                // Scales are signed bytes: small ones.
                for scale in &mut file[start + 192..start + 208] {
                    *scale = *scale % 32 + 1;
                }
                file.extend_from_slice(&small);
            }
        }
    }
}

/// SplitMix64: fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fill(&mut self, file: &mut Vec<u8>, bytes: usize) {
        let end = file.len() + bytes;
        while file.len() < end {
            let left = (end - file.len()).min(8);
            file.extend_from_slice(&self.next().to_le_bytes()[..left]);
        }
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: usize) {
        self.bytes.extend_from_slice(&(number as u64).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u64(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn array(&mut self, kind: u32, length: usize) {
        self.u32(9);
        self.u32(kind);
        self.u64(length);
    }
}

#[cfg(test)]
mod tests {
    use inference::{Model, ModelFiles};

    use super::*;

    #[test]
    fn the_engine_reads_every_mix() {
        for mix in [Mix::Q4KM, Mix::Q8, Mix::Bf16] {
            let file = gguf(Shape::TINY, mix);
            let files: ModelFiles<'_> = [("random.gguf", file.as_slice())].into_iter().collect();
            let model = Model::load(&files).unwrap_or_else(|error| panic!("{mix}: {error}"));
            assert_eq!(model.context_tokens_max(), Shape::TINY.context);
            assert_eq!(model.count_tokens("the", 16).unwrap(), 2, "t and h merge");
        }
    }
}
