//! See [`fuzz::entry::bundle`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::bundle(data));
