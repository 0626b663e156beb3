//! The disk that a host supplies: the archive of configuration and sealed model as it is, then zeros up to a length that
//! clouds take. It may be larger than memory, so that it is copied and not read whole.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
};

use sha2::{Digest, Sha256};

use crate::{
    disk::{Format, guid},
    gce_archive, vhd,
};

/// What the archive begins with, for init to find its disk.
const FIRST: &str = "enclave.toml";
const BLOCK: usize = 512;

/// Writes the disk of `archive` to `out`, and says how long it is.
///
/// # Errors
/// When the archive is none, or begins with another file; those of the files.
pub fn write(archive: &mut File, format: Format, out: &mut File) -> anyhow::Result<u64> {
    let mut first = [0; BLOCK];
    let begins = archive.read_exact(&mut first).is_ok() && begins_with_configuration(&first);
    anyhow::ensure!(
        begins,
        "the supply does not begin with {FIRST}: tar --format=gnu --owner=0 --group=0 -cf supply.img {FIRST} model/"
    );
    let length = archive.seek(SeekFrom::End(0))?;
    anyhow::ensure!(
        length.is_multiple_of(BLOCK as u64),
        "the supply is no archive of whole blocks"
    );
    archive.rewind()?;
    let bytes = length.next_multiple_of(format.granularity());
    let mut archive = archive.take(length);
    match format {
        Format::Raw => {
            io::copy(&mut archive, out)?;
            out.set_len(bytes)?;
        }
        Format::Vhd => {
            let digest = copy_and_digest(&mut archive, out)?;
            out.set_len(bytes)?;
            out.seek(SeekFrom::Start(bytes))?;
            out.write_all(&vhd::footer(bytes, guid(&digest, "vhd")))?;
        }
        Format::Gce => gce_archive::write_front(&mut archive, length, bytes, BufWriter::new(out))?,
    }
    Ok(bytes)
}

fn begins_with_configuration(block: &[u8; BLOCK]) -> bool {
    let name = block.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = name.strip_prefix(b"./").unwrap_or(name);
    name == FIRST.as_bytes() && block.get(257..262) == Some(b"ustar")
}

fn copy_and_digest(from: &mut impl Read, to: &mut impl Write) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.is_empty() {
            return Ok(digest.finalize().into());
        }
        digest.update(part);
        to.write_all(part)?;
    }
}
