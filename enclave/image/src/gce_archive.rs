//! What Compute Engine imports: `disk.raw` in a tar archive of GNU's old format, compressed with gzip (RFC 1952).
//!
//! The archive is sparse, as Google's page on custom images has it made (`tar --format=oldgnu -Sczf`): the disk is a
//! whole GiB, most of it holes. Owner, mode and time are constants.

use std::io::{self, Read, Write};

use flate2::{Compression, GzBuilder};

use crate::disk::Disk;

const BLOCK: usize = 512;
/// Places in the header, and in each block that continues it (GNU tar manual, "Storing Sparse Files").
const IN_HEADER: usize = 4;
const IN_EXTENSION: usize = 21;

/// Writes the archive.
///
/// # Errors
/// Those of `out`.
pub fn write(disk: &Disk<'_>, out: impl Write) -> io::Result<()> {
    // mtime 0 says "no time"; no name, no comment.
    let mut out = GzBuilder::new().mtime(0).write(out, Compression::new(6));
    let runs = runs(disk);
    let stored: u64 = runs.iter().map(|(_, bytes)| bytes).sum();
    out.write_all(&header(&runs, stored, disk.bytes))?;
    for extension in extensions(&runs) {
        out.write_all(&extension)?;
    }
    let mut written = 0;
    for (_, part) in &disk.extents {
        out.write_all(part)?;
        // What fills a run's last sector.
        let fill = part.len().next_multiple_of(BLOCK) - part.len();
        out.write_all(&vec![0; fill])?;
        written += (part.len() + fill) as u64;
    }
    debug_assert_eq!(written, stored, "runs are the extents in whole sectors");
    out.write_all(&[0; 2 * BLOCK])?;
    out.finish()?.flush()
}

/// Writes an archive of a file that begins with `length` bytes of `data`, a whole number of blocks, and goes on with zeros
/// to `real`.
///
/// # Errors
/// Those of `data` and `out`.
pub fn write_front(data: &mut impl Read, length: u64, real: u64, out: impl Write) -> io::Result<()> {
    // What is sealed has no shorter form: most of the time would go into looking for one.
    let mut out = GzBuilder::new().mtime(0).write(out, Compression::fast());
    let runs = [(0, length), (real, 0)]; // the second says where a file ends that ends in a hole
    out.write_all(&header(&runs, length, real))?;
    if io::copy(data, &mut out)? != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    out.write_all(&[0; 2 * BLOCK])?;
    out.finish()?.flush()
}

/// Where data is, in whole sectors, and the end of the file.
fn runs(disk: &Disk<'_>) -> Vec<(u64, u64)> {
    let whole = |bytes: usize| bytes.next_multiple_of(BLOCK) as u64;
    disk.extents
        .iter()
        .map(|(at, part)| (*at, whole(part.len())))
        .collect()
}

fn header(runs: &[(u64, u64)], stored: u64, real: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"disk.raw");
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, &octal(stored));
    put(136, &octal(0));
    put(148, b"        "); // the checksum's own place counts as spaces
    put(156, b"S");
    put(257, b"ustar  \0");
    put(265, b"root");
    put(297, b"root");
    for (index, run) in runs.iter().take(IN_HEADER).enumerate() {
        put(386 + index * 24, &place(*run));
    }
    put(482, &[u8::from(runs.len() > IN_HEADER)]);
    put(483, &octal(real));
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn extensions(runs: &[(u64, u64)]) -> Vec<[u8; BLOCK]> {
    let chunks = runs.get(IN_HEADER..).unwrap_or_default().chunks(IN_EXTENSION);
    let count = chunks.len();
    chunks
        .enumerate()
        .map(|(number, chunk)| {
            let mut block = [0; BLOCK];
            for (index, run) in chunk.iter().enumerate() {
                block[index * 24..][..24].copy_from_slice(&place(*run));
            }
            block[504] = u8::from(number + 1 < count);
            block
        })
        .collect()
}

fn place((at, bytes): (u64, u64)) -> [u8; 24] {
    let mut place = [0; 24];
    place[..12].copy_from_slice(&octal(at));
    place[12..].copy_from_slice(&octal(bytes));
    place
}

/// Eleven octal digits and a NUL; from 8 GiB on GNU's base 256, which the first bit announces.
fn octal(number: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if number < 8 << 30 {
        field[..11].copy_from_slice(format!("{number:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&number.to_be_bytes());
    }
    field
}
