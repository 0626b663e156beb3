//! See [`fuzz::entry::snp_certificates`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::snp_certificates(data));
