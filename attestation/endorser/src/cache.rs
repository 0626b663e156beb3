//! Endorsements on disk, by platform and subject.
//!
//! `FOLDER/<platform tag>/<SHA-256 of the subject in hexadecimal>.endorsements` holds what
//! [`Endorsements::encode`] makes. Whoever serves from the folder without this crate finds the file by
//! the same name. Documents are public; a broken or foreign file can only make an appraisal fail.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use attestation::{Endorsements, PlatformTag};

use crate::EndorserError;
use crate::place::Place;

pub(crate) const ENDORSEMENTS_BYTES_MAX: usize = 1024 * 1024;
const ENTRIES_MAX: usize = 1024;
const SUFFIX: &str = "endorsements";
const LOCK: &str = ".lock";

/// A cache in a folder. It keeps at most 1024 subjects per platform; the oldest gives way.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// Keeps other processes from changing the cache while it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Cache {
    /// Opens, and creates where missing, a cache in `folder`.
    pub fn open(folder: &Path) -> Result<Self, EndorserError> {
        fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The endorsements of a subject ([`attestation::endorsement_subject`]); `None` if none are kept.
    /// How old they may be is the appraisal policy's to say.
    pub fn lookup(
        &self,
        platform: PlatformTag,
        subject: &[u8],
    ) -> Result<Option<Endorsements>, EndorserError> {
        self.read(&Place::of(platform, subject)?)
    }

    /// Keeps the endorsements of a subject in place of what was there; a reader sees the old or the
    /// new, whole.
    pub fn store(
        &self,
        platform: PlatformTag,
        subject: &[u8],
        endorsements: &Endorsements,
    ) -> Result<(), EndorserError> {
        self.write(&Place::of(platform, subject)?, endorsements)
    }

    /// The endorsements in a place.
    pub(crate) fn read(&self, place: &Place) -> Result<Option<Endorsements>, EndorserError> {
        let path = self.path(place);
        let Some(bytes) = read_bounded(&path, ENDORSEMENTS_BYTES_MAX)? else {
            return Ok(None);
        };
        Endorsements::decode(&bytes)
            .map(Some)
            .map_err(|source| EndorserError::Malformed { path, source })
    }

    /// Keeps endorsements in a place.
    pub(crate) fn write(&self, place: &Place, endorsements: &Endorsements) -> Result<(), EndorserError> {
        let path = self.path(place);
        let bytes = endorsements.encode();
        bound("endorsements", bytes.len(), ENDORSEMENTS_BYTES_MAX)?;
        let folder = self.folder.join(place.folder());
        fs::create_dir_all(&folder).map_err(|source| io(&folder, source))?;
        make_room(&folder, &path)?;
        write_whole(&path, &bytes)
    }

    /// Whether anything is kept in a place.
    pub(crate) fn holds(&self, place: &Place) -> bool {
        self.path(place).is_file()
    }

    /// Every place that holds something, in order.
    pub(crate) fn places(&self) -> Result<Vec<Place>, EndorserError> {
        let mut places = Vec::new();
        for name in Place::folders() {
            let folder = self.folder.join(name);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(source) => return Err(io(&folder, source)),
            };
            for entry in entries {
                let path = entry.map_err(|source| io(&folder, source))?.path();
                let digits = path
                    .extension()
                    .filter(|extension| *extension == SUFFIX)
                    .and_then(|_| path.file_stem()?.to_str());
                places.extend(digits.and_then(|digits| Place::at(name, digits)));
            }
        }
        places.sort();
        Ok(places)
    }

    /// Waits until nobody else changes the cache. Readers need no lock: files are replaced whole.
    pub(crate) fn lock(&self) -> Result<Lock, EndorserError> {
        let path = self.folder.join(LOCK);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .and_then(|file| file.lock().map(|()| Lock { _file: file }))
            .map_err(|source| io(&path, source))
    }

    fn path(&self, place: &Place) -> PathBuf {
        self.folder
            .join(place.folder())
            .join(format!("{}.{SUFFIX}", place.digits()))
    }
}

/// Removes the oldest entries until one more fits.
fn make_room(folder: &Path, path: &Path) -> Result<(), EndorserError> {
    if path.exists() {
        return Ok(());
    }
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| io(folder, source))? {
        let entry = entry.map_err(|source| io(folder, source))?.path();
        if entry.extension().is_some_and(|extension| extension == SUFFIX) {
            let modified = fs::metadata(&entry).and_then(|metadata| metadata.modified());
            kept.push((modified.map_err(|source| io(&entry, source))?, entry));
        }
    }
    kept.sort();
    let surplus = (kept.len() + 1).saturating_sub(ENTRIES_MAX);
    for (_, entry) in kept.into_iter().take(surplus) {
        fs::remove_file(&entry).map_err(|source| io(&entry, source))?;
    }
    Ok(())
}

/// A file's bytes, `None` if there is no such file.
pub(crate) fn read_bounded(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, EndorserError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io(path, source)),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| io(path, source))?;
    bound("a cached file", bytes.len(), bytes_max)?;
    Ok(Some(bytes))
}

/// Writes a file whole or not at all: a new one beside it, synced, then renamed over it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), EndorserError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let part = path.with_file_name(format!(".{}-{number}.part", std::process::id()));
    let written = File::create(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&part);
        io(path, source)
    })
}

pub(crate) fn bound(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), EndorserError> {
    if bytes > bytes_max {
        Err(EndorserError::Bound {
            what,
            bytes,
            bytes_max,
        })
    } else {
        Ok(())
    }
}

fn io(path: &Path, source: std::io::Error) -> EndorserError {
    EndorserError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use attestation::{EndorsementKind, Endorsements, PlatformTag};

    use super::{Cache, ENTRIES_MAX};
    use crate::EndorserError;
    use crate::place::Place;

    fn endorsements(content: &[u8]) -> Endorsements {
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::SnpCrl, content.to_vec());
        endorsements
    }

    #[test]
    fn what_was_stored_is_found_under_its_platform_and_subject_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(&folder.path().join("cache")).expect("it opens");
        let snp = PlatformTag::AmdSevSnp;
        assert_eq!(cache.lookup(snp, b"one").expect("nothing yet"), None);
        cache
            .store(snp, b"one", &endorsements(b"1"))
            .expect("it is stored");
        cache
            .store(snp, b"two", &endorsements(b"2"))
            .expect("it is stored");
        assert_eq!(
            cache.lookup(snp, b"one").expect("it is there"),
            Some(endorsements(b"1"))
        );
        assert_eq!(
            cache.lookup(snp, b"two").expect("it is there"),
            Some(endorsements(b"2"))
        );
        assert_eq!(
            cache
                .lookup(PlatformTag::SimulatedAmdSevSnp, b"one")
                .expect("nothing"),
            None
        );
        cache
            .store(snp, b"one", &endorsements(b"3"))
            .expect("it is replaced");
        let again = Cache::open(&folder.path().join("cache")).expect("it opens");
        assert_eq!(
            again.lookup(snp, b"one").expect("it is there"),
            Some(endorsements(b"3"))
        );
    }

    #[test]
    fn the_file_is_where_the_documentation_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("it opens");
        cache
            .store(PlatformTag::IntelTdx, b"abc", &endorsements(b"1"))
            .expect("it is stored");
        // SHA-256("abc"), FIPS 180-4 example.
        let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.endorsements";
        let bytes = std::fs::read(folder.path().join("intel-tdx").join(name)).expect("it is there");
        assert_eq!(bytes, endorsements(b"1").encode());
    }

    #[test]
    fn a_broken_file_is_an_error_and_can_be_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("it opens");
        let snp = PlatformTag::AmdSevSnp;
        cache
            .store(snp, b"one", &endorsements(b"1"))
            .expect("it is stored");
        let path = cache.path(&Place::of(snp, b"one").expect("a place"));
        for broken in [&b""[..], b"\xff", &[0; super::ENDORSEMENTS_BYTES_MAX + 1]] {
            std::fs::write(&path, broken).expect("it is written");
            let error = cache.lookup(snp, b"one").expect_err("broken");
            assert!(
                matches!(
                    error,
                    EndorserError::Malformed { .. } | EndorserError::Bound { .. }
                ),
                "{error}"
            );
        }
        cache
            .store(snp, b"one", &endorsements(b"1"))
            .expect("it is stored");
        assert!(cache.lookup(snp, b"one").expect("it is there").is_some());
    }

    #[test]
    fn subjects_endorsements_and_entries_are_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("it opens");
        let snp = PlatformTag::AmdSevSnp;
        assert_eq!(
            cache.lookup(snp, &[0; 257]).expect_err("too long").code(),
            "endorser-bound"
        );
        let large = endorsements(&vec![0; super::ENDORSEMENTS_BYTES_MAX]);
        assert_eq!(
            cache.store(snp, b"one", &large).expect_err("too large").code(),
            "endorser-bound"
        );
        let entries = folder.path().join(snp.as_str());
        std::fs::create_dir_all(&entries).expect("a folder");
        for number in 0..ENTRIES_MAX {
            std::fs::write(entries.join(format!("{number}.endorsements")), b"").expect("it is written");
        }
        cache
            .store(snp, b"one", &endorsements(b"1"))
            .expect("it is stored");
        assert_eq!(
            std::fs::read_dir(&entries).expect("a folder").count(),
            ENTRIES_MAX
        );
        assert!(cache.lookup(snp, b"one").expect("it is there").is_some());
    }
}
