//! What the process gives up before it holds a secret.
//!
//! 1. Not dumpable: no core file, no `ptrace` and no `/proc/PID/mem` for other processes of the same user.
//! 2. Core size limit zero, soft and hard.
//! 3. Memory locked, now and in future, where the system permits it without a limit; otherwise it is said.
//! 4. A panic prints its location and nothing else: its message may hold what was being handled.
//! 5. An environment is refused: nothing that the host can set is honoured.

use rustix::{
    mm::{MlockAllFlags, mlockall},
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
};

use crate::error::{EnclaveError, Result};

/// What was achieved; logged, because locking depends on a limit that the host sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardened {
    /// Whether all memory is locked against swapping.
    pub memory_locked: bool,
}

/// Variables that are harmless and that some launchers always set. They are not read either.
const TOLERATED: [&str; 3] = ["PATH", "LANG", "TERM"];

/// Gives up what must be given up.
///
/// # Errors
/// [`EnclaveError::Hardening`] when the process stays dumpable or could write a core file.
pub fn harden() -> Result<Hardened> {
    install_panic_hook();
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|_| EnclaveError::Hardening("dumpable"))?;
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .map_err(|_| EnclaveError::Hardening("core limit"))?;
    Ok(Hardened {
        memory_locked: lock_memory(),
    })
}

/// Locks only where no limit applies: under a limit a later allocation would fail instead of being swappable.
/// `ONFAULT` locks pages as they are first used, so that reserved but untouched stacks cost nothing.
fn lock_memory() -> bool {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    setrlimit(Resource::Memlock, unlimited).is_ok()
        && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
}

/// Refuses every environment variable that could reach code: loaders, allocators, runtimes, proxies and whatever
/// comes next, because the check is a list of what is tolerated.
///
/// # Errors
/// [`EnclaveError::Environment`] with the number of variables refused; their names are the host's.
pub fn refuse_environment(names: impl Iterator<Item = std::ffi::OsString>) -> Result<()> {
    let refused = names
        .filter(|name| !TOLERATED.iter().any(|tolerated| name == tolerated))
        .count();
    if refused == 0 {
        Ok(())
    } else {
        Err(EnclaveError::Environment { refused })
    }
}

fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        crate::log::emergency(&panic_line(info.location()));
    }));
}

fn panic_line(location: Option<&std::panic::Location<'_>>) -> String {
    match location {
        Some(location) => format!("panic at {}:{}", location.file(), location.line()),
        None => "panic".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_prints_its_location_only() {
        let line = panic_line(Some(std::panic::Location::caller()));
        assert!(
            line.starts_with("panic at ") && line.contains("hardening.rs:"),
            "{line}"
        );
    }

    #[test]
    fn any_other_variable_is_refused() {
        let names = |list: &[&str]| {
            list.iter()
                .map(std::ffi::OsString::from)
                .collect::<Vec<_>>()
                .into_iter()
        };
        assert!(refuse_environment(names(&[])).is_ok());
        assert!(refuse_environment(names(&["PATH", "LANG"])).is_ok());
        for hostile in [
            "LD_PRELOAD",
            "LD_AUDIT",
            "BASH_ENV",
            "GLIBC_TUNABLES",
            "RUST_LOG",
            "RUST_BACKTRACE",
            "MALLOC_ARENA_MAX",
            "SSL_CERT_FILE",
            "HTTP_PROXY",
            "RAYON_NUM_THREADS",
            "TOKIO_WORKER_THREADS",
            "ADYTON_CONFIG",
            "path",
        ] {
            let refusal = refuse_environment(names(&["PATH", hostile]));
            assert!(
                matches!(refusal, Err(EnclaveError::Environment { refused: 1 })),
                "{hostile}"
            );
        }
    }
}
