//! The software key store: the tenant's key-encryption key and the log's signing key, each in a file of mode 0600.
//!
//! Development grade: who reads the files and the store holds every model key. A key in a KMS or HSM comes with its
//! own implementation and then with a trait; the gate needs only [`TenantKeys`]' two operations.
//!
//! The KEK file has one line for each version of the key, the newest last:
//! `adyton-tenant-kek-v1 VERSION BASE64(32 bytes)`.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use sealed_model::{ModelKey, TenantKek, Wrap, WrapContext};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{BrokerError, Result};

const KEK_TAG: &str = "adyton-tenant-kek-v1";
/// A key file is a few lines; a larger one is not ours.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Whether a key file may be made when it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstStart {
    /// The store is empty: nothing depends on a key yet.
    Yes,
    /// Something in the store needs the key that was there.
    No,
}

/// All versions of the tenant's key-encryption key; wiped on drop.
pub struct TenantKeys {
    path: PathBuf,
    kek_id: String,
    /// Oldest first, never empty.
    versions: Vec<TenantKek>,
}

impl TenantKeys {
    /// Reads the key file, or makes it on the first start.
    ///
    /// # Errors
    /// `key-missing`, `key-exposed`, `key-malformed` or `key-file`.
    pub fn load(path: &Path, kek_id: &str, first_start: FirstStart) -> Result<Self> {
        if !path.exists() {
            if first_start == FirstStart::No {
                return Err(BrokerError::KeyMissing(path.to_owned()));
            }
            write_new(path, kek_line(1, &random_key()?).as_bytes())?;
        }
        let text = read_secret(path)?;
        let versions =
            parse_kek_lines(&text, kek_id).ok_or_else(|| BrokerError::KeyMalformed(path.to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            kek_id: kek_id.to_owned(),
            versions,
        })
    }

    /// Wraps a model key under the newest version.
    ///
    /// # Errors
    /// A fault of the sealed-model crate.
    pub fn wrap(&self, key: &ModelKey, context: &WrapContext<'_>) -> sealed_model::Result<Wrap> {
        self.newest().wrap(key, context)
    }

    /// Opens a wrap under the version that it names.
    ///
    /// # Errors
    /// A fault of the sealed-model crate: another key, or a damaged wrap.
    pub fn unwrap(&self, wrap: &Wrap, context: &WrapContext<'_>) -> sealed_model::Result<ModelKey> {
        let named = self.versions.iter().find(|kek| kek.version() == wrap.version);
        named.unwrap_or_else(|| self.newest()).unwrap(wrap, context)
    }

    /// The name of the key in wraps.
    pub fn kek_id(&self) -> &str {
        &self.kek_id
    }

    /// The newest version's number.
    pub fn version(&self) -> u32 {
        self.newest().version()
    }

    /// Adds a version, durably, before anything is wrapped under it.
    ///
    /// # Errors
    /// `key-file` when the file cannot be replaced; the old versions then stay as they were.
    pub fn rotate(&mut self) -> Result<()> {
        let next = self.version().saturating_add(1);
        let key = random_key()?;
        let mut text = read_secret(&self.path)?;
        text.push_str(&kek_line(next, &key));
        replace(&self.path, text.as_bytes())?;
        self.versions.push(TenantKek::from_bytes(&self.kek_id, next, key));
        Ok(())
    }

    fn newest(&self) -> &TenantKek {
        self.versions
            .last()
            .expect("parse_kek_lines refuses a file without keys")
    }
}

fn kek_line(version: u32, key: &Zeroizing<[u8; 32]>) -> Zeroizing<String> {
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(key.as_slice()));
    Zeroizing::new(format!("{KEK_TAG} {version} {}\n", encoded.as_str()))
}

fn parse_kek_lines(text: &str, kek_id: &str) -> Option<Vec<TenantKek>> {
    let mut versions: Vec<TenantKek> = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (tag, version, key) = (words.next()?, words.next()?, words.next()?);
        if tag != KEK_TAG || words.next().is_some() {
            return None;
        }
        let version: u32 = version.parse().ok()?;
        if versions.last().is_some_and(|last| last.version() >= version) {
            return None;
        }
        let decoded = Zeroizing::new(BASE64_STANDARD.decode(key).ok()?);
        let mut bytes = Zeroizing::new([0; 32]);
        if decoded.len() != bytes.len() {
            return None;
        }
        bytes.copy_from_slice(&decoded);
        versions.push(TenantKek::from_bytes(kek_id, version, bytes));
    }
    (!versions.is_empty()).then_some(versions)
}

fn random_key() -> Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(|_| BrokerError::Random)?;
    Ok(key)
}

/// Refuses a secret file that group or others may read.
pub(crate) fn refuse_exposed(path: &Path) -> Result<()> {
    let metadata = std::fs::metadata(path).map_err(|source| BrokerError::KeyFile {
        path: path.to_owned(),
        source,
    })?;
    if metadata.mode() & 0o077 != 0 {
        return Err(BrokerError::KeyExposed(path.to_owned()));
    }
    Ok(())
}

/// Reads a secret text file that only its owner may read.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<String>> {
    refuse_exposed(path)?;
    let io = |source| BrokerError::KeyFile {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length > KEY_FILE_BYTES_MAX {
        return Err(BrokerError::KeyMalformed(path.to_owned()));
    }
    // Room for the whole file at once, so that no copy is left behind by a buffer that grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(KEY_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    String::from_utf8(std::mem::take(&mut *bytes))
        .map(Zeroizing::new)
        .map_err(|error| {
            error.into_bytes().zeroize();
            BrokerError::KeyMalformed(path.to_owned())
        })
}

/// Writes a secret file that does not exist yet: mode 0600, synced with its folder.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |source| BrokerError::KeyFile {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    sync_folder(path).map_err(io)
}

/// Writes a file that anyone may read, unless it says so already.
pub(crate) fn write_public(path: &Path, bytes: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|held| held == bytes) {
        return Ok(());
    }
    std::fs::write(path, bytes).map_err(|source| BrokerError::KeyFile {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let sibling = path.with_file_name(name);
    match std::fs::remove_file(&sibling) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(BrokerError::KeyFile {
                path: sibling,
                source,
            });
        }
        _ => {}
    }
    write_new(&sibling, bytes)?;
    std::fs::rename(&sibling, path)
        .and_then(|()| sync_folder(path))
        .map_err(|source| BrokerError::KeyFile {
            path: path.to_owned(),
            source,
        })
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
