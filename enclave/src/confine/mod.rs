//! What the serving process can still ask of the kernel: a list, and nothing besides.
//!
//! 1. [`privileges`]: no capability, whoever the user is.
//! 2. [`files`]: landlock(7). The sealed model is read, the channel's sockets are made, the attester's own places are
//!    used; no other file is opened, no TCP port but the attester's is reached, no abstract socket, no signal leaves.
//! 3. [`calls`]: seccomp(2). About eighty system calls, some of them with bounds on their arguments. No program is
//!    started, no memory becomes executable, no other process is looked at, no namespace, mount, module or key is made.
//!
//! Both hold for the calling thread and for every thread that it starts, and cannot be taken back. Code that a prompt
//! or a model would smuggle into the engine finds the host channel, which takes ciphertext from the rest of the
//! process and which the host reads anyway, and nothing that lasts.

mod calls;
mod files;
mod privileges;

use std::path::Path;

use attester::Access;

use crate::error::Result;

/// What holds from here on; logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confined {
    /// Whether every rule over files holds. Older kernels know only some.
    pub files: bool,
}

/// Confines the calling thread and all that it starts.
///
/// Whatever is there of `access` is left; what is not cannot be made later.
///
/// # Errors
/// [`Hardening`](crate::EnclaveError::Hardening) when a capability stays, or the kernel does not take the list of calls, or a rule over
/// files that it says it knows. A kernel that knows some rules only is for the caller to judge.
pub fn confine(model: &Path, channel: &Path, access: &Access) -> Result<Confined> {
    privileges::drop_all()?;
    let files = files::confine(model, channel, access)?;
    calls::confine(access)?;
    Ok(Confined { files })
}
