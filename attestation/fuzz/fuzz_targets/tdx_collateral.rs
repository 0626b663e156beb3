//! See [`fuzz::entry::tdx_collateral`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::entry::tdx_collateral(data));
