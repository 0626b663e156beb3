//! How the host channel's streams cross the wall of a virtual machine (imports: nothing of ours).
//!
//! [`bridge`] carries connections from one kind of socket to another. [`session`] carries many streams over one byte
//! stream, with [`frame`]s; [`current`] is the one that runs, where one follows another, and [`lively`] ends a transport
//! whose other end is gone. README.md has the format.

#![forbid(unsafe_code)]

pub mod bridge;
pub mod current;
pub mod frame;
pub mod lively;
pub mod session;
