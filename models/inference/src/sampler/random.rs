//! The generator of draws.

use zeroize::Zeroize;

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014). Not for secrets: it only
/// spreads a seed that the caller may know.
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator for choice `choice` of a request: the first draws from the seed itself, each other from a seed
    /// that the first would never reach soon.
    pub(super) fn new(seed: u64, choice: usize) -> Self {
        let mut spread = Self(choice as u64);
        Self(if choice == 0 { seed } else { seed ^ spread.next() })
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1), with 53 bits.
    pub(super) fn next_unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Drop for SplitMix64 {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_sequence() {
        // The sequence of the reference implementation for seed 1234567.
        let mut random = SplitMix64::new(1_234_567, 0);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn choices_draw_differently() {
        let first: Vec<u64> = (0..9).map(|choice| SplitMix64::new(7, choice).next()).collect();
        let mut distinct = first.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), first.len());
    }
}
