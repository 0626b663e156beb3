//! The known answers of FLOE, in both directions, and what the format must refuse.

#![allow(clippy::print_stdout, clippy::print_stderr)] // tells whoever runs the tests what ran

use std::path::PathBuf;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct KnownAnswer {
    name: String,
    enc_seg_len: u32,
    rotation_mask: u32,
    key: String,
    aad: String,
    pt: String,
    ct: String,
}

fn known_answers() -> Option<Vec<KnownAnswer>> {
    let root = std::env::var_os("ADYTON_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")),
        PathBuf::from,
    );
    let path = root.join("crypto/floe/kats.json");
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("a JSON list")),
        Err(error) => {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{}: {error}",
                path.display()
            );
            eprintln!("NOT RUN: {} is not here; set ADYTON_VECTORS", path.display());
            None
        }
    }
}

/// One whole ciphertext, segment by segment.
fn open_all(key: &[u8; 32], aad: &[u8], geometry: Geometry, sealed: &[u8]) -> Result<Vec<u8>, Fault> {
    let opener = Opener::start(key, aad, geometry, sealed.first_chunk().unwrap())?;
    let mut plain = Vec::new();
    for position in 0..geometry.segments() {
        let start = geometry.offset(position) as usize;
        let segment = &sealed[start..sealed.len().min(start + geometry.segment_bytes as usize)];
        let (prefix, rest) = segment.split_first_chunk().unwrap();
        let (body, tag) = rest.split_last_chunk().unwrap();
        let mut body = body.to_vec();
        opener.open(position, prefix, &mut body, tag)?;
        plain.extend_from_slice(&body);
    }
    Ok(plain)
}

fn seal_all(key: &[u8; 32], aad: &[u8], geometry: Geometry, plain: &[u8]) -> Vec<u8> {
    let (sealer, header) = Sealer::start(key, aad, geometry).unwrap();
    let mut sealed = header.to_vec();
    for position in 0..geometry.segments() {
        let start = position as usize * geometry.segment_plain_bytes();
        let mut body = plain[start..plain.len().min(start + geometry.segment_plain_bytes())].to_vec();
        let (prefix, tag) = sealer.seal(position, &mut body).unwrap();
        sealed.extend_from_slice(&prefix);
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(&tag);
    }
    sealed
}

/// Encrypts again with the IV and the nonces that a known answer used.
fn seal_again(key: &[u8; 32], aad: &[u8], geometry: Geometry, plain: &[u8], answer: &[u8]) -> Vec<u8> {
    let iv = *answer[PARAMETERS_BYTES..].first_chunk().unwrap();
    let schedule = Schedule { geometry, iv, aad };
    let message_key = schedule.message_key(key);
    let mut sealed = schedule.header(key).to_vec();
    let mut rest = plain;
    for position in 0..geometry.segments() {
        let start = geometry.offset(position) as usize;
        let answer = &answer[start..answer.len().min(start + geometry.segment_bytes as usize)];
        let (body, after) = rest.split_at(answer.len() - OVERHEAD_BYTES);
        rest = after;
        let epoch = position >> geometry.rotation_bits;
        let segment_key = schedule.segment_key(&message_key, epoch);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, segment_key.as_slice()).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&answer[4..PREFIX_BYTES]).unwrap();
        let aad = Aad::from(segment_aad(position, geometry.is_last(position)));
        let mut body = body.to_vec();
        let tag = key.seal_in_place_separate_tag(nonce, aad, &mut body).unwrap();
        sealed.extend_from_slice(&geometry.length_field(position, body.len()));
        sealed.extend_from_slice(&answer[4..PREFIX_BYTES]);
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(tag.as_ref());
    }
    assert!(rest.is_empty());
    sealed
}

#[test]
fn known_answers_in_both_directions() {
    let Some(answers) = known_answers() else { return };
    assert_eq!(answers.len(), 12);
    for answer in &answers {
        let [key, aad, plain, sealed] =
            [&answer.key, &answer.aad, &answer.pt, &answer.ct].map(|text| hex::decode(text).unwrap());
        let key: [u8; 32] = key.try_into().unwrap();
        let mut geometry = Geometry::of_ciphertext(answer.enc_seg_len, sealed.len() as u64).unwrap();
        geometry.rotation_bits = answer.rotation_mask;
        assert_eq!(geometry.plain_bytes(), plain.len() as u64, "{}", answer.name);
        assert_eq!(geometry.sealed_bytes(), sealed.len() as u64, "{}", answer.name);
        assert!(
            open_all(&key, &aad, geometry, &sealed) == Ok(plain.clone()),
            "{} opens",
            answer.name
        );
        assert!(
            seal_again(&key, &aad, geometry, &plain, &sealed) == sealed,
            "{} seals",
            answer.name
        );
    }
    println!("FLOE: {} known answers, opened and sealed", answers.len());
}

#[test]
fn every_length_round_trips() {
    // Segments of 40 bytes hold 8 bytes of plaintext: nothing, partly full, full, several.
    for length in 0..50 {
        let plain: Vec<u8> = (0..length).collect();
        let geometry = Geometry::of_plaintext(40, plain.len() as u64).unwrap();
        let sealed = seal_all(&[1; 32], b"aad", geometry, &plain);
        assert_eq!(sealed.len() as u64, geometry.sealed_bytes());
        assert_eq!(Geometry::of_ciphertext(40, sealed.len() as u64), Some(geometry));
        assert_eq!(open_all(&[1; 32], b"aad", geometry, &sealed), Ok(plain));
    }
}

#[test]
fn keys_rotate() {
    let plain = [7; 100];
    let mut geometry = Geometry::of_plaintext(40, 100).unwrap();
    geometry.rotation_bits = 2;
    let sealed = seal_all(&[1; 32], b"", geometry, &plain);
    assert_eq!(open_all(&[1; 32], b"", geometry, &sealed), Ok(plain.to_vec()));
    geometry.rotation_bits = 3;
    assert_eq!(open_all(&[1; 32], b"", geometry, &sealed), Err(Fault::Segment));
}

#[test]
fn another_key_or_context_fails_at_the_header() {
    let geometry = Geometry::of_plaintext(40, 20).unwrap();
    let sealed = seal_all(&[1; 32], b"aad", geometry, &[5; 20]);
    assert_eq!(
        open_all(&[2; 32], b"aad", geometry, &sealed),
        Err(Fault::HeaderTag)
    );
    assert_eq!(
        open_all(&[1; 32], b"aae", geometry, &sealed),
        Err(Fault::HeaderTag)
    );
    let wider = Geometry::of_plaintext(64, 20).unwrap();
    assert_eq!(open_all(&[1; 32], b"aad", wider, &sealed), Err(Fault::Parameters));
}

#[test]
fn every_flipped_bit_fails() {
    let geometry = Geometry::of_plaintext(40, 20).unwrap();
    let sealed = seal_all(&[1; 32], b"aad", geometry, &[5; 20]);
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0..PARAMETERS_BYTES => Fault::Parameters,
            PARAMETERS_BYTES..HEADER_BYTES => Fault::HeaderTag,
            _ => Fault::Segment,
        };
        assert_eq!(
            open_all(&[1; 32], b"aad", geometry, &changed),
            Err(expected),
            "bit {bit}"
        );
    }
}

#[test]
fn moved_and_missing_segments_fail() {
    let geometry = Geometry::of_plaintext(40, 24).unwrap();
    let sealed = seal_all(&[1; 32], b"", geometry, &[5; 24]);
    let mut swapped = sealed.clone();
    let (first, second) = swapped[HEADER_BYTES..][..80].split_at_mut(40);
    first.swap_with_slice(second);
    assert_eq!(open_all(&[1; 32], b"", geometry, &swapped), Err(Fault::Segment));

    let shorter = &sealed[..HEADER_BYTES + 80];
    let geometry = Geometry::of_ciphertext(40, shorter.len() as u64).unwrap();
    assert_eq!(open_all(&[1; 32], b"", geometry, shorter), Err(Fault::Segment));
}

#[test]
fn impossible_lengths_have_no_geometry() {
    for sealed_bytes in (0..HEADER_BYTES as u64 + 32).chain([HEADER_BYTES as u64 + 40 + 31]) {
        assert_eq!(Geometry::of_ciphertext(40, sealed_bytes), None, "{sealed_bytes}");
    }
    assert_eq!(Geometry::of_ciphertext(32, 1000), None);
    assert_eq!(Geometry::of_plaintext(32, 1000), None);
    assert_eq!(Geometry::of_plaintext(40, u64::MAX), None);
    assert_eq!(Geometry::of_ciphertext(40, u64::MAX), None);
}
