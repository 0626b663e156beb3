//! See [`fuzz::entry::reference_manifest`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::reference_manifest(data));
