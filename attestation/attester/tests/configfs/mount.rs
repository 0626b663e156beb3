//! The rules as a file system, so that the collector's own file operations meet them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, FileAttr, FileType, Filesystem, MountOption, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
};
use tempfile::TempDir;

use crate::rules::{Attribute, EACCES, Kernel};

const ROOT: u64 = 1;
/// An entry's inode is a multiple of this, its files' follow.
const STEP: u64 = 16;
const TTL: Duration = Duration::ZERO;
const ENOENT: i32 = 2;
/// O_ACCMODE and its read-only value.
const ACCESS: i32 = 3;
const READ_ONLY: i32 = 0;
/// FOPEN_DIRECT_IO: reads and writes come as the caller makes them, as configfs sees them.
const DIRECT: u32 = 1;

/// A mounted configfs; unmounted when it is dropped.
pub(crate) struct Configfs {
    kernel: Arc<Mutex<Kernel>>,
    // Fields are dropped in order: first the mount, then its folder.
    _session: BackgroundSession,
    folder: TempDir,
}

impl Configfs {
    /// Mounts; `None` (said plainly) where a process like this one may not.
    pub(crate) fn mount(kernel: Kernel) -> Option<Self> {
        let kernel = Arc::new(Mutex::new(kernel));
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files {
            kernel: Arc::clone(&kernel),
            open: BTreeMap::new(),
            handles: 0,
        };
        let options = [MountOption::FSName("configfs".to_owned())];
        match fuser::spawn_mount2(files, folder.path(), &options) {
            Ok(session) => Some(Self {
                kernel,
                _session: session,
                folder,
            }),
            Err(error) => {
                not_run(&error.to_string());
                None
            }
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().expect("no panic")
    }
}

/// Whoever has /dev/fuse and may mount is expected to run these tests; others have those of the rules.
#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
fn not_run(why: &str) {
    let device = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    let capabilities = capabilities.and_then(|hex| u64::from_str_radix(hex, 16).ok());
    // CAP_SYS_ADMIN
    let may_mount = capabilities.is_some_and(|bits| bits >> 21 & 1 == 1);
    let expected = device.is_ok() && may_mount && std::env::var("CI").as_deref() == Ok("true");
    assert!(!expected, "no file system can be mounted: {why}");
    eprintln!("NOT RUN: no file system can be mounted here ({why})");
}

struct Open {
    entry: u64,
    attribute: Attribute,
    shown: Option<Vec<u8>>,
    written: Option<Vec<u8>>,
}

struct Files {
    kernel: Arc<Mutex<Kernel>>,
    open: BTreeMap<u64, Open>,
    handles: u64,
}

impl Files {
    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().expect("no panic")
    }

    fn attributes(&self, inode: u64) -> Option<FileAttr> {
        let (kind, mode) = if inode == ROOT {
            (FileType::Directory, 0o755)
        } else if inode.is_multiple_of(STEP) {
            let kernel = self.kernel();
            kernel.names().find(|(id, _)| id * STEP == inode)?;
            (FileType::Directory, 0o755)
        } else {
            let attribute = self.attribute(inode)?;
            let mode = if attribute.is_writable() { 0o200 } else { 0o444 };
            (FileType::RegularFile, mode)
        };
        Some(FileAttr {
            ino: inode,
            size: 4096,
            blocks: 0,
            atime: SystemTime::UNIX_EPOCH,
            mtime: SystemTime::UNIX_EPOCH,
            ctime: SystemTime::UNIX_EPOCH,
            crtime: SystemTime::UNIX_EPOCH,
            kind,
            perm: mode,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// The attribute of a file's inode, if its entry has it.
    fn attribute(&self, inode: u64) -> Option<Attribute> {
        let place = usize::try_from((inode % STEP).checked_sub(1)?).ok()?;
        let (attribute, _) = Attribute::ALL.get(place)?;
        self.kernel().has(inode / STEP, *attribute).then_some(*attribute)
    }

    fn inode(&self, parent: u64, name: &str) -> Option<u64> {
        if parent == ROOT {
            return self.kernel().find(name).map(|id| id * STEP);
        }
        let place = Attribute::ALL.iter().position(|(_, known)| *known == name)?;
        Some(parent + place as u64 + 1)
    }
}

impl Filesystem for Files {
    fn lookup(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEntry) {
        let inode = self.inode(parent, &name.to_string_lossy());
        match inode.and_then(|inode| self.attributes(inode)) {
            Some(attributes) => reply.entry(&TTL, &attributes, 0),
            None => reply.error(ENOENT),
        }
    }

    fn getattr(&mut self, _: &Request<'_>, inode: u64, _: Option<u64>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(ENOENT),
        }
    }

    fn mkdir(&mut self, _: &Request<'_>, _: u64, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let made = self.kernel().make(&name.to_string_lossy());
        match made {
            Ok(id) => match self.attributes(id * STEP) {
                Some(attributes) => reply.entry(&TTL, &attributes, 0),
                None => reply.error(ENOENT),
            },
            Err(error) => reply.error(error),
        }
    }

    fn rmdir(&mut self, _: &Request<'_>, _: u64, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.kernel().remove(&name.to_string_lossy());
        match removed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&mut self, _: &Request<'_>, _: u64, _: u64, offset: i64, mut reply: ReplyDirectory) {
        for (place, (id, name)) in self.kernel().names().enumerate().skip(offset as usize) {
            if reply.add(id * STEP, place as i64 + 1, FileType::Directory, name) {
                break;
            }
        }
        reply.ok();
    }

    fn open(&mut self, _: &Request<'_>, inode: u64, flags: i32, reply: ReplyOpen) {
        let Some(attribute) = self.attribute(inode) else {
            return reply.error(ENOENT);
        };
        if attribute.is_writable() == (flags & ACCESS == READ_ONLY) {
            return reply.error(EACCES);
        }
        self.handles += 1;
        let open = Open {
            entry: inode / STEP,
            attribute,
            shown: None,
            written: None,
        };
        self.open.insert(self.handles, open);
        reply.opened(self.handles, DIRECT);
    }

    fn read(
        &mut self,
        _: &Request<'_>,
        _: u64,
        handle: u64,
        offset: i64,
        size: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyData,
    ) {
        let Some(mut open) = self.open.remove(&handle) else {
            return reply.error(ENOENT);
        };
        if open.shown.is_none() {
            let shown = self.kernel().show(open.entry, open.attribute);
            match shown {
                Ok(shown) => open.shown = Some(shown),
                Err(error) => {
                    self.open.insert(handle, open);
                    return reply.error(error);
                }
            }
        }
        let size = (size as usize).min(self.kernel().piece_bytes);
        let shown = open.shown.as_deref().unwrap_or_default();
        let rest = shown.get(offset as usize..).unwrap_or_default();
        reply.data(&rest[..rest.len().min(size)]);
        self.open.insert(handle, open);
    }

    fn write(
        &mut self,
        _: &Request<'_>,
        _: u64,
        handle: u64,
        _: i64,
        data: &[u8],
        _: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyWrite,
    ) {
        let Some(mut open) = self.open.remove(&handle) else {
            return reply.error(ENOENT);
        };
        let before = open.written.as_deref().unwrap_or_default();
        let written = self.kernel().write(open.entry, open.attribute, before, data);
        match written {
            Ok(written) => {
                open.written = Some(written);
                reply.written(data.len() as u32);
            }
            Err(error) => reply.error(error),
        }
        self.open.insert(handle, open);
    }

    /// Unlike release, close waits for this.
    fn flush(&mut self, _: &Request<'_>, _: u64, handle: u64, _: u64, reply: ReplyEmpty) {
        let open = self.open.get_mut(&handle);
        if let Some((entry, attribute, written)) =
            open.and_then(|open| Some((open.entry, open.attribute, open.written.take()?)))
        {
            self.kernel().close(entry, attribute, written);
        }
        reply.ok();
    }

    fn release(
        &mut self,
        _: &Request<'_>,
        _: u64,
        handle: u64,
        _: i32,
        _: Option<u64>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.open.remove(&handle);
        reply.ok();
    }
}
