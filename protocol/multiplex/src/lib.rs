//! How the host channel's streams cross the wall of a virtual machine (imports: nothing of ours).
//!
//! [`bridge`] carries connections from one kind of socket to another. [`session`] carries many streams over one byte
//! stream, with [`frame`]s. README.md has the format.

#![forbid(unsafe_code)]

pub mod bridge;
pub mod frame;
pub mod session;
