//! The cache of what vendors publish, as opaque files. Whoever reads them verifies them; the host decides nothing.

use std::{fmt::Write as _, io::Read as _, path::Path};

use sha2::{Digest, Sha256};
use wire::limits;

/// Reads the blob for `subject` of `platform` under `directory`, where the endorser's cache keeps it:
/// `<platform>/<SHA-256 of the subject in hexadecimal>.endorsements`.
///
/// Returns nothing when there is none, when the platform is not a tag, or when the blob is over the bound.
pub fn read(directory: &Path, platform: &str, subject: &[u8]) -> Option<Vec<u8>> {
    let tag = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if platform.is_empty() || platform.len() > 64 || !platform.bytes().all(tag) {
        return None;
    }
    let mut name = String::with_capacity(64 + 13);
    for byte in Sha256::digest(subject) {
        let _ = write!(name, "{byte:02x}"); // writing to a String does not fail
    }
    name.push_str(".endorsements");
    let file = std::fs::File::open(directory.join(platform).join(name)).ok()?;
    let mut blob = Vec::new();
    file.take(limits::ENDORSEMENTS_BYTES_MAX as u64 + 1)
        .read_to_end(&mut blob)
        .ok()?;
    (blob.len() <= limits::ENDORSEMENTS_BYTES_MAX).then_some(blob)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_found_where_the_endorser_keeps_it_and_names_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let tag = folder.path().join("amd-sev-snp");
        std::fs::create_dir(&tag).expect("created");
        let digest = Sha256::digest(b"chip")
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        std::fs::write(tag.join(format!("{digest}.endorsements")), b"chain").expect("written");
        assert_eq!(
            read(folder.path(), "amd-sev-snp", b"chip").as_deref(),
            Some(&b"chain"[..])
        );
        assert!(read(folder.path(), "amd-sev-snp", b"other chip").is_none());
        for platform in ["..", "", ".", "amd-sev-snp/..", "AMD", "a/b"] {
            assert!(read(folder.path(), platform, b"chip").is_none(), "{platform}");
        }
    }
}
