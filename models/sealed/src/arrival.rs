//! Sealing what comes over a network, as it comes: no byte of it rests on disk in the clear, and what was sealed
//! before an interruption is not fetched again.
//!
//! 1. [`Arrival::open`] makes a sibling of the output, or finds the one that an earlier attempt kept. What is being
//!    sealed stands in it as one more FLOE object, so that an arrival goes on only with the same key and the same files.
//! 2. [`Arrival::object`] opens the segments that are there, all of them, and says where to go on. A segment that does
//!    not open is sealed again with all that follow.
//! 3. [`ArrivingObject::write`] encrypts each segment when it is full.
//! 4. [`ArrivingObject::finish`] compares the whole plaintext with the digest that the publisher announced.
//! 5. [`Arrival::finish`] signs the manifest and gives the folder its name.
//!
//! The plaintext in memory is at most one segment, wiped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::floe::{
    Fault, Geometry, HEADER_BYTES, Header, OVERHEAD_BYTES, Opener, PREFIX_BYTES, Sealer, TAG_BYTES,
};
use crate::key::ContainerId;
use crate::manifest::{INDEX_NAME, Object, object_name};
use crate::seal::Index;
use crate::source::check_name;
use crate::unfinished::{Sink, Unfinished};
use crate::{Manifest, Result, SealRequest, SealedModelError, limits};

/// What is being sealed; removed when the model gets its name.
const RECORD_NAME: &str = "arrival";
/// The container's id stands before the record's ciphertext.
const ID_BYTES: usize = size_of::<ContainerId>();

/// A digest that the publisher of a file announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentDigest {
    /// SHA-256 of the content, as Git LFS names large files.
    Sha256([u8; 32]),
    /// SHA-1 of `blob LENGTH\0` and the content, as Git names small ones. It finds accidents, not forgeries.
    GitBlob([u8; 20]),
}

impl ContentDigest {
    fn context(&self, bytes: u64) -> Context {
        match self {
            Self::Sha256(_) => Context::new(&SHA256),
            Self::GitBlob(_) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {bytes}\0").as_bytes());
                context
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(digest) => digest,
            Self::GitBlob(digest) => digest,
        }
    }
}

/// A file that is announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrivingFile {
    /// Its name in the model, relative, with `/`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The digest of its content.
    pub digest: ContentDigest,
}

impl ArrivingFile {
    fn geometry(&self) -> Result<Geometry> {
        Geometry::of_plaintext(limits::SEGMENT_BYTES, self.bytes)
            .filter(|geometry| geometry.sealed_bytes() <= limits::OBJECT_BYTES_MAX)
            .ok_or(SealedModelError::TooLarge {
                what: "file",
                limit: limits::OBJECT_BYTES_MAX,
            })
    }
}

/// The plaintext of the record: everything that must be the same to go on.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    source: String,
    files: Vec<ArrivingFile>,
}

/// A sealed model that is being made from what arrives.
pub struct Arrival<'a> {
    request: &'a SealRequest<'a>,
    files: Vec<ArrivingFile>,
    container: ContainerId,
    floe_key: Zeroizing<[u8; crate::floe::KEY_BYTES]>,
    unfinished: Unfinished,
    /// Held for its lock.
    _record: File,
}

impl<'a> Arrival<'a> {
    /// Begins, or goes on with what an earlier call of the same `source` and `files` left under the same key.
    ///
    /// With `kept`, everything sealed so far outlives a failure: for callers that keep the key, too.
    pub fn open(
        out: &Path,
        request: &'a SealRequest<'a>,
        source: &str,
        files: Vec<ArrivingFile>,
        kept: bool,
    ) -> Result<Self> {
        request.check()?;
        if files.len() > limits::FILES_MAX {
            return Err(SealedModelError::TooLarge {
                what: "number of files",
                limit: limits::FILES_MAX as u64,
            });
        }
        let mut sealed_bytes = 0;
        for file in &files {
            check_name(&file.name)?;
            sealed_bytes += file.geometry()?.sealed_bytes();
        }
        let record = Record {
            source: source.to_owned(),
            files,
        };
        let unfinished = Unfinished::open(out, kept)?;
        let path = unfinished.path().join(RECORD_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| SealedModelError::io("create", RECORD_NAME, error))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let path = unfinished.keep();
            return Err(SealedModelError::ArrivalBusy(path));
        }
        let container = match read_record(&mut file, request)? {
            None => {
                unfinished.check_room(sealed_bytes)?;
                write_record(&mut file, request, &record)?
            }
            Some((container, begun)) => {
                let differs = match begun {
                    Some(begun) if begun == record => None,
                    Some(_) => Some("other files, or with another version of them"),
                    None => Some("another key, model id or version"),
                };
                if let Some(what) = differs {
                    let folder = unfinished.keep();
                    return Err(SealedModelError::OtherArrival { folder, what });
                }
                container
            }
        };
        Ok(Self {
            floe_key: request.key.floe_key(&container),
            files: record.files,
            request,
            container,
            unfinished,
            _record: file,
        })
    }

    /// Whether an earlier attempt for this output was kept.
    pub fn is_begun(out: &Path) -> bool {
        Unfinished::is_begun(out)
    }

    /// The files, in the order of their objects.
    pub fn files(&self) -> &[ArrivingFile] {
        &self.files
    }

    /// The object of one file, after all its segments that are there already.
    pub fn object(&self, position: usize) -> Result<ArrivingObject> {
        let file = &self.files[position];
        let name = object_name(position);
        let geometry = file.geometry()?;
        let aad = self.request.aad(&self.container, &name, geometry);
        let path = self.unfinished.path().join(&name);
        let failed = |error| SealedModelError::io("write", &name, error);
        let mut disk = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;

        let mut header: Header = [0; HEADER_BYTES];
        let begun = disk.read_exact(&mut header).is_ok();
        let opener = begun.then(|| Opener::start(&self.floe_key, &aad, geometry, &header).ok());
        let mut content = file.digest.context(file.bytes);
        let mut hash = Context::new(&SHA256);
        let (sealer, next) = match opener.flatten() {
            Some(opener) => {
                hash.update(&header);
                let next = reopen(&disk, geometry, &opener, &mut content, &mut hash).map_err(failed)?;
                let end = geometry.offset(next).min(geometry.sealed_bytes());
                disk.set_len(end).map_err(failed)?;
                let sealer = Sealer::resume(&self.floe_key, &aad, geometry, &header);
                (sealer.map_err(|_: Fault| SealedModelError::Random)?, next)
            }
            None => {
                let started = Sealer::start(&self.floe_key, &aad, geometry);
                let (sealer, fresh) = started.ok_or(SealedModelError::Random)?;
                header = fresh;
                disk.set_len(0).map_err(failed)?;
                disk.write_all_at(&header, 0).map_err(failed)?;
                hash.update(&header);
                (sealer, 0)
            }
        };
        io::Seek::seek(&mut disk, io::SeekFrom::End(0)).map_err(failed)?;
        let mut object = ArrivingObject {
            file: file.clone(),
            path,
            sealer,
            header,
            geometry,
            segment: Zeroizing::new(Vec::with_capacity(
                geometry.segment_plain_bytes() + OVERHEAD_BYTES,
            )),
            next,
            content,
            sink: Sink::after(&name, disk, hash),
            name,
        };
        object.begin_segment();
        Ok(object)
    }

    /// Signs the manifest over all objects, in order, and gives the sealed model its name.
    pub fn finish(self, mut objects: Vec<FinishedObject>) -> Result<Manifest> {
        assert_eq!(objects.len(), self.files.len(), "every file is finished, once");
        let names = self.files.iter().map(|file| file.name.clone()).collect();
        let (plain, geometry) = Index { files: names }.to_bytes()?;
        let aad = self.request.aad(&self.container, INDEX_NAME, geometry);
        let sealed = seal_short(&self.floe_key, &aad, geometry, plain)?;
        let path = self.unfinished.path();
        for left_over in [INDEX_NAME, RECORD_NAME] {
            match fs::remove_file(path.join(left_over)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(SealedModelError::io("write", left_over, error));
                }
                _ => {}
            }
        }
        objects.push(FinishedObject(Object {
            sha256: self.unfinished.file(INDEX_NAME)?.finish(&sealed)?,
            name: INDEX_NAME.to_owned(),
            header: *sealed.first_chunk().expect("a ciphertext begins with its header"),
            geometry,
        }));
        let objects: Vec<Object> = objects.into_iter().map(|object| object.0).collect();
        let (manifest, bundle) = Manifest::sign(
            self.request.model_id,
            self.request.version,
            self.container,
            &objects,
            self.request.owner,
        )?;
        self.unfinished.complete(&bundle)?;
        Ok(manifest)
    }
}

/// One file on its way into its object.
pub struct ArrivingObject {
    file: ArrivingFile,
    path: std::path::PathBuf,
    name: String,
    sealer: Sealer,
    header: Header,
    geometry: Geometry,
    /// Room for the prefix, then the plaintext of the segment that is being filled.
    segment: Zeroizing<Vec<u8>>,
    /// Position of that segment.
    next: u64,
    content: Context,
    sink: Sink,
}

/// An object that is complete and as announced.
pub struct FinishedObject(Object);

impl ArrivingObject {
    /// Bytes of the file that are here: where to go on.
    pub fn bytes_done(&self) -> u64 {
        let before = self.next * self.geometry.segment_plain_bytes() as u64;
        before.min(self.file.bytes) + self.pending() as u64
    }

    /// Takes the next bytes of the file; more than were announced are refused.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.file.bytes - self.bytes_done() {
            return Err(self.differs("it is longer"));
        }
        while !bytes.is_empty() {
            let room = self.geometry.segment_plain_bytes() - self.pending();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.segment.extend_from_slice(now);
            bytes = later;
            if self.pending() == self.geometry.segment_plain_bytes() && !self.geometry.is_last(self.next) {
                self.seal_segment()?;
            }
        }
        Ok(())
    }

    /// Seals the last segment and compares the whole with what was announced. What differs is removed.
    pub fn finish(mut self) -> Result<FinishedObject> {
        if self.bytes_done() < self.file.bytes {
            return Err(self.differs("it is shorter"));
        }
        if self.next < self.geometry.segments() {
            self.seal_segment()?;
        }
        let content = self.content.clone().finish();
        if content.as_ref() != self.file.digest.bytes() {
            let _ = fs::remove_file(&self.path);
            return Err(self.differs("its digest is another"));
        }
        Ok(FinishedObject(Object {
            sha256: self.sink.finish(&[])?,
            name: self.name,
            header: self.header,
            geometry: self.geometry,
        }))
    }

    fn differs(&self, why: &'static str) -> SealedModelError {
        SealedModelError::NotAsAnnounced {
            name: self.file.name.clone(),
            why,
        }
    }

    fn pending(&self) -> usize {
        self.segment.len().saturating_sub(PREFIX_BYTES)
    }

    fn begin_segment(&mut self) {
        self.segment.clear();
        self.segment.resize(PREFIX_BYTES, 0);
    }

    fn seal_segment(&mut self) -> Result<()> {
        self.content.update(&self.segment[PREFIX_BYTES..]);
        let (prefix, tag) = self
            .sealer
            .seal(self.next, &mut self.segment[PREFIX_BYTES..])
            .ok_or(SealedModelError::Random)?;
        self.segment[..PREFIX_BYTES].copy_from_slice(&prefix);
        self.segment.extend_from_slice(&tag);
        self.sink.write(&self.segment)?;
        self.next += 1;
        self.begin_segment();
        Ok(())
    }
}

/// Opens segments from the beginning and feeds both digests; returns how many opened.
fn reopen(
    disk: &File,
    geometry: Geometry,
    opener: &Opener,
    content: &mut Context,
    hash: &mut Context,
) -> io::Result<u64> {
    let capacity = geometry.segment_plain_bytes() as u64;
    let mut segment = Zeroizing::new(Vec::new());
    for position in 0..geometry.segments() {
        let plain_bytes = (geometry.plain_bytes() - position * capacity).min(capacity) as usize;
        segment.resize(plain_bytes + OVERHEAD_BYTES, 0);
        match disk.read_exact_at(&mut segment, geometry.offset(position)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(position),
            other => other?,
        }
        let mut with_segment = hash.clone();
        with_segment.update(&segment);
        let (prefix, rest) = segment
            .split_first_chunk_mut::<PREFIX_BYTES>()
            .expect("the segment has its overhead");
        let (body, tag) = rest
            .split_last_chunk_mut::<TAG_BYTES>()
            .expect("the segment has its overhead");
        if opener.open(position, prefix, body, tag).is_err() {
            return Ok(position);
        }
        content.update(body);
        *hash = with_segment;
    }
    Ok(geometry.segments())
}

/// One plaintext of a single segment as a FLOE ciphertext.
fn seal_short(
    floe_key: &[u8; crate::floe::KEY_BYTES],
    aad: &[u8],
    geometry: Geometry,
    mut plain: Zeroizing<Vec<u8>>,
) -> Result<Vec<u8>> {
    let (sealer, header) = Sealer::start(floe_key, aad, geometry).ok_or(SealedModelError::Random)?;
    let mut sealed = header.to_vec();
    for (position, segment) in plain.chunks_mut(geometry.segment_plain_bytes()).enumerate() {
        let (prefix, tag) = sealer
            .seal(position as u64, segment)
            .ok_or(SealedModelError::Random)?;
        sealed.extend_from_slice(&prefix);
        sealed.extend_from_slice(segment);
        sealed.extend_from_slice(&tag);
    }
    Ok(sealed)
}

fn write_record(file: &mut File, request: &SealRequest<'_>, record: &Record) -> Result<ContainerId> {
    let mut container = ContainerId::default();
    aws_lc_rs::rand::fill(&mut container).map_err(|_| SealedModelError::Random)?;
    let plain = Zeroizing::new(serde_json::to_vec(record).expect("strings are expressible as JSON"));
    let geometry = Geometry::of_plaintext(limits::SEGMENT_BYTES, plain.len() as u64)
        .filter(|geometry| geometry.plain_bytes() <= limits::INDEX_BYTES_MAX)
        .ok_or(SealedModelError::TooLarge {
            what: "list of names",
            limit: limits::INDEX_BYTES_MAX,
        })?;
    let aad = request.aad(&container, RECORD_NAME, geometry);
    let sealed = seal_short(&request.key.floe_key(&container), &aad, geometry, plain)?;
    file.write_all(&[&container[..], &sealed].concat())
        .and_then(|()| file.sync_all())
        .map_err(|error| SealedModelError::io("write", RECORD_NAME, error))?;
    Ok(container)
}

/// The container and what was begun: `None` where nothing was, no record where this key does not open it.
fn read_record(file: &mut File, request: &SealRequest<'_>) -> Result<Option<(ContainerId, Option<Record>)>> {
    let mut bytes = Vec::new();
    file.take(2 * limits::INDEX_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| SealedModelError::io("read", RECORD_NAME, error))?;
    let Some((container, sealed)) = bytes.split_first_chunk_mut::<ID_BYTES>() else {
        file.set_len(0)
            .and_then(|()| io::Seek::rewind(file))
            .map_err(|error| SealedModelError::io("write", RECORD_NAME, error))?;
        return Ok(None);
    };
    let container = *container;
    let record =
        open_short(sealed, &container, request).and_then(|plain| serde_json::from_slice(&plain).ok());
    Ok(Some((container, record)))
}

fn open_short(
    sealed: &mut [u8],
    container: &ContainerId,
    request: &SealRequest<'_>,
) -> Option<Zeroizing<Vec<u8>>> {
    let geometry = Geometry::of_ciphertext(limits::SEGMENT_BYTES, sealed.len() as u64)?;
    let (header, body) = sealed.split_first_chunk_mut::<HEADER_BYTES>()?;
    let aad = request.aad(container, RECORD_NAME, geometry);
    let opener = Opener::start(&request.key.floe_key(container), &aad, geometry, header).ok()?;
    let mut plain = Zeroizing::new(Vec::with_capacity(body.len()));
    for (position, segment) in body.chunks_mut(limits::SEGMENT_BYTES as usize).enumerate() {
        let (prefix, rest) = segment.split_first_chunk_mut::<PREFIX_BYTES>()?;
        let (bytes, tag) = rest.split_last_chunk_mut::<TAG_BYTES>()?;
        opener.open(position as u64, prefix, bytes, tag).ok()?;
        plain.extend_from_slice(bytes);
    }
    Some(plain)
}
