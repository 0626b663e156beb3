//! Sealing a folder.
//!
//! 1. The files are listed, and the room for their ciphertext is checked.
//! 2. A sibling of the output is made; whatever goes wrong from here on, it is removed.
//! 3. Each file becomes one FLOE object: read, encrypted by all threads, hashed and written. Only ciphertext is written.
//! 4. The names become the last object, and the owner signs the manifest.
//! 5. Everything is synced, then the sibling is renamed: the output appears whole or not at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::fs::CWD;
use serde::{Deserialize, Serialize};
use wire::ids::ModelId;
use zeroize::Zeroizing;

use crate::directory::open_regular;
use crate::floe::{self, Geometry, OVERHEAD_BYTES, PREFIX_BYTES};
use crate::key::{ContainerId, ObjectContext};
use crate::manifest::{INDEX_NAME, Object, VERSION_MAX, object_name};
use crate::source::{self, SourceFile};
use crate::unfinished::{Sink, Unfinished};
use crate::{Manifest, ModelKey, OwnerSigningKey, Progress, Progressed, Result, SealedModelError, limits};

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

impl Index {
    /// The plaintext and how it is cut.
    pub(crate) fn to_bytes(&self) -> Result<(Zeroizing<Vec<u8>>, Geometry)> {
        let mut plain = Zeroizing::new(serde_json::to_vec(self).expect("strings are expressible as JSON"));
        let padded = plain.len().next_multiple_of(INDEX_PADDING_BYTES);
        plain.resize(padded, b' ');
        let geometry = Geometry::of_plaintext(limits::SEGMENT_BYTES, plain.len() as u64)
            .filter(|geometry| geometry.plain_bytes() <= limits::INDEX_BYTES_MAX)
            .ok_or(SealedModelError::TooLarge {
                what: "list of names",
                limit: limits::INDEX_BYTES_MAX,
            })?;
        Ok((plain, geometry))
    }
}

/// Seals every file under `source` into the new directory `out`, which appears whole or not at all.
pub fn seal(
    source: &Path,
    out: &Path,
    request: &SealRequest<'_>,
    progress: Progress<'_>,
) -> Result<Manifest> {
    request.check()?;
    let files = source::list(source)?
        .into_iter()
        .map(Opened::open)
        .collect::<Result<Vec<_>>>()?;
    let unfinished = Unfinished::create(out)?;
    unfinished.check_room(files.iter().map(|file| file.geometry.sealed_bytes()).sum())?;

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
    unfinished.complete(&bundle)?;
    Ok(manifest)
}

impl SealRequest<'_> {
    /// Refuses an id or a version that nothing could ask for.
    pub(crate) fn check(&self) -> Result<()> {
        if ModelId::new(self.model_id).is_err() {
            return Err(SealedModelError::Unusable("model id"));
        }
        if self.version == 0 || self.version > VERSION_MAX {
            return Err(SealedModelError::Unusable("version"));
        }
        Ok(())
    }

    /// The associated data of one object.
    pub(crate) fn aad(&self, container: &ContainerId, object: &str, geometry: Geometry) -> [u8; 48] {
        ObjectContext {
            model_id: self.model_id,
            version: self.version,
            container,
            object,
            plain_bytes: geometry.plain_bytes(),
        }
        .aad()
    }
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
        let names = files.iter().map(|file| file.source.name.clone()).collect();
        let (plain, geometry) = Index { files: names }.to_bytes()?;
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
        let aad = self.request.aad(&self.container, &name, geometry);
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
