//! What is left to a confined thread, tried as code that got into the engine would try it.
//!
//! The rules hold for one thread and what it starts, so each test confines a thread of its own.

// UNSAFETY: system calls are made by number, as an attacker would. None gets a pointer to memory of ours: arguments
// are numbers, and 0 or -1 where the kernel expects an address.
#![allow(unsafe_code)]

use std::{
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
};

use attester::Access;
use enclave::confine::confine;

/// Calls that a confined process must not make, with arguments that no kernel takes. The last column says whether the
/// call can be made unconfined without harm to the test itself.
#[rustfmt::skip]
const FORBIDDEN: &[(&str, i64, [i64; 4], bool)] = &[
    // Other programs, other processes.
    ("execve", libc::SYS_execve, [0, 0, 0, 0], true),
    ("execveat", libc::SYS_execveat, [-1, 0, 0, 0], true),
    ("fork", libc::SYS_fork, [0; 4], false),
    ("vfork", libc::SYS_vfork, [0; 4], false),
    ("clone of a process", libc::SYS_clone, [libc::SIGCHLD as i64 | libc::CLONE_FS as i64 | libc::CLONE_NEWNS as i64, 0, 0, 0], true),
    ("ptrace", libc::SYS_ptrace, [libc::PTRACE_ATTACH as i64, -1, 0, 0], true),
    ("process_vm_readv", libc::SYS_process_vm_readv, [-1, 0, 0, 0], true),
    ("process_vm_writev", libc::SYS_process_vm_writev, [-1, 0, 0, 0], true),
    ("pidfd_open", libc::SYS_pidfd_open, [-1, 0, 0, 0], true),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [-1, -1, 0, 0], true),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, [-1, 9, 0, 0], true),
    ("kill", libc::SYS_kill, [1, 0, 0, 0], true),
    ("tkill", libc::SYS_tkill, [-1, 9, 0, 0], true),
    ("tgkill of another", libc::SYS_tgkill, [1, 1, 0, 0], true),
    ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, [-1, 9, 0, 0], true),
    ("kcmp", libc::SYS_kcmp, [-1, -1, 0, 0], true),
    ("process_madvise", libc::SYS_process_madvise, [-1, 0, 0, 0], true),
    // Code and memory.
    ("mmap of code", libc::SYS_mmap, [0, 4096, (libc::PROT_READ | libc::PROT_EXEC) as i64, (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as i64], true),
    ("mprotect to code", libc::SYS_mprotect, [0, 0, libc::PROT_EXEC as i64, 0], true),
    ("pkey_mprotect", libc::SYS_pkey_mprotect, [0, 0, libc::PROT_EXEC as i64, -1], true),
    ("memfd_create", libc::SYS_memfd_create, [0, 0, 0, 0], true),
    ("memfd_secret", libc::SYS_memfd_secret, [-1, 0, 0, 0], true),
    ("remap_file_pages", libc::SYS_remap_file_pages, [-1, 0, 0, 0], true),
    ("userfaultfd", libc::SYS_userfaultfd, [-1, 0, 0, 0], true),
    ("munlockall", libc::SYS_munlockall, [0; 4], false),
    ("modify_ldt", libc::SYS_modify_ldt, [-1, 0, 0, 0], true),
    ("arch_prctl: bases of segments", libc::SYS_arch_prctl, [0x1003, 0, 0, 0], true), // ARCH_GET_FS
    ("arch_prctl: another component", libc::SYS_arch_prctl, [0x1023, 17, 0, 0], true), // ARCH_REQ_XCOMP_PERM
    ("personality", libc::SYS_personality, [0xffff_ffff, 0, 0, 0], true),
    // Namespaces, mounts, roots.
    ("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER as i64, 0, 0, 0], false),
    ("setns", libc::SYS_setns, [-1, 0, 0, 0], true),
    ("mount", libc::SYS_mount, [0, 0, 0, 0], true),
    ("umount2", libc::SYS_umount2, [0, 0, 0, 0], true),
    ("pivot_root", libc::SYS_pivot_root, [0, 0, 0, 0], true),
    ("chroot", libc::SYS_chroot, [0, 0, 0, 0], true),
    ("fsopen", libc::SYS_fsopen, [0, 0, 0, 0], true),
    ("fsmount", libc::SYS_fsmount, [-1, 0, 0, 0], true),
    ("move_mount", libc::SYS_move_mount, [-1, 0, -1, 0], true),
    ("open_tree", libc::SYS_open_tree, [-1, 0, 0, 0], true),
    ("mount_setattr", libc::SYS_mount_setattr, [-1, 0, 0, 0], true),
    // The kernel itself.
    ("init_module", libc::SYS_init_module, [0, 0, 0, 0], true),
    ("finit_module", libc::SYS_finit_module, [-1, 0, 0, 0], true),
    ("delete_module", libc::SYS_delete_module, [0, 0, 0, 0], true),
    ("kexec_load", libc::SYS_kexec_load, [0, -1, 0, -1], true),
    ("kexec_file_load", libc::SYS_kexec_file_load, [-1, -1, 0, 0], true),
    ("bpf", libc::SYS_bpf, [-1, 0, 0, 0], true),
    ("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0, -1], true),
    ("reboot", libc::SYS_reboot, [0, 0, 0, 0], true),
    ("iopl", libc::SYS_iopl, [4, 0, 0, 0], true),
    ("ioperm", libc::SYS_ioperm, [-1, -1, 0, 0], true),
    ("syslog", libc::SYS_syslog, [-1, 0, 0, 0], true),
    ("add_key", libc::SYS_add_key, [0, 0, 0, 0], true),
    ("request_key", libc::SYS_request_key, [0, 0, 0, 0], true),
    ("keyctl", libc::SYS_keyctl, [-1, 0, 0, 0], true),
    ("swapon", libc::SYS_swapon, [0, 0, 0, 0], true),
    ("settimeofday", libc::SYS_settimeofday, [-1, 0, 0, 0], true),
    ("clock_settime", libc::SYS_clock_settime, [-1, 0, 0, 0], true),
    ("adjtimex", libc::SYS_adjtimex, [0, 0, 0, 0], true),
    ("sethostname", libc::SYS_sethostname, [0, -1, 0, 0], true),
    ("acct", libc::SYS_acct, [-1, 0, 0, 0], true),
    ("quotactl", libc::SYS_quotactl, [-1, 0, 0, 0], true),
    // Who it is and what binds it.
    ("setuid", libc::SYS_setuid, [-1, 0, 0, 0], true),
    ("setgroups", libc::SYS_setgroups, [-1, 0, 0, 0], true),
    ("capset", libc::SYS_capset, [0, 0, 0, 0], true),
    ("prctl: dumpable again", libc::SYS_prctl, [libc::PR_SET_DUMPABLE as i64, -1, 0, 0], true),
    ("prlimit64", libc::SYS_prlimit64, [0, -1, 0, 0], true),
    ("seccomp", libc::SYS_seccomp, [-1, 0, 0, 0], true),
    // Ways out.
    ("socket: IPv4", libc::SYS_socket, [libc::AF_INET as i64, -1, 0, 0], true),
    ("socket: IPv6", libc::SYS_socket, [libc::AF_INET6 as i64, -1, 0, 0], true),
    ("socket: netlink", libc::SYS_socket, [libc::AF_NETLINK as i64, -1, 0, 0], true),
    ("socket: packet", libc::SYS_socket, [libc::AF_PACKET as i64, -1, 0, 0], true),
    ("socket: vsock", libc::SYS_socket, [libc::AF_VSOCK as i64, -1, 0, 0], true),
    ("socket: kernel crypto", libc::SYS_socket, [libc::AF_ALG as i64, -1, 0, 0], true),
    ("sendmsg", libc::SYS_sendmsg, [-1, 0, 0, 0], true),
    ("recvmsg", libc::SYS_recvmsg, [-1, 0, 0, 0], true),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0, 0, 0, 0], true),
    ("ioctl of a terminal", libc::SYS_ioctl, [-1, libc::TIOCSTI as i64, 0, 0], true),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, [-1, 0, 0, 0], true),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [-1, 0, 0, 0], true),
    ("fanotify_init", libc::SYS_fanotify_init, [-1, -1, 0, 0], true),
    ("chmod", libc::SYS_chmod, [0, 0, 0, 0], true),
    ("chown", libc::SYS_chown, [0, -1, -1, 0], true),
    ("rename", libc::SYS_rename, [0, 0, 0, 0], true),
    ("link", libc::SYS_link, [0, 0, 0, 0], true),
    ("symlink", libc::SYS_symlink, [0, 0, 0, 0], true),
    ("mknod", libc::SYS_mknod, [0, 0, 0, 0], true),
    ("truncate", libc::SYS_truncate, [0, 0, 0, 0], true),
    ("setxattr", libc::SYS_setxattr, [0, 0, 0, 0], true),
];

fn attempt(number: i64, [a, b, c, d]: [i64; 4]) -> i32 {
    // SAFETY: no argument is the address of memory of ours; see the head of this file.
    let answer = unsafe { libc::syscall(number, a, b, c, d, -1_i64, 0_i64) };
    if answer == -1 {
        io::Error::last_os_error().raw_os_error().unwrap_or_default()
    } else {
        0
    }
}

/// Runs `inside` on a thread of its own, confined.
fn confined<T: Send>(model: &Path, channel: &Path, access: &Access, inside: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let confined = confine(model, channel, access).expect("this kernel has seccomp and landlock");
                assert!(confined.files, "this kernel knows every rule");
                inside()
            })
            .join()
            .expect("a thread that ends")
    })
}

#[test]
fn each_forbidden_call_is_refused() {
    assert!(FORBIDDEN.len() >= 60);
    let folder = tempfile::tempdir().expect("a folder");
    let allowed: Vec<_> = confined(folder.path(), folder.path(), &Access::default(), || {
        FORBIDDEN
            .iter()
            .filter(|(_, number, arguments, _)| attempt(*number, *arguments) != libc::EPERM)
            .map(|(name, ..)| name)
            .collect()
    });
    assert!(allowed.is_empty(), "not refused: {allowed:?}");

    // Most of them are nobody's to forbid without the list: the test would pass on a kernel that refuses everything.
    let refused_anyway = FORBIDDEN
        .iter()
        .filter(|(.., harmless)| *harmless)
        .filter(|(_, number, arguments, _)| attempt(*number, *arguments) == libc::EPERM)
        .count();
    assert!(
        refused_anyway < FORBIDDEN.len() / 2,
        "{refused_anyway} are refused to everybody"
    );
}

#[test]
fn clone3_is_unknown_so_that_the_c_library_takes_clone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (answer, thread) = confined(folder.path(), folder.path(), &Access::default(), || {
        let thread = std::thread::spawn(|| attempt(libc::SYS_ptrace, [0; 4])).join();
        (attempt(libc::SYS_clone3, [0; 4]), thread.expect("threads start"))
    });
    assert_eq!(answer, libc::ENOSYS);
    assert_eq!(thread, libc::EPERM, "a thread inherits the list");
}

/// The engine asks for them when it loads a model, after it is confined. A kernel or a CPU without them says so otherwise.
#[test]
fn the_tiles_of_amx_can_be_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let answer = confined(folder.path(), folder.path(), &Access::default(), || {
        attempt(libc::SYS_arch_prctl, [0x1023, 18, 0, 0])
    });
    assert_ne!(answer, libc::EPERM);
}

#[test]
fn no_capability_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = Access {
        files: vec!["/proc".into()],
        ..Access::default()
    };
    let status = confined(folder.path(), folder.path(), &access, || {
        fs::read_to_string("/proc/thread-self/status").expect("read")
    });
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {status}"))
            .trim()
            .to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&field(set), 16), Ok(0), "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
}

fn refusal<T>(result: io::Result<T>) -> ErrorKind {
    result.err().map_or(ErrorKind::Other, |error| error.kind())
}

#[test]
fn only_the_model_the_channel_and_the_attesters_places_are_in_reach() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = |name: &str| {
        let path = root.path().join(name);
        fs::create_dir(&path).expect("a fresh folder");
        path
    };
    let (model, channel, entries, elsewhere) = (
        folder("model"),
        folder("channel"),
        folder("entries"),
        folder("elsewhere"),
    );
    fs::write(model.join("segment"), b"sealed").expect("written");
    fs::write(elsewhere.join("file"), b"secret").expect("written");
    let access = Access {
        folders: vec![entries.clone()],
        devices: vec!["/dev/null".into()],
        files: vec!["/proc/uptime".into()],
        tcp_port: None,
    };
    confined(&model, &channel, &access, || {
        let denied = ErrorKind::PermissionDenied;
        assert_eq!(fs::read(model.join("segment")).expect("read"), b"sealed");
        assert_eq!(refusal(fs::write(model.join("segment"), b"plain")), denied);
        assert_eq!(refusal(fs::write(model.join("other"), b"plain")), denied);

        let listener = UnixListener::bind(channel.join("enclave.sock")).expect("bound");
        let mut near = UnixStream::connect(channel.join("enclave.sock")).expect("connected");
        let (mut far, _) = listener.accept().expect("accepted");
        near.write_all(b"ciphertext").expect("sent");
        drop(near);
        let mut received = Vec::new();
        far.read_to_end(&mut received).expect("received");
        assert_eq!(received, b"ciphertext");
        fs::remove_file(channel.join("enclave.sock")).expect("removed");
        assert_eq!(refusal(fs::write(channel.join("plain"), b"a prompt")), denied);

        fs::create_dir(entries.join("report")).expect("made");
        fs::remove_dir(entries.join("report")).expect("removed");
        assert!(!fs::read("/proc/uptime").expect("read").is_empty());
        // The size of the key-value cache comes from here.
        assert!(!fs::read("/proc/meminfo").expect("read").is_empty());
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .expect("opened");

        for path in [
            "/etc/hostname",
            "/proc/self/maps",
            "/proc/1/environ",
            "/dev/kmsg",
            "/",
        ] {
            assert_eq!(refusal(fs::read(path)), denied, "{path}");
        }
        assert_eq!(refusal(fs::read(elsewhere.join("file"))), denied);
        assert_eq!(refusal(fs::remove_file(elsewhere.join("file"))), denied);
        assert_eq!(refusal(fs::create_dir(elsewhere.join("more"))), denied);
        assert_eq!(refusal(UnixListener::bind(elsewhere.join("socket"))), denied);
    });
}

#[test]
fn the_network_is_out_of_reach_but_for_the_attesters_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let near = TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addresses = [&near, &other].map(|listener| listener.local_addr().expect("an address"));
    let denied = ErrorKind::PermissionDenied;
    confined(folder.path(), folder.path(), &Access::default(), || {
        assert_eq!(refusal(TcpStream::connect(addresses[0])), denied);
    });
    let access = Access {
        tcp_port: Some(addresses[0].port()),
        ..Access::default()
    };
    confined(folder.path(), folder.path(), &access, || {
        TcpStream::connect(addresses[0]).expect("the port of the metadata service");
        assert_eq!(refusal(TcpStream::connect(addresses[1])), denied);
        assert_eq!(refusal(TcpListener::bind("127.0.0.1:0")), denied);
        assert_eq!(refusal(UdpSocket::bind("127.0.0.1:0")), denied);
    });
}
