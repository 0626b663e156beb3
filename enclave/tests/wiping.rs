//! What is freed anywhere in a program that links the enclave is overwritten: read back through /proc/self/mem.

use std::{fs::File, os::unix::fs::FileExt as _};

const PATTERN: u8 = 0xa5;
/// Small enough to stay mapped when it is freed.
const BYTES: usize = 4096;
/// The allocator keeps its list of free pieces at their begin.
const OWN: usize = 64;

fn patterns_at(address: usize) -> usize {
    let mut bytes = [0; BYTES - OWN];
    let memory = File::open("/proc/self/mem").expect("proc is mounted");
    memory
        .read_exact_at(&mut bytes, (address + OWN) as u64)
        .expect("the memory is still mapped");
    bytes.iter().filter(|byte| **byte == PATTERN).count()
}

#[test]
fn what_is_freed_is_overwritten() {
    // Linked for its allocator.
    let _ = enclave::init::is_first_process();
    let secret = vec![PATTERN; BYTES];
    let address = secret.as_ptr() as usize;
    assert_eq!(patterns_at(address), BYTES - OWN, "it is read where it stands");
    drop(secret);
    assert_eq!(patterns_at(address), 0, "freed and overwritten");

    // A vector that grows leaves its old place.
    let mut growing = vec![PATTERN; BYTES];
    let before = growing.as_ptr() as usize;
    growing.reserve(64 * BYTES);
    if growing.as_ptr() as usize != before {
        assert_eq!(patterns_at(before), 0, "left and overwritten");
    }
}
