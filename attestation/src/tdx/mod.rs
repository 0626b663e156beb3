//! Intel TDX: quotes, the certificates behind them, and the collateral that dates them.
//!
//! 1. [`quote`] reads the raw bytes.
//! 2. [`pck`] reads the platform's certificate.
//! 3. [`collateral`] reads TCB info and QE identity from their exact signed JSON.
//! 4. [`status`] converges the levels of platform, module and quoting enclave: worst wins.
//! 5. [`examine`] records one clause for each rule of [`rules`], with [`chain`], [`currency`], [`launch`],
//!    [`log`].

mod chain;
mod collateral;
mod currency;
mod examine;
mod fields;
mod launch;
mod level;
mod log;
mod pck;
mod quote;
mod rules;
mod status;

pub(crate) use chain::{PCK_CA_NAMES, TcbSigner};
pub(crate) use collateral::{QeIdentity, Signed, TcbInfo};
pub(crate) use examine::{Evidence, examine};
pub(crate) use fields::fields;
pub(crate) use pck::Pck;
pub(crate) use quote::{MIGRATABLE, Quote, SEPT_VE_DISABLE, TUD_MASK, subject};
pub(crate) use rules::RULES;
pub(crate) use status::TcbStatus;
