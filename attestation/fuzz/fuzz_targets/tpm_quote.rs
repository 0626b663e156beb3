//! See [`fuzz::entry::tpm_quote`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::tpm_quote(data));
