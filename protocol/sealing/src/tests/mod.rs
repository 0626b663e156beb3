//! Tests of the crate as a whole: streams, published vectors, interoperation.

mod exchange;
mod interop_ohttp;
mod interop_pyca;
mod vectors;

use static_assertions::assert_not_impl_any;

use crate::{KeyPair, stream};

assert_not_impl_any!(KeyPair: Clone, core::fmt::Debug, core::fmt::Display);
assert_not_impl_any!(stream::RequestSealer: Clone, core::fmt::Debug);
assert_not_impl_any!(stream::RequestOpener: Clone, core::fmt::Debug);
assert_not_impl_any!(stream::ResponseSealer: Clone, core::fmt::Debug);
assert_not_impl_any!(stream::ResponseOpener: Clone, core::fmt::Debug);
