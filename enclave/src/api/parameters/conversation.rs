//! Messages: who says what, which calls were made and what tools answered.

use inference::Role;
use serde::Deserialize;

use super::{
    asks::Asks,
    values::{Content, Json},
};
use crate::api::{ApiError, text::Text};

/// One message, checked.
pub(crate) struct Message {
    /// Who speaks.
    pub(crate) role: Role,
    /// What is said; empty where the assistant only calls.
    pub(crate) content: Text,
    /// Calls that the assistant made.
    pub(crate) calls: Vec<Call>,
    /// Which call a tool answers.
    pub(crate) tool_call_id: Option<Text>,
    /// Name of the speaker or of the tool.
    pub(crate) name: Option<Text>,
}

/// A call in a message of the assistant.
pub(crate) struct Call {
    /// As it was given.
    pub(crate) id: Text,
    /// Which function.
    pub(crate) name: Text,
    /// JSON.
    pub(crate) arguments: Text,
}

impl Message {
    /// Bytes of text in it.
    pub(crate) fn bytes(&self) -> usize {
        self.texts().map(|text| text.expose().len()).sum()
    }

    /// Every text in it.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Text> {
        let calls = self
            .calls
            .iter()
            .flat_map(|call| [&call.id, &call.name, &call.arguments]);
        core::iter::once(&self.content)
            .chain(calls)
            .chain(&self.tool_call_id)
            .chain(&self.name)
    }
}

/// A message as it is written.
#[derive(Deserialize)]
pub(super) struct MessageValue {
    role: String,
    content: Option<Content>,
    tool_calls: Option<Vec<CallValue>>,
    tool_call_id: Option<Text>,
    name: Option<Text>,
    #[serde(default)]
    function_call: Asks,
    #[serde(default)]
    audio: Asks,
}

#[derive(Deserialize)]
struct CallValue {
    id: Option<Text>,
    function: FunctionValue,
}

#[derive(Deserialize)]
struct FunctionValue {
    name: Text,
    arguments: Option<Json>,
}

impl TryFrom<MessageValue> for Message {
    type Error = ApiError;

    fn try_from(value: MessageValue) -> Result<Self, ApiError> {
        let fault = ApiError::parameter("messages");
        let role = Role::parse(&value.role).ok_or(fault)?;
        let calls: Vec<Call> = value
            .tool_calls
            .unwrap_or_default()
            .into_iter()
            .map(Call::try_from)
            .collect::<Result<_, _>>()?;
        let calls_fit = calls.is_empty() || role == Role::Assistant;
        let answers = value.tool_call_id.is_some() == (role == Role::Tool);
        if value.function_call.0 || value.audio.0 || !calls_fit || !answers {
            return Err(fault);
        }
        let content = match value.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => {
                let texts = parts
                    .into_iter()
                    .map(|part| if part.kind == "text" { part.text } else { None });
                Text::join(texts.collect::<Option<_>>().ok_or(fault)?)
            }
            // Only calls can stand for words.
            None if !calls.is_empty() => Text::new(String::new()),
            None => return Err(fault),
        };
        Ok(Self {
            role,
            content,
            calls,
            tool_call_id: value.tool_call_id,
            name: value.name,
        })
    }
}

impl TryFrom<CallValue> for Call {
    type Error = ApiError;

    fn try_from(value: CallValue) -> Result<Self, ApiError> {
        let arguments = match value.function.arguments {
            // Published as a string that holds JSON; some clients send the JSON itself.
            Some(Json(text)) if text.expose().starts_with('"') => {
                serde_json::from_str(text.expose()).map_err(|_| ApiError::parameter("messages"))?
            }
            Some(Json(text)) => text,
            None => Text::new("{}".to_owned()),
        };
        Ok(Self {
            id: value.id.unwrap_or_else(|| Text::new(String::new())),
            name: value.function.name,
            arguments,
        })
    }
}
