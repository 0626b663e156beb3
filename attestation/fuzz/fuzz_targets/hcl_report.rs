//! See [`fuzz::entry::hcl_report`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::hcl_report(data));
