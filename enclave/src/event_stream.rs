//! A streamed answer: server-sent events, one flush for each batch of tokens, or one chunk at each tick.

use std::time::Duration;

use exchange::{
    Padding,
    server::{EventWriter, Responder},
};
use inference::Usage;
use tokio::time::{Interval, MissedTickBehavior, interval};
use wire::ProblemCode;

use crate::{
    api::documents::{Answer, error_event},
    audit_trail::Outcome,
    connection::Step,
    engine::{Delta, Progress, Running, Said},
    gateway::{Ended, Exchange},
};

/// Streams until the end, a fault, the deadline, or until nobody reads.
pub(crate) async fn answer(
    exchange: &mut Exchange<'_>,
    responder: Responder,
    running: &mut Running,
    answer: &Answer<'_>,
) -> Ended {
    let mut out = Vec::new();
    let mut stream = match responder.stream(&mut out) {
        Ok(writer) => EventStream {
            writer,
            ticks: ticks(exchange.serving.config.padding.into()),
        },
        Err(error) => return Outcome::Failed(error.problem()).into(),
    };
    let opening = answer.opening();
    if !opening.expose().is_empty() && stream.writer.write(opening.expose(), &mut out).is_err() {
        return Outcome::Failed(ProblemCode::Internal).into();
    }
    let mut next = None;
    loop {
        if !out.is_empty() && !exchange.connection.send(core::mem::take(&mut out)).await {
            return Outcome::Cancelled.into();
        }
        let step = match next.take() {
            Some(progress) => Step::Progress(progress),
            None => exchange.connection.next(running, stream.ticks.as_mut()).await,
        };
        let written = match step {
            Step::Progress(Progress::Delta(delta)) => {
                let mut deltas = vec![delta];
                next = gather(running, &mut deltas);
                stream.write(answer, &deltas, &mut out)
            }
            Step::Progress(Progress::End { usage }) => {
                return stream.close(exchange, answer, usage, out).await;
            }
            Step::Progress(Progress::Failed(error)) => return stream.fail(exchange, error.code, out).await,
            Step::Deadline => return stream.fail(exchange, ProblemCode::DeadlineExceeded, out).await,
            Step::Gone => return Outcome::Cancelled.into(),
            Step::Tick => stream.writer.tick(&mut out),
        };
        if let Err(error) = written {
            return Outcome::Failed(error.problem()).into(); // without its end the stream is cut
        }
    }
}

/// Takes what is there already into one flush; returns what is not more of a completion.
fn gather(running: &mut Running, deltas: &mut Vec<Delta>) -> Option<Progress> {
    while let Some(progress) = running.try_next() {
        match progress {
            Progress::Delta(delta) => merge(deltas, delta),
            other => return Some(other),
        }
    }
    None
}

/// Text behind text of the same completion becomes one event.
fn merge(deltas: &mut Vec<Delta>, mut delta: Delta) {
    let Some(last) = deltas.last_mut().filter(|last| last.choice == delta.choice) else {
        return deltas.push(delta);
    };
    match (last.said.last_mut(), delta.said.first()) {
        (Some(Said::Content(text)), Some(Said::Content(more)))
        | (Some(Said::Reasoning(text)), Some(Said::Reasoning(more))) => {
            text.push_str(more.expose_text());
            delta.said.remove(0);
        }
        _ => {}
    }
    last.said.append(&mut delta.said);
    last.log_probabilities.append(&mut delta.log_probabilities);
    last.finish = last.finish.or(delta.finish);
}

fn ticks(padding: Padding) -> Option<Interval> {
    padding.tick_milliseconds().map(|milliseconds| {
        let mut ticks = interval(Duration::from_millis(milliseconds));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    })
}

struct EventStream {
    writer: EventWriter,
    ticks: Option<Interval>,
}

impl EventStream {
    fn write(
        &mut self,
        answer: &Answer<'_>,
        deltas: &[Delta],
        out: &mut Vec<u8>,
    ) -> Result<(), exchange::ExchangeError> {
        for delta in deltas {
            let events = answer.delta(delta);
            if !events.expose().is_empty() {
                self.writer.write(events.expose(), out)?;
            }
        }
        Ok(())
    }

    async fn close(
        mut self,
        exchange: &mut Exchange<'_>,
        answer: &Answer<'_>,
        usage: Usage,
        mut out: Vec<u8>,
    ) -> Ended {
        exchange
            .serving
            .board
            .count_completion_tokens(usage.completion_tokens);
        if let Err(error) = self.writer.write(answer.closing(usage).expose(), &mut out) {
            return Outcome::Failed(error.problem()).into();
        }
        if !self.drain(exchange, &mut out).await {
            return Outcome::Cancelled.into();
        }
        let facts = exchange.facts(usage);
        let receipts = &exchange.serving.identity.receipts;
        match self.writer.finish(Some((receipts, facts)), &mut out) {
            Ok(receipt) if exchange.connection.finish(out).await => Ended {
                outcome: Outcome::Answered,
                receipt,
            },
            Ok(_) => Outcome::Cancelled.into(),
            Err(error) => Outcome::Failed(error.problem()).into(),
        }
    }

    /// Profile `constant`: keeps the cadence until nothing waits, so that the end does not show what was left.
    async fn drain(&mut self, exchange: &mut Exchange<'_>, out: &mut Vec<u8>) -> bool {
        let Some(ticks) = &mut self.ticks else { return true };
        loop {
            ticks.tick().await;
            if !self.writer.is_waiting() {
                return true;
            }
            exchange.connection.grant_moment();
            let ticked = self.writer.tick(out).is_ok();
            if !ticked || !exchange.connection.send(core::mem::take(out)).await {
                return false;
            }
        }
    }

    /// An error object as the last event; the sealed stream is whole, the answer says that it is not.
    async fn fail(mut self, exchange: &mut Exchange<'_>, code: ProblemCode, mut out: Vec<u8>) -> Ended {
        let written = self.writer.write(error_event(code).expose(), &mut out);
        if written.and_then(|()| self.writer.finish(None, &mut out)).is_ok() {
            exchange.connection.finish(out).await;
        }
        Outcome::Failed(code).into()
    }
}
