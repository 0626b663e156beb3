//! Files that hold keys: read only if nobody else can, written so from the first byte.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Result, SealError};

/// A key or a certificate in PEM is far below.
const BYTES_MAX: u64 = 64 << 10;

/// Reads a file that must not be readable by group or others.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<String>> {
    let file = File::open(path).map_err(|error| SealError::file("read", path, error))?;
    let mode = file
        .metadata()
        .map_err(|error| SealError::file("read", path, error))?
        .permissions()
        .mode()
        & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SealError::KeyExposed {
            path: path.to_owned(),
            mode,
        });
    }
    read_text(file, path, BYTES_MAX)
}

/// Reads a text file of bounded length.
pub(crate) fn read_public(path: &Path, bytes_max: u64) -> Result<Zeroizing<String>> {
    read_text(
        File::open(path).map_err(|error| SealError::file("read", path, error))?,
        path,
        bytes_max,
    )
}

fn read_text(file: File, path: &Path, bytes_max: u64) -> Result<Zeroizing<String>> {
    // Reserved at once, so that no shorter copy of a secret is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(bytes_max.min(BYTES_MAX) as usize + 1));
    file.take(bytes_max + 1)
        .read_to_string(&mut text)
        .map_err(|error| SealError::file("read", path, error))?;
    if text.len() as u64 > bytes_max {
        return Err(SealError::TooLarge {
            path: path.to_owned(),
            bytes_max,
        });
    }
    Ok(text)
}

/// Writes a new file, mode 0600, whole or not at all; never over another.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    write_new(path, text, 0o600)
}

/// Writes a new file that anyone may read.
pub(crate) fn write_public(path: &Path, text: &str) -> Result<()> {
    write_new(path, text, 0o644)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let mut file = opened.map_err(|error| SealError::file("write", path, error))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| {
            let _ = fs::remove_file(path);
            SealError::file("write", path, error)
        })
}
