//! The main job as a user runs it: real processes, real sockets, the commands of the README.
//! Every deployment here is SIMULATED: these tests prove plumbing and refusals, never hardware.

#![allow(clippy::print_stderr, reason = "what was not run is said plainly")]

mod azure_like;
mod canaries;
mod clients;
mod machine;
mod main_job;
mod state_directory;
