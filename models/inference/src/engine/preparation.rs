//! What a request's completions share, made on the caller's thread before any of them is queued.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;

use super::Engine;
use crate::constraint::{self, Matching};
use crate::error::InferenceError;
use crate::limits::TOP_LOGPROBS_MAX;
use crate::request::{GenerateRequest, PromptInput, Sampling, ToolChoice};
use crate::sampler::Sampler;
use crate::secret::SecretTokens;
use crate::text::{Conversation, Special, StopStrings};
use crate::tools::{self, Functions, ToolSyntax};

/// A request that was checked.
pub(super) struct Preparation {
    pub(super) prompt: Arc<SecretTokens>,
    pub(super) completion_tokens_max: usize,
    pub(super) matching: Option<Matching>,
    pub(super) special: Special,
    sampling: Sampling,
    vocabulary: usize,
}

impl Preparation {
    pub(super) fn new(engine: &Engine, request: &GenerateRequest<'_>) -> Result<Self, InferenceError> {
        // 1. Numbers, before the prompt is read.
        let sampling = request.sampling.clone().checked()?;
        StopStrings::new(request.stop)?;
        if request
            .log_probabilities
            .is_some_and(|top| top > TOP_LOGPROBS_MAX)
        {
            return Err(InferenceError::RequestInvalid {
                parameter: "top_logprobs",
                expected: "at most 20",
            });
        }
        // 2. Functions, which the prompt shows.
        let functions = request.tools.as_ref().map(Functions::read).transpose()?;
        let syntax = engine.model.tool_syntax();
        if functions.is_some() && (syntax.is_none() || !matches!(request.prompt, PromptInput::Messages(_))) {
            return Err(InferenceError::ToolsUnsupported);
        }
        // 3. The prompt.
        let prompt = prompt_tokens(engine, request, functions.as_ref())?;
        let completion_tokens_max = completion_tokens(engine, prompt.len(), request.completion_tokens_max)?;
        // 4. The constraint, which is the most work.
        let chat = matches!(request.prompt, PromptInput::Messages(_));
        let syntax = syntax.filter(|syntax| chat && (functions.is_some() || *syntax == ToolSyntax::Harmony));
        let matching = match grammar(engine, request, functions.as_ref(), syntax)? {
            Some(grammar) => Some(engine.model.constraints()?.compile(grammar)?),
            None => None,
        };
        let special = match syntax {
            Some(syntax) if syntax.has_special_marks() => Special::Kept,
            _ => Special::LeftOut,
        };
        Ok(Self {
            prompt: Arc::new(prompt),
            completion_tokens_max,
            matching,
            special,
            sampling,
            vocabulary: engine.model.decoder().config().vocabulary,
        })
    }

    /// The sampler of one completion.
    pub(super) fn sampler(
        &self,
        request: &GenerateRequest<'_>,
        choice: usize,
    ) -> Result<Sampler, InferenceError> {
        let prompt = self.prompt.expose_tokens();
        Sampler::new(
            &self.sampling,
            request.logit_bias,
            prompt,
            self.vocabulary,
            choice,
        )
    }
}

fn prompt_tokens(
    engine: &Engine,
    request: &GenerateRequest<'_>,
    functions: Option<&Functions>,
) -> Result<SecretTokens, InferenceError> {
    let bytes_max = engine.config.prompt_bytes_max;
    let tokenizer = engine.model.tokenizer();
    let tokens = match &request.prompt {
        PromptInput::Text(text) => tokenizer.encode(text, true, bytes_max)?,
        PromptInput::Messages(messages) => {
            let template = engine
                .model
                .chat_template()
                .ok_or(InferenceError::ChatTemplateMissing)?;
            let conversation = Conversation {
                messages,
                functions,
                time: request.time,
                reasoning_effort: request.reasoning_effort,
            };
            let text = template.render(&conversation, bytes_max)?;
            tokenizer.encode(text.expose_text(), false, bytes_max)?
        }
        PromptInput::Tokens(tokens) => {
            let vocabulary = engine.model.decoder().config().vocabulary;
            if tokens.iter().any(|token| *token as usize >= vocabulary) {
                return Err(InferenceError::RequestInvalid {
                    parameter: "prompt",
                    expected: "tokens of the model's vocabulary",
                });
            }
            SecretTokens::new(tokens.to_vec())
        }
    };
    if tokens.is_empty() {
        return Err(InferenceError::PromptEmpty);
    }
    Ok(tokens)
}

/// What the completion has to match, if anything: a forced call, a form of the answer, or either.
fn grammar(
    engine: &Engine,
    request: &GenerateRequest<'_>,
    functions: Option<&Functions>,
    syntax: Option<ToolSyntax>,
) -> Result<Option<TopLevelGrammar>, InferenceError> {
    let Some(syntax) = syntax else {
        return request.constraint.as_ref().map(constraint::grammar).transpose();
    };
    let vocabulary = engine
        .model
        .vocabulary()
        .ok_or(InferenceError::ConstraintUnsupported);
    let token = |text: &str| engine.model.tokenizer().token(text);
    let answer = request.constraint.as_ref().map(constraint::rule).transpose()?;
    let lark = match (functions, &request.tools) {
        (Some(functions), Some(offered)) => {
            let forced = offered.choice != ToolChoice::Auto;
            // A forced call leaves no room for another answer.
            let answer = answer.as_deref().filter(|_| !forced);
            if !forced && answer.is_none() {
                return Ok(None);
            }
            tools::grammar::required(syntax, functions, offered, answer, vocabulary?, token)
        }
        _ => match answer {
            Some(answer) => tools::grammar::harmony_answer(&answer, vocabulary?, token),
            None => return Ok(None),
        },
    };
    Ok(Some(TopLevelGrammar::from_lark(lark)))
}

/// How many tokens the completion may have. What is asked for must fit; what is not, is cut to fit.
fn completion_tokens(
    engine: &Engine,
    prompt_tokens: usize,
    asked: Option<usize>,
) -> Result<usize, InferenceError> {
    let (context_tokens_max, engine_max) = (engine.context_tokens_max, engine.config.completion_tokens_max);
    if let Some(asked) = asked
        && !(1..=engine_max).contains(&asked)
    {
        return Err(InferenceError::RequestInvalid {
            parameter: "max_tokens",
            expected: "at least 1 and at most the limit of the engine",
        });
    }
    let room = context_tokens_max.saturating_sub(prompt_tokens);
    let completion_tokens = asked.unwrap_or(1);
    if completion_tokens > room {
        return Err(InferenceError::ContextExceeded {
            prompt_tokens,
            completion_tokens,
            context_tokens_max,
        });
    }
    Ok(asked.unwrap_or(engine_max.min(room)))
}
