//! What the host supplies: one disk with a tar archive of the configuration and the sealed model.
//!
//! ```text
//! tar --format=gnu --owner=0 --group=0 -cf supply.img enclave.toml model/
//! ```
//!
//! It is found by what it begins with, because clouds attach disks to buses of their choice: the one whole disk whose first
//! block announces `enclave.toml`. A disk that boots begins with a partition table.
//!
//! No file system of the host's is mounted: an archive is read here, front to back, by a reader that knows regular
//! files with two kinds of names and nothing else, each length bounded (POSIX.1-1988 ustar; GNU tar's base-256 for sizes
//! of 8 GiB and more). What it holds is checked by whoever uses it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::error::{EnclaveError, Result};

/// Name of the configuration, in the archive and where it is kept.
pub(super) const CONFIGURATION: &str = "enclave.toml";
/// Folder of the sealed model: `model.path` of the configuration is this below `/run/adyton`.
const MODEL: &str = "model";

const BLOCK_BYTES: usize = 512;
const CONFIGURATION_BYTES_MAX: u64 = 64 << 10;
const FILES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 80;
const BUFFER_BYTES: usize = 1 << 20;
/// Drivers find disks while init goes on; a cloud attaches them while the machine boots.
const DISK_SECONDS_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

fn fault(what: &'static str) -> EnclaveError {
    EnclaveError::Init(what)
}

/// The disk that begins with the configuration.
pub(super) fn disk() -> Result<File> {
    let begun = Instant::now();
    loop {
        match candidate(Path::new("/sys/block"), Path::new("/dev"))? {
            Some(disk) => return Ok(disk),
            None if begun.elapsed() < DISK_SECONDS_MAX => std::thread::sleep(LOOK),
            None => return Err(fault("the host supplies no disk")),
        }
    }
}

/// The one disk of those that are there which begins with the configuration, read from its beginning. `folder` has one
/// entry for each whole disk, those of the kernel's own making without a device behind them.
fn candidate(folder: &Path, devices: &Path) -> Result<Option<File>> {
    let mut found = None;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.path().join("device").exists() {
            continue;
        }
        let Some(disk) = supplied(&devices.join(entry.file_name())) else {
            continue;
        };
        if found.replace(disk).is_some() {
            return Err(fault("two disks begin with enclave.toml"));
        }
    }
    Ok(found)
}

/// The disk at `path`, if it begins with the configuration. One that cannot be read is none.
fn supplied(path: &Path) -> Option<File> {
    let mut disk = File::open(path).ok()?;
    let mut header = [0; BLOCK_BYTES];
    disk.read_exact(&mut header).ok()?;
    let first = entry(&header).ok()??;
    disk.rewind().ok()?;
    (first.name == Path::new(CONFIGURATION)).then_some(disk)
}

/// Reads the archive to its end, and keeps its files below `run`.
pub(super) fn unpack(disk: &mut impl Read, run: &Path) -> Result<()> {
    let mut folder = fs::DirBuilder::new();
    folder.recursive(true).mode(0o700);
    folder
        .create(run.join(MODEL))
        .map_err(|_| fault("no memory for the supply"))?;
    let mut header = [0; BLOCK_BYTES];
    let mut configured = false;
    for _ in 0..FILES_MAX {
        disk.read_exact(&mut header)
            .map_err(|_| fault("the supply is cut"))?;
        if header == [0; BLOCK_BYTES] {
            return if configured {
                Ok(())
            } else {
                Err(fault("the supply has no enclave.toml"))
            };
        }
        let Some(file) = entry(&header)? else { continue };
        configured |= file.name == Path::new(CONFIGURATION);
        keep(disk, &file, run)?;
    }
    Err(fault("the supply has too many files"))
}

/// A regular file of the archive.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: PathBuf,
    bytes: u64,
}

/// The file that a header announces; `None` for the model's folder itself.
fn entry(header: &[u8; BLOCK_BYTES]) -> Result<Option<Entry>> {
    let malformed = || fault("the supply is not an archive");
    let field = |at: usize, bytes: usize| header.get(at..at + bytes).unwrap_or_default();
    let sum: u32 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    if number(field(148, 8)) != Some(sum.into()) {
        return Err(malformed());
    }
    if field(345, 1) != [0] && field(257, 6) == b"ustar\0" {
        return Err(fault("the supply has a name that is too long"));
    }
    let name = field(0, 100).split(|byte| *byte == 0).next().unwrap_or_default();
    let name = core::str::from_utf8(name).map_err(|_| malformed())?;
    let name = name.strip_prefix("./").unwrap_or(name);
    let bytes = number(field(124, 12)).ok_or_else(malformed)?;
    match (header[156], name.split_once('/')) {
        (b'5', Some((MODEL, ""))) if bytes == 0 => Ok(None),
        (b'0' | 0, None) if name == CONFIGURATION => {
            if bytes > CONFIGURATION_BYTES_MAX {
                return Err(fault("enclave.toml is over 64 KiB"));
            }
            Ok(Some(Entry {
                name: CONFIGURATION.into(),
                bytes,
            }))
        }
        (b'0' | 0, Some((MODEL, file))) if is_plain(file) => Ok(Some(Entry {
            name: Path::new(MODEL).join(file),
            bytes,
        })),
        _ => Err(fault("the supply has a file of another name or kind")),
    }
}

/// A name without a way out: letters, digits and a few signs, not beginning with a dot.
fn is_plain(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Octal with spaces or NULs around it, or base 256 with the first bit set.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first == 0x80 {
        let (high, low) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
        return high
            .iter()
            .all(|byte| *byte == 0)
            .then(|| u64::from_be_bytes(low.try_into().unwrap_or_default()));
    }
    let text = core::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() || !text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return None;
    }
    u64::from_str_radix(text, 8).ok()
}

fn keep(disk: &mut impl Read, file: &Entry, run: &Path) -> Result<()> {
    let kept = copy(disk, file, &run.join(&file.name));
    kept.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => fault("the supply is cut"),
        io::ErrorKind::AlreadyExists => fault("the supply has a file twice"),
        _ => fault("no memory for the supply"),
    })
}

fn copy(disk: &mut impl Read, file: &Entry, path: &Path) -> io::Result<()> {
    let mut to = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = file.bytes;
    while left > 0 {
        let next = usize::try_from(left).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        let part = buffer.get_mut(..next).unwrap_or_default();
        disk.read_exact(part)?;
        to.write_all(part)?;
        left -= next as u64;
    }
    let padding = (file.bytes.next_multiple_of(BLOCK_BYTES as u64) - file.bytes) as usize;
    disk.read_exact(buffer.get_mut(..padding).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One file as GNU tar writes it.
    fn file(name: &str, kind: u8, contents: &[u8]) -> Vec<u8> {
        let mut header = [0; BLOCK_BYTES];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar  \0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(contents);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        bytes
    }

    fn archive(files: &[Vec<u8>]) -> Vec<u8> {
        [files.concat(), vec![0; 2 * BLOCK_BYTES]].concat()
    }

    fn unpacked(archive: &[u8]) -> core::result::Result<tempfile::TempDir, String> {
        let folder = tempfile::tempdir().expect("a folder");
        match unpack(&mut &archive[..], folder.path()) {
            Ok(()) => Ok(folder),
            Err(error) => Err(error.to_string()),
        }
    }

    fn configuration() -> Vec<u8> {
        file(CONFIGURATION, b'0', b"threads = 1\n")
    }

    #[test]
    fn configuration_and_model_are_kept() {
        let segment = vec![9; 3 * BLOCK_BYTES + 7];
        let folder = unpacked(&archive(&[
            configuration(),
            file("model/", b'5', b""),
            file("model/manifest.json", b'0', b"{}"),
            file("./model/weights-00001.sealed", b'0', &segment),
        ]))
        .expect("an archive");
        let read = |name: &str| fs::read(folder.path().join(name)).expect("kept");
        assert_eq!(read(CONFIGURATION), b"threads = 1\n");
        assert_eq!(read("model/manifest.json"), b"{}");
        assert_eq!(read("model/weights-00001.sealed"), segment);
    }

    #[test]
    fn what_gnu_tar_writes_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join(MODEL)).expect("a folder");
        fs::write(folder.path().join(CONFIGURATION), b"threads = 2\n").expect("written");
        fs::write(folder.path().join("model/wraps.json"), [7; 1000]).expect("written");
        let tar = std::process::Command::new("tar")
            .args([
                "--format=gnu",
                "--owner=0",
                "--group=0",
                "-cf",
                "-",
                CONFIGURATION,
                MODEL,
            ])
            .current_dir(folder.path())
            .output()
            .expect("tar is everywhere");
        let out = unpacked(&tar.stdout).expect("an archive");
        assert_eq!(
            fs::read(out.path().join("model/wraps.json")).expect("kept"),
            [7; 1000]
        );
    }

    #[test]
    fn the_disk_is_the_one_that_begins_with_the_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let (block, dev) = (folder.path().join("block"), folder.path().join("dev"));
        fs::create_dir(&block).expect("made");
        fs::create_dir(&dev).expect("made");
        let attach = |name: &str, contents: &[u8], device: bool| {
            fs::create_dir(block.join(name)).expect("made");
            if device {
                fs::create_dir(block.join(name).join("device")).expect("made");
            }
            fs::write(dev.join(name), contents).expect("written");
        };
        let found = || candidate(&block, &dev).map_err(|error| error.to_string());
        let supply = archive(&[configuration(), file("model/a", b'0', b"a")]);
        let mut boots = vec![0; 1 << 20];
        boots[510..512].copy_from_slice(&[0x55, 0xaa]);
        boots[512..520].copy_from_slice(b"EFI PART");

        assert!(found().expect("none").is_none());
        attach("sda", &boots, true);
        attach(
            "sdb",
            &archive(&[file("model/a", b'0', b"a"), configuration()]),
            true,
        );
        attach("sdc", b"short", true);
        attach("sdd", &[0; 4096], true);
        attach("loop0", &supply, false);
        fs::create_dir_all(block.join("nvme0c0n1/device")).expect("made"); // a path that has no node
        assert!(found().expect("none").is_none(), "none of these is the supply");
        attach("nvme0n2", &supply, true);
        let mut read = Vec::new();
        let disk = found().expect("one").expect("it is there");
        (&disk).read_to_end(&mut read).expect("read");
        assert_eq!(read, supply, "from the beginning");
        attach("vda", &supply, true);
        assert!(found().expect_err("two").contains("two disks"));
    }

    #[test]
    fn other_names_and_kinds_are_refused() {
        for (name, kind) in [
            ("/etc/passwd", b'0'),
            ("../escape", b'0'),
            ("model/../escape", b'0'),
            ("model/deep/file", b'0'),
            ("model/.hidden", b'0'),
            ("model/", b'0'),
            ("model/a b", b'0'),
            ("model/link", b'2'),
            ("model/hard", b'1'),
            ("model/device", b'3'),
            ("other/", b'5'),
            ("init", b'0'),
        ] {
            let refusal = unpacked(&archive(&[configuration(), file(name, kind, b"")])).expect_err(name);
            assert!(refusal.contains("another name or kind"), "{name}: {refusal}");
        }
    }

    #[test]
    fn archives_that_are_cut_doubled_or_changed_are_refused() {
        let whole = archive(&[configuration(), file("model/segment", b'0', &[1; 700])]);
        for length in (0..whole.len() - 2 * BLOCK_BYTES).step_by(61) {
            assert!(unpacked(&whole[..length]).is_err(), "{length}");
        }
        for at in 0..157 {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(unpacked(&changed).is_err(), "{at}");
        }
        let twice = archive(&[configuration(), configuration()]);
        assert!(unpacked(&twice).expect_err("twice").contains("twice"));
        assert!(
            unpacked(&archive(&[]))
                .expect_err("empty")
                .contains("no enclave.toml")
        );
        let large = file(CONFIGURATION, b'0', &vec![b'#'; 65 << 10]);
        assert!(
            unpacked(&archive(&[large]))
                .expect_err("large")
                .contains("64 KiB")
        );
    }

    #[test]
    fn sizes_are_octal_or_base_256() {
        assert_eq!(number(b"00000001750\0"), Some(1000));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), Some(2 << 32));
        assert_eq!(number(&[0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0]), None);
        assert_eq!(number(b"9999999\0"), None);
        assert_eq!(number(b"        \0"), None);
        assert_eq!(number(b""), None);
    }
}
