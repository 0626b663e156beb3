//! The owner's folder: which files are sealed, and under which names.
//!
//! Every regular file is, in folders too, except those whose name begins with a dot (caches, version control). Links
//! are refused rather than followed: what is sealed is what lies in the folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, SealedModelError, limits};

/// One file to seal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Relative to the folder, with `/`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// All files to seal, sorted by name.
pub(crate) fn list(folder: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    collect(folder, "", 0, &mut files)?;
    if files.is_empty() {
        return Err(SealedModelError::NothingToSeal(folder.to_owned()));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<SourceFile>) -> Result<()> {
    let failed = |error| SealedModelError::io("read", folder.display().to_string(), error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(SealedModelError::NameRefused {
                name: name.to_string_lossy().into(),
                why: "not UTF-8",
            });
        };
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        check_name(&name)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_symlink() {
            return Err(SealedModelError::Symlink(name));
        } else if kind.is_dir() {
            if depth == limits::FOLDER_DEPTH_MAX {
                return Err(SealedModelError::NameRefused {
                    name,
                    why: "too many folders deep",
                });
            }
            collect(&entry.path(), &format!("{name}/"), depth + 1, files)?;
        } else if kind.is_file() {
            if files.len() == limits::FILES_MAX {
                return Err(SealedModelError::TooLarge {
                    what: "number of files",
                    limit: limits::FILES_MAX as u64,
                });
            }
            files.push(SourceFile {
                name,
                path: entry.path(),
            });
        } else {
            return Err(SealedModelError::NotAFile(name));
        }
    }
    Ok(())
}

/// The rule for names, when sealing and again when opening: relative, forward, printable.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let refused = |why| {
        Err(SealedModelError::NameRefused {
            name: name.to_owned(),
            why,
        })
    };
    if name.len() > limits::NAME_BYTES_MAX {
        return refused("too long");
    }
    if name.contains(|c: char| c.is_control() || c == '\\') {
        return refused("control characters and backslashes are not allowed");
    }
    if name
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.'))
    {
        return refused("empty parts and parts that begin with a dot are not allowed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn code(folder: &Path) -> &'static str {
        list(folder).map_or_else(|error| error.code(), |_| "ok")
    }

    #[test]
    fn files_are_found_in_folders_and_sorted() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b/c")).unwrap();
        fs::create_dir_all(folder.path().join(".git")).unwrap();
        for name in ["z", "b/c/d", "b/a", ".hidden", ".git/HEAD"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let names: Vec<_> = list(folder.path())
            .unwrap()
            .into_iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(names, ["b/a", "b/c/d", "z"]);
    }

    #[test]
    fn links_pipes_and_nothing_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(code(folder.path()), "nothing-to-seal");
        assert_eq!(code(&folder.path().join("missing")), "io");
        symlink("/etc/passwd", folder.path().join("link")).unwrap();
        assert_eq!(code(folder.path()), "symlink");
        fs::remove_file(folder.path().join("link")).unwrap();
        std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        assert_eq!(code(folder.path()), "not-a-file");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            "/a",
            "a/",
            "../a",
            "a/../b",
            "a//b",
            ".",
            ".a",
            "a\0b",
            "a\nb",
            "a\\b",
            &"a".repeat(1025),
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in [
            "a",
            "a/b",
            "model-00001-of-00002.safetensors",
            "ä b",
            &"a".repeat(1024),
        ] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
