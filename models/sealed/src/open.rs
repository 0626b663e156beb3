//! Opening: manifest, anchor, then the bytes, in parallel and into memory only.
//!
//! 1. Every object is opened and compared with what the owner signed: which one it is (FLOE header), how long it is.
//! 2. The key is checked against the header tags, before anything is decrypted.
//! 3. The index gives the names.
//! 4. Each thread takes segments, reads them straight to where their plaintext belongs, and decrypts in place.
//! 5. When a segment fails, its fault is named, and everything decrypted so far is wiped.
//!
//! The bytes come from a host that nobody trusts and that may change them between two reads: each is read once, and
//! what was authenticated is what is used.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::diagnosis;
use crate::directory::Directory;
use crate::floe::{self, Geometry, Header, Opener, PREFIX_BYTES, TAG_BYTES};
use crate::manifest::{MANIFEST_NAME, Object};
use crate::seal::{Index, thread_pool};
use crate::source::check_name;
use crate::wrap::WRAPS_NAME;
use crate::{
    Anchor, Manifest, ModelKey, OwnerPublicKey, Progress, Progressed, Result, SealedModelError, SecretBytes,
    WrapList, limits,
};

/// A sealed model on disk whose manifest carries the owner's signature.
pub struct SealedModel {
    directory: Directory,
    manifest: Manifest,
}

impl SealedModel {
    /// Reads and verifies the manifest; needs no key.
    pub fn open_manifest(directory: &Path, owner: &OwnerPublicKey) -> Result<Self> {
        let directory = Directory::open(directory)?;
        let bundle = directory.read(MANIFEST_NAME, "manifest", limits::MANIFEST_BYTES_MAX)?;
        let manifest = Manifest::verify(&bundle, owner)?;
        Ok(Self { directory, manifest })
    }

    /// The verified manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The list of wraps beside the manifest; public, and authenticated only by unwrapping.
    pub fn wraps(&self) -> Result<WrapList> {
        WrapList::parse(
            &self
                .directory
                .read(WRAPS_NAME, "list of wraps", limits::WRAPS_BYTES_MAX)?,
        )
    }

    /// Checks every object at rest against the SHA-256 that the owner signed; needs no key. Opening does not depend on
    /// it: see the README for what each of the two proves.
    pub fn check_digests(&self, progress: Progress<'_>) -> Result<()> {
        diagnosis::check_digests(&self.directory, &self.manifest, progress)
    }

    /// Whether this key opens the container, by the headers alone: `wrong-key` if not.
    pub fn check_key(&self, key: &ModelKey) -> Result<()> {
        let floe_key = key.floe_key(self.manifest.container());
        let objects = diagnosis::open_objects(&self.directory, &self.manifest)?;
        for (file, object) in objects.into_iter().zip(self.manifest.all_objects()) {
            Ciphertext::start(file, object, &self.manifest, &floe_key)?;
        }
        Ok(())
    }

    /// Goes on only if this is the model and the version that the anchor names.
    pub fn anchored(self, anchor: &Anchor) -> Result<AnchoredModel> {
        anchor.check(&self.manifest)?;
        Ok(AnchoredModel { sealed: self })
    }
}

/// The list of wraps of a sealed model, for showing.
pub fn read_wraps(sealed_model: &Path) -> Result<WrapList> {
    wraps_in(&Directory::open(sealed_model)?)
}

fn wraps_in(directory: &Directory) -> Result<WrapList> {
    WrapList::parse(&directory.read(WRAPS_NAME, "list of wraps", limits::WRAPS_BYTES_MAX)?)
}

/// A sealed model that is the registered one.
pub struct AnchoredModel {
    sealed: SealedModel,
}

impl AnchoredModel {
    /// The verified manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.sealed.manifest
    }

    /// Decrypts every file straight into memory.
    pub fn open(&self, key: &ModelKey, options: &OpenOptions, progress: Progress<'_>) -> Result<OpenModel> {
        let SealedModel { directory, manifest } = &self.sealed;
        let objects = diagnosis::open_objects(directory, manifest)?;
        let floe_key = key.floe_key(manifest.container());
        let ciphertexts = objects
            .into_iter()
            .zip(manifest.all_objects())
            .map(|(file, object)| Ciphertext::start(file, object, manifest, &floe_key))
            .collect::<Result<Vec<_>>>()?;
        let (index, files) = ciphertexts.split_last().expect("a manifest ends with its index");
        let names = index.names(files.len())?;

        let pool = thread_pool(options.threads)?;
        let bytes_total = manifest.plain_bytes();
        let bytes_done = AtomicU64::new(0);
        let mut buffers: Vec<SecretBytes> = files
            .iter()
            .map(|file| SecretBytes::zeroed(file.object.geometry.plain_bytes()))
            .collect::<Result<_>>()?;
        let segments = files
            .iter()
            .zip(&mut buffers)
            .flat_map(|(file, buffer)| file.segments(buffer));
        let segments: Vec<Segment<'_, '_>> = segments.collect();
        pool.install(|| {
            segments.into_par_iter().try_for_each(|segment| {
                let bytes = segment.buffer.len() as u64;
                segment.open()?;
                let bytes_done = bytes_done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                progress(Progressed {
                    bytes_done,
                    bytes_total,
                });
                Ok(())
            })
        })?;
        let locked = buffers.iter().all(SecretBytes::lock);
        Ok(OpenModel {
            files: names.into_iter().zip(buffers).collect(),
            locked,
        })
    }
}

/// How to open.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Threads that read and decrypt; default: the cores available.
    pub threads: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        }
    }
}

/// The opened files, by the name they had in the owner's directory; wiped on drop.
pub struct OpenModel {
    files: BTreeMap<String, SecretBytes>,
    locked: bool,
}

impl OpenModel {
    /// Whether all of it is locked into memory; if not, the limit on locked memory is too low.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    /// One file by name.
    pub fn file(&self, name: &str) -> Option<&SecretBytes> {
        self.files.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Gives the files away, each still wiped on its own drop.
    pub fn into_files(self) -> BTreeMap<String, SecretBytes> {
        self.files
    }
}

/// An object whose header, length and key were checked.
pub(crate) struct Ciphertext<'a> {
    pub(crate) file: File,
    pub(crate) object: &'a Object,
    pub(crate) opener: Opener,
}

impl<'a> Ciphertext<'a> {
    /// The header compared by `open_objects` is the signed one, so a tag that does not fit means the key is wrong.
    fn start(
        file: File,
        object: &'a Object,
        manifest: &Manifest,
        key: &[u8; floe::KEY_BYTES],
    ) -> Result<Self> {
        let opener = Opener::start(
            key,
            manifest.aad(object).as_ref(),
            object.geometry,
            &object.header,
        );
        let opener = opener.map_err(|fault| match fault {
            floe::Fault::Parameters => SealedModelError::Malformed {
                what: "manifest",
                why: "header of an object",
            },
            floe::Fault::HeaderTag | floe::Fault::Segment => SealedModelError::WrongKey,
        })?;
        Ok(Self { file, object, opener })
    }

    fn segments<'b>(&'b self, buffer: &'b mut SecretBytes) -> impl Iterator<Item = Segment<'a, 'b>> {
        let geometry = self.object.geometry;
        let mut pieces: Vec<&mut [u8]> = buffer
            .as_mut()
            .chunks_mut(geometry.segment_plain_bytes())
            .collect();
        if pieces.is_empty() {
            // An empty file still has its one, empty, authenticated segment.
            pieces.push(&mut []);
        }
        (0..).zip(pieces).map(|(position, buffer)| Segment {
            ciphertext: self,
            position,
            buffer,
        })
    }

    /// Opens the index object.
    fn names(&self, count: usize) -> Result<Vec<String>> {
        const MALFORMED: SealedModelError = SealedModelError::Malformed {
            what: "index",
            why: "not a list of names",
        };
        let mut plain = SecretBytes::zeroed(self.object.geometry.plain_bytes())?;
        self.segments(&mut plain).try_for_each(Segment::open)?;
        let index: Index = serde_json::from_slice(plain.expose()).map_err(|_| MALFORMED)?;
        if index.files.len() != count {
            return Err(MALFORMED);
        }
        // Sorted and distinct, as they were sealed: no name can stand for two files.
        if !index.files.is_sorted_by(|a, b| a < b) {
            return Err(MALFORMED);
        }
        index.files.iter().try_for_each(|name| check_name(name))?;
        Ok(index.files)
    }
}

/// One piece of work: a segment and the place of its plaintext.
struct Segment<'a, 'b> {
    ciphertext: &'b Ciphertext<'a>,
    position: u64,
    buffer: &'b mut [u8],
}

impl Segment<'_, '_> {
    fn open(self) -> Result<()> {
        let Ciphertext { file, object, opener } = self.ciphertext;
        let (mut prefix, mut tag) = ([0; PREFIX_BYTES], [0; TAG_BYTES]);
        read_segment(file, object, self.position, &mut prefix, self.buffer, &mut tag)?;
        opener
            .open(self.position, &prefix, self.buffer, &tag)
            .map_err(|_| diagnosis::of_segment(self.ciphertext, self.position))
    }
}

/// Reads one segment: the ciphertext to where the plaintext belongs, what surrounds it to the side.
pub(crate) fn read_segment(
    file: &File,
    object: &Object,
    position: u64,
    prefix: &mut [u8; PREFIX_BYTES],
    body: &mut [u8],
    tag: &mut [u8; TAG_BYTES],
) -> Result<()> {
    let start = object.geometry.offset(position);
    let wanted = PREFIX_BYTES + body.len() + TAG_BYTES;
    let mut parts = [
        io::IoSliceMut::new(prefix),
        io::IoSliceMut::new(body),
        io::IoSliceMut::new(tag),
    ];
    match rustix::io::preadv(file, &mut parts, start) {
        Ok(read) if read == wanted => return Ok(()),
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(SealedModelError::io("read", &object.name, error.into())),
    }
    // A short read: rare, so the parts are simply read again, one by one.
    let body_start = start + PREFIX_BYTES as u64;
    let read = file
        .read_exact_at(prefix, start)
        .and_then(|()| file.read_exact_at(body, body_start))
        .and_then(|()| file.read_exact_at(tag, body_start + body.len() as u64));
    read.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SealedModelError::Truncated {
            object: object.name.clone(),
            expected: object.geometry.sealed_bytes(),
            found: file.metadata().map_or(0, |metadata| metadata.len()),
        },
        _ => SealedModelError::io("read", &object.name, error),
    })
}

/// The header of an object, if it is long enough to have one.
pub(crate) fn read_header(file: &File, object: &Object) -> Result<Option<Header>> {
    let mut header = [0; floe::HEADER_BYTES];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(Some(header)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(SealedModelError::io("read", &object.name, error)),
    }
}

/// The length of the plaintext of one segment.
pub(crate) fn segment_bytes(geometry: &Geometry, position: u64) -> usize {
    let capacity = geometry.segment_plain_bytes() as u64;
    (geometry.plain_bytes() - position * capacity).min(capacity) as usize
}
