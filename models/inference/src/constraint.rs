//! What a completion has to match: compiled once per request, asked before each token.
//!
//! 1. [`Constraint`](crate::Constraint) becomes a grammar of llguidance, within bounds of size, depth and work.
//! 2. Before a token is chosen, [`Matching::forbid`] takes away what the grammar does not allow.
//! 3. [`Matching::accept`] advances by the chosen token, and says when nothing can follow.
//!
//! A completion that ends by itself matches as a whole; one cut by the token limit is the beginning of a match.

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::InferenceCapabilities;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use crate::error::InferenceError;
use crate::limits::CONSTRAINT_BYTES_MAX;
use crate::request::Constraint;
use crate::secret_json::SecretJson;
use crate::text::Vocabulary;

/// Brackets within brackets of a grammar or a regular expression: its readers call themselves for each.
const DEPTH_MAX: usize = 64;
/// White space between two tokens of JSON; without a bound a model can go on with it until the token limit.
const JSON_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,20}";

/// Compiles constraints for one model.
pub(crate) struct ConstraintCompiler {
    factory: ParserFactory,
}

impl ConstraintCompiler {
    /// Prepares what all constraints of a vocabulary share.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Option<Self> {
        let mut factory =
            ParserFactory::new(vocabulary.environment(), InferenceCapabilities::default(), &[]).ok()?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            max_items_in_row: 2_000,
            initial_lexer_fuel: 1_000_000,
            step_lexer_fuel: 200_000,
            step_max_items: 50_000,
            max_lexer_states: 20_000,
            max_grammar_size: 200_000,
            precompute_large_lexemes: false,
            // Its messages would quote the request.
            verbose_errors: false,
        };
        Some(Self { factory })
    }

    /// The matching of one request's first completion.
    pub(crate) fn compile(&self, grammar: TopLevelGrammar) -> Result<Matching, InferenceError> {
        let mut matcher = Matcher::new(self.factory.create_parser(grammar));
        // A grammar that nothing matches is found by its first mask.
        if matcher.is_error() || matcher.compute_mask_or_eos().is_err() {
            return Err(InferenceError::ConstraintInvalid);
        }
        Ok(Matching(matcher))
    }
}

/// A grammar as the compiler takes it.
pub(crate) fn grammar(constraint: &Constraint<'_>) -> Result<TopLevelGrammar, InferenceError> {
    match constraint {
        Constraint::JsonObject => Ok(TopLevelGrammar::from_json_schema(spaced(
            json!({"type": "object"}),
        ))),
        Constraint::JsonSchema(text) => {
            check_size(text.len())?;
            let mut schema = SecretJson::parse(text).ok_or(InferenceError::ConstraintInvalid)?;
            let schema = std::mem::take(schema.expose_mut());
            Ok(TopLevelGrammar::from_json_schema(spaced(schema)))
        }
        Constraint::Regex(pattern) => {
            check(pattern)?;
            Ok(TopLevelGrammar::from_regex(pattern))
        }
        Constraint::Grammar(text) => {
            check(text)?;
            Ok(TopLevelGrammar::from_lark((*text).to_owned()))
        }
        Constraint::Choice(texts) => {
            check_size(texts.iter().map(|text| text.len()).sum())?;
            if texts.is_empty() || texts.iter().any(|text| text.is_empty()) {
                return Err(InferenceError::ConstraintInvalid);
            }
            Ok(TopLevelGrammar::from_lark(format!(
                "start: {}\n",
                choice_rule(texts)
            )))
        }
    }
}

/// A constraint as the right side of a rule, where it is a part of a larger grammar. Whole grammars cannot be.
pub(crate) fn rule(constraint: &Constraint<'_>) -> Result<String, InferenceError> {
    match constraint {
        Constraint::JsonObject => Ok(format!("%json {}", spaced(json!({"type": "object"})))),
        Constraint::JsonSchema(text) => {
            check_size(text.len())?;
            let mut schema = SecretJson::parse(text).ok_or(InferenceError::ConstraintInvalid)?;
            Ok(json_rule(std::mem::take(schema.expose_mut())))
        }
        Constraint::Choice(texts) => {
            check_size(texts.iter().map(|text| text.len()).sum())?;
            Ok(choice_rule(texts))
        }
        Constraint::Regex(_) | Constraint::Grammar(_) => Err(InferenceError::ConstraintInvalid),
    }
}

/// JSON of a schema as the right side of a rule.
pub(crate) fn json_rule(schema: Value) -> String {
    format!("%json {}", spaced(schema))
}

/// A literal text as the right side of a rule.
pub(crate) fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

fn choice_rule(texts: &[&str]) -> String {
    texts
        .iter()
        .map(|text| literal(text))
        .collect::<Vec<_>>()
        .join(" | ")
}

/// The schema with our options of the compiler in place of any that the request brings: those could switch its
/// strictness off.
fn spaced(schema: Value) -> Value {
    let mut schema = match schema {
        Value::Bool(true) => json!({}),
        other => other,
    };
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(
            "x-guidance".to_owned(),
            json!({ "whitespace_pattern": JSON_SPACE }),
        );
    }
    schema
}

fn check(text: &str) -> Result<(), InferenceError> {
    check_size(text.len())?;
    let mut depth = 0_usize;
    for character in text.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(InferenceError::ConstraintInvalid);
        }
    }
    Ok(())
}

fn check_size(bytes: usize) -> Result<(), InferenceError> {
    if bytes > CONSTRAINT_BYTES_MAX {
        return Err(InferenceError::ConstraintInvalid);
    }
    Ok(())
}

/// How far a completion has matched.
pub(crate) struct Matching(Matcher);

impl Matching {
    /// The state of another completion of the same request; nothing is shared that a lock would guard.
    pub(crate) fn another(&self) -> Self {
        Self(self.0.deep_clone())
    }

    /// Sets the logits of what cannot follow to negative infinity.
    pub(crate) fn forbid(&mut self, logits: &mut [f32]) -> Result<(), InferenceError> {
        let mask = self
            .0
            .compute_mask_or_eos()
            .map_err(|_| InferenceError::ConstraintFailed)?;
        let mut left = false;
        for (token, logit) in logits.iter_mut().enumerate() {
            if token < mask.len() && mask.get(token) {
                left |= *logit > f32::NEG_INFINITY;
            } else {
                *logit = f32::NEG_INFINITY;
            }
        }
        if left {
            Ok(())
        } else {
            Err(InferenceError::ConstraintFailed)
        }
    }

    /// Advances; `true` when the match is whole and nothing can follow.
    pub(crate) fn accept(&mut self, token: u32) -> Result<bool, InferenceError> {
        self.0
            .consume_token(token)
            .map_err(|_| InferenceError::ConstraintFailed)?;
        if self.0.is_stopped() && !self.0.stop_reason().is_ok() {
            return Err(InferenceError::ConstraintFailed);
        }
        Ok(self.0.is_stopped())
    }
}
