//! Where this user's endorsements are kept, and what an appraisal takes from there.

use std::path::{Path, PathBuf};

use attestation::{EndorsementKind, Endorsements, PlatformTag, endorsement_subject};
use endorser::Cache;

use crate::error::ClientError;

/// The folder that is named, else the one of the XDG base directories.
pub fn folder(named: Option<&Path>) -> Result<PathBuf, ClientError> {
    if let Some(folder) = named {
        return Ok(folder.to_owned());
    }
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = || absolute("HOME").map(|home| home.join(".cache"));
    absolute("XDG_CACHE_HOME")
        .or_else(home)
        .map(|base| base.join("adyton").join("endorsements"))
        .ok_or_else(|| ClientError::Usage("name the folder of the cache with --cache".to_owned()))
}

/// Adds the kinds that `endorsements` lacks and the cache holds for the machine of `evidence`; gives their names.
///
/// Nothing is asked of anybody, and nothing is trusted for where it lay: the Verifier checks every document and its
/// age. A cache that nobody ever filled is as good as an empty one, unless it was named.
pub fn fill(
    endorsements: &mut Endorsements,
    platform: PlatformTag,
    evidence: &[u8],
    named: Option<&Path>,
) -> Result<Vec<&'static str>, ClientError> {
    // Evidence that names no machine is the Verifier's to refuse.
    let Ok(subject) = endorsement_subject(platform, evidence) else {
        return Ok(Vec::new());
    };
    let folder = match folder(named) {
        Ok(folder) if named.is_some() || folder.is_dir() => folder,
        _ => return Ok(Vec::new()),
    };
    let Some(kept) = Cache::open(&folder)?.lookup(platform, &subject)? else {
        return Ok(Vec::new());
    };
    let missing = |kind| endorsements.document(kind).is_none();
    let filled = kept.iter().map(|(kind, _)| kind).filter(|kind| missing(*kind));
    let filled = filled.map(EndorsementKind::as_str).collect();
    endorsements.fill_from(&kept);
    Ok(filled)
}
