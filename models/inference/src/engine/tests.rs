//! Turns counted one by one: faults, fairness between tenants, and the budget of blocks.

use std::sync::mpsc::{Receiver, channel};

use super::schedule::{Schedule, TURNS_UNDISTURBED};
use super::sequence::{Event, Sequence, SequenceParts};
use super::turn::Turns;
use super::worker::{Inbox, spawn};
use super::*;
use crate::admission::{Admission, Cancellation, Permit, Tenant};
use crate::decoder::block_pool::BlockPool;
use crate::model::ModelFiles;
use crate::request::Sampling;
use crate::sampler::Sampler;
use crate::secret::SecretTokens;
use crate::text::Special;

const SLOTS: usize = 4;
const PREFILL: usize = 16;
/// The end token of the fixture is out of reach.
const NEVER_ENDS: &[(u32, f32)] = &[(262, -100.0)];

fn model() -> Model {
    let files: ModelFiles<'_> = [
        (
            "config.json",
            &include_bytes!("../../tests/fixtures/bias-f32/config.json")[..],
        ),
        (
            "tokenizer.json",
            include_bytes!("../../tests/fixtures/bias-f32/tokenizer.json"),
        ),
        (
            "model.safetensors",
            include_bytes!("../../tests/fixtures/bias-f32/model.safetensors"),
        ),
    ]
    .into_iter()
    .collect();
    Model::load(&files).expect("the fixture loads")
}

/// Makes requests, such as the engine would not admit among them.
struct Desk {
    admission: Arc<Admission>,
    model: Model,
    pool: BlockPool,
}

/// What became of a request.
struct Asked {
    events: Receiver<Event>,
    cancellation: Cancellation,
}

impl Desk {
    fn new(blocks_max: usize) -> Self {
        let model = model();
        Self {
            admission: Admission::new(1000),
            pool: model.decoder().pool(blocks_max).expect("small blocks"),
            model,
        }
    }

    fn turns(&self) -> Turns {
        Turns {
            model: self.model.clone(),
            pool: self.pool.clone(),
            prefixes: PrefixCache::new(0, 0, 1),
            prefill_tokens_max: PREFILL,
        }
    }

    fn permit(&self, tenant: &Tenant) -> Permit {
        let mut permits = self.admission.enter(tenant, 1).expect("there is room");
        permits.remove(0)
    }

    fn request(
        &self,
        tenant: Option<&str>,
        prompt: &[u32],
        completion_tokens_max: usize,
    ) -> (Sequence, Asked) {
        let (sender, events) = channel();
        let cancellation = Cancellation::default();
        let tenant: Tenant = tenant.map(Arc::from);
        let config = self.model.decoder().config();
        let sequence = Sequence::new(SequenceParts {
            choice: 0,
            prompt: Arc::new(SecretTokens::new(prompt.to_vec())),
            completion_tokens_max,
            sampler: Sampler::new(&Sampling::greedy(), NEVER_ENDS, &[], 266, 0).expect("in range"),
            stops: StopStrings::new(&[]).expect("none"),
            matching: None,
            special: Special::LeftOut,
            log_probabilities: Some(0),
            events: sender,
            cancellation: cancellation.clone(),
            permit: self.permit(&tenant),
            blocks_max: KvCache::blocks_max(
                config,
                prompt.len().saturating_add(completion_tokens_max),
                PREFILL,
            ),
            prefixes: None,
        });
        let asked = Asked { events, cancellation };
        (sequence, asked)
    }
}

/// Log probabilities, bit for bit, and whether the completion is whole.
fn told(asked: &Asked) -> (Vec<u32>, bool) {
    let (mut bits, mut whole) = (Vec::new(), false);
    for event in asked.events.try_iter() {
        match event {
            Event::Piece(piece) => {
                let told = piece.log_probabilities.iter();
                bits.extend(told.map(|told| told.chosen.log_probability.to_bits()));
                whole |= piece.finish.is_some();
            }
            Event::Found(_) => {}
            Event::Failed(error) => panic!("{error}"),
        }
    }
    (bits, whole)
}

fn turn(schedule: &mut Schedule, turns: &mut Turns) {
    schedule.drop_cancelled();
    schedule.admit();
    schedule.take_turn(turns);
}

#[test]
fn a_fault_ends_its_request_and_no_other() {
    let desk = Desk::new(usize::MAX);
    let inbox = Arc::new(Inbox::new());
    let ask = |prompt, completion_tokens_max| {
        let (sequence, asked) = desk.request(None, prompt, completion_tokens_max);
        inbox.push(sequence).expect("it is open");
        asked
    };
    let before = ask(&[1, 2, 3], 40);
    // The sum of the lengths overflows, which panics before the pass.
    let panics = ask(&[1, 2, 3], usize::MAX);
    // There is no such token, which fails the pass of all.
    let fails = ask(&[1, 1_000_000], 6);
    let after = ask(&[1, 2, 3], 6);
    let worker = spawn(desk.turns(), Schedule::new(SLOTS, usize::MAX), Arc::clone(&inbox)).expect("a thread");
    for asked in [panics, fails] {
        let failed = asked.events.recv();
        assert!(matches!(failed, Ok(Event::Failed(InferenceError::ComputeFailed))));
        assert!(asked.events.recv().is_err());
    }
    for asked in [before, after] {
        let whole = |event| matches!(event, Event::Piece(piece) if piece.finish.is_some());
        assert!(asked.events.iter().any(whole));
    }
    inbox.close();
    worker.join().expect("the worker outlives the panic");
    let idle = EngineLoad {
        active: 0,
        waiting: 0,
    };
    assert_eq!(desk.admission.load(), idle);
    assert_eq!(desk.pool.taken(), 0);
}

#[test]
fn a_hundred_requests_of_one_tenant_delay_another_by_a_bounded_number_of_turns() {
    let desk = Desk::new(usize::MAX);
    let mut turns = desk.turns();
    let mut schedule = Schedule::new(SLOTS, usize::MAX);
    let long: Vec<u32> = (0..200).collect();
    let mut greedy: Vec<Asked> = Vec::new();
    for _ in 0..100 {
        let (sequence, asked) = desk.request(Some("greedy"), &long, 50);
        schedule.arrive(sequence);
        greedy.push(asked);
    }
    for _ in 0..30 {
        turn(&mut schedule, &mut turns);
    }
    let short: Vec<u32> = (0..40).collect();
    for _ in 0..3 {
        let (sequence, modest) = desk.request(Some("modest"), &short, 5);
        schedule.arrive(sequence);
        // A slot at once, and half of the tokens of each turn until the prompt is computed.
        let bound = short.len().div_ceil(PREFILL / 2) + 4;
        for _ in 0..bound {
            turn(&mut schedule, &mut turns);
        }
        assert!(told(&modest).1, "{bound} turns");
    }
    // And the others lose nothing but time.
    let mut completions: Vec<(Vec<u32>, bool)> = greedy.iter().map(told).collect();
    while !schedule.is_empty() {
        turn(&mut schedule, &mut turns);
    }
    for (completion, asked) in completions.iter_mut().zip(&greedy) {
        let (bits, whole) = told(asked);
        completion.0.extend(bits);
        completion.1 |= whole;
    }
    assert!(
        completions
            .iter()
            .all(|completion| *completion == completions[0] && completion.1)
    );
    assert_eq!(desk.pool.taken(), 0);
}

#[test]
fn one_request_that_takes_all_the_room_gives_way_after_its_time() {
    let desk = Desk::new(usize::MAX);
    let mut turns = desk.turns();
    let (large, first) = desk.request(Some("first"), &[1, 2, 3], 2 * TURNS_UNDISTURBED);
    let mut schedule = Schedule::new(SLOTS, large.blocks_max());
    schedule.arrive(large);
    turn(&mut schedule, &mut turns);
    let (small, second) = desk.request(Some("second"), &[1, 2, 3], 4);
    schedule.arrive(small);
    for _ in 0..TURNS_UNDISTURBED + 4 {
        turn(&mut schedule, &mut turns);
    }
    assert!(told(&second).1);
    let (mut bits, _) = told(&first);
    while !schedule.is_empty() {
        turn(&mut schedule, &mut turns);
    }
    bits.extend(told(&first).0);
    let (alone, whole) = desk.request(None, &[1, 2, 3], 2 * TURNS_UNDISTURBED);
    schedule.arrive(alone);
    while !schedule.is_empty() {
        turn(&mut schedule, &mut turns);
    }
    assert_eq!(bits, told(&whole).0);
    assert_eq!(bits.len(), 2 * TURNS_UNDISTURBED);
}

#[test]
fn blocks_are_never_over_the_budget_and_a_request_waits_for_its_worst_case() {
    let (probe, _asked) = Desk::new(usize::MAX).request(None, &[7; 60], 40);
    let each = probe.blocks_max();
    // Room for two and a half.
    let blocks_max = each * 5 / 2;
    let desk = Desk::new(blocks_max);
    let mut turns = desk.turns();
    let mut schedule = Schedule::new(SLOTS, blocks_max);
    let asked: Vec<Asked> = (0..7)
        .map(|_| {
            let (sequence, asked) = desk.request(None, &[7; 60], 40);
            schedule.arrive(sequence);
            asked
        })
        .collect();
    let mut most = 0;
    while !schedule.is_empty() {
        turn(&mut schedule, &mut turns);
        most = most.max(desk.pool.taken());
        assert!(desk.admission.load().active <= 2);
    }
    assert!(most > each && most <= blocks_max, "{most} of {blocks_max}");
    assert!(asked.iter().all(|asked| told(asked).1));
    assert_eq!(desk.pool.taken(), 0);
}

#[test]
fn who_cancels_leaves_its_blocks_before_the_next_turn() {
    let desk = Desk::new(usize::MAX);
    let mut turns = desk.turns();
    let mut schedule = Schedule::new(1, usize::MAX);
    let (sequence, first) = desk.request(None, &[7; 60], 400);
    schedule.arrive(sequence);
    let (sequence, second) = desk.request(None, &[7; 60], 400);
    schedule.arrive(sequence);
    for _ in 0..20 {
        turn(&mut schedule, &mut turns);
    }
    assert!(desk.pool.taken() > 0);
    second.cancellation.cancel();
    first.cancellation.cancel();
    schedule.drop_cancelled();
    assert_eq!(desk.pool.taken(), 0);
    assert!(schedule.is_empty());
    assert_eq!(
        desk.admission.load(),
        EngineLoad {
            active: 0,
            waiting: 0
        }
    );
}
