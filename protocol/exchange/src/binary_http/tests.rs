//! The codec against published messages, against the `bhttp` crate, and against arbitrary bytes.
#![allow(clippy::print_stdout, clippy::print_stderr)] // counts, and what was not run

use std::io::Cursor;
use std::path::PathBuf;

use bhttp::{Message, Mode, StatusCode};
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;

/// Head and content of a message that came in pieces of `step` bytes.
fn read(kind: Kind, bytes: &[u8], step: usize) -> Result<(Head, Vec<u8>), ExchangeError> {
    let mut decoder = Decoder::new(kind, LIMIT);
    let mut parts = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        decoder.push(piece, &mut parts)?;
    }
    decoder.finish(&mut parts)?;
    let mut parts = parts.into_iter();
    let Some(Part::Head(head)) = parts.next() else {
        panic!("the head comes first")
    };
    let content = parts
        .flat_map(|part| match part {
            Part::Content(content) => content.to_vec(),
            Part::Head(_) => panic!("one head"),
        })
        .collect();
    Ok((head, content))
}

fn status(bytes: &[u8]) -> Result<(u16, Vec<u8>), ExchangeError> {
    match read(Kind::Response, bytes, 1)? {
        (Head::Response { status, .. }, content) => Ok((status, content)),
        (Head::Request { .. }, _) => panic!("a response"),
    }
}

/// The messages of the `bhttp` crate's tests, which include RFC 9292 section 5.
#[test]
fn published_messages() {
    let root = std::env::var_os("ADYTON_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors")),
        PathBuf::from,
    );
    let Ok(bytes) = std::fs::read(root.join("crypto/ohttp/bhttp-messages.json")) else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "no vectors at ADYTON_VECTORS"
        );
        eprintln!(
            "NOT RUN: published binary HTTP messages (none below {})",
            root.display()
        );
        return;
    };
    let messages: Vec<serde_json::Value> = serde_json::from_slice(&bytes).expect("JSON");
    for message in &messages {
        let bytes = hex::decode(message["hex"].as_str().expect("text")).expect("hexadecimal");
        match message["name"].as_str().expect("text") {
            "chunked_known_0" | "chunked_indeterminate_1" => {
                assert_eq!(
                    status(&bytes),
                    Ok((200, b"This content contains CRLF.\r\n".to_vec()))
                );
            }
            "request_3" => match read(Kind::Request, &bytes, 1) {
                Ok((Head::Request { method, path, fields }, content)) => {
                    assert_eq!((method.as_str(), path.as_str()), ("GET", "/"));
                    assert!(fields.is_empty() && content.is_empty());
                }
                _ => panic!("RFC 9292 section 5.1"),
            },
            "response_4" => assert_eq!(status(&bytes), Ok((200, Vec::new()))),
            "request_6" => assert!(
                read(Kind::Request, &bytes, 1).is_err(),
                "a size beyond any memory"
            ),
            other => panic!("{other} is new: look at it"),
        }
    }
    println!("ohttp/bhttp-messages.json: {} passed", messages.len());
}

fn fields_of(head: &Head) -> &Fields {
    match head {
        Head::Request { fields, .. } | Head::Response { fields, .. } => fields,
    }
}

fn names() -> impl Strategy<Value = Fields> {
    prop::collection::vec(("[a-z][a-z0-9-]{0,20}", "[ -~]{0,40}"), 0..8)
        .prop_filter("bhttp joins cookies", |fields| {
            fields.iter().all(|(name, _)| name != "cookie")
        })
}

proptest! {
    #[test]
    fn the_oracle_reads_our_requests(fields in names(), body in prop::collection::vec(any::<u8>(), 0..200),
                                     padding in 0usize..50) {
        let mut bytes = request("POST", "/v1/chat?x=1", &fields, &body).expect("well-formed").to_vec();
        bytes.resize(bytes.len() + padding, 0);
        let message = Message::read_bhttp(&mut Cursor::new(&bytes[..])).expect("the oracle reads it");
        prop_assert_eq!(message.control().method(), Some(&b"POST"[..]));
        prop_assert_eq!(message.control().path(), Some(&b"/v1/chat?x=1"[..]));
        prop_assert_eq!(message.content(), &body[..]);
        prop_assert_eq!(message.header().fields().len(), fields.len());
        let (head, content) = read(Kind::Request, &bytes, 7).expect("we read it");
        prop_assert_eq!(fields_of(&head), &fields);
        prop_assert_eq!(content, body);
    }

    #[test]
    fn the_oracle_reads_our_responses(fields in names(), body in prop::collection::vec(any::<u8>(), 1..200),
                                      padding in 0usize..50) {
        let mut known = response(404, &fields, &body).expect("well-formed").to_vec();
        known.resize(known.len() + padding, 0);
        let mut stream = stream_head(404, &fields).expect("well-formed");
        for piece in body.chunks(50) {
            content_chunk_header(piece.len(), &mut stream);
            stream.extend(piece);
        }
        stream.resize(stream.len() + 2 + padding, 0);
        for bytes in [known, stream] {
            let message = Message::read_bhttp(&mut Cursor::new(&bytes[..])).expect("the oracle reads it");
            prop_assert_eq!(message.control().status().map(StatusCode::code), Some(404));
            prop_assert_eq!(message.content(), &body[..]);
            prop_assert_eq!(message.header().fields().len(), fields.len());
            let (head, content) = read(Kind::Response, &bytes, 3).expect("we read it");
            prop_assert_eq!(fields_of(&head), &fields);
            prop_assert_eq!(&content, &body);
        }
    }

    #[test]
    fn we_read_what_the_oracle_writes(fields in names(), body in prop::collection::vec(any::<u8>(), 1..200)) {
        for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
            let mut message = Message::request(b"GET".to_vec(), b"https".to_vec(), b"h".to_vec(), b"/p".to_vec());
            for (name, value) in &fields {
                message.put_header(name.as_bytes(), value.as_bytes());
            }
            message.put_trailer("t", "v");
            message.write_content(&body);
            let mut bytes = Vec::new();
            message.write_bhttp(mode, &mut bytes).expect("writes");
            let (head, content) = read(Kind::Request, &bytes, 5).expect("we read it");
            prop_assert_eq!(fields_of(&head), &fields);
            prop_assert_eq!(content, body.clone());
        }
    }

    #[test]
    fn any_bytes_in_any_pieces(mut bytes in prop::collection::vec(any::<u8>(), 0..120), framing in 0u8..5, step in 1usize..20) {
        if let Some(first) = bytes.first_mut() {
            *first = framing;
        }
        for kind in [Kind::Request, Kind::Response] {
            let whole = read(kind, &bytes, bytes.len()).map(|(_, content)| content);
            let pieces = read(kind, &bytes, step).map(|(_, content)| content);
            prop_assert_eq!(whole.is_ok(), pieces.is_ok());
            if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
                prop_assert_eq!(whole, pieces);
            }
        }
    }

    #[test]
    fn a_message_cut_in_the_middle_is_an_error(body in prop::collection::vec(1u8.., 1..60)) {
        let fields = vec![("a".to_owned(), "b".to_owned())];
        let known = response(200, &fields, &body).expect("well-formed");
        let empty = known.len() - body.len() - 1; // up to the end of the header section: content may be missing
        for size in (0..known.len()).filter(|size| *size != empty && *size != 3) {
            prop_assert!(status(&known[..size]).is_err(), "known, {size} of {}", known.len());
        }
        let mut stream = stream_head(200, &fields).expect("well-formed");
        let head = stream.len();
        content_chunk_header(body.len(), &mut stream);
        stream.extend(&body);
        for size in (0..=stream.len()).filter(|size| *size != head && *size != 3) {
            prop_assert!(status(&stream[..size]).is_err(), "stream, {size} of {}", stream.len());
        }
    }
}

#[test]
fn limits() {
    let many: Fields = (0..=FIELDS_MAX)
        .map(|n| (format!("n{n}"), String::new()))
        .collect();
    assert!(matches!(
        request("GET", "/", &many, b""),
        Err(ExchangeError::TooLarge { .. })
    ));
    let mut bytes = vec![3, 0x40, 200];
    for (name, _) in &many {
        bytes.push(u8::try_from(name.len()).expect("short"));
        bytes.extend(name.as_bytes());
        bytes.push(0);
    }
    bytes.extend([0, 0, 0]);
    assert!(matches!(status(&bytes), Err(ExchangeError::TooLarge { .. })));

    let long = "/".repeat(PATH_BYTES_MAX + 1);
    assert!(matches!(
        request("GET", &long, &Fields::new(), b""),
        Err(ExchangeError::TooLarge { .. })
    ));
    let value = vec![("a".to_owned(), "b".repeat(FIELD_VALUE_BYTES_MAX + 1))];
    assert!(request("GET", "/", &value, b"").is_err());

    // Content is refused by its announced size, before it is there.
    let message = response(200, &Fields::new(), &[0; 100]).expect("well-formed");
    let mut decoder = Decoder::new(Kind::Response, 99);
    let refused = decoder.push(&message[..6], &mut Vec::new());
    assert!(matches!(refused, Err(ExchangeError::TooLarge { limit: 99, .. })));
    assert!(decoder.push(b"", &mut Vec::new()).is_err(), "and stays refused");
}

#[test]
fn what_is_not_http_is_refused() {
    for (method, path) in [
        ("get", "/"),
        ("", "/"),
        ("GET ", "/"),
        ("GET", ""),
        ("GET", "x"),
        ("GET", "/a b"),
        ("GET", "/\n"),
    ] {
        assert!(
            request(method, path, &Fields::new(), b"").is_err(),
            "{method:?} {path:?}"
        );
    }
    for (name, value) in [
        ("Upper", "v"),
        ("", "v"),
        ("a b", "v"),
        ("a:", "v"),
        ("a", "v\r\nx: y"),
        ("a", "\0"),
        ("a", "é"),
    ] {
        let fields = vec![(name.to_owned(), value.to_owned())];
        assert!(request("GET", "/", &fields, b"").is_err(), "{name:?} {value:?}");
    }
    assert!(status(&[1, 0x40, 99]).is_err(), "status 99");
    assert!(
        status(&[0, 0x40, 200]).is_err(),
        "a request where a response is expected"
    );
    let mut padded = response(200, &Fields::new(), b"x").expect("well-formed").to_vec();
    padded.extend([0, 0, 1]);
    assert!(status(&padded).is_err(), "padding that is not zero");
    assert_eq!(
        status(&[1, 0x40, 100, 0, 0x40, 200]),
        Ok((200, Vec::new())),
        "an informational response first"
    );
}
