//! See [`fuzz::entry::endorsements`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::endorsements(data));
