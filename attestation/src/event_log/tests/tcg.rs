//! The shape of TCG logs, and what they replay to.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256, Sha384};

use super::super::{Agreement, EventKind, EventLog, EventLogError, RegisterLayout};
use super::{Log, SHA1, SHA256, SHA384, boot};
use crate::inspect;

#[test]
fn a_cut_log_is_refused_or_is_a_shorter_one() {
    let log = boot();
    let whole = log.read();
    assert_eq!(inspect(&log.bytes), Some(whole.fields()));
    for end in 0..log.bytes.len() {
        if let Ok(shorter) = EventLog::parse(&log.bytes[..end]) {
            assert!(shorter.events().len() < whole.events().len(), "{end}");
            assert_eq!(shorter.events(), &whole.events()[..shorter.events().len()]);
            assert_eq!(shorter.bytes_used(), end);
        }
    }
    assert_eq!(EventLog::parse(&[]), Err(EventLogError::NotALog));
}

#[test]
fn padding_is_uniform_and_nothing_else_follows() {
    let log = boot();
    let expected = log.read();
    let padded = |padding: &[u8]| EventLog::parse(&[&log.bytes[..], padding].concat());
    for byte in [0, 0xff] {
        for count in [1, 7, 8, 4096] {
            assert_eq!(
                padded(&alloc::vec![byte; count]).as_ref(),
                Ok(&expected),
                "{byte} {count}"
            );
        }
        let mut dirty = alloc::vec![byte; 64];
        for at in [8, 63] {
            dirty[at] ^= 1;
            assert_eq!(
                padded(&dirty),
                Err(EventLogError::Padding(log.bytes.len())),
                "{byte} {at}"
            );
            dirty[at] ^= 1;
        }
        dirty[4] ^= 1;
        assert!(padded(&dirty).is_err());
    }
    assert_eq!(padded(&[0xaa; 8]), Err(EventLogError::Event(log.bytes.len())));
}

#[test]
fn logs_are_bounded() {
    let padded = |size: usize| {
        let mut bytes = boot().bytes;
        bytes.resize(size, 0xff);
        EventLog::parse(&bytes).err()
    };
    assert_eq!(padded(1024 * 1024), None);
    assert_eq!(padded(1024 * 1024 + 1), Some(EventLogError::TooLarge));
    let events = |count: usize| {
        let mut log = Log::new(&[(SHA256, 32)]);
        for _ in 0..count {
            log = log.measuring(8, EventKind::IPL, b"x", b"");
        }
        log
    };
    assert_eq!(events(4096).read().events().len(), 4096);
    assert_eq!(events(4097).parse(), Err(EventLogError::TooManyEvents));
    let event = |bytes: usize| Log::ccel().event(3, EventKind::IPL, &alloc::vec![1; bytes]);
    let rest = 256 * 1024 - event(0).bytes.len();
    assert_eq!(event(rest).read().events().len(), 1);
    assert_eq!(event(rest + 1).parse(), Err(EventLogError::TooLarge));
}

#[test]
fn each_field_of_the_header_is_checked() {
    let log = boot();
    for (at, value, error) in [
        (0, 2, EventLogError::Header),
        (4, 4, EventLogError::Header),
        (8, 1, EventLogError::Header),
        (27, 1, EventLogError::Header),
        (28, 34, EventLogError::Header),
        (32, b's', EventLogError::NotCryptoAgile),
        (46, b'0', EventLogError::NotCryptoAgile),
        (53, 1, EventLogError::Header),
        (55, 3, EventLogError::Header),
        (56, 0, EventLogError::Header),
        (56, 2, EventLogError::Header),
        (62, 32, EventLogError::Header),
        (64, 1, EventLogError::Header),
    ] {
        let mut bytes = log.bytes.clone();
        bytes[at] = value;
        assert_eq!(EventLog::parse(&bytes), Err(error), "{at}");
    }
    assert_eq!(
        Log::new(&[(SHA384, 48), (SHA384, 48)]).parse(),
        Err(EventLogError::Header)
    );
    assert_eq!(Log::new(&[(0x99, 0)]).parse(), Err(EventLogError::Header));
    assert_eq!(Log::new(&[(0x99, 65)]).parse(), Err(EventLogError::Header));
    assert!(Log::new(&[(0x99, 64), (SHA384, 48)]).parse().is_ok());
    let many: Vec<_> = (0x100..0x110).map(|algorithm| (algorithm, 20)).collect();
    assert!(Log::new(&[&many[1..], &[(SHA384, 48)]].concat()).parse().is_ok());
    assert_eq!(
        Log::new(&[&many[..], &[(SHA384, 48)]].concat()).parse(),
        Err(EventLogError::Header)
    );
    assert_eq!(
        EventLog::parse(b"garbage that is long enough to be a header of something"),
        Err(EventLogError::NotALog)
    );
    // A log of TPM 1.2 begins with any event that is known, in a register that there is.
    for (register, kind, error) in [
        (23, 3, EventLogError::NotCryptoAgile),
        (24, 3, EventLogError::NotALog),
        (0, 0x99, EventLogError::NotALog),
    ] {
        let mut bytes = log.bytes.clone();
        (bytes[0], bytes[4], bytes[32]) = (register, kind, b's');
        assert_eq!(EventLog::parse(&bytes), Err(error), "{register} {kind}");
    }
    // Registers of a confidential VM are numbered to 4; a log with more is a TPM's.
    for (register, layout) in [(4, RegisterLayout::Confidential), (5, RegisterLayout::Pcr)] {
        let log = Log::ccel().event(register, EventKind::ACTION, b"a").read();
        assert_eq!(log.layout, layout, "{register}");
    }
}

#[test]
fn an_event_has_digests_of_the_headers_algorithms_once_each() {
    let log = Log::new(&[(SHA256, 32), (SHA384, 48)]).event(8, EventKind::ACTION, b"x");
    let event = 32 + 16 + 4 + 4 + 4 + 8 + 1;
    assert!(log.parse().is_ok());
    for (at, value) in [(8, 0), (8, 3), (12, 0x12), (12, 0xc), (46, 0xb)] {
        let mut bytes = log.bytes.clone();
        bytes[event + at] = value;
        assert_eq!(EventLog::parse(&bytes), Err(EventLogError::Event(event)), "{at}");
    }
    // A bank may be left out of an event; then it cannot be replayed.
    let mut fewer = log.bytes.clone();
    fewer[event + 8] = 1;
    fewer.drain(event + 46..event + 46 + 50);
    let fewer = EventLog::parse(&fewer).expect("it reads");
    assert_eq!(fewer.replay_sha256(8), log.read().replay_sha256(8));
    assert_eq!(fewer.replay_sha384(8), None);
    let mut bytes = log.bytes.clone();
    let size_at = bytes.len() - 5;
    bytes[size_at..size_at + 4].copy_from_slice(&[0xff; 4]);
    assert_eq!(EventLog::parse(&bytes), Err(EventLogError::Event(event)));
}

#[test]
fn registers_are_extended_in_order_and_no_action_is_not() {
    let extend = |value: [u8; 48], data: &[u8]| -> [u8; 48] {
        Sha384::new_with_prefix(value)
            .chain_update(Sha384::digest(data))
            .finalize()
            .into()
    };
    let log = Log::new(&[(SHA1, 20), (SHA256, 32), (SHA384, 48)])
        .event(5, EventKind::ACTION, b"a")
        .event(5, EventKind::NO_ACTION, b"ignored")
        .event(6, EventKind::ACTION, b"c")
        .event(5, EventKind::ACTION, b"b")
        .read();
    assert_eq!(log.replay_sha384(5), Some(extend(extend([0; 48], b"a"), b"b")));
    assert_eq!(log.replay_sha384(6), Some(extend([0; 48], b"c")));
    assert_eq!(log.replay_sha384(7), Some([0; 48]));
    assert_eq!(log.registers(), [5, 6]);
    assert_eq!(log.replay_rtmr(4), log.replay_sha384(5));
    assert_eq!(log.replay_rtmr(u32::MAX), None);
    assert_eq!(log.events()[1].agreement(), Agreement::NotExtended);
    assert_eq!(
        boot().read().replay_sha256(1),
        None,
        "a bank that the log does not have"
    );
    assert_eq!(
        Log::new(&[(SHA1, 20)])
            .event(1, EventKind::ACTION, b"a")
            .read()
            .banks(),
        []
    );
}

#[test]
fn pcr_0_begins_with_the_startup_locality_that_is_told_once_and_first() {
    let locality = |value: u8| [&b"StartupLocality\0"[..], &[value]].concat();
    let log = || Log::new(&[(SHA256, 32)]);
    let pcr0 = |log: Log| log.read().replay_sha256(0);
    let mut expected = [0; 32];
    expected[31] = 3;
    assert_eq!(
        pcr0(log().event(0, EventKind::NO_ACTION, &locality(3))),
        Some(expected)
    );
    assert_eq!(
        pcr0(log().event(0, EventKind::NO_ACTION, &locality(0))),
        Some([0; 32])
    );
    let version = |log: Log| log.event(0, EventKind::S_CRTM_VERSION, b"v");
    let first = version(log().event(0, EventKind::NO_ACTION, &locality(3))).read();
    let extended: [u8; 32] = Sha256::new_with_prefix(expected)
        .chain_update(Sha256::digest(b"v"))
        .finalize()
        .into();
    assert_eq!(first.replay_sha256(0), Some(extended));
    assert_eq!(first.replay_sha256(1), Some([0; 32]), "of PCR0 only");
    // The same text in an event that is measured is no word of the locality.
    let measured = log().event(0, EventKind::ACTION, &locality(3));
    let extended: [u8; 32] = Sha256::new_with_prefix([0; 32])
        .chain_update(Sha256::digest(locality(3)))
        .finalize()
        .into();
    assert_eq!(pcr0(measured), Some(extended));
    assert_eq!(
        pcr0(version(log()).event(0, EventKind::NO_ACTION, &locality(3))),
        None,
        "late"
    );
    let twice =
        log()
            .event(0, EventKind::NO_ACTION, &locality(3))
            .event(0, EventKind::NO_ACTION, &locality(0));
    assert_eq!(pcr0(twice), None, "twice");
    assert_eq!(
        pcr0(log().event(0, EventKind::NO_ACTION, &locality(5))),
        None,
        "unknown"
    );
    assert_eq!(
        pcr0(log().event(0, EventKind::NO_ACTION, &locality(3)[..16])),
        None,
        "cut"
    );
    let other = log().event(1, EventKind::NO_ACTION, &locality(3)).read();
    assert_eq!(
        (other.replay_sha256(0), other.replay_sha256(1)),
        (Some([0; 32]), Some([0; 32]))
    );
}

#[test]
fn every_error_has_a_code_and_a_hint() {
    use EventLogError as Error;
    let errors = [
        Error::TooLarge,
        Error::TooManyEvents,
        Error::NotALog,
        Error::NotCryptoAgile,
        Error::Header,
        Error::Event(1),
        Error::Padding(1),
        Error::Json,
        Error::Entry(1),
    ];
    let codes: std::collections::BTreeSet<_> = errors.iter().map(Error::code).collect();
    assert_eq!(codes.len(), errors.len());
    for error in errors {
        assert!(!error.hint().is_empty() && !error.to_string().is_empty());
        assert_eq!(
            error.exit_code(),
            if error == Error::NotCryptoAgile { 30 } else { 20 }
        );
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = EventLog::parse(&bytes).map(|log| log.fields());
    }

    /// Past the header, so that events are reached.
    #[test]
    fn random_events_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), kind in any::<u32>()) {
        let log = Log::ccel().event(1, EventKind(kind), &bytes).event(3, EventKind::IPL, &bytes);
        let log = EventLog::parse(&[&log.bytes[..], &bytes].concat());
        if let Ok(log) = log {
            prop_assert!(log.fields().len() > 1);
            let _ = log.order_fault(1);
        }
    }
}
