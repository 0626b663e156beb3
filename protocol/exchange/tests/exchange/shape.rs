//! What the host can see: sizes.

use exchange::Padding;
use exchange::padding::CHUNK_UNIT_BYTES;
use wire::codec::read_varint;
use wire::message::Media;

use crate::support::{Deployment, completion, config, read, request};

const TAG_BYTES: usize = 16;
const RESPONSE_NONCE_BYTES: usize = 32;

/// Plaintext size of each chunk of a response, as anyone can compute it from the ciphertext.
fn chunk_sizes(mut response: &[u8]) -> Vec<usize> {
    response = &response[RESPONSE_NONCE_BYTES..];
    let mut sizes = Vec::new();
    loop {
        let (size, prefix) = read_varint(response).expect("our own framing");
        let size = usize::try_from(size).expect("small");
        let ciphertext = if size == 0 { response.len() - prefix } else { size };
        sizes.push(ciphertext - TAG_BYTES);
        response = &response[prefix + ciphertext..];
        if size == 0 {
            assert!(response.is_empty());
            return sizes;
        }
    }
}

/// The ciphertext of a stream of events with texts of these sizes.
fn stream(deployment: &Deployment, texts: &[usize], ticks_after: usize) -> Vec<u8> {
    let (sealed, reader) = deployment.seal(Media::Chunked);
    let (_, responder) = deployment.open(Media::Chunked, &sealed, 4096).expect("opens");
    let mut out = Vec::new();
    let mut writer = responder.stream(&mut out).expect("begins");
    for size in texts {
        writer
            .write(format!("data: {}\n\n", "x".repeat(*size)).as_bytes(), &mut out)
            .expect("writes");
    }
    for _ in 0..ticks_after {
        writer.tick(&mut out).expect("ticks");
    }
    let waiting = writer.is_waiting();
    writer
        .finish(Some((&deployment.signer, deployment.facts())), &mut out)
        .expect("ends");
    assert!(!waiting || ticks_after == 0);
    assert!(read(reader, &out, 4096).is_ok());
    out
}

#[test]
fn profile_sized_hides_the_length_of_every_token() {
    let deployment = Deployment::new(config(Padding::Sized));
    let short = stream(&deployment, &[1, 2, 3], 0);
    let long = stream(&deployment, &[900, 512, 700], 0);
    assert_eq!(
        chunk_sizes(&short),
        vec![CHUNK_UNIT_BYTES; 5],
        "head, three events, end"
    );
    assert_eq!(chunk_sizes(&short), chunk_sizes(&long));
    assert_eq!(short.len(), long.len());
    for sizes in [
        (1..1200).collect::<Vec<_>>(),
        vec![15_000, 16_384, 40_000, 70_000],
    ] {
        for size in chunk_sizes(&stream(&deployment, &sizes, 0)) {
            assert_eq!(size % CHUNK_UNIT_BYTES, 0);
        }
    }
}

#[test]
fn profile_constant_sends_one_size_whatever_is_said() {
    let deployment = Deployment::new(config(Padding::Constant));
    let nothing = stream(&deployment, &[], 20);
    let something = stream(&deployment, &[1, 5_000, 300, 0, 1010, 1011, 1012, 1013, 1014], 20);
    assert_eq!(chunk_sizes(&nothing), vec![CHUNK_UNIT_BYTES; 22]);
    assert_eq!(nothing.len(), something.len());
    assert_eq!(Padding::Constant.tick_milliseconds(), Some(50));
}

#[test]
fn profile_off_shows_it() {
    let deployment = Deployment::new(config(Padding::Off));
    assert_ne!(
        stream(&deployment, &[1], 0).len(),
        stream(&deployment, &[2], 0).len()
    );
}

#[test]
fn requests_and_whole_answers_come_in_buckets() {
    let deployment = Deployment::new(config(Padding::Sized));
    for media in [Media::OneShot, Media::Chunked] {
        let whole = |size: usize| {
            let body = "x".repeat(size);
            let (sealed, _) = deployment.seal_request(media, request(&body));
            let (_, responder) = deployment.open(media, &sealed, 4096).expect("opens");
            let mut out = Vec::new();
            responder
                .respond(200, "text/plain", &completion(&body), None, &mut out)
                .expect("answers");
            (sealed.len(), out.len())
        };
        assert_eq!(whole(0), whole(700));
        assert_eq!(whole(2_500), whole(3_700));
        assert_ne!(whole(700), whole(3_000));
    }
}
