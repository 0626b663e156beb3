//! What the types forbid.

use audit::{LogSigner, Receipt};
use static_assertions::assert_not_impl_any;

// A receipt answers for one act; a signer holds a private key.
assert_not_impl_any!(Receipt: Clone, Copy, Default);
assert_not_impl_any!(LogSigner: Clone, Copy, Default, std::fmt::Debug, std::fmt::Display);

#[test]
fn the_assertions_above_compile() {}
