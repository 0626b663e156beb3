//! Mounts, modules, settings: all before anything of the host's is read.

use std::{
    fs::{self, File},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use nix::mount::{MsFlags, mount};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, setrlimit},
    system::finit_module,
};

use crate::error::{EnclaveError, Result};

/// Settings of the kernel. Those that end in `_disabled` cannot be taken back.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("fs.suid_dumpable", "0"),
    ("kernel.core_pattern", "/dev/null"),
    ("kernel.dmesg_restrict", "1"),
    ("kernel.kptr_restrict", "2"),
    ("kernel.sysrq", "0"),
    ("kernel.unprivileged_bpf_disabled", "1"),
    ("kernel.yama.ptrace_scope", "3"),
    ("user.max_user_namespaces", "0"),
    ("vm.unprivileged_userfaultfd", "0"),
    ("kernel.kexec_load_disabled", "1"),
    ("kernel.modules_disabled", "1"),
];

const DATA: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);
const TIME_FLOOR: &str = "/time-floor";

fn fault(what: &'static str) -> EnclaveError {
    EnclaveError::Init(what)
}

/// The kernel's own file systems, and one in memory.
pub(super) fn mount_all() -> Result<()> {
    let devices = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    for (kind, place, flags, data) in [
        ("proc", "/proc", DATA, "hidepid=invisible"),
        ("sysfs", "/sys", DATA, ""),
        ("devtmpfs", "/dev", devices, "mode=0755"),
        (
            "securityfs",
            "/sys/kernel/security",
            DATA | MsFlags::MS_RDONLY,
            "",
        ),
        // Configuration and sealed model are kept here: most of memory may be the model's.
        ("tmpfs", "/run", DATA, "size=80%,mode=0700"),
    ] {
        mount_at(kind, place, flags, data, "a file system of the kernel's")?;
    }
    // Nothing of the engine's memory is ever swapped; there is no swap, and there is no limit to say so.
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    setrlimit(Resource::Memlock, unlimited).map_err(|_| fault("the limit of locked memory"))
}

/// Modules in the order of their names. One that finds no device is no fault, nor is one that misses the symbols of
/// another which found none (a driver of Hyper-V's bus on other machines: ENOENT); one that is not signed is, and the
/// kernel looks at the signature first.
pub(super) fn load_modules() -> Result<()> {
    let mut paths: Vec<_> = fs::read_dir("/modules")
        .map_err(|_| fault("modules"))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    for path in paths {
        let module = File::open(&path).map_err(|_| fault("modules"))?;
        match finit_module(&module, c"", 0) {
            Ok(()) | Err(Errno::NODEV | Errno::NOENT | Errno::EXIST) => {}
            Err(_) => return Err(fault("a module is not the kernel's")),
        }
    }
    let configfs = Path::new("/sys/kernel/config");
    if configfs.is_dir() {
        mount_at("configfs", "/sys/kernel/config", DATA, "", "configfs")?;
    }
    Ok(())
}

/// What the machine will not need again is shut. A setting that this kernel has not is nothing to shut.
pub(super) fn shut() -> Result<()> {
    for (name, value) in SETTINGS {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        if Path::new(&path).exists() {
            fs::write(path, value).map_err(|_| fault("a setting of the kernel"))?;
        }
    }
    Ok(())
}

/// The clock is the host's. A time before the image was made is wrong for certain; what is signed bounds the rest.
pub(super) fn check_clock() -> Result<()> {
    let floor = fs::read_to_string(TIME_FLOOR).map_err(|_| fault("time-floor"))?;
    let floor: u64 = floor.trim().parse().map_err(|_| fault("time-floor"))?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    if now < floor {
        Err(fault("the clock is before the image"))
    } else {
        Ok(())
    }
}

/// From here on nothing but /run and the kernel's own file systems can be written.
pub(super) fn seal_root() -> Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_at("rootfs", "/", flags, "", "the root file system stays writable")
}

fn mount_at(kind: &str, place: &str, flags: MsFlags, data: &str, what: &'static str) -> Result<()> {
    mount(Some(kind), place, Some(kind), flags, Some(data)).map_err(|_| fault(what))
}
