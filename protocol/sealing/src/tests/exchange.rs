//! Oblivious HTTP between our two halves, and against everything that can be done to the bytes in between.

use proptest::prelude::*;
use wire::codec::{read_varint, write_varint};
use wire::limits::{CHUNK_PLAINTEXT_BYTES_MAX, ENCAPSULATED_REQUEST_BYTES_MAX};
use wire::message::Media;

use crate::header::Header;
use crate::hpke_context::setup_sender;
use crate::stream::{
    HeaderProgress, HeaderReader, Plaintext, RequestOpener, RequestSealer, ResponseOpener, ResponseSealer,
};
use crate::{AttestedKey, KeyPair, SealingError, Suite, UnixTime};

const NOW: UnixTime = UnixTime::from_seconds(1_000);
const FAST: Suite = Suite::X25519_SHA256_AES128;

fn pair(suite: Suite) -> (KeyPair, AttestedKey) {
    let key = KeyPair::generate(suite, 7).expect("randomness");
    let attested = AttestedKey::without_evidence(key.key_config());
    (key, attested)
}

/// A request of these pieces, the last one final.
fn seal_request(key: &AttestedKey, media: Media, pieces: &[&[u8]]) -> (Vec<u8>, ResponseOpener) {
    let mut out = Vec::new();
    let mut sealer = RequestSealer::new(key, media, NOW, &mut out).expect("fresh");
    let (last, before) = pieces.split_last().expect("at least one piece");
    for piece in before {
        sealer.seal(piece, &mut out).expect("seals");
    }
    let response = sealer.finish(last, &mut out).expect("seals");
    (out, response)
}

/// Pushes `bytes` in pieces of `step` and finishes.
fn open_request(
    key: &KeyPair,
    media: Media,
    bytes: &[u8],
    step: usize,
) -> Result<(Vec<u8>, ResponseSealer), SealingError> {
    let mut header = Some(HeaderReader::new(media, ENCAPSULATED_REQUEST_BYTES_MAX));
    let mut opener: Option<RequestOpener> = None;
    let mut chunks = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        if let Some(opener) = &mut opener {
            opener.push(piece, &mut chunks)?;
        } else if let Some(reader) = header.take() {
            match reader.push(piece)? {
                HeaderProgress::Waiting(reader) => header = Some(reader),
                HeaderProgress::Ready(request) => opener = Some(request.open_with(key)?),
            }
        }
    }
    let sealer = opener.ok_or(SealingError::Truncated)?.finish(&mut chunks)?;
    Ok((joined(&chunks), sealer))
}

fn open_response(mut opener: ResponseOpener, bytes: &[u8], step: usize) -> Result<Vec<u8>, SealingError> {
    let mut chunks = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        opener.push(piece, &mut chunks)?;
    }
    opener.finish(&mut chunks)?;
    Ok(joined(&chunks))
}

fn joined(chunks: &[Plaintext]) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect()
}

/// A whole exchange; returns the request and response ciphertexts.
fn exchange(suite: Suite, media: Media, request: &[&[u8]], response: &[&[u8]], step: usize) {
    let (key, attested) = pair(suite);
    let (sealed, opener) = seal_request(&attested, media, request);
    let (opened, mut sealer) = open_request(&key, media, &sealed, step).expect("opens");
    assert_eq!(opened, request.concat());
    let mut out = Vec::new();
    let (last, before) = response.split_last().expect("at least one piece");
    for piece in before {
        sealer.seal(piece, &mut out).expect("seals");
    }
    sealer.finish(last, &mut out).expect("seals");
    assert_eq!(
        open_response(opener, &out, step).expect("opens"),
        response.concat()
    );
}

#[test]
fn every_suite_carries_both_media() {
    let large = vec![0x5a; 3 * CHUNK_PLAINTEXT_BYTES_MAX + 5];
    for suite in Suite::ALL {
        exchange(suite, Media::OneShot, &[b"request"], &[b"response"], 1);
        exchange(suite, Media::OneShot, &[&large], &[&large], 1000);
        exchange(suite, Media::OneShot, &[b""], &[b""], 64);
        exchange(suite, Media::Chunked, &[b"re", b"quest"], &[b"a", b"b", b"c"], 1);
        exchange(suite, Media::Chunked, &[&large], &[&large, b"x", &large], 70_000);
        exchange(suite, Media::Chunked, &[b"whole", b""], &[b"", b""], 3);
    }
}

#[test]
fn sixteen_kibibytes_make_one_chunk() {
    let (_, attested) = pair(FAST);
    let full = vec![1; CHUNK_PLAINTEXT_BYTES_MAX];
    let (one, _) = seal_request(&attested, Media::Chunked, &[&full]);
    assert_eq!(
        one.len(),
        7 + 32 + 1 + CHUNK_PLAINTEXT_BYTES_MAX + 16,
        "only a final chunk"
    );
}

#[test]
fn what_is_sealed_to_stale_evidence() {
    let (key, attested) = pair(FAST);
    let stale = attested.fresh_between(500, 999);
    let refused = RequestSealer::new(&stale, Media::Chunked, NOW, &mut Vec::new());
    assert_eq!(refused.err(), Some(SealingError::Stale));
    let future = attested.fresh_between(1_001, 2_000);
    let refused = RequestSealer::new(&future, Media::Chunked, NOW, &mut Vec::new());
    assert_eq!(refused.err(), Some(SealingError::Stale));
    let once = crate::seal_once(&stale, crate::Label::KeyRelease, b"", b"", NOW);
    assert_eq!(once.err(), Some(SealingError::Stale));
    drop(key);
}

#[test]
fn media_are_not_exchangeable() {
    let (key, attested) = pair(FAST);
    let (sealed, _) = seal_request(&attested, Media::OneShot, &[b"request"]);
    assert!(open_request(&key, Media::Chunked, &sealed, 100).is_err());
    let (sealed, _) = seal_request(&attested, Media::Chunked, &[b"request"]);
    assert!(open_request(&key, Media::OneShot, &sealed, 100).is_err());
}

#[test]
fn chunks_in_a_message_of_one_piece_are_the_callers_mistake() {
    let (_, attested) = pair(FAST);
    let mut out = Vec::new();
    let mut sealer = RequestSealer::new(&attested, Media::OneShot, NOW, &mut out).expect("fresh");
    assert!(matches!(
        sealer.seal(b"x", &mut out),
        Err(SealingError::ApiMisuse(_))
    ));
}

#[test]
fn another_key_id_kem_or_suite_is_refused_as_key_config() {
    let (key, attested) = pair(FAST);
    let (sealed, _) = seal_request(&attested, Media::Chunked, &[b"request"]);
    for at in [0, 4, 6] {
        let mut other = sealed.clone();
        other[at] ^= 0x03;
        let refused = open_request(&key, Media::Chunked, &other, 4096);
        assert_eq!(refused.err(), Some(SealingError::KeyConfig), "byte {at}");
    }
    let mut unknown_kem = sealed;
    unknown_kem[1] = 0x7f;
    let refused = open_request(&key, Media::Chunked, &unknown_kem, 4096);
    assert_eq!(refused.err(), Some(SealingError::KeyConfig));
}

#[test]
fn no_flipped_bit_of_a_request_is_accepted() {
    for (suite, media) in [
        (FAST, Media::OneShot),
        (FAST, Media::Chunked),
        (Suite::XWING_SHA256_AES256, Media::OneShot),
        (Suite::XWING_SHA256_AES256, Media::Chunked),
    ] {
        let (key, attested) = pair(suite);
        let pieces: &[&[u8]] = if media == Media::Chunked {
            &[b"ab", b"c"]
        } else {
            &[b"abc"]
        };
        let (sealed, _) = seal_request(&attested, media, pieces);
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                open_request(&key, media, &bytes, bytes.len()).is_err(),
                "{suite} bit {bit}"
            );
        }
    }
}

#[test]
fn no_flipped_bit_of_a_response_is_accepted() {
    for media in [Media::OneShot, Media::Chunked] {
        let (key, attested) = pair(FAST);
        // One request per flipped bit: an opener is consumed by its attempt.
        let response_of = |opened: Result<(Vec<u8>, ResponseSealer), SealingError>| {
            let (_, mut sealer) = opened.expect("opens");
            let mut out = Vec::new();
            if media == Media::Chunked {
                sealer.seal(b"ab", &mut out).expect("seals");
            }
            sealer.finish(b"c", &mut out).expect("seals");
            out
        };
        let mut bit = 0;
        loop {
            let (sealed, opener) = seal_request(&attested, media, &[b"request"]);
            let mut bytes = response_of(open_request(&key, media, &sealed, sealed.len()));
            if bit == bytes.len() * 8 {
                break;
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                open_response(opener, &bytes, bytes.len()).is_err(),
                "{media:?} bit {bit}"
            );
            bit += 1;
        }
    }
}

/// The chunks of a message after `head` bytes, each with its size prefix; the last is the final one.
fn split_chunks(message: &[u8], head: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (head, mut rest) = message.split_at(head);
    let mut chunks = Vec::new();
    loop {
        let (size, prefix) = read_varint(rest).expect("our own framing");
        let whole = if size == 0 {
            rest.len()
        } else {
            prefix + usize::try_from(size).expect("small")
        };
        let (chunk, after) = rest.split_at(whole);
        chunks.push(chunk.to_vec());
        rest = after;
        if size == 0 {
            return (head.to_vec(), chunks);
        }
    }
}

/// What a host can do to the order of chunks, with the fault that the reader sees.
fn mutations(chunks: &[Vec<u8>]) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let edit = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut edited = chunks.to_vec();
        change(&mut edited);
        edited
    };
    vec![
        ("first chunk dropped", edit(&|c| drop(c.remove(0)))),
        ("middle chunk dropped", edit(&|c| drop(c.remove(1)))),
        ("final chunk dropped", edit(&|c| drop(c.pop()))),
        ("chunk duplicated", edit(&|c| c.insert(1, c[0].clone()))),
        ("chunks reordered", edit(&|c| c.swap(0, 1))),
        (
            "chunk repeated before the end",
            edit(&|c| c.insert(3, c[2].clone())),
        ),
        ("final chunk duplicated", edit(&|c| c.push(c[3].clone()))),
        ("chunk after the end", edit(&|c| c.push(c[0].clone()))),
        ("bytes after the end", edit(&|c| c.push(vec![0]))),
        ("final chunk first", edit(&|c| c.rotate_right(1))),
        ("empty", Vec::new()),
        (
            "final chunk passed off as another",
            edit(&|c| c[3][0] = u8::try_from(c[3].len() - 1).expect("small")),
        ),
        (
            "chunk passed off as the final one",
            edit(&|c| {
                c.truncate(3);
                c[2][0] = 0;
            }),
        ),
    ]
}

#[test]
fn chunks_dropped_duplicated_reordered_or_cut_are_errors() {
    let (key, attested) = pair(FAST);
    let pieces: [&[u8]; 4] = [b"one", b"two", b"three", b"four"];
    let (sealed, _) = seal_request(&attested, Media::Chunked, &pieces);
    let (head, chunks) = split_chunks(&sealed, 7 + 32);
    assert_eq!(chunks.len(), 4);
    for (name, chunks) in mutations(&chunks) {
        let bytes = [head.clone(), chunks.concat()].concat();
        assert!(
            open_request(&key, Media::Chunked, &bytes, 4096).is_err(),
            "request: {name}"
        );
        let (sealed, opener) = seal_request(&attested, Media::Chunked, &[b"request"]);
        let (_, mut sealer) = open_request(&key, Media::Chunked, &sealed, 4096).expect("opens");
        let mut response = Vec::new();
        for piece in &pieces[..3] {
            sealer.seal(piece, &mut response).expect("seals");
        }
        sealer.finish(pieces[3], &mut response).expect("seals");
        let (head, chunks) = split_chunks(&response, 16);
        let (_, edited) = mutations(&chunks)
            .into_iter()
            .find(|(n, _)| *n == name)
            .expect("same list");
        let bytes = [head, edited.concat()].concat();
        assert!(open_response(opener, &bytes, 4096).is_err(), "response: {name}");
    }
}

#[test]
fn a_message_cut_anywhere_is_an_error() {
    let (key, attested) = pair(FAST);
    for media in [Media::OneShot, Media::Chunked] {
        let pieces: &[&[u8]] = if media == Media::Chunked {
            &[b"one", b"two"]
        } else {
            &[b"onetwo"]
        };
        let (sealed, _) = seal_request(&attested, media, pieces);
        for size in 0..sealed.len() {
            assert!(
                open_request(&key, media, &sealed[..size], 4096).is_err(),
                "{media:?} {size}"
            );
        }
        let response = |size: Option<usize>| {
            let (sealed, opener) = seal_request(&attested, media, &[b"request"]);
            let (_, mut sealer) = open_request(&key, media, &sealed, 4096).expect("opens");
            let mut out = Vec::new();
            if media == Media::Chunked {
                sealer.seal(b"one", &mut out).expect("seals");
            }
            sealer.finish(b"two", &mut out).expect("seals");
            let cut = size.unwrap_or(out.len());
            (out.len(), open_response(opener, &out[..cut], 4096))
        };
        let (whole, opened) = response(None);
        assert!(opened.is_ok());
        for size in 0..whole {
            assert!(
                response(Some(size)).1.is_err(),
                "{media:?} response cut at {size}"
            );
        }
    }
}

#[test]
fn an_empty_chunk_that_is_not_final_is_a_decryption_failure() {
    // Sealed correctly by a sender that does not know the rule, so only the rule can refuse it.
    let (key, attested) = pair(FAST);
    let header = Header::new(attested.key_config(), FAST).to_bytes();
    let info = [&b"message/bhttp chunked request\0"[..], &header].concat();
    let (enc, mut context) =
        setup_sender(FAST, attested.key_config().public_key(), &info).expect("a good key");
    let mut message = [&header[..], &enc].concat();
    let empty = context.seal(b"", b"").expect("seals");
    write_varint(empty.len() as u64, &mut message);
    message.extend(empty);
    message.push(0);
    message.extend(context.seal(b"final", b"rest").expect("seals"));
    let refused = open_request(&key, Media::Chunked, &message, 4096);
    assert_eq!(refused.err(), Some(SealingError::Open));
}

#[test]
fn nothing_is_opened_after_a_failure() {
    let (key, attested) = pair(FAST);
    let (sealed, _) = seal_request(&attested, Media::Chunked, &[b"one", b"two", b"three"]);
    let (head, chunks) = split_chunks(&sealed, 7 + 32);
    let reader = HeaderReader::new(Media::Chunked, 4096);
    let Ok(HeaderProgress::Ready(request)) = reader.push(&head) else {
        panic!("the header is whole")
    };
    let mut opener = request.open_with(&key).expect("our key");
    let mut out = Vec::new();
    let mut altered = chunks[0].clone();
    altered[5] ^= 1;
    assert_eq!(opener.push(&altered, &mut out), Err(SealingError::Open));
    for chunk in &chunks {
        assert_eq!(opener.push(chunk, &mut out), Err(SealingError::Open));
    }
    assert!(out.is_empty());
    assert!(opener.finish(&mut out).is_err());
}

#[test]
fn sizes_are_bounded() {
    let (key, attested) = pair(FAST);
    let (sealed, _) = seal_request(&attested, Media::OneShot, &[&[0; 1000]]);
    let limit = |limit| {
        let reader = HeaderReader::new(Media::OneShot, limit);
        let Ok(HeaderProgress::Ready(request)) = reader.push(&sealed[..100]) else {
            return Err(SealingError::TooLarge { limit });
        };
        let mut opener = request.open_with(&key)?;
        opener.push(&sealed[100..], &mut Vec::new())
    };
    assert_eq!(limit(sealed.len()), Ok(()));
    assert_eq!(
        limit(sealed.len() - 1),
        Err(SealingError::TooLarge {
            limit: sealed.len() - 1
        })
    );
    assert_eq!(limit(99), Err(SealingError::TooLarge { limit: 99 }));

    // A chunk that announces more than 16 KiB is refused before its bytes are there.
    let (chunked, _) = seal_request(&attested, Media::Chunked, &[b"x"]);
    let mut message = chunked[..7 + 32].to_vec();
    write_varint((CHUNK_PLAINTEXT_BYTES_MAX + 17) as u64, &mut message);
    message.push(0);
    assert!(matches!(
        open_request(&key, Media::Chunked, &message, 4096).err(),
        Some(SealingError::TooLarge { .. })
    ));
    // And so is a final chunk that does not end.
    let mut message = chunked[..7 + 32].to_vec();
    message.push(0);
    message.extend(vec![0; CHUNK_PLAINTEXT_BYTES_MAX + 17]);
    assert!(matches!(
        open_request(&key, Media::Chunked, &message, 4096).err(),
        Some(SealingError::TooLarge { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trip_in_any_pieces(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
                                step in 1usize..200) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        exchange(FAST, Media::Chunked, &pieces, &pieces, step);
        exchange(FAST, Media::OneShot, &[&pieces.concat()], &[&pieces.concat()], step);
    }

    #[test]
    fn any_bytes_as_a_request(tail in prop::collection::vec(any::<u8>(), 0..200), known in any::<bool>()) {
        let (key, attested) = pair(FAST);
        let mut bytes = Vec::new();
        if known {
            let _ = RequestSealer::new(&attested, Media::Chunked, NOW, &mut bytes).expect("fresh");
        }
        bytes.extend(tail);
        for media in [Media::OneShot, Media::Chunked] {
            prop_assert!(open_request(&key, media, &bytes, 17).is_err());
        }
    }

    #[test]
    fn any_bytes_as_a_response(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_, attested) = pair(FAST);
        for media in [Media::OneShot, Media::Chunked] {
            let (_, opener) = seal_request(&attested, media, &[b"request"]);
            prop_assert!(open_response(opener, &bytes, 17).is_err());
        }
    }
}
