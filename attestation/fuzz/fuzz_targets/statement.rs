//! See [`fuzz::entry::statement`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::statement(data));
