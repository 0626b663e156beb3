//! Every file of an image, by size and digest: what somebody who rebuilds it compares first.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    cpio::{Entry, Tree},
    policy::{Policy, Variant},
};

/// `manifest.json`. Fields stand in this order, so that equal images have equal manifests.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of this description.
    pub format: String,
    /// `release` or `simulated`.
    pub variant: String,
    /// Version of Adyton.
    pub version: String,
    /// The kernel's name for its version.
    pub kernel_release: String,
    /// Packages that files were taken from.
    pub packages: Vec<PackageLine>,
    /// What is launched.
    pub artifacts: Vec<FileLine>,
    /// What is in the initrd.
    pub initrd: Vec<FileLine>,
}

/// A package.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageLine {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the package file.
    pub sha256: String,
}

/// A file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileLine {
    /// Path.
    pub path: String,
    /// Folder, file, or character device with its numbers.
    pub kind: String,
    /// Permissions in octal.
    pub mode: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of the contents; empty for what has none.
    pub sha256: String,
}

/// The name of the format.
pub const FORMAT: &str = "adyton image manifest v1";

impl FileLine {
    /// An artefact.
    pub fn of_file(path: &str, mode: u32, contents: &[u8]) -> Self {
        Self {
            path: path.to_owned(),
            kind: "file".to_owned(),
            mode: format!("{mode:04o}"),
            bytes: contents.len() as u64,
            sha256: hex::encode(Sha256::digest(contents)),
        }
    }

    fn of_entry(path: &str, entry: &Entry) -> Self {
        let (kind, mode) = match entry {
            Entry::File(mode, contents) => return Self::of_file(path, *mode, contents),
            Entry::Directory => ("directory".to_owned(), "0755".to_owned()),
            Entry::CharacterDevice(major, minor) => {
                (format!("character device {major}:{minor}"), "0600".to_owned())
            }
        };
        Self {
            path: path.to_owned(),
            kind,
            mode,
            bytes: 0,
            sha256: String::new(),
        }
    }
}

/// The lines of an initrd.
pub fn lines(tree: &Tree) -> Vec<FileLine> {
    tree.iter()
        .map(|(path, entry)| FileLine::of_entry(path, entry))
        .collect()
}

impl Manifest {
    /// The manifest of an image.
    pub fn new(policy: &Policy, variant: Variant, artifacts: Vec<FileLine>, tree: &Tree) -> Self {
        let packages = policy.packages.iter().map(|package| PackageLine {
            name: package.name.clone(),
            version: package.version.clone(),
            sha256: package.sha256.clone(),
        });
        Self {
            format: FORMAT.to_owned(),
            variant: variant.as_str().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel_release: policy.kernel.release.clone(),
            packages: packages.collect(),
            artifacts,
            initrd: lines(tree),
        }
    }
}
