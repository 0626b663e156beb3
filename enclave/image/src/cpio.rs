//! The initrd's archive: newc (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Written sorted, with one owner, one time and counted inodes, so that the same files make the same bytes. Read back by
//! the check, with every length bounded by what is there.

use std::collections::BTreeMap;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder, mode 0755.
    Directory,
    /// A file: its mode and contents.
    File(u32, Vec<u8>),
    /// A character device, mode 0600: major and minor.
    CharacterDevice(u32, u32),
}

/// Entries by path, without a leading slash.
pub type Tree = BTreeMap<String, Entry>;

const MAGIC: &[u8] = b"070701";
const HEADER_BYTES: usize = 110;
const TRAILER: &str = "TRAILER!!!";
const PATH_BYTES_MAX: usize = 4096;
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
/// The time of every entry: the first second, as nothing is older.
const TIME: u32 = 1;

/// The archive of `tree`.
pub fn write(tree: &Tree) -> Vec<u8> {
    let mut archive = Vec::new();
    for (inode, (path, entry)) in (1_u32..).zip(tree) {
        let (mode, links, contents, device): (_, _, &[u8], _) = match entry {
            Entry::Directory => (DIRECTORY | 0o755, 2, &[], (0, 0)),
            Entry::File(mode, contents) => (FILE | (mode & 0o7777), 1, contents, (0, 0)),
            Entry::CharacterDevice(major, minor) => (CHARACTER_DEVICE | 0o600, 1, &[], (*major, *minor)),
        };
        append(&mut archive, path, [inode, mode, links], device, contents);
    }
    append(&mut archive, TRAILER, [0, 0, 1], (0, 0), &[]);
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive
}

fn append(
    archive: &mut Vec<u8>,
    path: &str,
    [inode, mode, links]: [u32; 3],
    device: (u32, u32),
    contents: &[u8],
) {
    let time = if path == TRAILER { 0 } else { TIME };
    let length = u32::try_from(contents.len()).expect("no file of an initrd has 4 GiB");
    let name_length = u32::try_from(path.len() + 1).expect("a path is short");
    archive.extend_from_slice(MAGIC);
    for field in [
        inode,
        mode,
        0,
        0,
        links,
        time,
        length,
        0,
        0,
        device.0,
        device.1,
        name_length,
        0,
    ] {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(path.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(contents);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// Reads an archive that [`write`] made.
///
/// # Errors
/// What is wrong, in words: anything but one archive of folders, files and character devices, each path once.
pub fn read(archive: &[u8]) -> Result<Tree, &'static str> {
    let mut tree = Tree::new();
    let mut at = 0;
    loop {
        let header = archive.get(at..at + HEADER_BYTES).ok_or("cut in a header")?;
        if !header.starts_with(MAGIC) {
            return Err("not newc");
        }
        let field = |index: usize| {
            let digits = header.get(6 + 8 * index..14 + 8 * index)?;
            u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
        };
        let fields: Vec<_> = (0..13).map_while(field).collect();
        let [_, mode, _, _, _, _, length, _, _, major, minor, name_length, _] = fields[..] else {
            return Err("a field is not hexadecimal");
        };
        let (length, name_length) = (length as usize, name_length as usize);
        if name_length == 0 || name_length > PATH_BYTES_MAX {
            return Err("a path of impossible length");
        }
        let name_at = at + HEADER_BYTES;
        let name = archive
            .get(name_at..name_at + name_length - 1)
            .ok_or("cut in a path")?;
        let name = core::str::from_utf8(name).map_err(|_| "a path is not UTF-8")?;
        let contents_at = (name_at + name_length).next_multiple_of(4);
        let contents = archive
            .get(contents_at..contents_at + length)
            .ok_or("cut in a file")?;
        at = (contents_at + length).next_multiple_of(4);
        if name == TRAILER {
            let rest = archive.get(at..).unwrap_or_default();
            return if rest.iter().all(|byte| *byte == 0) {
                Ok(tree)
            } else {
                Err("something follows the archive")
            };
        }
        let entry = match mode & TYPE {
            DIRECTORY => Entry::Directory,
            FILE => Entry::File(mode & 0o7777, contents.to_vec()),
            CHARACTER_DEVICE => Entry::CharacterDevice(major, minor),
            _ => return Err("an entry that is neither folder, file nor character device"),
        };
        if tree.insert(name.to_owned(), entry).is_some() {
            return Err("a path stands twice");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Tree {
        Tree::from([
            ("dev".to_owned(), Entry::Directory),
            ("dev/null".to_owned(), Entry::CharacterDevice(1, 3)),
            ("init".to_owned(), Entry::File(0o755, b"program".to_vec())),
        ])
    }

    #[test]
    fn an_archive_reads_back_and_is_the_same_twice() {
        let archive = write(&sample());
        assert_eq!(archive, write(&sample()));
        assert_eq!(archive.len() % 512, 0);
        assert_eq!(read(&archive).expect("an archive"), sample());
    }

    #[test]
    fn a_second_archive_behind_it_is_refused() {
        let archive = write(&sample());
        assert_eq!(
            read(&[archive.clone(), archive].concat()),
            Err("something follows the archive")
        );
    }

    proptest! {
        #[test]
        fn hostile_archives_do_not_panic_and_cut_ones_are_errors(at in 0_usize..512, byte: u8, cut in 0_usize..512) {
            let archive = write(&sample());
            let used = archive.iter().rposition(|byte| *byte != 0).unwrap_or_default();
            prop_assert!(read(&archive[..cut.min(used)]).is_err());
            let mut changed = archive;
            changed[at] = byte;
            let _ = read(&changed); // what was changed may be a file's contents
        }
    }
}
