//! Goes through numbered changes on two threads, and says which were accepted.

use std::sync::Mutex;

/// The numbers below `count` that `accepts`, in order.
pub(crate) fn accepted(count: usize, accepts: impl Fn(usize) -> bool + Sync) -> Vec<usize> {
    let found = Mutex::new(Vec::new());
    let (found, accepts) = (&found, &accepts);
    std::thread::scope(|scope| {
        for start in 0..2 {
            scope.spawn(move || {
                for number in (start..count).step_by(2) {
                    if accepts(number) {
                        found.lock().expect("no thread failed").push(number);
                    }
                }
            });
        }
    });
    let mut found = found.lock().expect("no thread failed").clone();
    found.sort_unstable();
    found
}

/// Whether everything is to be gone through, not a sample.
pub(crate) fn is_full() -> bool {
    std::env::var("ADYTON_PROOF").as_deref() == Ok("full")
}

/// `bytes` with one bit flipped.
pub(crate) fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    changed
}

/// Says what was done, in the output of tests.
#[allow(clippy::print_stderr, reason = "tests say what they did")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
