//! What works: requests, answers, streams, refusals, receipts, epochs.

use exchange::{ExchangeError, Padding};
use sealing::{AttestedKey, Profile, SealingError, Suite};
use wire::message::Media;
use wire::{KeyConfig, ProblemCode};

use crate::support::{self, Deployment, NOW, completion, config, install, open_at, read, request};

const PADDINGS: [Padding; 3] = [Padding::Off, Padding::Sized, Padding::Constant];
const MEDIA: [Media; 2] = [Media::OneShot, Media::Chunked];

#[test]
fn a_whole_answer_with_its_receipt() {
    for padding in PADDINGS {
        let deployment = Deployment::new(config(padding));
        for media in MEDIA {
            for (body, step) in [("{}", 1), (support::CANARY, 1000), (&"x".repeat(100_000), 65_536)] {
                let (sealed, reader) = deployment.seal_request(media, request(body));
                let (opened, responder) = deployment.open(media, &sealed, step).expect("opens");
                let opened = opened.expect("acceptable");
                assert_eq!(
                    (opened.method.as_str(), opened.path.as_str()),
                    ("POST", "/v1/chat/completions")
                );
                assert_eq!(
                    opened.headers,
                    [("content-type".to_owned(), "application/json".to_owned())]
                );
                assert_eq!(
                    opened.token.as_ref().map(|token| token.expose()),
                    Some("adt_canary-token")
                );
                assert_eq!(opened.body.expose(), body.as_bytes());

                let mut out = Vec::new();
                let signed = responder
                    .respond(
                        200,
                        "application/json",
                        &completion(body),
                        Some((&deployment.signer, deployment.facts())),
                        &mut out,
                    )
                    .expect("answers");
                let answer = read(reader, &out, step).expect("whole");
                assert_eq!(answer.head.status, 200);
                assert_eq!(
                    answer.head.headers,
                    [("content-type".to_owned(), "application/json".to_owned())]
                );
                assert_eq!(answer.body, body.as_bytes());
                assert_eq!(answer.receipt, signed);
                let receipt = answer.receipt.expect("a receipt");
                let fields = receipt
                    .verify(&deployment.signer.public_key())
                    .expect("signed by the enclave");
                assert_eq!(
                    (fields.epoch, fields.prompt_tokens, fields.completion_tokens),
                    (1, 11, 22)
                );
            }
        }
    }
}

#[test]
fn a_stream_with_its_receipt() {
    let events: Vec<String> = (0..40)
        .map(|n| format!("data: {{\"n\":\"{}\"}}\n\n", "t".repeat(n * 37)))
        .collect();
    for padding in PADDINGS {
        let deployment = Deployment::new(config(padding));
        for media in MEDIA {
            let (sealed, reader) = deployment.seal(media);
            let (_, responder) = deployment.open(media, &sealed, 4096).expect("opens");
            let mut out = Vec::new();
            let mut writer = responder.stream(&mut out).expect("begins");
            for (n, event) in events.iter().enumerate() {
                writer.write(event.as_bytes(), &mut out).expect("writes");
                if n % 3 == 0 {
                    writer.tick(&mut out).expect("ticks");
                }
            }
            let signed = writer
                .finish(Some((&deployment.signer, deployment.facts())), &mut out)
                .expect("ends");
            let answer = read(reader, &out, 777).expect("whole");
            assert_eq!(
                answer.head.headers,
                [("content-type".to_owned(), "text/event-stream".to_owned())]
            );
            assert_eq!(
                String::from_utf8(answer.body).expect("text"),
                events.concat(),
                "{padding:?} {media:?}"
            );
            assert_eq!(answer.receipt, signed);
            assert!(
                answer
                    .receipt
                    .expect("a receipt")
                    .verify(&deployment.signer.public_key())
                    .is_ok()
            );
        }
    }
}

#[test]
fn the_first_chunk_arrives_before_the_answer_ends() {
    let deployment = Deployment::new(config(Padding::Sized));
    let (sealed, mut reader) = deployment.seal(Media::Chunked);
    let (_, responder) = deployment.open(Media::Chunked, &sealed, 4096).expect("opens");
    let mut out = Vec::new();
    let mut writer = responder.stream(&mut out).expect("begins");
    writer.write(b"data: first\n\n", &mut out).expect("writes");
    assert_eq!(
        reader.push(&out).expect("authentic").len(),
        2,
        "head and first event, with nothing missing"
    );
    drop(writer);
    assert_eq!(
        reader.finish().err(),
        Some(SealingError::Truncated.into()),
        "a writer that is dropped cuts"
    );
}

#[test]
fn a_refusal_is_sealed_and_has_no_receipt() {
    let deployment = Deployment::new(config(Padding::Sized));
    for media in MEDIA {
        let (sealed, reader) = deployment.seal(media);
        let (_, responder) = deployment.open(media, &sealed, 4096).expect("opens");
        let mut out = Vec::new();
        responder
            .refuse(ProblemCode::UnknownModel, Some("model"), &mut out)
            .expect("answers");
        let answer = read(reader, &out, 100).expect("whole");
        assert_eq!(answer.head.status, 404);
        assert_eq!(answer.body, ProblemCode::UnknownModel.openai_body(Some("model")));
        assert!(answer.receipt.is_none());
    }
}

#[test]
fn events_must_be_whole() {
    let deployment = Deployment::new(config(Padding::Sized));
    let (sealed, _) = deployment.seal(Media::Chunked);
    let (_, responder) = deployment.open(Media::Chunked, &sealed, 4096).expect("opens");
    let mut out = Vec::new();
    let mut writer = responder.stream(&mut out).expect("begins");
    assert!(matches!(
        writer.write(b"data: half", &mut out),
        Err(ExchangeError::ApiMisuse(_))
    ));
}

#[test]
fn both_profiles_find_their_suite_in_one_gateway() {
    let deployment = Deployment::new(config(Padding::Sized));
    assert_eq!(deployment.key.suite(), Suite::XWING_SHA256_AES256);
    let pending = deployment.gateway.prepare().expect("randomness");
    let evidence = support::attest(pending.key_configs().to_vec(), [0; 32]);
    deployment.gateway.install(pending, NOW);
    let fips = AttestedKey::choose(Profile::Fips, &evidence).expect("a permitted suite");
    assert_eq!(fips.suite(), Suite::MLKEM1024_P384_SHA384_AES256);
    let fips = Deployment {
        key: fips,
        ..deployment
    };
    let (sealed, _) = fips.seal(Media::Chunked);
    assert!(fips.open(Media::Chunked, &sealed, 4096).expect("opens").0.is_ok());
}

#[test]
fn a_request_to_the_key_before_is_opened_for_the_grace_and_refused_after_it() {
    let deployment = Deployment::new(config(Padding::Sized));
    let grace = deployment.gateway.config().grace_seconds;
    let (early, _) = deployment.seal(Media::Chunked);
    let (late, _) = deployment.seal(Media::Chunked);
    let (in_flight, reader) = deployment.seal(Media::Chunked);
    let (_, responder) = deployment.open(Media::Chunked, &in_flight, 4096).expect("opens");

    install(&deployment.gateway, &deployment.signer, NOW);
    assert_eq!(deployment.gateway.epoch(), 2);
    let within = NOW.plus_seconds(grace - 1);
    let (opened, _) = open_at(&deployment.gateway, Media::Chunked, &early, 4096, within).expect("opens");
    assert!(opened.is_ok());
    let after = NOW.plus_seconds(grace);
    let refused = open_at(&deployment.gateway, Media::Chunked, &late, 4096, after)
        .err()
        .expect("refused");
    assert_eq!(refused.problem(), ProblemCode::KeyConfig);

    // What was opened in time is answered all the same, and its receipt names its own epoch.
    let mut out = Vec::new();
    let facts = deployment.facts();
    let body = completion("late");
    responder
        .respond(
            200,
            "text/plain",
            &body,
            Some((&deployment.signer, facts)),
            &mut out,
        )
        .expect("answers");
    let receipt = read(reader, &out, 4096)
        .expect("whole")
        .receipt
        .expect("a receipt");
    assert_eq!(
        receipt
            .verify(&deployment.signer.public_key())
            .expect("signed")
            .epoch,
        1
    );
}

#[test]
fn nothing_is_sealed_to_evidence_that_is_stale() {
    let deployment = Deployment::new(config(Padding::Sized));
    let stale = deployment.key.fresh_until().plus_seconds(1);
    let refused = exchange::client::Exchange::seal(
        &deployment.key,
        Media::Chunked,
        request(support::CANARY),
        Padding::Sized,
        stale,
    );
    assert_eq!(
        refused.err().expect("refused").problem(),
        ProblemCode::EvidenceStale
    );
}

#[test]
fn nothing_is_sealed_to_a_key_that_was_not_attested() {
    let deployment = Deployment::new(config(Padding::Sized));
    let attested = deployment.gateway.prepare().expect("randomness");
    let other = deployment.gateway.prepare().expect("randomness");
    let evidence = support::attest(attested.key_configs().to_vec(), [0; 32]);
    let configs = |list: &[u8]| KeyConfig::decode_list(list).expect("our own list");
    for config in configs(attested.key_configs()) {
        assert!(AttestedKey::bind(&config, &evidence).is_ok());
        let mut renumbered = config.encode();
        renumbered[0] ^= 0x80;
        let renumbered = KeyConfig::decode(&renumbered).expect("well-formed");
        assert_eq!(
            AttestedKey::bind(&renumbered, &evidence).err(),
            Some(SealingError::NotAttested)
        );
    }
    for config in configs(other.key_configs()) {
        assert_eq!(
            AttestedKey::bind(&config, &evidence).err(),
            Some(SealingError::NotAttested)
        );
    }
}
