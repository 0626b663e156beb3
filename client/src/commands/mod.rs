//! One module per command.

pub mod audit_verify;
pub mod chat;
pub mod completions;
pub mod endorsements;
pub mod inspect;
pub mod policy;
pub mod proxy;
pub mod sibling;
pub mod token;
pub mod verify;
pub mod verify_manifest;
