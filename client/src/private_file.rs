//! Files of this command: bounded reads, atomic writes, secrets readable by their owner only.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use zeroize::Zeroizing;

use crate::error::ClientError;

/// Mode of a secret file.
pub const SECRET_MODE: u32 = 0o600;
/// Mode of a file that anyone may read, inside a directory that only its owner enters.
pub const PUBLIC_MODE: u32 = 0o644;
/// Mode of the state directory and everything below it.
pub const DIRECTORY_MODE: u32 = 0o700;

/// Reads at most `bytes_max` bytes; wiped when dropped, because the file may hold a secret.
pub fn read(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let failed = |source| ClientError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let capacity = usize::try_from(length.min(bytes_max)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ClientError::TooLarge {
            path: path.to_owned(),
            bytes_max,
        });
    }
    Ok(bytes)
}

/// Reads UTF-8 text of at most `bytes_max` bytes.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, ClientError> {
    let bytes = read(path, bytes_max)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(ClientError::Config {
            path: path.to_owned(),
            problem: "it is not UTF-8 text".to_owned(),
        }),
    }
}

/// Writes a file whole or not at all: a new file beside it, synced, then renamed over it.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ClientError> {
    let failed = |source| ClientError::Write {
        path: path.to_owned(),
        source,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = path.with_file_name(name);
    let written = write_new(&new, bytes, mode).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&new);
        failed(error)
    })
}

/// Writes a secret file that must not exist yet: a key is never overwritten by accident.
pub fn create_secret(path: &Path, bytes: &[u8]) -> Result<(), ClientError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(SECRET_MODE)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|source| ClientError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Makes a directory and its parents; the directory itself is entered by its owner only.
pub fn create_directory(path: &Path) -> Result<(), ClientError> {
    let failed = |source| ClientError::Write {
        path: path.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE)).map_err(failed)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    // An older file of that name keeps its mode when it is opened again.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_0600_even_where_an_open_file_was() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("key");
        fs::write(&path, "old").expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("own file");
        write(&path, b"new", SECRET_MODE).expect("writable");
        assert_eq!(
            fs::metadata(&path).expect("exists").permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read(&path).expect("readable"), b"new");
        assert_eq!(
            fs::read_dir(dir.path()).expect("readable").count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_key_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("key");
        create_secret(&path, b"first").expect("new file");
        let error = create_secret(&path, b"second").expect_err("it exists");
        assert_eq!(error.code(), "file-unwritable");
        assert_eq!(fs::read(&path).expect("readable"), b"first");
    }

    #[test]
    fn reading_is_bounded() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("file");
        fs::write(&path, [0; 11]).expect("writable");
        assert_eq!(read(&path, 11).expect("within").len(), 11);
        assert_eq!(read(&path, 10).expect_err("above").code(), "file-too-large");
    }

    #[test]
    fn the_directory_is_0700() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a/b");
        create_directory(&path).expect("creatable");
        assert_eq!(
            fs::metadata(&path).expect("exists").permissions().mode() & 0o777,
            0o700
        );
    }
}
