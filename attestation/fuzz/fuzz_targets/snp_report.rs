//! See [`fuzz::entry::snp_report`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::snp_report(data));
