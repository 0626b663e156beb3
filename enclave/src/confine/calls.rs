//! seccomp(2): which system calls are left, for x86-64.
//!
//! What is not on the list answers EPERM: a library that tries something newer first goes on with what it knows.
//! `clone3` answers ENOSYS, because its flags are in memory where no filter can look, and the C library then takes
//! `clone`, whose flags are looked at.

use std::collections::BTreeMap;

use attester::Access;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use crate::error::{EnclaveError, Result};

/// Allowed whatever the arguments.
const PLAIN: &[i64] = &[
    // Files and sockets that are open, and those that landlock lets open.
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_openat,
    libc::SYS_open,
    libc::SYS_getdents64,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_fcntl,
    // Sockets of an allowed family.
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Waiting.
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    // Threads of this process.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_set_tid_address,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals to itself.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Randomness.
    libc::SYS_getrandom,
];

/// clone(2): a thread of this process, and not what would be a process or a namespace.
const THREAD: u64 = (libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD) as u64;
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// arch_prctl(2), `asm/prctl.h`: lets the process use a component of the extended state. Linux lets it use AMX's tile data
/// only after it asked, which the engine does when the model is loaded.
const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
const XFEATURE_XTILEDATA: u64 = 18;

/// What of socket(2)'s second argument is the kind; the rest are flags.
const SOCKET_KIND: u64 = 0xf;

/// Confines the calling thread.
pub(super) fn confine(access: &Access) -> Result<()> {
    for filter in filters(access).ok_or(EnclaveError::Hardening("seccomp list"))? {
        apply_filter(&filter).map_err(|_| EnclaveError::Hardening("seccomp"))?;
    }
    Ok(())
}

/// The answer to `clone3`, and the list, which comes last because it allows no other. The kernel takes the strictest of
/// their answers.
fn filters(access: &Access) -> Option<[BpfProgram; 2]> {
    let compile = |rules, otherwise, matched| {
        let filter = SeccompFilter::new(rules, otherwise, matched, TargetArch::x86_64).ok()?;
        BpfProgram::try_from(filter).ok()
    };
    let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Some([
        compile(clone3, SeccompAction::Allow, unknown)?,
        compile(list(access)?, refused, SeccompAction::Allow)?,
    ])
}

fn list(access: &Access) -> Option<BTreeMap<i64, Vec<SeccompRule>>> {
    let mut list: BTreeMap<_, _> = PLAIN.iter().map(|call| (*call, Vec::new())).collect();
    list.insert(libc::SYS_clone3, Vec::new()); // answered by the other filter

    let executable = libc::PROT_EXEC.cast_unsigned().into();
    list.insert(libc::SYS_mmap, vec![without(2, executable)?]);
    list.insert(libc::SYS_mprotect, vec![without(2, executable)?]);
    list.insert(
        libc::SYS_clone,
        vec![
            SeccompRule::new(vec![
                is(0, Compare::MaskedEq(THREAD), THREAD)?,
                is(0, Compare::MaskedEq(NAMESPACES), 0)?,
            ])
            .ok()?,
        ],
    );
    let own = u64::from(std::process::id());
    list.insert(libc::SYS_tgkill, vec![exactly(0, own)?]);
    list.insert(
        libc::SYS_prctl,
        vec![exactly(0, libc::PR_SET_NAME.cast_unsigned().into())?],
    );
    list.insert(
        libc::SYS_arch_prctl,
        vec![
            SeccompRule::new(vec![
                is(0, Compare::Eq, ARCH_REQ_XCOMP_PERM)?,
                is(1, Compare::Eq, XFEATURE_XTILEDATA)?,
            ])
            .ok()?,
        ],
    );

    let mut families = vec![exactly(0, libc::AF_UNIX.cast_unsigned().into())?];
    if access.tcp_port.is_some() {
        // landlock says which TCP port; it says nothing of UDP.
        families.push(
            SeccompRule::new(vec![
                is(0, Compare::Eq, libc::AF_INET.cast_unsigned().into())?,
                is(
                    1,
                    Compare::MaskedEq(SOCKET_KIND),
                    libc::SOCK_STREAM.cast_unsigned().into(),
                )?,
            ])
            .ok()?,
        );
    }
    list.insert(
        libc::SYS_socketpair,
        vec![exactly(0, libc::AF_UNIX.cast_unsigned().into())?],
    );
    list.insert(libc::SYS_socket, families);
    // Sockets are made non-blocking by ioctl; a device's own requests are its driver's to know, and landlock says
    // which devices there are.
    let requests = if access.devices.is_empty() {
        vec![exactly(1, libc::FIONBIO)?]
    } else {
        Vec::new()
    };
    list.insert(libc::SYS_ioctl, requests);
    Some(list)
}

fn is(argument: u8, compare: Compare, value: u64) -> Option<SeccompCondition> {
    SeccompCondition::new(argument, Length::Qword, compare, value).ok()
}

fn exactly(argument: u8, value: u64) -> Option<SeccompRule> {
    let condition = SeccompCondition::new(argument, Length::Dword, Compare::Eq, value).ok()?;
    SeccompRule::new(vec![condition]).ok()
}

fn without(argument: u8, bits: u64) -> Option<SeccompRule> {
    SeccompRule::new(vec![is(argument, Compare::MaskedEq(bits), 0)?]).ok()
}
