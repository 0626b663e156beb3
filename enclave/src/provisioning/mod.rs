//! From evidence to a loaded engine: asking the broker until it releases, then opening the model.
//!
//! While the broker is down, slow or refuses, the enclave stays sealed: it asks again with exponential backoff and
//! jitter, says `waiting-for-broker` to whoever asks for its status, and there is no other way to a key.

pub(crate) mod gate;
mod payload;
mod tls;

use std::time::Duration;

use gate::{Gate, Released};
use wire::message::Phase;

use crate::{
    error::{EnclaveError, Result},
    log::{Event, Log},
    status::StatusBoard,
};

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What the status says while the key is not there.
pub(crate) const WAITING_FOR_BROKER: &str = "waiting-for-broker";

/// Asks until the key is released.
///
/// # Errors
/// Only faults that asking again cannot mend: no evidence can be collected.
pub(crate) async fn wait_for_release(gate: &Gate<'_>, log: &Log, board: &StatusBoard) -> Result<Released> {
    let mut backoff = Backoff::new();
    loop {
        match gate.ask().await {
            Ok(released) => {
                log.write(&Event::Released {
                    record_sha256: released.record_sha256,
                });
                return Ok(released);
            }
            Err(error) if error.is_transient() => {
                board.set_phase(Phase::Attested, WAITING_FOR_BROKER);
                let wait = backoff.next(&error)?;
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                log.write(&Event::Waiting {
                    code: error.code(),
                    wait_ms,
                });
                tokio::time::sleep(wait).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits that double from 100 ms to 30 s, each drawn from the upper half of its range, so that a fleet that lost its
/// broker does not come back in step.
pub(crate) struct Backoff {
    range: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { range: BACKOFF_MIN }
    }

    /// The next wait; at least what the broker asked for.
    pub(crate) fn next(&mut self, error: &EnclaveError) -> Result<Duration> {
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(|_| EnclaveError::Keys("no randomness"))?;
        let drawn = f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX);
        let wait = self.range.mul_f64(0.5 + 0.5 * drawn);
        self.range = (self.range * 2).min(BACKOFF_MAX);
        let asked = match error {
            EnclaveError::Refused {
                retry_after_seconds: Some(seconds),
                ..
            } => Duration::from_secs(u64::from(*seconds)).min(BACKOFF_MAX),
            _ => Duration::ZERO,
        };
        Ok(wait.max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(backoff: &mut Backoff, error: &EnclaveError) -> Duration {
        backoff.next(error).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let down = EnclaveError::BrokerUnavailable("test");
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..12).map(|_| wait(&mut backoff, &down)).collect();
        assert!(
            waits[0] >= BACKOFF_MIN / 2 && waits[0] <= BACKOFF_MIN,
            "{waits:?}"
        );
        assert!(
            waits[11] >= BACKOFF_MAX / 2 && waits[11] <= BACKOFF_MAX,
            "{waits:?}"
        );
        assert!(
            waits[10] != waits[11] || waits[9] != waits[10],
            "no jitter: {waits:?}"
        );
    }

    #[test]
    fn the_broker_can_ask_for_a_longer_wait_within_the_bound() {
        let asks = |seconds| EnclaveError::Refused {
            code: "overloaded",
            retry_after_seconds: Some(seconds),
        };
        assert_eq!(wait(&mut Backoff::new(), &asks(2)), Duration::from_secs(2));
        assert_eq!(wait(&mut Backoff::new(), &asks(1_000_000)), BACKOFF_MAX);
    }
}
