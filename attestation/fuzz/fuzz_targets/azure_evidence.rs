//! See [`fuzz::entry::azure_evidence`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::azure_evidence(data));
