//! What a host can do, and what it gets for it.

use exchange::client::Exchange;
use exchange::server::GatewayConfig;
use exchange::{ExchangeError, Padding, Prompt, Request};
use sealing::stream::{HeaderProgress, HeaderReader, RequestSealer};
use sealing::{AttestedKey, KeyPair, SealingError, Suite};
use wire::codec::write_varint;
use wire::message::Media;
use wire::{KeyConfig, ProblemCode};

use crate::support::{CANARY, Deployment, NOW, completion, config, install, open_at, read, request};

const MEDIA: [Media; 2] = [Media::OneShot, Media::Chunked];

fn problem(opened: crate::support::Opened) -> ProblemCode {
    opened.err().expect("nothing is opened").problem()
}

#[test]
fn a_replayed_request_is_refused_like_a_rotated_key() {
    let deployment = Deployment::new(config(Padding::Sized));
    for media in MEDIA {
        let (sealed, _) = deployment.seal(media);
        assert!(deployment.open(media, &sealed, 4096).is_ok());
        let replayed = deployment.open(media, &sealed, 4096).err().expect("refused");
        assert_eq!(replayed, ExchangeError::Replayed);
        assert_eq!(replayed.problem().outside(), ProblemCode::KeyConfig);
        // Also with another ending, in the other media, and in the grace after a rotation.
        let mut altered = sealed.clone();
        *altered.last_mut().expect("not empty") ^= 1;
        assert_eq!(
            deployment.open(media, &altered, 1).err(),
            Some(ExchangeError::Replayed)
        );
        let other = if media == Media::Chunked {
            Media::OneShot
        } else {
            Media::Chunked
        };
        assert_eq!(
            deployment.open(other, &sealed, 4096).err(),
            Some(ExchangeError::Replayed)
        );
    }
    let (sealed, _) = deployment.seal(Media::Chunked);
    assert!(deployment.open(Media::Chunked, &sealed, 4096).is_ok());
    install(&deployment.gateway, &deployment.signer, NOW);
    assert_eq!(
        deployment.open(Media::Chunked, &sealed, 4096).err(),
        Some(ExchangeError::Replayed)
    );
    assert_eq!(deployment.gateway.replays_refused_total(), 7);
}

#[test]
fn a_replay_is_refused_before_anything_is_opened() {
    let deployment = Deployment::new(config(Padding::Off));
    let (sealed, _) = deployment.seal(Media::Chunked);
    assert!(deployment.open(Media::Chunked, &sealed, 4096).is_ok());
    let mut reader = deployment.gateway.begin(Media::Chunked);
    let header_and_enc = &sealed[..7 + 1120];
    assert_eq!(reader.push(header_and_enc, NOW), Err(ExchangeError::Replayed));
}

#[test]
fn a_full_replay_cache_takes_no_more_and_says_that_rotation_is_due() {
    let small = GatewayConfig {
        replay_entries_max: 2,
        ..config(Padding::Off)
    };
    let deployment = Deployment::new(small);
    for _ in 0..2 {
        let (sealed, _) = deployment.seal(Media::Chunked);
        assert!(deployment.open(Media::Chunked, &sealed, 4096).is_ok());
    }
    assert!(deployment.gateway.rotation_due(NOW));
    let (sealed, _) = deployment.seal(Media::Chunked);
    assert_eq!(
        problem(deployment.open(Media::Chunked, &sealed, 4096)),
        ProblemCode::Overloaded
    );
}

#[test]
fn a_date_outside_the_window_is_refused_inside() {
    let deployment = Deployment::new(config(Padding::Sized));
    let window = deployment.gateway.config().date_window_seconds;
    for (seconds, accepted) in [(0, true), (window, true), (window + 1, false)] {
        let (sealed, reader) = deployment.seal(Media::Chunked);
        let later = NOW.plus_seconds(seconds);
        let (opened, responder) =
            open_at(&deployment.gateway, Media::Chunked, &sealed, 4096, later).expect("opens");
        assert_eq!(
            opened.as_ref().err().copied(),
            (!accepted).then_some(ProblemCode::DateOutsideWindow)
        );
        let mut out = Vec::new();
        if let Err(code) = opened {
            responder.refuse(code, None, &mut out).expect("answers");
            assert_eq!(read(reader, &out, 4096).expect("whole").head.status, 400);
        }
    }
}

#[test]
fn no_flipped_bit_of_a_request_is_accepted() {
    let deployment = Deployment::new(config(Padding::Off));
    for media in MEDIA {
        let bits = deployment.seal(media).0.len() * 8;
        for bit in 0..bits {
            // Fresh each time, so that it is not the replay cache that refuses.
            let (mut sealed, _) = deployment.seal(media);
            sealed[bit / 8] ^= 1 << (bit % 8);
            let refused = deployment.open(media, &sealed, sealed.len()).err();
            assert!(
                refused.is_some_and(|error| error != ExchangeError::Replayed),
                "{media:?} bit {bit}"
            );
        }
    }
}

#[test]
fn no_flipped_bit_of_an_answer_is_accepted() {
    let deployment = Deployment::new(config(Padding::Off));
    for media in MEDIA {
        let mut bit = 0;
        loop {
            let (sealed, reader) = deployment.seal(media);
            let (_, responder) = deployment.open(media, &sealed, 4096).expect("opens");
            let mut out = Vec::new();
            responder
                .respond(200, "text/plain", &completion("ok"), None, &mut out)
                .expect("answers");
            if bit == out.len() * 8 {
                break;
            }
            out[bit / 8] ^= 1 << (bit % 8);
            assert!(read(reader, &out, 4096).is_err(), "{media:?} bit {bit}");
            bit += 1;
        }
    }
}

#[test]
fn an_answer_cut_anywhere_is_an_error_and_never_a_short_answer() {
    let deployment = Deployment::new(config(Padding::Off));
    let stream = |cut: Option<usize>| {
        let (sealed, reader) = deployment.seal(Media::Chunked);
        let (_, responder) = deployment.open(Media::Chunked, &sealed, 4096).expect("opens");
        let mut out = Vec::new();
        let mut writer = responder.stream(&mut out).expect("begins");
        writer.write(b"data: one\n\n", &mut out).expect("writes");
        writer.write(b"data: [DONE]\n\n", &mut out).expect("writes");
        writer.finish(None, &mut out).expect("ends");
        let size = cut.unwrap_or(out.len());
        (out.len(), read(reader, &out[..size], 4096).is_ok())
    };
    let (whole, accepted) = stream(None);
    assert!(accepted);
    for cut in 0..whole {
        assert!(!stream(Some(cut)).1, "cut at {cut} of {whole}");
    }
}

#[test]
fn an_answer_to_one_request_does_not_open_for_another() {
    let deployment = Deployment::new(config(Padding::Sized));
    let (first, _) = deployment.seal(Media::Chunked);
    let (_, other_reader) = deployment.seal(Media::Chunked);
    let (_, responder) = deployment.open(Media::Chunked, &first, 4096).expect("opens");
    let mut out = Vec::new();
    responder
        .respond(200, "text/plain", &completion("ok"), None, &mut out)
        .expect("answers");
    assert_eq!(
        read(other_reader, &out, 4096).err(),
        Some(SealingError::Open.into())
    );
}

/// An enclave that answers one conversation with what another was told, receipt and all.
#[test]
fn a_receipt_for_another_conversation_is_refused() {
    // The answer of a good gateway, taken apart by whoever asked for it.
    let deployment = Deployment::new(config(Padding::Off));
    let mut sealed = Vec::new();
    let sealer = RequestSealer::new(&deployment.key, Media::OneShot, NOW, &mut sealed).expect("fresh");
    let good = message(&[("date", "Wed, 18 Nov 2026 11:06:40 GMT")]);
    let mut opener = sealer.finish(&good, &mut sealed).expect("seals");
    let (_, responder) = deployment.open(Media::OneShot, &sealed, 4096).expect("opens");
    let mut out = Vec::new();
    let receipt = Some((&deployment.signer, deployment.facts()));
    responder
        .respond(200, "text/plain", &completion("ok"), receipt, &mut out)
        .expect("answers");
    let mut chunks = Vec::new();
    opener.push(&out, &mut chunks).expect("authentic");
    opener.finish(&mut chunks).expect("whole");
    let answer: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();

    // The same answer, sealed to a client that asked something else.
    let key = KeyPair::generate(Suite::XWING_SHA256_AES256, 1).expect("randomness");
    let configs = KeyConfig::encode_list(std::slice::from_ref(key.key_config()));
    let evidence = crate::support::attest(configs, deployment.signer.public_key());
    let other = AttestedKey::bind(key.key_config(), &evidence).expect("attested");
    let answer_to = |answer: &[u8]| {
        let asked = request(CANARY);
        let (sealed, reader) =
            Exchange::seal(&other, Media::OneShot, asked, Padding::Off, NOW).expect("seals");
        let header = HeaderReader::new(Media::OneShot, 1 << 20).push(&sealed.into_bytes());
        let Ok(HeaderProgress::Ready(request)) = header else {
            panic!("the request is whole")
        };
        let sealer = request
            .open_with(&key)
            .expect("our key")
            .finish(&mut Vec::new())
            .expect("opens");
        let mut out = Vec::new();
        sealer.finish(answer, &mut out).expect("seals");
        read(reader, &out, 4096).err()
    };
    assert_eq!(
        answer_to(&answer),
        Some(ExchangeError::Receipt("does not commit to the request"))
    );
    let bare = [1, 0x40, 200]; // RFC 9292: status 200 and nothing else
    assert_eq!(answer_to(&bare), None);
}

#[test]
fn a_request_to_another_gateway_is_key_config() {
    let deployment = Deployment::new(config(Padding::Sized));
    let other = Deployment::new(config(Padding::Sized));
    let (sealed, _) = other.seal(Media::Chunked);
    assert_eq!(
        problem(deployment.open(Media::Chunked, &sealed, 4096)),
        ProblemCode::KeyConfig
    );
    assert_eq!(
        problem(deployment.open(Media::Chunked, b"", 1)),
        ProblemCode::KeyConfig
    );
    assert_eq!(
        problem(deployment.open(Media::Chunked, &[0xff; 5000], 100)),
        ProblemCode::KeyConfig
    );
}

#[test]
fn a_request_over_the_limit_is_too_large() {
    let small = GatewayConfig {
        request_bytes_max: 4096,
        ..config(Padding::Off)
    };
    let deployment = Deployment::new(small);
    let (sealed, _) = deployment.seal_request(Media::Chunked, request(&"x".repeat(4096)));
    for step in [100, sealed.len()] {
        assert_eq!(
            problem(deployment.open(Media::Chunked, &sealed, step)),
            ProblemCode::TooLarge
        );
        let (again, _) = deployment.seal_request(Media::Chunked, request(&"x".repeat(4096)));
        assert_eq!(
            problem(deployment.open(Media::Chunked, &again, step)),
            ProblemCode::TooLarge
        );
    }
    let huge = request(&"x".repeat(wire::limits::ENCAPSULATED_REQUEST_BYTES_MAX));
    let refused = Exchange::seal(&deployment.key, Media::Chunked, huge, Padding::Off, NOW).err();
    assert_eq!(refused.expect("refused").problem(), ProblemCode::TooLarge);
}

/// Well sealed, but what is inside is not a request: the refusal is sealed too.
#[test]
fn what_is_not_a_request_is_refused_inside() {
    let deployment = Deployment::new(config(Padding::Sized));
    let date = "Thu, 18 Nov 2026 10:40:00 GMT"; // the wrong day of the week
    let cases: [(&str, Vec<u8>); 6] = [
        ("empty", Vec::new()),
        ("garbage", vec![0xff; 100]),
        ("a response", vec![1, 0x40, 200]),
        (
            "cut",
            message(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")])[..20].to_vec(),
        ),
        ("no date", message(&[])),
        ("a wrong date", message(&[("date", date)])),
    ];
    for (name, inner) in cases {
        let mut sealed = Vec::new();
        let sealer = RequestSealer::new(&deployment.key, Media::Chunked, NOW, &mut sealed).expect("fresh");
        let mut opener = sealer.finish(&inner, &mut sealed).expect("seals");
        let (opened, responder) = deployment.open(Media::Chunked, &sealed, 50).expect("opens");
        assert_eq!(opened.err(), Some(ProblemCode::MalformedRequest), "{name}");
        let mut out = Vec::new();
        responder
            .refuse(ProblemCode::MalformedRequest, None, &mut out)
            .expect("answers");
        let mut chunks = Vec::new();
        opener.push(&out, &mut chunks).expect("authentic");
        opener.finish(&mut chunks).expect("whole");
    }
}

/// Binary HTTP of a small request, by hand.
fn message(fields: &[(&str, &str)]) -> Vec<u8> {
    let prefixed = |bytes: &[u8], out: &mut Vec<u8>| {
        write_varint(bytes.len() as u64, out);
        out.extend(bytes);
    };
    let mut section = Vec::new();
    for (name, value) in fields {
        prefixed(name.as_bytes(), &mut section);
        prefixed(value.as_bytes(), &mut section);
    }
    let mut out = vec![0];
    for part in ["GET", "https", "", "/v1/models"] {
        prefixed(part.as_bytes(), &mut out);
    }
    prefixed(&section, &mut out);
    out
}

#[test]
fn two_tokens_or_another_scheme_are_refused() {
    let deployment = Deployment::new(config(Padding::Sized));
    let good = "Wed, 18 Nov 2026 11:06:40 GMT";
    for (fields, expected) in [
        (vec![("date", good), ("authorization", "Bearer a")], None),
        (vec![("date", good), ("x", "1"), ("y", "2")], None),
        (
            vec![("date", good), ("authorization", "Basic a")],
            Some(ProblemCode::UnauthorizedToken),
        ),
        (
            vec![("date", good), ("authorization", "a")],
            Some(ProblemCode::UnauthorizedToken),
        ),
        (
            vec![
                ("date", good),
                ("authorization", "Bearer a"),
                ("authorization", "Bearer b"),
            ],
            Some(ProblemCode::UnauthorizedToken),
        ),
        (
            vec![("date", good), ("date", good)],
            Some(ProblemCode::MalformedRequest),
        ),
        (
            vec![("date", good), ("x", "1"), ("x", "2")],
            Some(ProblemCode::MalformedRequest),
        ),
    ] {
        let mut sealed = Vec::new();
        let sealer = RequestSealer::new(&deployment.key, Media::OneShot, NOW, &mut sealed).expect("fresh");
        let _ = sealer.finish(&message(&fields), &mut sealed).expect("seals");
        let (opened, _) = deployment.open(Media::OneShot, &sealed, 4096).expect("opens");
        assert_eq!(opened.err(), expected, "{fields:?}");
    }
}

#[test]
fn headers_that_the_exchange_writes_cannot_be_given() {
    let deployment = Deployment::new(config(Padding::Sized));
    for name in ["authorization", "date", "adyton-receipt"] {
        let request = Request {
            headers: vec![(name.into(), "x".into())],
            body: Prompt::new(Vec::new()),
            ..request(CANARY)
        };
        let refused = Exchange::seal(&deployment.key, Media::Chunked, request, Padding::Sized, NOW);
        assert!(
            matches!(refused.err(), Some(ExchangeError::ApiMisuse(_))),
            "{name}"
        );
    }
}

#[test]
fn no_error_carries_plaintext() {
    let deployment = Deployment::new(config(Padding::Off));
    let mut errors = Vec::new();
    // A canary in every place of a request where it is not acceptable, and where UTF-8 breaks after it.
    for (method, path, header) in [
        (CANARY, "/", "x"),
        ("GET", CANARY, "x"),
        ("GET", "/", "canary-7b1f-prompt\u{e9}"),
    ] {
        let request = Request {
            method: method.into(),
            path: path.into(),
            headers: vec![("x".into(), header.into())],
            ..request(CANARY)
        };
        let refused = Exchange::seal(&deployment.key, Media::Chunked, request, Padding::Off, NOW);
        errors.push(refused.err().expect("refused"));
    }
    let (mut sealed, _) = deployment.seal(Media::Chunked);
    *sealed.last_mut().expect("not empty") ^= 1;
    errors.push(
        deployment
            .open(Media::Chunked, &sealed, 4096)
            .err()
            .expect("refused"),
    );
    for error in errors {
        let shown = format!("{error} {error:?} {} {:?}", error.code(), error.problem());
        assert!(!shown.contains("canary") && !shown.contains("7b1f"), "{shown}");
    }
}
