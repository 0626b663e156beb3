//! Mutants that know the structure of what they change: fields copied from other evidence, lengths that do not
//! add up, certificates in another order, names doubled. None is accepted, none makes the Verifier panic.
//!
//! The numbers come from [`Random`] with the mutant's own number as seed: a failure names the mutant, and the
//! mutant can be made again. 20,000 of them in a plain run, 100,000 with `ADYTON_PROOF=full`.

mod bundles;
mod der;
mod devices;
mod documents;
mod json;
mod logs;
mod paravisor;
mod pem;
mod quotes;
mod reports;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::random::Random;
use crate::sweep::{self, is_full, say};

/// What became of one mutant.
enum Fate {
    Refused,
    /// Nothing was changed after all.
    Same,
    /// With the first byte at which it differs.
    Accepted(String),
}

/// Makes mutants numbered from 0, in a plain run a fifth of `full`, and asserts that none is accepted.
fn assert_none_accepted(name: &str, full: usize, mutant: impl Fn(&mut Random) -> Fate + Sync) {
    let count = if is_full() { full } else { full / 5 };
    let seed = name
        .bytes()
        .fold(7u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let start = Instant::now();
    let (same, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    sweep::accepted(count, |number| {
        match mutant(&mut Random::new(seed.wrapping_add(number as u64))) {
            Fate::Refused => return false,
            Fate::Same => drop(same.fetch_add(1, Ordering::Relaxed)),
            Fate::Accepted(how) => found.lock().expect("no thread failed").push((number, how)),
        }
        true
    });
    let found = found.into_inner().expect("no thread failed");
    assert!(found.is_empty(), "{name}: accepted mutants, by number: {found:?}");
    let same = same.into_inner();
    assert!(
        same * 2 < count,
        "{name}: {same} of {count} mutants changed nothing"
    );
    let seconds = start.elapsed().as_secs_f32();
    say(&format!(
        "{name}: {count} mutants, {same} changed nothing, the others refused, {seconds:.1} s"
    ));
}

/// The fate of what was `original` and is `changed`, the same if they mean the same.
fn fate(same: bool, original: &[u8], changed: &[u8], accepts: impl FnOnce() -> bool) -> Fate {
    if same {
        Fate::Same
    } else if accepts() {
        let at = original.iter().zip(changed).position(|(one, other)| one != other);
        Fate::Accepted(format!(
            "{} and {} bytes, differ at {at:?}",
            original.len(),
            changed.len()
        ))
    } else {
        Fate::Refused
    }
}

/// Copies a range of `other` to the same place, as far as both have it.
fn copy(bytes: &mut [u8], other: &[u8], offset: usize, length: usize) {
    let end = offset + length;
    if let (Some(to), Some(from)) = (bytes.get_mut(offset..end), other.get(offset..end)) {
        to.copy_from_slice(from);
    }
}

/// Copies all of `other` from an offset on, as far as both go.
fn copy_tail(bytes: &mut [u8], other: &[u8], offset: usize) {
    let end = bytes.len().min(other.len());
    copy(bytes, other, offset, end.saturating_sub(offset));
}

/// Swaps two ranges of one length.
fn swap(bytes: &mut [u8], one: usize, other: usize, length: usize) {
    for at in 0..length {
        if one + at < bytes.len() && other + at < bytes.len() {
            bytes.swap(one + at, other + at);
        }
    }
}

/// A little-endian number that is 0, at its most, or off by one.
fn number(random: &mut Random, bytes: &mut [u8], offset: usize, length: usize) {
    let Some(field) = bytes.get_mut(offset..offset + length) else {
        return;
    };
    match random.below(5) {
        0 => field.fill(0),
        1 => field.fill(0xff),
        kind => {
            let mut value = [0; 8];
            value[..length].copy_from_slice(field);
            let value = u64::from_le_bytes(value);
            let step = if kind == 2 { 1 } else { random.below(64) as u64 + 1 };
            let value = if random.below(2) == 0 {
                value.wrapping_add(step)
            } else {
                value.wrapping_sub(step)
            };
            field.copy_from_slice(&value.to_le_bytes()[..length]);
        }
    }
}

/// Cuts off, lengthens or drops something in the middle.
fn resize(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(4) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let more = 1 + random.below(40);
            bytes.extend((0..more).map(|_| random.byte() | 1));
        }
        2 if bytes.len() > 1 => {
            let at = random.below(bytes.len());
            bytes.remove(at);
        }
        _ => {
            let (at, byte) = (random.below(bytes.len() + 1), random.byte() | 1);
            bytes.insert(at, byte);
        }
    }
}
