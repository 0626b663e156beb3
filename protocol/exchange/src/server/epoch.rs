//! Key epochs: which request keys exist, and until when.
//!
//! An epoch takes requests for its lifetime. After that, or after the next one began, its keys open what was
//! sealed before and is still on its way, for the grace; then they are wiped, and nothing that was recorded can be
//! opened any more. Streams that were opened in time go on: they need no key of the epoch.

use std::sync::Arc;

use sealing::KeyPair;

use super::replay::ReplayCache;
use crate::{ExchangeError, UnixTime};

/// One epoch: its keys and what was sealed to them.
pub(crate) struct Epoch {
    pub(crate) number: u64,
    keys: Vec<Arc<KeyPair>>,
    replay: ReplayCache,
    began: UnixTime,
    /// The keys open nothing from this moment on.
    ends: UnixTime,
}

impl Epoch {
    fn key(&self, key_id: u8) -> Option<&Arc<KeyPair>> {
        self.keys.iter().find(|key| key.key_config().key_id() == key_id)
    }
}

/// Current and previous epoch.
#[derive(Default)]
pub(crate) struct Epochs {
    current: Option<Epoch>,
    previous: Option<Epoch>,
    next_key_id: u8,
}

/// Lifetimes in seconds and the bound of each replay cache.
#[derive(Clone, Copy)]
pub(crate) struct Lifetimes {
    pub(crate) epoch_seconds: u64,
    pub(crate) grace_seconds: u64,
    pub(crate) replay_entries_max: usize,
}

impl Epochs {
    /// A key identifier that no living key has.
    pub(crate) fn next_key_id(&mut self) -> u8 {
        loop {
            let key_id = self.next_key_id;
            self.next_key_id = self.next_key_id.wrapping_add(1);
            if self.living().all(|epoch| epoch.key(key_id).is_none()) {
                return key_id;
            }
        }
    }

    fn living(&self) -> impl Iterator<Item = &Epoch> {
        self.current.iter().chain(&self.previous)
    }

    /// Number of the current epoch; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.current.as_ref().map_or(0, |epoch| epoch.number)
    }

    /// Begins an epoch. The one before it stays for the grace; the one before that is wiped.
    pub(crate) fn install(&mut self, keys: Vec<Arc<KeyPair>>, lifetimes: Lifetimes, now: UnixTime) -> u64 {
        let number = self.number() + 1;
        let epoch = Epoch {
            number,
            keys,
            replay: ReplayCache::new(lifetimes.replay_entries_max),
            began: now,
            ends: now
                .plus_seconds(lifetimes.epoch_seconds)
                .plus_seconds(lifetimes.grace_seconds),
        };
        self.previous = self.current.replace(epoch);
        if let Some(previous) = &mut self.previous {
            previous.ends = previous.ends.min(now.plus_seconds(lifetimes.grace_seconds));
        }
        number
    }

    /// Wipes the keys that have ended.
    pub(crate) fn expire(&mut self, now: UnixTime) {
        self.previous.take_if(|epoch| now >= epoch.ends);
        // The number must go on counting, so an ended current epoch loses its keys only.
        if let Some(current) = self.current.as_mut().filter(|epoch| now >= epoch.ends) {
            current.keys.clear();
        }
    }

    /// The key for a request that was not seen before, and its epoch.
    pub(crate) fn admit(
        &mut self,
        key_id: u8,
        enc_sha256: [u8; 32],
        now: UnixTime,
    ) -> Result<(Arc<KeyPair>, u64), ExchangeError> {
        self.expire(now);
        if self.current.is_none() {
            return Err(ExchangeError::NoEpoch);
        }
        let epoch = self
            .current
            .iter_mut()
            .chain(&mut self.previous)
            .find(|epoch| epoch.key(key_id).is_some())
            .ok_or(sealing::SealingError::KeyConfig)?;
        epoch.replay.admit(enc_sha256)?;
        let key = epoch
            .key(key_id)
            .map(Arc::clone)
            .ok_or(sealing::SealingError::KeyConfig)?;
        Ok((key, epoch.number))
    }

    /// Whether three quarters of the lifetime or of the replay cache are used, or there is no epoch.
    pub(crate) fn rotation_due(&self, lifetimes: Lifetimes, now: UnixTime) -> bool {
        self.current.as_ref().is_none_or(|epoch| {
            let due = epoch
                .began
                .plus_seconds(lifetimes.epoch_seconds - lifetimes.epoch_seconds / 4);
            now >= due || now < epoch.began || epoch.replay.nearly_full()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealing::{SealingError, Suite};

    const LIFETIMES: Lifetimes = Lifetimes {
        epoch_seconds: 100,
        grace_seconds: 10,
        replay_entries_max: 8,
    };

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    fn keys(epochs: &mut Epochs) -> Vec<Arc<KeyPair>> {
        let key_id = epochs.next_key_id();
        vec![Arc::new(
            KeyPair::generate(Suite::XWING_SHA256_AES256, key_id).expect("randomness"),
        )]
    }

    fn install(epochs: &mut Epochs, now: u64) -> u8 {
        let keys = keys(epochs);
        let key_id = keys[0].key_config().key_id();
        epochs.install(keys, LIFETIMES, at(now));
        key_id
    }

    fn refused(epochs: &mut Epochs, key_id: u8, enc: u8, now: u64) -> ExchangeError {
        epochs.admit(key_id, [enc; 32], at(now)).err().expect("refused")
    }

    #[test]
    fn nothing_is_opened_before_the_first_epoch() {
        assert_eq!(refused(&mut Epochs::default(), 0, 0, 0), ExchangeError::NoEpoch);
    }

    #[test]
    fn an_old_key_lives_for_the_grace_and_remembers_what_it_saw() {
        let mut epochs = Epochs::default();
        let first = install(&mut epochs, 1000);
        assert!(
            epochs
                .admit(first, [1; 32], at(1001))
                .is_ok_and(|(_, number)| number == 1)
        );
        let second = install(&mut epochs, 1050);
        assert_ne!(first, second);
        assert_eq!(epochs.number(), 2);
        assert!(
            epochs
                .admit(first, [2; 32], at(1059))
                .is_ok_and(|(_, number)| number == 1)
        );
        assert_eq!(refused(&mut epochs, first, 1, 1059), ExchangeError::Replayed);
        assert_eq!(
            refused(&mut epochs, first, 3, 1060),
            SealingError::KeyConfig.into()
        );
        assert!(
            epochs.admit(second, [1; 32], at(1060)).is_ok(),
            "another key, another request"
        );
    }

    #[test]
    fn a_key_that_is_never_rotated_ends_all_the_same() {
        let mut epochs = Epochs::default();
        let first = install(&mut epochs, 1000);
        assert!(epochs.admit(first, [1; 32], at(1109)).is_ok());
        assert_eq!(
            refused(&mut epochs, first, 2, 1110),
            SealingError::KeyConfig.into()
        );
        install(&mut epochs, 1200);
        assert_eq!(epochs.number(), 2, "numbers go on");
    }

    #[test]
    fn rotation_is_due_by_age_and_by_use() {
        let mut epochs = Epochs::default();
        assert!(epochs.rotation_due(LIFETIMES, at(0)));
        let key_id = install(&mut epochs, 1000);
        assert!(!epochs.rotation_due(LIFETIMES, at(1074)));
        assert!(epochs.rotation_due(LIFETIMES, at(1075)));
        assert!(
            epochs.rotation_due(LIFETIMES, at(999)),
            "a clock that was set back"
        );
        for enc in 0..6 {
            epochs.admit(key_id, [enc; 32], at(1000)).expect("new");
        }
        assert!(epochs.rotation_due(LIFETIMES, at(1000)));
    }

    #[test]
    fn key_identifiers_of_living_keys_differ() {
        let mut epochs = Epochs::default();
        let mut last = install(&mut epochs, 0);
        for now in 1..600 {
            let next = install(&mut epochs, now);
            assert_ne!(next, last);
            last = next;
        }
    }
}
