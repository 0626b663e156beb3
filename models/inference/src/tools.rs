//! Functions that the model may call, in the syntax that the model was trained on.
//!
//! 1. [`ToolSyntax::of_template`] tells from the chat template which syntax that is.
//! 2. [`Functions`] reads the definitions of a request; the template shows them to the model.
//! 3. [`grammar`](grammar::required) makes a call the only thing that can be said, where a request wants that.
//! 4. [`AnswerReader`] finds the calls in what the model says.

pub(crate) mod functions;
pub(crate) mod grammar;
mod harmony;
mod reader;

pub(crate) use functions::Functions;
pub use reader::{AnswerReader, Said, ToolCall};

/// How a family of models writes calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ToolSyntax {
    /// Qwen, Hermes: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`.
    Hermes,
    /// Llama 3: the whole answer is `{"name": …, "parameters": {…}}`.
    Llama,
    /// Mistral: `[TOOL_CALLS][{"name": …, "arguments": {…}}]`.
    MistralList,
    /// Mistral since 2025: `[TOOL_CALLS]name[ARGS]{…}`.
    MistralArgs,
    /// gpt-oss: messages in channels, a call is one with a recipient.
    Harmony,
}

impl ToolSyntax {
    /// The syntax that a template shows. `None` when it shows none that is known here.
    pub(crate) fn of_template(source: &str) -> Option<Self> {
        let has = |text| source.contains(text);
        if has("<|channel|>") && has("<|message|>") {
            Some(Self::Harmony)
        } else if !has("tools") {
            None
        } else if has("[TOOL_CALLS]") {
            Some(if has("[ARGS]") {
                Self::MistralArgs
            } else {
                Self::MistralList
            })
        } else if has("<tool_call>") {
            Some(Self::Hermes)
        } else if has("<|python_tag|>") || has("ipython") || (has("\"parameters\"") && has("\"name\"")) {
            Some(Self::Llama)
        } else {
            None
        }
    }

    /// Whether its marks are tokens that ordinary text never shows.
    pub(crate) fn has_special_marks(self) -> bool {
        !matches!(self, Self::Hermes)
    }

    /// An identifier for a call, from random bytes: nine letters and digits for Mistral, whose template wants that.
    pub fn call_id(self, random: &[u8; 16]) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let letters = random
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
        match self {
            Self::MistralList | Self::MistralArgs => letters.take(9).collect(),
            _ => "call_".chars().chain(letters).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_tells_the_syntax() {
        for (template, syntax) in [
            ("{% if tools %}<tool_call>", Some(ToolSyntax::Hermes)),
            ("{% if tools %}<|python_tag|>", Some(ToolSyntax::Llama)),
            ("{% if tools %}Environment: ipython", Some(ToolSyntax::Llama)),
            (
                "{% if tools %}[AVAILABLE_TOOLS] [TOOL_CALLS]",
                Some(ToolSyntax::MistralList),
            ),
            (
                "{% if tools %}[TOOL_CALLS]name[ARGS]",
                Some(ToolSyntax::MistralArgs),
            ),
            (
                "<|start|>assistant<|channel|>final<|message|>",
                Some(ToolSyntax::Harmony),
            ),
            ("{{ messages }} <tool_call>", None),
            ("{% if tools %}", None),
        ] {
            assert_eq!(ToolSyntax::of_template(template), syntax, "{template}");
        }
    }

    #[test]
    fn identifiers_are_as_the_templates_want_them() {
        let id = ToolSyntax::MistralList.call_id(&[255; 16]);
        assert!(id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(ToolSyntax::Hermes.call_id(&[7; 16]).starts_with("call_"));
    }
}
