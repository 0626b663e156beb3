//! AMD SEV-SNP: attestation reports and the certificates behind them.
//!
//! 1. [`report`] reads the 1184 raw bytes.
//! 2. [`generation`] and [`tcb`] say which processor it is and how its versions are laid out.
//! 3. [`leaf`] reads the VCEK or VLEK.
//! 4. [`examine`] records one clause for each rule of [`rules`], with [`endorsed`], [`versions`], [`launch`].

mod endorsed;
mod examine;
mod fields;
mod generation;
mod launch;
mod leaf;
mod report;
mod rules;
mod tcb;
mod versions;

pub(crate) use examine::{Evidence, examine};
pub(crate) use fields::{fields, leaf_fields};
pub(crate) use generation::Generation;
pub(crate) use leaf::Leaf;
pub(crate) use report::{REPORT_BYTES, Report, SigningKey, subject};
pub(crate) use rules::RULES;
pub(crate) use tcb::{Firmware, TcbVersion};
