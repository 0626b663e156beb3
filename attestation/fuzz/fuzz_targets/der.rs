//! See [`fuzz::entry::der`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::der(data));
