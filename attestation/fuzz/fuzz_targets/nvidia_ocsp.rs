//! See [`fuzz::entry::nvidia_ocsp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::nvidia_ocsp(data));
