//! The running engine: requests are prepared on the caller's thread and decoded on one of its own.

mod prefix;
mod preparation;
mod schedule;
mod sequence;
#[cfg(test)]
mod tests;
mod turn;
mod worker;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use self::prefix::{PrefixCache, PrefixScope};
use self::preparation::Preparation;
use self::schedule::Schedule;
use self::sequence::{Sequence, SequenceParts};
use self::turn::Turns;
use self::worker::Inbox;
use crate::admission::{Admission, Cancellation, EngineLoad, Permit, Tenant};
use crate::constraint::Matching;
use crate::decoder::kv_cache::KvCache;
use crate::error::InferenceError;
use crate::generation::Generation;
use crate::limits::CHOICES_MAX;
use crate::model::Model;
use crate::request::{GenerateRequest, Tools};
use crate::text::StopStrings;
use crate::tools::{AnswerReader, ToolSyntax};

pub(crate) use self::sequence::Event;

/// Limits of an engine. Every queue and buffer is sized from them.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Requests that are computed together, in one pass each turn. Default 4.
    pub max_concurrent: usize,
    /// Requests that wait for a slot; one more is refused with `overloaded`. Default 16.
    pub max_waiting: usize,
    /// Prompt and completion together; at most what the model was made for. `None`: the model's own limit.
    pub context_tokens_max: Option<usize>,
    /// Completion limit of a request that names none; one that names a higher limit is refused. Default 4096.
    pub completion_tokens_max: usize,
    /// Bytes of a prompt, before and after the chat template. Default 1 MiB.
    pub prompt_bytes_max: usize,
    /// Bytes of key-value cache of all requests together. A request becomes active when its worst case (prompt and
    /// completion limit) fits beside those of the others, and the context is cut to what fits alone. Default 4 GiB;
    /// memory is taken as it is needed, on a device all of it at once.
    pub cache_bytes_max: usize,
    /// Tenants whose requests may reuse what their earlier ones have computed, where they name a `prompt_cache_key`; the
    /// first so many that do. A quarter of the cache is theirs, in equal shares. 0 turns it off. Default 8.
    pub prefix_tenants_max: usize,
    /// Tokens of prompts that one turn computes beside one token of each request that decodes. Default 512.
    pub prefill_tokens_per_turn: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_concurrent: 4,
            max_waiting: 16,
            context_tokens_max: None,
            completion_tokens_max: 4096,
            prompt_bytes_max: 1 << 20,
            cache_bytes_max: 4 << 30,
            prefix_tenants_max: 8,
            prefill_tokens_per_turn: 512,
        }
    }
}

/// A running engine. `Send + Sync`; dropping it stops the thread and ends every request with `engine-stopped`.
pub struct Engine {
    model: Model,
    config: EngineConfig,
    context_tokens_max: usize,
    admission: Arc<Admission>,
    inbox: Arc<Inbox>,
    worker: Option<JoinHandle<()>>,
}

impl Engine {
    pub(crate) fn start(model: Model, config: EngineConfig) -> Result<Self, InferenceError> {
        let invalid = |reason| Err(InferenceError::EngineConfigInvalid { reason });
        if config.max_concurrent == 0 || config.max_concurrent.checked_add(config.max_waiting).is_none() {
            return invalid("max_concurrent is zero or overflows");
        }
        if config.completion_tokens_max == 0 || config.prompt_bytes_max == 0 {
            return invalid("a limit is zero");
        }
        if config.prefill_tokens_per_turn == 0 {
            return invalid("prefill_tokens_per_turn is zero");
        }
        let decoder = model.decoder().config();
        let blocks_max = config.cache_bytes_max / KvCache::block_bytes(decoder).max(1);
        let kept_max = if config.prefix_tenants_max == 0 || decoder.computes_again() {
            0
        } else {
            blocks_max / 4
        };
        let active_max = blocks_max - kept_max;
        let fitting = tokens_that_fit(&model, active_max, config.prefill_tokens_per_turn);
        let context_tokens_max = config.context_tokens_max.unwrap_or(fitting);
        if !(2..=model.context_tokens_max()).contains(&context_tokens_max) {
            return invalid(
                "context_tokens_max is below 2 or beyond the model, or cache_bytes_max holds less than 2",
            );
        }
        if context_tokens_max > fitting {
            return invalid("cache_bytes_max does not hold one request of context_tokens_max");
        }
        let admission = Admission::new(config.max_concurrent + config.max_waiting);
        let inbox = Arc::new(Inbox::new());
        let pool = model.decoder().pool(blocks_max)?;
        let schedule = Schedule::new(config.max_concurrent, active_max);
        let share = kept_max / config.prefix_tenants_max.max(1);
        let prefixes = PrefixCache::new(config.prefix_tenants_max, share, decoder.layers.len());
        let prefill_tokens_max = config.prefill_tokens_per_turn;
        let turns = Turns {
            model: model.clone(),
            pool,
            prefixes,
            prefill_tokens_max,
        };
        let worker = worker::spawn(turns, schedule, Arc::clone(&inbox))?;
        Ok(Self {
            model,
            config,
            context_tokens_max,
            admission,
            inbox,
            worker: Some(worker),
        })
    }

    /// Renders, tokenises and queues a request. Blocks only for these, not for a slot.
    pub fn generate(&self, request: GenerateRequest<'_>) -> Result<Generation, InferenceError> {
        // 1. Places, before any work is done for the request.
        let tenant = request.tenant.map(Arc::from);
        let permits = self.enter(&tenant, request.choices)?;
        // 2. Every parameter, the prompt and the constraint.
        let prepared = Preparation::new(self, &request)?;
        let prompt_tokens = prepared.prompt.len();
        // 3. The queue.
        let (events, receiver) = mpsc::channel();
        let cancellation = Cancellation::default();
        // Made first: dropping it on the way out cancels what is queued already.
        let generation = Generation::new(receiver, cancellation.clone(), prompt_tokens, request.choices);
        for (choice, permit) in permits.into_iter().enumerate() {
            self.inbox.push(Sequence::new(SequenceParts {
                choice,
                prompt: Arc::clone(&prepared.prompt),
                completion_tokens_max: prepared.completion_tokens_max,
                sampler: prepared.sampler(&request, choice)?,
                stops: StopStrings::new(request.stop)?,
                matching: prepared.matching.as_ref().map(Matching::another),
                special: prepared.special,
                log_probabilities: request.log_probabilities,
                events: events.clone(),
                cancellation: cancellation.clone(),
                permit,
                prefixes: self.prefix_scope(&tenant, request.prompt_cache_key),
                blocks_max: KvCache::blocks_max(
                    self.model.decoder().config(),
                    prompt_tokens + prepared.completion_tokens_max,
                    self.config.prefill_tokens_per_turn,
                ),
            }))?;
        }
        Ok(generation)
    }

    /// What finds thoughts and calls in the completions of a request, where there can be any: always for models that
    /// answer in channels, else when functions are offered.
    pub fn answer_reader(&self, tools: Option<&Tools<'_>>) -> Option<AnswerReader> {
        let syntax = self.model.tool_syntax()?;
        if tools.is_none() && syntax != ToolSyntax::Harmony {
            return None;
        }
        Some(AnswerReader::new(
            syntax,
            tools.is_none_or(|tools| tools.parallel),
        ))
    }

    fn enter(&self, tenant: &Tenant, choices: usize) -> Result<Vec<Permit>, InferenceError> {
        if !(1..=CHOICES_MAX.min(self.config.max_concurrent + self.config.max_waiting)).contains(&choices) {
            return Err(InferenceError::RequestInvalid {
                parameter: "n",
                expected: "from 1 to 16, and no more than the engine has places",
            });
        }
        self.admission.enter(tenant, choices)
    }

    /// Only tenants have one, and only what they ask for is kept.
    fn prefix_scope(&self, tenant: &Tenant, key: Option<&str>) -> Option<PrefixScope> {
        let again = self.model.decoder().config().computes_again();
        let (tenant, key) = (tenant.as_ref()?, key?);
        (self.config.prefix_tenants_max > 0 && !again).then(|| PrefixScope {
            tenant: Arc::clone(tenant),
            key: key.into(),
        })
    }

    /// Wipes what was kept of earlier requests before the next turn.
    pub fn forget_prefixes(&self) {
        self.inbox.forget();
    }

    /// How many requests it holds at the moment.
    pub fn load(&self) -> EngineLoad {
        self.admission.load()
    }

    /// Tokens of prompt and completion together.
    pub fn context_tokens_max(&self) -> usize {
        self.context_tokens_max
    }

    /// The model it runs.
    pub fn model(&self) -> &Model {
        &self.model
    }
}

/// The longest context that so many cache blocks hold.
fn tokens_that_fit(model: &Model, blocks_max: usize, pass_tokens: usize) -> usize {
    let (mut fitting, mut beyond) = (0, model.context_tokens_max() + 1);
    while beyond - fitting > 1 {
        let tokens = fitting.midpoint(beyond);
        if KvCache::blocks_max(model.decoder().config(), tokens, pass_tokens) <= blocks_max {
            fitting = tokens;
        } else {
            beyond = tokens;
        }
    }
    fitting
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(worker) = self.worker.take() {
            // The worker catches panics of steps; one outside has ended it already, and ended is what we want.
            let _ = worker.join();
        }
    }
}
