//! Log probabilities in the two forms of the API.

use inference::{TokenLogProbability, TokenProbability};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq, SerializeStruct},
};
use zeroize::Zeroizing;

use super::Shape;

/// Log probabilities of some tokens, as the endpoint publishes them.
pub(super) struct LogProbabilities<'a> {
    shape: Shape,
    tokens: &'a [TokenLogProbability],
}

impl<'a> LogProbabilities<'a> {
    pub(super) fn new(shape: Shape, tokens: &'a [TokenLogProbability]) -> Self {
        Self { shape, tokens }
    }
}

impl Serialize for LogProbabilities<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.shape {
            Shape::Chat => {
                let mut object = serializer.serialize_struct("logprobs", 2)?;
                object.serialize_field("content", &each(self.tokens, ChatToken))?;
                object.serialize_field("refusal", &None::<()>)?;
                object.end()
            }
            Shape::Text => {
                let mut object = serializer.serialize_struct("logprobs", 4)?;
                object.serialize_field("tokens", &each(self.tokens, |token| TokenText(&token.chosen)))?;
                object.serialize_field(
                    "token_logprobs",
                    &each(self.tokens, |token| token.chosen.log_probability),
                )?;
                object.serialize_field("top_logprobs", &each(self.tokens, |token| TopMap(&token.top)))?;
                object.serialize_field("text_offset", &each(self.tokens, |token| token.text_offset))?;
                object.end()
            }
        }
    }
}

/// A list made of a list, item by item.
struct Each<'a, T, F>(&'a [T], F);

fn each<'a, T, U: Serialize, F: Fn(&'a T) -> U>(items: &'a [T], make: F) -> Each<'a, T, F> {
    Each(items, make)
}

impl<'a, T, U: Serialize, F: Fn(&'a T) -> U> Serialize for Each<'a, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            list.serialize_element(&(self.1)(item))?;
        }
        list.end()
    }
}

/// `{"token", "logprob", "bytes", "top_logprobs"}`
struct ChatToken<'a>(&'a TokenLogProbability);

impl Serialize for ChatToken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("token", 4)?;
        object.serialize_field("token", &TokenText(&self.0.chosen))?;
        object.serialize_field("logprob", &self.0.chosen.log_probability)?;
        object.serialize_field("bytes", self.0.chosen.bytes.as_slice())?;
        object.serialize_field("top_logprobs", &each(&self.0.top, TopToken))?;
        object.end()
    }
}

struct TopToken<'a>(&'a TokenProbability);

impl Serialize for TopToken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("token", 3)?;
        object.serialize_field("token", &TokenText(self.0))?;
        object.serialize_field("logprob", &self.0.log_probability)?;
        object.serialize_field("bytes", self.0.bytes.as_slice())?;
        object.end()
    }
}

/// Alternatives by their text; of equal texts (parts of characters) the most probable.
struct TopMap<'a>(&'a [TokenProbability]);

impl Serialize for TopMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<Zeroizing<String>> = self.0.iter().map(|token| text_of(&token.bytes)).collect();
        let mut map = serializer.serialize_map(None)?;
        for (index, (token, text)) in self.0.iter().zip(&texts).enumerate() {
            if !texts[..index].contains(text) {
                map.serialize_entry(text.as_str(), &token.log_probability)?;
            }
        }
        map.end()
    }
}

/// The text of a token; what is no character of its own is U+FFFD.
struct TokenText<'a>(&'a TokenProbability);

impl Serialize for TokenText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text_of(&self.0.bytes))
    }
}

fn text_of(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(String::from_utf8_lossy(bytes).into_owned())
}
