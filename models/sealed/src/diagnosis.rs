//! Naming faults: which of the ways to be wrong an object shows. Nothing here decides that an object is right, except
//! the comparison with what the owner signed.

use std::fs::File;
use std::io::Read as _;

use aws_lc_rs::digest::{Context, SHA256};

use crate::directory::Directory;
use crate::floe::{Header, PREFIX_BYTES, TAG_BYTES, iv_and_tag};
use crate::manifest::Object;
use crate::open::{Ciphertext, read_header, read_segment, segment_bytes};
use crate::{Manifest, Progress, Progressed, Result, SealedModelError, SecretBytes};

/// Positions tried when a segment does not open where it stands; beyond them it counts as changed.
const POSITIONS_MAX: u64 = 1 << 16;

/// Opens every object and checks that it is the one that was signed, and as long.
pub(crate) fn open_objects(directory: &Directory, manifest: &Manifest) -> Result<Vec<File>> {
    manifest
        .all_objects()
        .iter()
        .map(|object| open_object(directory, manifest, object))
        .collect()
}

fn open_object(directory: &Directory, manifest: &Manifest, object: &Object) -> Result<File> {
    let file = directory.file(&object.name)?;
    let metadata = file
        .metadata()
        .map_err(|error| SealedModelError::io("read", &object.name, error))?;
    let (expected, found) = (object.geometry.sealed_bytes(), metadata.len());
    let truncated = || SealedModelError::Truncated {
        object: object.name.clone(),
        expected,
        found,
    };
    let header = read_header(&file, object)?.ok_or_else(truncated)?;
    if header != object.header {
        return Err(of_header(&header, object, manifest));
    }
    if found < expected {
        return Err(truncated());
    }
    if found > expected {
        return Err(SealedModelError::Extended {
            object: object.name.clone(),
            expected,
            found,
        });
    }
    Ok(file)
}

/// A header that is not the signed one: of another object here, of another container, or changed. IV and tag are both
/// unique, so one that still fits tells a change from a stranger.
fn of_header(header: &Header, object: &Object, manifest: &Manifest) -> SealedModelError {
    let name = object.name.clone();
    if let Some(other) = manifest
        .all_objects()
        .iter()
        .find(|other| other.header == *header)
    {
        return SealedModelError::Swapped {
            object: name,
            found: other.name.clone(),
        };
    }
    let ((iv, tag), (signed_iv, signed_tag)) = (iv_and_tag(header), iv_and_tag(&object.header));
    if iv == signed_iv || tag == signed_tag {
        SealedModelError::BitFlipped {
            object: name,
            segment: None,
        }
    } else {
        SealedModelError::ForeignObject { object: name }
    }
}

/// A segment that does not open: does it open elsewhere? What is decrypted on the way is wiped and never used.
pub(crate) fn of_segment(ciphertext: &Ciphertext<'_>, position: u64) -> SealedModelError {
    let object = ciphertext.object;
    let changed = SealedModelError::BitFlipped {
        object: object.name.clone(),
        segment: Some(position),
    };
    let segments = object.geometry.segments().min(POSITIONS_MAX);
    for found in (0..segments).filter(|&found| found != position) {
        // A whole segment was moved, so it has the length of its place; the last may be shorter than others.
        if segment_bytes(&object.geometry, found) != segment_bytes(&object.geometry, position) {
            continue;
        }
        let Ok(mut body) = SecretBytes::zeroed(segment_bytes(&object.geometry, position) as u64) else {
            break;
        };
        let (mut prefix, mut tag) = ([0; PREFIX_BYTES], [0; TAG_BYTES]);
        if read_segment(
            &ciphertext.file,
            object,
            position,
            &mut prefix,
            body.as_mut(),
            &mut tag,
        )
        .is_err()
        {
            break;
        }
        let last = object.geometry.is_last(found);
        if ciphertext
            .opener
            .open_as(found, last, &prefix, body.as_mut(), &tag)
            .is_ok()
        {
            return SealedModelError::Reordered {
                object: object.name.clone(),
                segment: position,
                found,
            };
        }
    }
    changed
}

/// Every object against its signed SHA-256.
pub(crate) fn check_digests(
    directory: &Directory,
    manifest: &Manifest,
    progress: Progress<'_>,
) -> Result<()> {
    let (mut bytes_done, bytes_total) = (0, manifest.sealed_bytes());
    let mut buffer = vec![0; 1 << 20];
    for (object, mut file) in manifest
        .all_objects()
        .iter()
        .zip(open_objects(directory, manifest)?)
    {
        let mut hash = Context::new(&SHA256);
        loop {
            let read = file
                .read(&mut buffer)
                .map_err(|error| SealedModelError::io("read", &object.name, error))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            bytes_done += read as u64;
            progress(Progressed {
                bytes_done,
                bytes_total,
            });
        }
        if hash.finish().as_ref() != object.sha256 {
            return Err(SealedModelError::BitFlipped {
                object: object.name.clone(),
                segment: Some(0),
            });
        }
    }
    Ok(())
}
