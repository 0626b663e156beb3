//! See [`fuzz::entry::pem`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::pem(data));
