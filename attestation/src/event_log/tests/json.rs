//! JSON logs.

use alloc::format;
use alloc::string::String;

use sha2::{Digest as _, Sha384};

use super::super::{Agreement, EventLog, EventLogError};
use super::field;
use crate::inspect;

fn runtime(fields: &str) -> String {
    format!(r#"[{{"imr":3,"event_type":134217729,"event":"app-id","event_payload":"abcd"{fields}}}]"#)
}

fn digest_1() -> String {
    hex::encode(Sha384::digest(
        [&[1, 0, 0, 8][..], b":app-id:", &[0xab, 0xcd]].concat(),
    ))
}

#[test]
fn runtime_events_have_a_digest_of_type_name_and_payload() {
    let parse = |text: &str| EventLog::parse(text.as_bytes());
    let agreement = |text: &str| parse(text).expect("it reads").events()[0].agreement();
    let digest = digest_1();
    let text = runtime(&format!(r#","digest":"{digest}""#));
    let log = parse(&text).expect("it reads");
    assert_eq!(log.events()[0].agreement(), Agreement::Recomputed);
    assert_eq!(log.events()[0].name(), "app-id");
    assert_eq!(inspect(text.as_bytes()), Some(log.fields()));
    assert_eq!(log.replay_rtmr(3), log.replay_sha384(4));
    assert_eq!(field(&log, "runtime event app-id").as_deref(), Some("abcd"));
    // Told only of RTMR3, and only what was measured.
    for (from, to) in [("\"imr\":3", "\"imr\":1"), ("abcd", "abce")] {
        assert!(text.contains(from), "{from}");
        let other = parse(&text.replace(from, to)).expect("it reads");
        assert_eq!(field(&other, "runtime event app-id"), None, "{to}");
    }
    for (payload, told) in [("6869", "6869 (hi)"), ("", "")] {
        let other = parse(&runtime("").replace("abcd", payload)).expect("it reads");
        assert_eq!(field(&other, "runtime event app-id").as_deref(), Some(told));
    }
    // The digest follows from the rest.
    assert_eq!(parse(&runtime("")).expect("it reads").events(), log.events());
    assert_eq!(agreement(&text.replace("abcd", "abce")), Agreement::Mismatch);
    assert_eq!(agreement(&text.replace("app-id", "app-ie")), Agreement::Mismatch);
    // A name with a colon could be cut elsewhere.
    assert_eq!(
        agreement(&runtime("").replace("app-id", "app:id")),
        Agreement::Unknown
    );
    let canonical = r#"{"name":"app-id","payload":"abcd","type":134217729}"#;
    let digest_2 = hex::encode(Sha384::digest(canonical));
    let preimage = hex::encode(canonical);
    let second = runtime(&format!(
        r#","version":2,"digest":"{digest_2}","preimage":"{preimage}""#
    ));
    assert_eq!(agreement(&second), Agreement::Recomputed);
    assert_eq!(
        agreement(&second.replace(&digest_2, &digest)),
        Agreement::Mismatch
    );
    assert_eq!(
        parse(&second.replace(&preimage, "00")),
        Err(EventLogError::Entry(0))
    );
    assert_eq!(
        parse(&second.replace("\"version\":2", "\"version\":3")),
        Err(EventLogError::Entry(0))
    );
    let quoted = runtime(r#","version":2"#).replace("app-id", r#"a\"\\\n\u0001"#);
    let expected = Sha384::digest(br#"{"name":"a\"\\\n\u0001","payload":"abcd","type":134217729}"#);
    assert_eq!(
        parse(&quoted).expect("it reads").events()[0]
            .sha384()
            .map(|digest| &digest[..]),
        Some(&expected[..])
    );
}

#[test]
fn json_is_strict() {
    let parse = |text: &str| EventLog::parse(text.as_bytes());
    let separator = hex::encode(Sha384::digest([0; 4]));
    let boot = format!(
        r#"[{{"imr":0,"event_type":4,"digest":"{separator}","event":"","event_payload":"00000000"}}]"#
    );
    let log = parse(&boot).expect("it reads");
    assert_eq!(log.events()[0].register(), 1);
    assert_eq!(log.events()[0].agreement(), Agreement::Recomputed);
    let withheld = |text: &str| {
        parse(&text.replace("00000000\"}", "\"}"))
            .expect("it reads")
            .events()[0]
            .agreement()
    };
    assert_eq!(withheld(&boot), Agreement::Withheld);
    let action = boot
        .replace("\"event_type\":4", "\"event_type\":5")
        .replace(&separator, &digest_1());
    assert_eq!(withheld(&action), Agreement::Withheld);
    assert_eq!(
        withheld(&action.replace("\"event_type\":5", "\"event_type\":4")),
        Agreement::Mismatch
    );
    for (from, to, error) in [
        ("\"imr\":0", "\"imr\":4", EventLogError::Entry(0)),
        (separator.as_str(), "", EventLogError::Entry(0)),
        (separator.as_str(), "00", EventLogError::Entry(0)),
        ("00000000\"}", "0000000\"}", EventLogError::Entry(0)),
        ("00000000\"}", "0000000x\"}", EventLogError::Entry(0)),
        (
            "\"event\":\"\"",
            "\"event\":\"\",\"version\":2",
            EventLogError::Entry(0),
        ),
        (
            "\"event\":\"\"",
            "\"event\":\"\",\"preimage\":\"00000000\"",
            EventLogError::Entry(0),
        ),
        (
            "\"event\":\"\"",
            "\"event\":\"\",\"extra\":1",
            EventLogError::Json,
        ),
        (
            "\"event\":\"\"",
            "\"event\":\"\",\"event\":\"\"",
            EventLogError::Json,
        ),
        ("\"event\":\"\",", "", EventLogError::Json),
        ("\"imr\":0", "\"imr\":-1", EventLogError::Json),
        ("\"imr\":0", "\"imr\":\"0\"", EventLogError::Json),
        ("}]", "}]x", EventLogError::Json),
        ("}]", "}", EventLogError::Json),
    ] {
        assert_eq!(parse(&boot.replacen(from, to, 1)), Err(error), "{to}");
    }
    let named = |bytes: usize| {
        parse(&boot.replace("\"event\":\"\"", &format!("\"event\":\"{}\"", "x".repeat(bytes))))
    };
    assert!(named(256).is_ok());
    assert_eq!(named(257), Err(EventLogError::Entry(0)));
    assert_eq!(parse("[]").map(|log| log.events().len()), Ok(0));
    for end in 0..boot.len() {
        assert!(EventLog::parse(&boot.as_bytes()[..end]).is_err(), "{end}");
    }
}

#[test]
fn json_is_bounded() {
    let parse = |text: &str| EventLog::parse(text.as_bytes()).map(|log| log.events().len());
    let entry = r#"{"imr":0,"event_type":134217729,"event":"","event_payload":""}"#;
    let many = |count: usize| format!("[{}]", alloc::vec![entry; count].join(","));
    assert_eq!(parse(&many(4096)), Ok(4096));
    assert_eq!(parse(&many(4097)), Err(EventLogError::TooManyEvents));
    let padded = |size: usize| format!("[]{}", " ".repeat(size - 2));
    assert_eq!(parse(&padded(256 * 1024)), Ok(0));
    assert_eq!(parse(&padded(256 * 1024 + 1)), Err(EventLogError::TooLarge));
}
