//! `adyton-host launch --tee snp` and `--tee tdx`: the measured image in a confidential virtual machine.
//!
//! 1. The configuration becomes a QEMU command line ([`arguments`]); the same configuration, the same words.
//! 2. QEMU runs with an empty environment and its own system-call filter ([`machine`]).
//! 3. The enclave's streams are carried between the channel's unix sockets and vsock ([`multiplex::bridge`]), so that the relay
//!    knows one kind of channel.
//! 4. A machine that ends is started again with backoff; to stop, its power button is pressed, then it is killed
//!    ([`supervise`]).
//!
//! Nothing here is trusted: what the machine was started with shows in its launch measurement, or has no meaning for
//! the guest.

pub mod arguments;
mod command_line;
pub mod config;
pub mod machine;
pub mod processor;
mod qmp;
pub mod supervise;
pub mod vsock;

pub use command_line::CommandLine;
pub(crate) use command_line::Properties;

/// A kind of confidential virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tee {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

impl Tee {
    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snp => "snp",
            Self::Tdx => "tdx",
        }
    }

    /// The first QEMU that launches it with upstream kernels.
    pub fn qemu_minimum(self) -> (u32, u32) {
        match self {
            Self::Snp => (9, 1),
            Self::Tdx => (10, 1),
        }
    }
}
