//! Between the engine's blocking iterator and a request's task: one thread for each running request, a bounded
//! channel, cancellation by dropping.

use std::sync::Arc;

use inference::{
    AnswerReader, CancelHandle, ChatMessage, Constraint, Engine, FinishReason, GenerateRequest,
    InferenceError, MessageToolCall, Piece, PromptInput, SecretText, TokenLogProbability, ToolSyntax, Usage,
};
use tokio::{sync::mpsc, task::JoinHandle};
use wire::ProblemCode;

use crate::{
    api::{
        ApiError,
        parameters::{Input, OfferedTools, Parameters, ToolChoice, form::Form},
    },
    clock::now,
};

/// Pieces that wait for the request's task at most; then the thread waits too.
const PIECES_MAX: usize = 32;

/// What the engine says next.
pub(crate) enum Progress {
    /// More of one completion.
    Delta(Delta),
    /// The end of all.
    End {
        /// Token counts.
        usage: Usage,
    },
    /// It failed.
    Failed(ApiError),
}

/// More of one completion.
pub(crate) struct Delta {
    /// Which, counted from 0.
    pub(crate) choice: usize,
    /// What was said, in order.
    pub(crate) said: Vec<Said>,
    /// Log probabilities, where they were asked for.
    pub(crate) log_probabilities: Vec<TokenLogProbability>,
    /// How it ended, in its last part.
    pub(crate) finish: Option<Finish>,
}

/// A part of an answer.
pub(crate) enum Said {
    /// For the person.
    Content(SecretText),
    /// What the model thought before.
    Reasoning(SecretText),
    /// A call of a function.
    Call {
        /// Which call of this completion, counted from 0.
        index: usize,
        /// Made here, for the tool's answer.
        id: String,
        /// Which function.
        name: SecretText,
        /// JSON.
        arguments: SecretText,
    },
}

/// How a completion ended, in the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// By itself, or at a stop string.
    Stop,
    /// At the token limit.
    Length,
    /// By itself, with calls of functions.
    ToolCalls,
}

impl Finish {
    /// The word of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
        }
    }
}

/// A running generation. Dropping it cancels, also where it still waits for its turn.
pub(crate) struct Running {
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: usize,
    progress: mpsc::Receiver<Progress>,
    cancel: Option<CancelHandle>,
    thread: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
    }
}

impl Running {
    #[cfg(test)]
    pub(crate) fn new(
        prompt_tokens: usize,
        progress: mpsc::Receiver<Progress>,
        thread: JoinHandle<()>,
    ) -> Self {
        Self {
            prompt_tokens,
            progress,
            cancel: None,
            thread,
        }
    }

    /// What comes next. A thread that went without a word is a fault of ours.
    pub(crate) async fn next(&mut self) -> Progress {
        self.progress
            .recv()
            .await
            .unwrap_or(Progress::Failed(ProblemCode::Internal.into()))
    }

    /// Cancels what still runs and waits until its place is free: one turn of the engine at most.
    pub(crate) async fn end(mut self) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
        self.progress.close();
        let _ = (&mut self.thread).await; // a panic there was told as a fault
    }

    /// What is there already.
    pub(crate) fn try_next(&mut self) -> Option<Progress> {
        self.progress.try_recv().ok()
    }
}

/// Tokenises and starts. The engine gives a request's place back before its end is told, and a cancelled one's at its next
/// turn.
pub(crate) async fn start(
    engine: &Arc<Engine>,
    tenant: &str,
    parameters: Parameters,
    prompt_tokens_max: usize,
) -> Result<Running, ApiError> {
    let (started, start) = tokio::sync::oneshot::channel();
    let (sender, progress) = mpsc::channel(PIECES_MAX);
    let (engine, tenant) = (Arc::clone(engine), tenant.to_owned());
    let thread = tokio::task::spawn_blocking(move || {
        let answers = Answers::prepare(&engine, &parameters);
        let generation = match generation(&engine, &tenant, &parameters) {
            Ok(generation) => generation,
            Err(error) => {
                let _ = started.send(Err(api_error(&error, &parameters))); // the request may be gone
                return;
            }
        };
        let echoed = echoed(&parameters);
        drop(parameters); // the prompt is wiped before the first token
        let prompt_tokens = generation.usage().prompt_tokens;
        if prompt_tokens > prompt_tokens_max {
            drop(generation);
            let _ = started.send(Err(ProblemCode::PromptTooLong.into()));
            return;
        }
        let begun = (prompt_tokens, generation.cancel_handle());
        if started.send(Ok(begun)).is_err() {
            return;
        }
        if let Some(last) = forward(generation, answers, echoed, &sender) {
            let _ = sender.blocking_send(last); // the request may be gone
        }
    });
    let (prompt_tokens, cancel) = start.await.map_err(|_| ProblemCode::Internal)??;
    Ok(Running {
        prompt_tokens,
        progress,
        cancel: Some(cancel),
        thread,
    })
}

fn generation(
    engine: &Engine,
    tenant: &str,
    parameters: &Parameters,
) -> Result<inference::Generation, InferenceError> {
    let stop: Vec<&str> = parameters.stop.iter().map(|text| text.expose()).collect();
    let mut calls: Vec<Vec<MessageToolCall<'_>>> = Vec::new();
    let mut messages = Vec::new();
    let prompt = match &parameters.input {
        Input::Text(text) => PromptInput::Text(text.expose()),
        Input::Tokens(tokens) => PromptInput::Tokens(tokens),
        Input::Messages(chat) => {
            calls.extend(chat.iter().map(|message| {
                let calls = message.calls.iter().map(|call| MessageToolCall {
                    id: call.id.expose(),
                    name: call.name.expose(),
                    arguments: call.arguments.expose(),
                });
                calls.collect()
            }));
            messages.extend(chat.iter().zip(&calls).map(|(message, calls)| ChatMessage {
                role: message.role,
                content: message.content.expose(),
                tool_calls: calls,
                tool_call_id: message.tool_call_id.as_ref().map(|id| id.expose()),
                name: message.name.as_ref().map(|name| name.expose()),
            }));
            PromptInput::Messages(&messages)
        }
    };
    let choices: Vec<&str> = match &parameters.form {
        Some((Form::Choice(texts), _)) => texts.iter().map(|text| text.expose()).collect(),
        _ => Vec::new(),
    };
    let constraint = parameters.form.as_ref().map(|(form, _)| match form {
        Form::JsonObject => Constraint::JsonObject,
        Form::JsonSchema(schema) => Constraint::JsonSchema(schema.expose()),
        Form::Regex(pattern) => Constraint::Regex(pattern.expose()),
        Form::Grammar(grammar) => Constraint::Grammar(grammar.expose()),
        Form::Choice(_) => Constraint::Choice(&choices),
    });
    engine.generate(GenerateRequest {
        tenant: Some(tenant),
        prompt,
        prompt_cache_key: parameters.prompt_cache_key.as_ref().map(|key| key.expose()),
        sampling: parameters.sampling.clone(),
        logit_bias: &parameters.logit_bias,
        stop: &stop,
        completion_tokens_max: parameters.completion_tokens_max,
        choices: parameters.choices,
        log_probabilities: parameters.log_probabilities,
        constraint,
        tools: parameters.tools.as_ref().map(offered),
        time: Some(now().seconds()),
        reasoning_effort: parameters.reasoning_effort.as_ref().map(|word| word.expose()),
    })
}

fn offered(tools: &OfferedTools) -> inference::Tools<'_> {
    inference::Tools {
        definitions: tools.definitions.expose(),
        choice: match &tools.choice {
            ToolChoice::Auto => inference::ToolChoice::Auto,
            ToolChoice::Required => inference::ToolChoice::Required,
            ToolChoice::Function(name) => inference::ToolChoice::Function(name.expose()),
        },
        parallel: tools.parallel,
    }
}

/// The prompt before each completion, for those who asked for it.
fn echoed(parameters: &Parameters) -> Vec<Delta> {
    let Input::Text(prompt) = &parameters.input else {
        return Vec::new();
    };
    let choices = if parameters.echo { parameters.choices } else { 0 };
    let delta = |choice| Delta {
        choice,
        said: vec![Said::Content(SecretText::new(prompt.expose().to_owned()))],
        log_probabilities: Vec::new(),
        finish: None,
    };
    (0..choices).map(delta).collect()
}

/// What finds calls and thoughts in each completion, where there can be any.
struct Answers {
    readers: Vec<AnswerReader>,
}

impl Answers {
    fn prepare(engine: &Engine, parameters: &Parameters) -> Self {
        let tools = parameters.tools.as_ref().map(offered);
        let chat = matches!(parameters.input, Input::Messages(_));
        let count = if chat { parameters.choices } else { 0 };
        let readers = (0..count).map_while(|_| engine.answer_reader(tools.as_ref()));
        Self {
            readers: readers.collect(),
        }
    }

    /// Turns a piece of text into what it says.
    fn read(&mut self, piece: Piece) -> Result<Delta, InferenceError> {
        let Piece {
            choice,
            text,
            log_probabilities,
            finish,
            ..
        } = piece;
        let mut finish = finish.map(|reason| match reason {
            FinishReason::Length => Finish::Length,
            _ => Finish::Stop,
        });
        let said = match self.readers.get_mut(choice) {
            None if text.is_empty() => Vec::new(),
            None => vec![Said::Content(text)],
            Some(reader) => {
                let before = reader.calls();
                let mut said = reader.push(text.expose_text());
                if finish.is_some() {
                    said.extend(reader.finish());
                }
                if finish == Some(Finish::Stop) && reader.calls() > 0 {
                    finish = Some(Finish::ToolCalls);
                }
                numbered(said, before, reader.syntax())?
            }
        };
        Ok(Delta {
            choice,
            said,
            log_probabilities,
            finish,
        })
    }
}

/// Gives calls their numbers and identifiers.
fn numbered(
    said: Vec<inference::Said>,
    mut calls: usize,
    syntax: ToolSyntax,
) -> Result<Vec<Said>, InferenceError> {
    said.into_iter()
        .map(|said| match said {
            inference::Said::Content(text) => Ok(Said::Content(text)),
            inference::Said::Reasoning(text) => Ok(Said::Reasoning(text)),
            inference::Said::Call(call) => {
                let mut random = [0; 16];
                getrandom::fill(&mut random).map_err(|_| InferenceError::ComputeFailed)?;
                calls += 1;
                Ok(Said::Call {
                    index: calls - 1,
                    id: syntax.call_id(&random),
                    name: call.name,
                    arguments: call.arguments,
                })
            }
        })
        .collect()
}

/// Moves deltas and gives what is to be told last. `None` when nobody takes them: dropping the generation cancels it.
fn forward(
    mut generation: inference::Generation,
    mut answers: Answers,
    echoed: Vec<Delta>,
    sender: &mpsc::Sender<Progress>,
) -> Option<Progress> {
    for delta in echoed {
        sender.blocking_send(Progress::Delta(delta)).ok()?;
    }
    for piece in generation.by_ref() {
        match piece.and_then(|piece| answers.read(piece)) {
            Ok(delta) => sender.blocking_send(Progress::Delta(delta)).ok()?,
            Err(error) => return Some(Progress::Failed(engine_fault(&error))),
        }
    }
    generation.finish_reason()?;
    Some(Progress::End {
        usage: generation.usage(),
    })
}

/// What the client is told of a request that was not started.
fn api_error(error: &InferenceError, parameters: &Parameters) -> ApiError {
    let form = parameters.form.as_ref().map(|(_, name)| *name);
    match error {
        InferenceError::ConstraintInvalid => ApiError {
            code: ProblemCode::InvalidConstraint,
            // Where no form was asked for, it is a schema of a function that must be called.
            param: form.or(Some("tools")),
        },
        InferenceError::ConstraintUnsupported => ApiError::parameter(form.unwrap_or("tool_choice")),
        InferenceError::ChatTemplateMissing
        | InferenceError::ChatTemplateRefused
        | InferenceError::TokenizerFailed
            if !matches!(parameters.input, Input::Messages(_)) =>
        {
            ApiError::parameter("prompt")
        }
        _ => engine_fault(error),
    }
}

fn engine_fault(error: &InferenceError) -> ApiError {
    match error {
        InferenceError::RequestInvalid { parameter, .. } => ApiError::parameter(parameter),
        InferenceError::ChatTemplateMissing
        | InferenceError::ChatTemplateRefused
        | InferenceError::TokenizerFailed => ApiError::parameter("messages"),
        InferenceError::PromptEmpty => ApiError::parameter("prompt"),
        InferenceError::PromptTooLong { .. } => ProblemCode::PromptTooLong.into(),
        InferenceError::ContextExceeded {
            prompt_tokens,
            context_tokens_max,
            ..
        } if prompt_tokens >= context_tokens_max => ProblemCode::PromptTooLong.into(),
        InferenceError::ContextExceeded { .. } => ProblemCode::ContextExceeded.into(),
        InferenceError::ToolsUnsupported => ApiError::parameter("tools"),
        InferenceError::ConstraintInvalid | InferenceError::ConstraintFailed => {
            ProblemCode::InvalidConstraint.into()
        }
        InferenceError::Overloaded => ProblemCode::Overloaded.into(),
        InferenceError::EngineStopped => ProblemCode::Stopping.into(),
        _ => ProblemCode::Internal.into(),
    }
}
