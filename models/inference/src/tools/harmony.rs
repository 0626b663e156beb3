//! The messages of gpt-oss. A completion begins in the header of the first:
//!
//! ```text
//! <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>
//! ```
//!
//! The channel `analysis` is a thought, a recipient in `functions` makes a call, all else is for the person.

use super::reader::{Said, ToolCall};
use crate::secret::SecretText;
use crate::text::longest_overlap;

const MESSAGE: &str = "<|message|>";
const CHANNEL: &str = "<|channel|>";
const ENDS: [&str; 4] = ["<|end|>", "<|return|>", "<|call|>", "<|start|>"];
const RECIPIENT: &str = "to=functions.";

/// Where in a message the reader is.
#[derive(Default)]
pub(super) struct HarmonyReader {
    body: Option<Body>,
    held: Option<SecretText>,
}

enum Body {
    Content,
    Reasoning,
    /// A call of that function; its arguments are gathered.
    Call(SecretText),
}

impl HarmonyReader {
    pub(super) fn push(&mut self, text: &str) -> Vec<Said> {
        let mut held = self.take_held();
        held.push_str(text);
        let mut said = Vec::new();
        loop {
            let text = held.expose_text();
            match &self.body {
                None => {
                    let Some(at) = text.find(MESSAGE) else { break };
                    let header = held.take_front(at);
                    drop(held.take_front(MESSAGE.len()));
                    self.body = Some(Body::of_header(header.expose_text()));
                }
                Some(_) => {
                    let end = ENDS
                        .iter()
                        .filter_map(|end| text.find(end).map(|at| (at, end.len())))
                        .min();
                    let Some((at, bytes)) = end else { break };
                    let rest = held.take_front(at);
                    drop(held.take_front(bytes));
                    if let Some(body) = self.body.take() {
                        said.push(body.said(rest));
                    }
                }
            }
        }
        if let Some(body @ (Body::Content | Body::Reasoning)) = &self.body {
            let text = held.expose_text();
            let overlap = ENDS
                .iter()
                .map(|end| longest_overlap(text, end))
                .max()
                .unwrap_or(0);
            let ready = held.take_front(text.len() - overlap);
            said.push(body.said_part(ready));
        }
        self.held = Some(held);
        said
    }

    pub(super) fn finish(&mut self) -> Vec<Said> {
        let held = self.take_held();
        match self.body.take() {
            Some(body) => vec![body.said(held)],
            // A header that never ended: text of a model that does not keep to the format.
            None => vec![Said::Content(held)],
        }
    }

    fn take_held(&mut self) -> SecretText {
        self.held.take().unwrap_or_else(|| SecretText::new(String::new()))
    }
}

impl Body {
    fn of_header(header: &str) -> Self {
        if let Some((_, after)) = header.split_once(RECIPIENT) {
            let name = after.split([' ', '<']).next().unwrap_or_default();
            return Self::Call(SecretText::new(name.to_owned()));
        }
        match header.split_once(CHANNEL) {
            Some((_, channel)) if channel.trim_start().starts_with("analysis") => Self::Reasoning,
            _ => Self::Content,
        }
    }

    /// The whole rest of a message.
    fn said(self, text: SecretText) -> Said {
        match self {
            Self::Call(name) => Said::Call(ToolCall {
                name,
                arguments: SecretText::new(text.expose_text().trim().to_owned()),
            }),
            other => other.said_part(text),
        }
    }

    fn said_part(&self, text: SecretText) -> Said {
        match self {
            Self::Reasoning => Said::Reasoning(text),
            Self::Content | Self::Call(_) => Said::Content(text),
        }
    }
}
