//! See [`fuzz::entry::nvidia_device`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::nvidia_device(data));
