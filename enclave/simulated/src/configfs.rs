//! configfs-tsm as the guest's kernel would have it, with the SIMULATED security processor behind it: a file system in
//! user space, mounted where the kernel's own would be, so that the collector of the release binary runs unchanged.
//!
//! What is left of the kernel's rules (drivers/virt/coco/tsm.c) is what a reader can tell apart: an entry is a folder; `inblob`
//! takes 64 bytes and takes effect when it is closed, adding one to `generation`; `outblob` and `auxblob` are of the
//! last `inblob`. Ours is the only reader.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::Path,
    time::{Duration, SystemTime},
};

use fuser::{
    FileAttr, FileType, Filesystem, MountOption, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request,
};

use crate::processor::{Evidence, Processor};

/// Where the kernel puts its own.
pub(crate) const PLACE: &str = "/sys/kernel/config/tsm/report";

const ROOT: u64 = 1;
/// An entry's inode is a multiple of this, its files' follow.
const STEP: u64 = 16;
const TTL: Duration = Duration::ZERO;
const ENTRIES_MAX: usize = 64;
const REPORT_DATA_BYTES: usize = 64;
/// FOPEN_DIRECT_IO: reads and writes come as the caller makes them.
const DIRECT: u32 = 1;
/// O_ACCMODE, and its read-only value.
const ACCESS: i32 = 3;
const READ_ONLY: i32 = 0;

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;

/// Files of an entry, in the order of their inodes.
const FILES: [&str; 7] = [
    "generation",
    "provider",
    "privlevel",
    "privlevel_floor",
    "inblob",
    "outblob",
    "auxblob",
];

#[derive(Default)]
struct Entry {
    name: String,
    generation: u64,
    report_data: Option<[u8; REPORT_DATA_BYTES]>,
    evidence: Option<Evidence>,
}

#[derive(Default)]
struct Open {
    inode: u64,
    shown: Option<Vec<u8>>,
    written: Option<Vec<u8>>,
}

struct Configfs {
    processor: Processor,
    entries: BTreeMap<u64, Entry>,
    open: BTreeMap<u64, Open>,
    next: u64,
}

/// Mounts it, for as long as the machine runs.
pub(crate) fn mount(processor: Processor) -> std::io::Result<()> {
    let files = Configfs {
        processor,
        entries: BTreeMap::new(),
        open: BTreeMap::new(),
        next: 0,
    };
    let options = [
        MountOption::FSName("simulated-tsm".to_owned()),
        MountOption::NoExec,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    let session = fuser::Session::new(files, Path::new(PLACE), &options)?;
    std::thread::Builder::new()
        .name("simulated-tsm".to_owned())
        .spawn(move || {
            let mut session = session;
            session.run()
        })?;
    Ok(())
}

impl Configfs {
    fn file(inode: u64) -> Option<&'static str> {
        let place = usize::try_from((inode % STEP).checked_sub(1)?).ok()?;
        FILES.get(place).copied()
    }

    fn is_writable(file: &str) -> bool {
        matches!(file, "privlevel" | "inblob")
    }

    fn attributes(&self, inode: u64) -> Option<FileAttr> {
        let (kind, mode) = if inode == ROOT {
            (FileType::Directory, 0o755)
        } else {
            self.entries.get(&(inode / STEP))?;
            match Self::file(inode) {
                None => (FileType::Directory, 0o755),
                Some(file) if Self::is_writable(file) => (FileType::RegularFile, 0o200),
                Some(_) => (FileType::RegularFile, 0o444),
            }
        };
        let epoch = SystemTime::UNIX_EPOCH;
        Some(FileAttr {
            ino: inode,
            size: 4096,
            blocks: 0,
            atime: epoch,
            mtime: epoch,
            ctime: epoch,
            crtime: epoch,
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

    fn find(&self, parent: u64, name: &str) -> Option<u64> {
        if parent == ROOT {
            let found = self.entries.iter().find(|(_, entry)| entry.name == name)?;
            return Some(found.0 * STEP);
        }
        let place = FILES.iter().position(|known| *known == name)?;
        Some(parent + place as u64 + 1)
    }

    /// What an open file shows from now on.
    fn show(&mut self, inode: u64) -> Result<Vec<u8>, i32> {
        let entry = self.entries.get_mut(&(inode / STEP)).ok_or(ENOENT)?;
        match Self::file(inode) {
            Some("generation") => Ok(format!("{}\n", entry.generation).into_bytes()),
            Some("provider") => Ok(b"sev_guest\n".to_vec()),
            Some("privlevel_floor") => Ok(b"0\n".to_vec()),
            Some(file @ ("outblob" | "auxblob")) => {
                let report_data = entry.report_data.ok_or(EINVAL)?;
                if entry.evidence.is_none() {
                    entry.evidence = Some(self.processor.ask(&report_data).map_err(|_| EIO)?);
                }
                let evidence = entry.evidence.as_ref().ok_or(EIO)?;
                Ok(if file == "outblob" {
                    evidence.report.clone()
                } else {
                    evidence.certificates.clone()
                })
            }
            _ => Err(EACCES),
        }
    }
}

impl Filesystem for Configfs {
    fn lookup(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEntry) {
        let inode = self.find(parent, &name.to_string_lossy());
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

    fn mkdir(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let name = name.to_string_lossy().into_owned();
        if parent != ROOT || self.entries.len() >= ENTRIES_MAX || self.find(ROOT, &name).is_some() {
            return reply.error(ENOSPC);
        }
        self.next += 1;
        let entry = Entry {
            name,
            ..Entry::default()
        };
        self.entries.insert(self.next, entry);
        match self.attributes(self.next * STEP) {
            Some(attributes) => reply.entry(&TTL, &attributes, 0),
            None => reply.error(ENOENT),
        }
    }

    fn rmdir(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        let found = (parent == ROOT)
            .then(|| self.find(ROOT, &name.to_string_lossy()))
            .flatten();
        match found.and_then(|inode| self.entries.remove(&(inode / STEP))) {
            Some(_) => reply.ok(),
            None => reply.error(ENOENT),
        }
    }

    fn readdir(&mut self, _: &Request<'_>, inode: u64, _: u64, offset: i64, mut reply: ReplyDirectory) {
        let skipped = usize::try_from(offset).unwrap_or_default();
        let listed: Vec<_> = if inode == ROOT {
            let entries = self.entries.iter();
            entries
                .map(|(id, entry)| (id * STEP, FileType::Directory, entry.name.clone()))
                .collect()
        } else {
            let files = FILES.iter().zip(inode + 1..);
            files
                .map(|(name, inode)| (inode, FileType::RegularFile, (*name).to_owned()))
                .collect()
        };
        for (place, (inode, kind, name)) in listed.into_iter().enumerate().skip(skipped) {
            if reply.add(inode, place as i64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn open(&mut self, _: &Request<'_>, inode: u64, flags: i32, reply: ReplyOpen) {
        let Some(file) = Self::file(inode) else {
            return reply.error(ENOENT);
        };
        if Self::is_writable(file) == (flags & ACCESS == READ_ONLY) {
            return reply.error(EACCES);
        }
        self.next += 1;
        let open = Open {
            inode,
            ..Open::default()
        };
        self.open.insert(self.next, open);
        reply.opened(self.next, DIRECT);
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
            match self.show(open.inode) {
                Ok(shown) => open.shown = Some(shown),
                Err(error) => {
                    self.open.insert(handle, open);
                    return reply.error(error);
                }
            }
        }
        let shown = open.shown.as_deref().unwrap_or_default();
        let rest = shown
            .get(usize::try_from(offset).unwrap_or(usize::MAX)..)
            .unwrap_or_default();
        reply.data(rest.get(..size as usize).unwrap_or(rest));
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
        let Some(open) = self.open.get_mut(&handle) else {
            return reply.error(ENOENT);
        };
        let written = open.written.get_or_insert_default();
        if written.len() + data.len() > REPORT_DATA_BYTES {
            return reply.error(EINVAL);
        }
        written.extend_from_slice(data);
        reply.written(u32::try_from(data.len()).unwrap_or_default());
    }

    /// Unlike release, close waits for this.
    fn flush(&mut self, _: &Request<'_>, _: u64, handle: u64, _: u64, reply: ReplyEmpty) {
        if let Some(open) = self.open.get_mut(&handle)
            && let Some(written) = open.written.take()
            && Self::file(open.inode) == Some("inblob")
            && let Some(entry) = self.entries.get_mut(&(open.inode / STEP))
            && let Ok(report_data) = written.try_into()
        {
            entry.generation += 1;
            entry.report_data = Some(report_data);
            entry.evidence = None;
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
