//! See [`fuzz::entry::runtime_data`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::runtime_data(data));
