//! See [`fuzz::entry::launch_endorsement`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::launch_endorsement(data));
