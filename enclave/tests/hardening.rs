//! What `harden` promises, asked of the kernel. One test in a process of its own: it changes the whole process.

use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

#[test]
fn the_process_cannot_be_dumped() {
    let hardened = enclave::hardening::harden().unwrap_or_else(|error| panic!("{error}"));
    let core = getrlimit(Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    assert!(matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable)));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let locked = status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:"))
        .map(str::trim);
    assert_eq!(
        hardened.memory_locked,
        locked.is_some_and(|locked| locked != "0 kB"),
        "{locked:?}"
    );
}
