//! The replay cache of one key epoch.

use std::collections::HashSet;

use crate::ExchangeError;

/// Remembers half of the SHA-256 of each encapsulated key for as long as the epoch's key can open anything: two keys with the
/// same half, which nobody finds in less than 2^64 attempts, cost the second request an answer. Nothing is ever
/// forgotten to make room: the host can set the clock, so age alone proves nothing. When the cache is full, the
/// epoch takes no more requests. Memory is taken when the epoch begins and does not grow with the requests.
pub(crate) struct ReplayCache {
    seen: HashSet<u128>,
    entries_max: usize,
}

impl ReplayCache {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self {
            seen: HashSet::with_capacity(entries_max),
            entries_max,
        }
    }

    /// Admits an encapsulated key once.
    pub(crate) fn admit(&mut self, enc_sha256: [u8; 32]) -> Result<(), ExchangeError> {
        let half = enc_sha256
            .iter()
            .take(16)
            .fold(0, |half, byte| half << 8 | u128::from(*byte));
        if self.seen.contains(&half) {
            return Err(ExchangeError::Replayed);
        }
        if self.seen.len() >= self.entries_max {
            return Err(ExchangeError::ReplayCacheFull);
        }
        self.seen.insert(half);
        Ok(())
    }

    /// Whether three quarters are used.
    pub(crate) fn nearly_full(&self) -> bool {
        self.seen.len() >= self.entries_max - self.entries_max / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_once_and_is_bounded() {
        let mut cache = ReplayCache::new(4);
        for entry in 0..3 {
            assert!(!cache.nearly_full());
            assert_eq!(cache.admit([entry; 32]), Ok(()));
        }
        assert!(cache.nearly_full());
        assert_eq!(cache.admit([0; 32]), Err(ExchangeError::Replayed));
        assert_eq!(cache.admit([3; 32]), Ok(()));
        assert_eq!(cache.admit([4; 32]), Err(ExchangeError::ReplayCacheFull));
        assert_eq!(
            cache.admit([0; 32]),
            Err(ExchangeError::Replayed),
            "a full cache forgets nothing"
        );
    }
}
