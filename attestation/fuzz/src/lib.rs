//! One libFuzzer target per parser that an adversary feeds: `scripts/fuzz`.

pub mod entry;
