//! RFC 9458 Appendix A and the example of draft-ietf-ohai-chunked-ohttp-08.

use serde_json::Value;
use wire::KeyConfig;
use wire::message::Media;
use zeroize::Zeroizing;

use super::Ran;
use crate::stream::{HeaderProgress, HeaderReader, Plaintext, ResponseOpener, ResponseSealer};
use crate::{KeyPair, Suite};

const SUITE: Suite = Suite::X25519_SHA256_AES128;

pub(super) fn rfc9458_appendix_a(bytes: &[u8]) -> Ran {
    exchange(bytes, Media::OneShot)
}

pub(super) fn chunked_ohttp_08(bytes: &[u8]) -> Ran {
    exchange(bytes, Media::Chunked)
}

/// Opens the published request and response, and seals the response again to the same bytes.
fn exchange(bytes: &[u8], media: Media) -> Ran {
    let vector: Value = serde_json::from_slice(bytes).expect("JSON");
    let field = |name: &str| hex::decode(vector[name].as_str().expect("a field")).expect("hexadecimal");

    let config = KeyConfig::decode(&field("key_config")).expect("RFC 9458 section 3.1");
    assert_eq!(config.encode(), field("key_config"));
    let key = KeyPair::import(SUITE, config.key_id(), &field("skR")).expect("a good key");
    assert_eq!(key.key_config().public_key(), config.public_key());

    let request = field("encapsulated_request");
    let reader = HeaderReader::new(media, request.len());
    let Ok(HeaderProgress::Ready(encapsulated)) = reader.push(&request) else {
        panic!("well-formed")
    };
    let mut chunks = Vec::new();
    let opener = encapsulated.open_with(&key).expect("our key");
    drop(opener.finish(&mut chunks).expect("opens"));
    assert_eq!(joined(&chunks), field("bhttp_request"));

    let enc = field("pkE");
    let secret = field("exported_secret");
    let response = field("encapsulated_response");
    let (nonce, _) = response.split_at(SUITE.response_nonce_bytes());
    let mut opener = ResponseOpener::new(SUITE, media, enc.clone(), Zeroizing::new(secret.clone()));
    let mut chunks = Vec::new();
    opener.push(&response, &mut chunks).expect("opens");
    opener.finish(&mut chunks).expect("opens");
    assert_eq!(joined(&chunks), field("bhttp_response"));

    let mut sealer =
        ResponseSealer::with_nonce(SUITE, media, &enc, &secret, nonce.to_vec()).expect("sizes fit");
    let mut out = Vec::new();
    let (last, before) = chunks.split_last().expect("at least one chunk");
    for chunk in before {
        sealer.seal(chunk, &mut out).expect("seals");
    }
    sealer.finish(last, &mut out).expect("seals");
    assert_eq!(out, response);
    Ran::passed(1)
}

fn joined(chunks: &[Plaintext]) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect()
}
