//! Sealing a folder.
//!
//! 1. The files are listed, and the room for their ciphertext is checked.
//! 2. A sibling of the output is made; whatever goes wrong from here on, it is removed.
//! 3. Each file becomes one FLOE object: read, encrypted by all threads, hashed and written. Only ciphertext is written.
//! 4. The names become the last object, and the owner signs the manifest.
//! 5. Everything is synced, then the sibling is renamed: the output appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};
use serde::{Deserialize, Serialize};
use wire::ids::ModelId;
use zeroize::Zeroizing;

use crate::directory::open_regular;
use crate::floe::{self, Geometry, OVERHEAD_BYTES, PREFIX_BYTES};
use crate::key::{ContainerId, ObjectContext};
use crate::manifest::{INDEX_NAME, MANIFEST_NAME, Object, VERSION_MAX, object_name};
use crate::source::{self, SourceFile};
use crate::wrap::WRAPS_NAME;
use crate::{
    Manifest, ModelKey, OwnerSigningKey, Progress, Progressed, Result, SealedModelError, WrapList, limits,
};

/// The index is padded to a multiple, so that its length does not tell how long the names are.
const INDEX_PADDING_BYTES: usize = 4096;

/// What to seal as.
pub struct SealRequest<'a> {
    /// The model's identifier, as clients will ask for it (`wire::ids::ModelId`).
    pub model_id: &'a str,
    /// Higher than every version sealed before; at least 1.
    pub version: u64,
    /// The key to seal under.
    pub key: &'a ModelKey,
    /// Signs the manifest.
    pub owner: &'a OwnerSigningKey,
    /// Threads that encrypt.
    pub threads: usize,
    /// Set it from elsewhere to stop early; nothing is left behind then.
    pub stop: &'a AtomicBool,
}

/// The plaintext of the index object, padded with spaces.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    /// The name of the file in each object, in order.
    pub(crate) files: Vec<String>,
}

/// Seals every file under `source` into the new directory `out`, which appears whole or not at all.
pub fn seal(
    source: &Path,
    out: &Path,
    request: &SealRequest<'_>,
    progress: Progress<'_>,
) -> Result<Manifest> {
    if ModelId::new(request.model_id).is_err() {
        return Err(SealedModelError::Unusable("model id"));
    }
    if request.version == 0 || request.version > VERSION_MAX {
        return Err(SealedModelError::Unusable("version"));
    }
    if out.symlink_metadata().is_ok() {
        return Err(SealedModelError::OutputExists(out.to_owned()));
    }
    let files = source::list(source)?
        .into_iter()
        .map(Opened::open)
        .collect::<Result<Vec<_>>>()?;
    let unfinished = Unfinished::create(out)?;
    check_room(&unfinished.path, &files)?;

    let job = Job::new(request, &files, progress)?;
    let mut objects = Vec::with_capacity(files.len() + 1);
    for (position, file) in files.iter().enumerate() {
        let sink = unfinished.file(&object_name(position))?;
        objects.push(job.object(
            object_name(position),
            &file.source.name,
            &file.file,
            file.geometry,
            sink,
        )?);
    }
    objects.push(job.index(&files, unfinished.file(INDEX_NAME)?)?);

    let (manifest, bundle) = Manifest::sign(
        request.model_id,
        request.version,
        job.container,
        &objects,
        request.owner,
    )?;
    unfinished.file(MANIFEST_NAME)?.finish(&bundle)?;
    unfinished
        .file(WRAPS_NAME)?
        .finish(&WrapList::default().to_bytes())?;
    unfinished.rename(out)?;
    Ok(manifest)
}

struct Opened {
    source: SourceFile,
    file: File,
    geometry: Geometry,
}

impl Opened {
    fn open(source: SourceFile) -> Result<Self> {
        let file = open_regular(CWD, &source.path, &source.name)?;
        let bytes = file
            .metadata()
            .map_err(|error| SealedModelError::io("read", &source.name, error))?
            .len();
        let geometry = Geometry::of_plaintext(limits::SEGMENT_BYTES, bytes)
            .filter(|geometry| geometry.sealed_bytes() <= limits::OBJECT_BYTES_MAX)
            .ok_or(SealedModelError::TooLarge {
                what: "file",
                limit: limits::OBJECT_BYTES_MAX,
            })?;
        Ok(Self {
            source,
            file,
            geometry,
        })
    }
}

/// Says at the start what would otherwise be found out at the end of a long copy. Writing still checks.
fn check_room(folder: &Path, files: &[Opened]) -> Result<()> {
    let needed: u64 = files.iter().map(|file| file.geometry.sealed_bytes()).sum();
    match statvfs(folder) {
        Ok(room) if room.f_bavail.saturating_mul(room.f_frsize) < needed => Err(SealedModelError::DiskFull {
            action: "write",
            name: format!("{needed} bytes"),
        }),
        _ => Ok(()),
    }
}

/// Everything that the objects of one sealing share.
struct Job<'a> {
    request: &'a SealRequest<'a>,
    container: ContainerId,
    floe_key: Zeroizing<[u8; floe::KEY_BYTES]>,
    pool: ThreadPool,
    progress: Progress<'a>,
    bytes_done: AtomicU64,
    bytes_total: u64,
}

impl<'a> Job<'a> {
    fn new(request: &'a SealRequest<'a>, files: &[Opened], progress: Progress<'a>) -> Result<Self> {
        let mut container = ContainerId::default();
        aws_lc_rs::rand::fill(&mut container).map_err(|_| SealedModelError::Random)?;
        Ok(Self {
            floe_key: request.key.floe_key(&container),
            pool: thread_pool(request.threads)?,
            bytes_total: files.iter().map(|file| file.geometry.plain_bytes()).sum(),
            bytes_done: AtomicU64::new(0),
            request,
            container,
            progress,
        })
    }

    /// One file as one object. While a batch of segments is written, the next is read and encrypted.
    fn object(
        &self,
        name: String,
        source: &str,
        file: &File,
        geometry: Geometry,
        sink: Sink,
    ) -> Result<Object> {
        let read = |buffer: &mut [u8], offset: u64| {
            file.read_exact_at(buffer, offset)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => SealedModelError::SourceChanged(source.to_owned()),
                    _ => SealedModelError::io("read", source, error),
                })
        };
        let object = self.encrypt(name, geometry, &read, sink)?;
        let at_end = file.read_at(&mut [0], geometry.plain_bytes());
        match at_end.map_err(|error| SealedModelError::io("read", source, error))? {
            0 => Ok(object),
            _ => Err(SealedModelError::SourceChanged(source.to_owned())),
        }
    }

    fn index(&self, files: &[Opened], sink: Sink) -> Result<Object> {
        let index = Index {
            files: files.iter().map(|file| file.source.name.clone()).collect(),
        };
        let mut plain = Zeroizing::new(serde_json::to_vec(&index).expect("strings are expressible as JSON"));
        let padded = plain.len().next_multiple_of(INDEX_PADDING_BYTES);
        plain.resize(padded, b' ');
        let geometry = Geometry::of_plaintext(limits::SEGMENT_BYTES, plain.len() as u64)
            .filter(|geometry| geometry.plain_bytes() <= limits::INDEX_BYTES_MAX)
            .ok_or(SealedModelError::TooLarge {
                what: "list of names",
                limit: limits::INDEX_BYTES_MAX,
            })?;
        let read = |buffer: &mut [u8], offset: u64| {
            buffer.copy_from_slice(&plain[offset as usize..][..buffer.len()]);
            Ok(())
        };
        self.encrypt(INDEX_NAME.to_owned(), geometry, &read, sink)
    }

    fn encrypt(
        &self,
        name: String,
        geometry: Geometry,
        read: &(dyn Fn(&mut [u8], u64) -> Result<()> + Sync),
        mut sink: Sink,
    ) -> Result<Object> {
        let aad = ObjectContext {
            model_id: self.request.model_id,
            version: self.request.version,
            container: &self.container,
            object: &name,
            plain_bytes: geometry.plain_bytes(),
        }
        .aad();
        let (sealer, header) =
            floe::Sealer::start(&self.floe_key, &aad, geometry).ok_or(SealedModelError::Random)?;
        let segment = |position: u64| {
            let capacity = geometry.segment_plain_bytes() as u64;
            let offset = position * capacity;
            let length = (geometry.plain_bytes() - offset).min(capacity) as usize;
            let mut bytes = Zeroizing::new(vec![0; length + OVERHEAD_BYTES]);
            let body = PREFIX_BYTES..PREFIX_BYTES + length;
            read(&mut bytes[body.clone()], offset)?;
            let (prefix, tag) = sealer
                .seal(position, &mut bytes[body])
                .ok_or(SealedModelError::Random)?;
            bytes[..PREFIX_BYTES].copy_from_slice(&prefix);
            bytes[PREFIX_BYTES + length..].copy_from_slice(&tag);
            // From here on it is ciphertext, which needs no wiping.
            Ok(core::mem::take(&mut *bytes))
        };
        let batch = 2 * self.pool.current_num_threads() as u64;
        let mut ready: Vec<Vec<u8>> = vec![header.to_vec()];
        let mut next = 0;
        while !ready.is_empty() {
            if self.request.stop.load(Ordering::Relaxed) {
                return Err(SealedModelError::Stopped);
            }
            let end = geometry.segments().min(next + batch);
            let (written, encrypted) = self.pool.install(|| {
                rayon::join(
                    || ready.iter().try_for_each(|bytes| sink.write(bytes)),
                    || {
                        (next..end)
                            .into_par_iter()
                            .map(segment)
                            .collect::<Result<Vec<_>>>()
                    },
                )
            });
            written?;
            ready = encrypted?;
            next = end;
            let bytes = ready
                .iter()
                .map(|bytes| (bytes.len() - OVERHEAD_BYTES) as u64)
                .sum();
            self.advance(&name, bytes);
        }
        Ok(Object {
            sha256: sink.finish(&[])?,
            name,
            header,
            geometry,
        })
    }

    fn advance(&self, object: &str, bytes: u64) {
        if object != INDEX_NAME {
            let bytes_done = self.bytes_done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            (self.progress)(Progressed {
                bytes_done,
                bytes_total: self.bytes_total,
            });
        }
    }
}

/// The threads of one sealing or opening.
pub(crate) fn thread_pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads.clamp(1, limits::THREADS_MAX))
        .thread_name(|number| format!("sealed-model-{number}"))
        .build()
        .map_err(|error| SealedModelError::io("start", "threads", io::Error::other(error)))
}

/// One file of the output, hashed as it is written.
struct Sink {
    name: String,
    file: File,
    hash: Context,
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.file
            .write_all(bytes)
            .map_err(|error| SealedModelError::io("write", &self.name, error))
    }

    /// Writes the last bytes and waits until all are on stable storage; returns SHA-256 of the file.
    fn finish(mut self, bytes: &[u8]) -> Result<[u8; 32]> {
        self.write(bytes)?;
        self.file
            .sync_all()
            .map_err(|error| SealedModelError::io("write", &self.name, error))?;
        Ok(self
            .hash
            .finish()
            .as_ref()
            .try_into()
            .expect("SHA-256 has 32 bytes"))
    }
}

/// The sibling that is being written; removed unless it was renamed.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn create(out: &Path) -> Result<Self> {
        let name = out
            .file_name()
            .ok_or_else(|| SealedModelError::OutputExists(out.to_owned()))?;
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| SealedModelError::Random)?;
        let path = parent(out).join(format!(
            ".{}.unfinished-{}",
            name.to_string_lossy(),
            hex::encode(random)
        ));
        fs::create_dir(&path)
            .map_err(|error| SealedModelError::io("create", path.display().to_string(), error))?;
        Ok(Self { path })
    }

    fn file(&self, name: &str) -> Result<Sink> {
        let file = File::create_new(self.path.join(name))
            .map_err(|error| SealedModelError::io("create", name, error))?;
        Ok(Sink {
            name: name.to_owned(),
            file,
            hash: Context::new(&SHA256),
        })
    }

    /// Gives the folder its name, which must still be free.
    fn rename(self, out: &Path) -> Result<()> {
        let failed = |error: io::Error| SealedModelError::io("create", out.display().to_string(), error);
        sync(&self.path).map_err(failed)?;
        match renameat_with(CWD, &self.path, CWD, out, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(SealedModelError::OutputExists(out.to_owned())),
            // File systems without this flag: a plain rename replaces at most an empty folder.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                fs::rename(&self.path, out).map_err(failed)?
            }
            Err(error) => return Err(failed(error.into())),
        }
        sync(parent(out)).map_err(failed)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename there is nothing under this name any more.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
