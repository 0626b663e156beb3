//! See [`fuzz::entry::event_log`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::event_log(data));
