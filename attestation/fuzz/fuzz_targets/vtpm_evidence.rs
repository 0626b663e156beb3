//! See [`fuzz::entry::vtpm_evidence`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::vtpm_evidence(data));
