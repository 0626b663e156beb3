//! The cache of what vendors publish, as opaque files. Whoever reads them verifies them; the host decides nothing.

use std::{fmt::Write as _, io::Read as _, path::Path};

use wire::limits;

/// Reads the blob for `subject` of `platform`: the file `<platform>/<hex subject>.cbor` under `directory`.
///
/// Returns nothing when there is none, when the names are not of the allowed form, or when it is over the bound.
pub fn read(directory: &Path, platform: &str, subject: &[u8]) -> Option<Vec<u8>> {
    let named = !platform.is_empty()
        && platform
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !named || platform.len() > 64 || subject.is_empty() || subject.len() > 128 {
        return None;
    }
    let mut name = String::with_capacity(2 * subject.len() + 5);
    for byte in subject {
        let _ = write!(name, "{byte:02x}"); // writing to a String does not fail
    }
    name.push_str(".cbor");
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
    fn names_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(folder.path().join("amd-sev-snp")).expect("created");
        std::fs::write(folder.path().join("amd-sev-snp/0a0b.cbor"), b"chain").expect("written");
        std::fs::write(folder.path().join("secret.cbor"), b"secret").expect("written");
        assert_eq!(
            read(folder.path(), "amd-sev-snp", &[10, 11]).as_deref(),
            Some(&b"chain"[..])
        );
        for platform in ["..", "", ".", "amd-sev-snp/..", "AMD", "a/b"] {
            assert!(read(folder.path(), platform, b"x").is_none(), "{platform}");
        }
        assert!(read(folder.path(), "amd-sev-snp", b"").is_none());
    }
}
