//! Endorsements on disk, by platform and subject.
//!
//! `FOLDER/<platform tag>/<SHA-256 of the subject in hexadecimal>.endorsements` holds what
//! [`Endorsements::encode`] makes. Whoever serves from the folder without this crate finds the file by
//! the same name. Documents are public; a broken or foreign file can only make an appraisal fail.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use attestation::{Endorsements, PlatformTag};
use sha2::{Digest as _, Sha256};

use crate::EndorserError;

const SUBJECT_BYTES_MAX: usize = 256;
const ENDORSEMENTS_BYTES_MAX: usize = 1024 * 1024;
const ENTRIES_MAX: usize = 1024;
const SUFFIX: &str = "endorsements";

/// A cache in a folder. It keeps at most 1024 subjects per platform; the oldest gives way.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens, and creates where missing, a cache in `folder`.
    pub fn open(folder: &Path) -> Result<Self, EndorserError> {
        fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// The endorsements of a subject ([`attestation::endorsement_subject`]); `None` if none are kept.
    /// How old they may be is the appraisal policy's to say.
    pub fn lookup(
        &self,
        platform: PlatformTag,
        subject: &[u8],
    ) -> Result<Option<Endorsements>, EndorserError> {
        let path = self.path(platform, subject)?;
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io(&path, source)),
        };
        let mut bytes = Vec::new();
        let mut bounded = file.take(ENDORSEMENTS_BYTES_MAX as u64 + 1);
        bounded
            .read_to_end(&mut bytes)
            .map_err(|source| io(&path, source))?;
        bound("a cached file", bytes.len(), ENDORSEMENTS_BYTES_MAX)?;
        Endorsements::decode(&bytes)
            .map(Some)
            .map_err(|source| EndorserError::Malformed { path, source })
    }

    /// Keeps the endorsements of a subject in place of what was there; a reader sees the old or the
    /// new, whole.
    pub fn store(
        &self,
        platform: PlatformTag,
        subject: &[u8],
        endorsements: &Endorsements,
    ) -> Result<(), EndorserError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = self.path(platform, subject)?;
        let bytes = endorsements.encode();
        bound("endorsements", bytes.len(), ENDORSEMENTS_BYTES_MAX)?;
        let folder = self.folder.join(platform.as_str());
        fs::create_dir_all(&folder).map_err(|source| io(&folder, source))?;
        self.make_room(&folder, &path)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = folder.join(format!(".{}-{number}.part", std::process::id()));
        let written = fs::File::create(&part)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&part, &path));
        written.map_err(|source| {
            let _ = fs::remove_file(&part);
            io(&path, source)
        })
    }

    fn path(&self, platform: PlatformTag, subject: &[u8]) -> Result<PathBuf, EndorserError> {
        bound("a subject", subject.len(), SUBJECT_BYTES_MAX)?;
        let name = hex::encode(Sha256::digest(subject));
        Ok(self
            .folder
            .join(platform.as_str())
            .join(format!("{name}.{SUFFIX}")))
    }

    /// Removes the oldest entries until one more fits.
    fn make_room(&self, folder: &Path, path: &Path) -> Result<(), EndorserError> {
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
}

fn bound(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), EndorserError> {
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
        let path = cache.path(snp, b"one").expect("a path");
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
