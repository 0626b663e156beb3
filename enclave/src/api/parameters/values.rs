//! Values that are a string or something else, read without buffering text in types that are not wiped.

use core::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::api::text::Text;

/// A string, or an array of strings.
pub(crate) enum Strings {
    /// One.
    One(Text),
    /// Several.
    Many(Vec<Text>),
}

/// A string, or an array of parts.
pub(crate) enum Content {
    /// A string.
    Text(Text),
    /// Parts.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Deserialize)]
pub(crate) struct Part {
    /// `text`, or what is not supported.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Of a part of text.
    pub(crate) text: Option<Text>,
}

/// A prompt: a string, an array of one string, an array of tokens, or an array of one such array.
pub(crate) enum PromptValue {
    /// Strings.
    Texts(Vec<Text>),
    /// Tokens.
    Tokens(Zeroizing<Vec<u32>>),
}

/// One input of an embedding: text, or tokens as they are.
pub(crate) enum EmbeddingInput {
    /// Tokenised with the model's own special tokens.
    Text(Text),
    /// Taken as they are.
    Tokens(Zeroizing<Vec<u32>>),
}

/// Inputs of embeddings: a string, an array of strings, of tokens, or of arrays of tokens.
pub(crate) struct Inputs(pub(crate) Vec<EmbeddingInput>);

impl EmbeddingInput {
    /// Bytes of it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.expose().len(),
            Self::Tokens(tokens) => size_of::<u32>() * tokens.len(),
        }
    }

    /// Whether it has a character that no text has.
    pub(crate) fn has_nul(&self) -> bool {
        matches!(self, Self::Text(text) if text.expose().contains('\0'))
    }
}

/// Any JSON, as it is written.
pub(crate) struct Json(pub(crate) Text);

/// `logprobs`: a boolean for chats, a count for completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogProbs {
    /// Whether.
    Asked(bool),
    /// How many alternatives.
    Count(u64),
}

/// Token identifiers with their biases.
#[derive(Default)]
pub(crate) struct Biases(pub(crate) Zeroizing<Vec<(u32, f32)>>);

struct OneOrMany<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
    type Value = Result<Text, Vec<T>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or an array")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Ok(Text::new(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Ok(Text::new(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Err(items))
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let strings = deserializer.deserialize_any(OneOrMany(PhantomData))?;
        Ok(strings.map_or_else(Self::Many, Self::One))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let content = deserializer.deserialize_any(OneOrMany(PhantomData))?;
        Ok(content.map_or_else(Self::Parts, Self::Text))
    }
}

/// An element of a prompt's array.
enum Element {
    Text(Text),
    Token(u32),
    Tokens(Zeroizing<Vec<u32>>),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor;
        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = Element;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, a token or an array of tokens")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Text(Text::new(text.to_owned())))
            }
            fn visit_u64<E: Error>(self, token: u64) -> Result<Element, E> {
                u32::try_from(token)
                    .map(Element::Token)
                    .map_err(|_| E::custom("not a token"))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Element, A::Error> {
                let mut tokens = Zeroizing::new(Vec::new());
                while let Some(token) = sequence.next_element()? {
                    tokens.push(token);
                }
                Ok(Element::Tokens(tokens))
            }
        }
        deserializer.deserialize_any(ElementVisitor)
    }
}

impl<'de> Deserialize<'de> for PromptValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let elements = match deserializer.deserialize_any(OneOrMany(PhantomData))? {
            Ok(text) => return Ok(Self::Texts(vec![text])),
            Err(elements) => elements,
        };
        let (mut texts, mut tokens, mut arrays) = (Vec::new(), Zeroizing::new(Vec::new()), Vec::new());
        for element in elements {
            match element {
                Element::Text(text) => texts.push(text),
                Element::Token(token) => tokens.push(token),
                Element::Tokens(array) => arrays.push(array),
            }
        }
        match (texts.is_empty(), tokens.is_empty(), arrays.len()) {
            (_, true, 0) => Ok(Self::Texts(texts)),
            (true, false, 0) => Ok(Self::Tokens(tokens)),
            (true, true, 1) => Ok(Self::Tokens(arrays.remove(0))),
            _ => Err(D::Error::custom("more than one prompt")),
        }
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let elements = match deserializer.deserialize_any(OneOrMany(PhantomData))? {
            Ok(text) => return Ok(Self(vec![EmbeddingInput::Text(text)])),
            Err(elements) => elements,
        };
        let (mut texts, mut tokens, mut arrays) = (Vec::new(), Zeroizing::new(Vec::new()), Vec::new());
        for element in elements {
            match element {
                Element::Text(text) => texts.push(EmbeddingInput::Text(text)),
                Element::Token(token) => tokens.push(token),
                Element::Tokens(array) => arrays.push(EmbeddingInput::Tokens(array)),
            }
        }
        match (texts.is_empty(), tokens.is_empty(), arrays.is_empty()) {
            (_, true, true) => Ok(Self(texts)),
            (true, false, true) => Ok(Self(vec![EmbeddingInput::Tokens(tokens)])),
            (true, true, false) => Ok(Self(arrays)),
            _ => Err(D::Error::custom("inputs of several kinds")),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        Ok(Self(Text::new(raw.get().to_owned())))
    }
}

impl<'de> Deserialize<'de> for LogProbs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LogProbsVisitor;
        impl Visitor<'_> for LogProbsVisitor {
            type Value = LogProbs;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a boolean or a count")
            }
            fn visit_bool<E: Error>(self, asked: bool) -> Result<LogProbs, E> {
                Ok(LogProbs::Asked(asked))
            }
            fn visit_u64<E: Error>(self, count: u64) -> Result<LogProbs, E> {
                Ok(LogProbs::Count(count))
            }
        }
        deserializer.deserialize_any(LogProbsVisitor)
    }
}

impl<'de> Deserialize<'de> for Biases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BiasesVisitor;
        impl<'de> Visitor<'de> for BiasesVisitor {
            type Value = Biases;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of tokens and biases")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Biases, A::Error> {
                let mut biases = Zeroizing::new(Vec::new());
                while let Some((TokenName(token), bias)) = map.next_entry::<_, f32>()? {
                    biases.push((token, bias));
                }
                Ok(Biases(biases))
            }
        }
        deserializer.deserialize_map(BiasesVisitor)
    }
}

/// A token as the name of a member: digits.
struct TokenName(u32);

impl<'de> Deserialize<'de> for TokenName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TokenNameVisitor;
        impl Visitor<'_> for TokenNameVisitor {
            type Value = TokenName;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a token")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<TokenName, E> {
                name.parse().map(TokenName).map_err(|_| E::custom("not a token"))
            }
        }
        deserializer.deserialize_str(TokenNameVisitor)
    }
}
