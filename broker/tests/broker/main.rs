//! The broker on real sockets, with simulated evidence: what it proves is plumbing, never the security of hardware.

mod admin;
mod durability;
mod gate;
mod ops;
mod release;
mod support;
mod tampering;
