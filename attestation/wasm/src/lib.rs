//! The Verifier as a WebAssembly module, for a browser or any other host of wasm32.
//!
//! 1. The host asks for room ([`adyton_input`]) and writes into it: nonce (32 bytes), the moment in seconds (8 bytes,
//!    little-endian), the size of the policy (4 bytes, little-endian), the policy, the bundle.
//! 2. [`adyton_appraise`] appraises that and returns the exit code that `adyton verify` would have.
//! 3. [`adyton_output`] and [`adyton_output_bytes`] say which clause failed, in UTF-8.
//!
//! UNSAFETY: exported names are unsafe attributes of edition 2024. They are prefixed and collide with nothing; no
//! pointer is ever dereferenced here.
#![allow(unsafe_code, reason = "see UNSAFETY")]

use std::sync::Mutex;

use attestation::{AppraisalPolicy, BUNDLE_BYTES_MAX, Bundle, Nonce, UnixTime, Verifier};

/// Policies above this are not read.
const POLICY_BYTES_MAX: usize = 1024 * 1024;
const HEADER_BYTES: usize = 32 + 8 + 4;

static INPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static OUTPUT: Mutex<String> = Mutex::new(String::new());

/// Accepted.
const ACCEPTED: u32 = 0;
/// Not the input of the module's documentation.
const MISUSED: u32 = 2;
/// A policy or a bundle that cannot be read.
const MALFORMED: u32 = 20;

/// Room for `bytes` of input; null if that is more than is ever read.
// SAFETY: the name is this module's own.
#[unsafe(no_mangle)]
pub extern "C" fn adyton_input(bytes: usize) -> *mut u8 {
    if bytes > HEADER_BYTES + POLICY_BYTES_MAX + BUNDLE_BYTES_MAX {
        return std::ptr::null_mut();
    }
    let Ok(mut input) = INPUT.lock() else {
        return std::ptr::null_mut();
    };
    *input = vec![0; bytes];
    input.as_mut_ptr()
}

/// Appraises the input: 0 accepted, 2 no such input, 10 rejected, 20 malformed, 30 unsupported.
// SAFETY: the name is this module's own.
#[unsafe(no_mangle)]
pub extern "C" fn adyton_appraise() -> u32 {
    let Ok(input) = INPUT.lock() else { return MISUSED };
    let (code, words) = appraise(&input).unwrap_or((MISUSED, "no input".into()));
    if let Ok(mut output) = OUTPUT.lock() {
        *output = words;
    }
    code
}

/// Where the words of the last appraisal are, until the next.
// SAFETY: the name is this module's own.
#[unsafe(no_mangle)]
pub extern "C" fn adyton_output() -> *const u8 {
    OUTPUT.lock().map_or(std::ptr::null(), |output| output.as_ptr())
}

/// How many bytes they are.
// SAFETY: the name is this module's own.
#[unsafe(no_mangle)]
pub extern "C" fn adyton_output_bytes() -> usize {
    OUTPUT.lock().map_or(0, |output| output.len())
}

fn appraise(input: &[u8]) -> Option<(u32, String)> {
    let (nonce, rest) = input.split_first_chunk::<32>()?;
    let (now, rest) = rest.split_first_chunk::<8>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    let (policy, bundle) = rest.split_at_checked(size)?;
    let policy = std::str::from_utf8(policy).ok()?;
    let policy = match AppraisalPolicy::from_toml(policy) {
        Ok(policy) => policy,
        Err(error) => return Some((MALFORMED, error.to_string())),
    };
    let bundle = match Bundle::decode(bundle) {
        Ok(bundle) => bundle,
        Err(error) => return Some((error.exit_code().into(), error.to_string())),
    };
    let now = UnixTime::from_seconds(u64::from_le_bytes(*now));
    match Verifier::new(policy).appraise(&bundle, &Nonce::from_bytes(*nonce), now) {
        Ok(verified) => Some((ACCEPTED, format!("{:?}", verified.assurance()))),
        Err(error) => Some((error.exit_code().into(), error.to_string())),
    }
}
