//! `/v1/embeddings`: its parameters and its document.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use exchange::Completion;
use inference::{Embedding, Usage};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{
    ApiError,
    parameters::{
        self,
        table::Endpoint,
        values::{EmbeddingInput, Inputs},
    },
    secret_buffer::SecretBuffer,
};

/// Inputs of one request, as published.
pub(crate) const INPUTS_MAX: usize = 2048;
/// Numbers of one answer: their decimal form fits a response.
const NUMBERS_MAX: usize = 2 << 20;

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    /// An array of numbers.
    Float,
    /// Little-endian f32, in base64.
    Base64,
}

/// What to compute and how to answer.
pub(crate) struct EmbeddingParameters {
    /// The model asked for.
    pub(crate) model: String,
    /// What to embed.
    pub(crate) inputs: Vec<EmbeddingInput>,
    /// How to write it.
    pub(crate) encoding: Encoding,
    dimensions: Option<usize>,
}

/// The honoured parameters; a test compares their names with the table.
#[derive(Deserialize)]
pub(super) struct Body {
    model: Option<String>,
    input: Option<Inputs>,
    encoding_format: Option<Encoding>,
    dimensions: Option<usize>,
}

impl EmbeddingParameters {
    /// Reads a body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let body: Body = parameters::parse(Endpoint::Embeddings, body)?;
        let inputs = body.input.map(|inputs| inputs.0).unwrap_or_default();
        let fits = |input: &EmbeddingInput| input.bytes() > 0 && !input.has_nul();
        if !(1..=INPUTS_MAX).contains(&inputs.len()) || !inputs.iter().all(fits) {
            return Err(ApiError::parameter("input"));
        }
        Ok(Self {
            model: body.model.ok_or(ApiError::parameter("model"))?,
            inputs,
            encoding: body.encoding_format.unwrap_or(Encoding::Float),
            dimensions: body.dimensions,
        })
    }

    /// Bytes of all inputs.
    pub(crate) fn bytes(&self) -> usize {
        self.inputs.iter().map(EmbeddingInput::bytes).sum()
    }

    /// Checks against a model whose vectors have `dimensions` numbers: shorter ones would need a model trained for them.
    pub(crate) fn check(&self, dimensions: usize) -> Result<(), ApiError> {
        if self.dimensions.is_some_and(|asked| asked != dimensions) {
            return Err(ApiError::parameter("dimensions"));
        }
        if self.inputs.len().saturating_mul(dimensions) > NUMBERS_MAX {
            return Err(ApiError::parameter("input"));
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: &'a [Item<'a>],
    model: &'a str,
    usage: UsageDocument,
}

#[derive(Serialize)]
struct Item<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
struct UsageDocument {
    prompt_tokens: usize,
    total_tokens: usize,
}

struct Vector<'a> {
    numbers: &'a [f32],
    encoding: Encoding,
}

impl Serialize for Vector<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.encoding {
            Encoding::Float => self.numbers.serialize(serializer),
            Encoding::Base64 => {
                let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(
                    self.numbers
                        .iter()
                        .flat_map(|number| number.to_le_bytes())
                        .collect(),
                );
                serializer.serialize_str(&Zeroizing::new(BASE64.encode(&*bytes)))
            }
        }
    }
}

/// The vectors, in the order of the inputs.
pub(crate) fn document(
    embeddings: &[Embedding],
    encoding: Encoding,
    model: &str,
    usage: Usage,
) -> Completion {
    let vectors = embeddings.iter().map(Embedding::expose_vector);
    write(vectors, encoding, model, usage)
}

fn write<'a>(
    vectors: impl Iterator<Item = &'a [f32]>,
    encoding: Encoding,
    model: &str,
    usage: Usage,
) -> Completion {
    let items: Vec<Item<'_>> = vectors
        .enumerate()
        .map(|(index, numbers)| Item {
            object: "embedding",
            index,
            embedding: Vector { numbers, encoding },
        })
        .collect();
    let list = List {
        object: "list",
        data: &items,
        model,
        usage: UsageDocument {
            prompt_tokens: usage.prompt_tokens,
            total_tokens: usage.prompt_tokens,
        },
    };
    let mut out = SecretBuffer::new();
    serde_json::to_writer(&mut out, &list).expect("strings and finite numbers are always JSON");
    out.into_completion()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wire::ProblemCode;

    use super::*;

    fn read(body: &str) -> Result<EmbeddingParameters, (ProblemCode, Option<&'static str>)> {
        EmbeddingParameters::read(body.as_bytes()).map_err(|error| (error.code, error.param))
    }

    #[test]
    fn inputs_come_in_four_forms() {
        for (input, count, bytes) in [
            (r#""text""#, 1, 4),
            (r#"["a","bc"]"#, 2, 3),
            ("[1,2,3]", 1, 12),
            ("[[1],[2,3]]", 2, 12),
        ] {
            let read = read(&format!(
                r#"{{"model":"m","input":{input},"user":"u","encoding_format":"base64"}}"#
            ));
            let read = read.unwrap_or_else(|error| panic!("{input}: {error:?}"));
            assert_eq!((read.inputs.len(), read.bytes()), (count, bytes), "{input}");
            assert_eq!(read.encoding, Encoding::Base64);
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        let many = format!("[{}\"x\"]", "\"x\",".repeat(INPUTS_MAX));
        for input in [
            "\"\"",
            "[]",
            "[\"\"]",
            "[[]]",
            "[\"a\",[1]]",
            "[\"a\\u0000\"]",
            &many,
        ] {
            let found = read(&format!(r#"{{"model":"m","input":{input}}}"#)).err();
            assert_eq!(
                found.map(|fault| fault.0),
                Some(ProblemCode::InvalidParameter),
                "{input}"
            );
        }
        let named = |body: &str| read(body).err().and_then(|fault| fault.1);
        assert_eq!(named(r#"{"model":"m"}"#), Some("input"));
        assert_eq!(named(r#"{"input":"x"}"#), Some("model"));
        assert_eq!(
            named(r#"{"model":"m","input":"x","stream":true}"#),
            Some("stream")
        );
        let unknown = read(r#"{"model":"m","input":"x","trim":true}"#).err();
        assert_eq!(unknown, Some((ProblemCode::UnknownParameter, None)));
    }

    #[test]
    fn dimensions_are_those_of_the_model() {
        let read = |extra: &str| {
            let read = read(&format!(r#"{{"model":"m","input":["x","y"]{extra}}}"#));
            read.unwrap_or_else(|error| panic!("{error:?}"))
        };
        assert_eq!(read(r#","dimensions":8"#).check(8), Ok(()));
        assert_eq!(
            read(r#","dimensions":4"#).check(8),
            Err(ApiError::parameter("dimensions"))
        );
        assert_eq!(read("").check(NUMBERS_MAX), Err(ApiError::parameter("input")));
    }

    #[test]
    fn both_encodings_hold_the_same_numbers() {
        let vectors = [vec![0.5_f32, -1.0], vec![1e-7, 3.25]];
        let usage = Usage {
            prompt_tokens: 5,
            ..Usage::default()
        };
        let document = |encoding| -> Value {
            let body = write(vectors.iter().map(Vec::as_slice), encoding, "m", usage);
            serde_json::from_slice(body.expose()).unwrap_or_default()
        };
        let floats = document(Encoding::Float);
        assert_eq!(floats["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
        assert_eq!(
            (&floats["object"], &floats["model"]),
            (&json!("list"), &json!("m"))
        );
        assert_eq!(
            floats["data"][0],
            json!({"object": "embedding", "index": 0, "embedding": [0.5, -1.0]})
        );
        let base64 = document(Encoding::Base64);
        for (index, vector) in vectors.iter().enumerate() {
            let text = base64["data"][index]["embedding"].as_str().unwrap_or_default();
            let bytes = BASE64.decode(text).unwrap_or_default();
            let numbers: Vec<f32> = bytes
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                .collect();
            assert_eq!(&numbers, vector);
        }
    }
}
