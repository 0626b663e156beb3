//! Event logs beside quotes.

use alloc::vec::Vec;

use super::{ASKED, policy};
use crate::clause::Outcome;
use crate::event_log::EventKind;
use crate::examination::Examination;
use crate::fields::Field;
use crate::tpm::testkit::{Failed, Log, Message, NOW, attestation_key, failed};
use crate::tpm::{HashAlgorithm, Quote, RULES, examine};
use crate::x509::PublicKey;

const SEPARATOR: &[u8] = &[0; 4];

/// What PCR 4 and 11 of the policy's 0, 4 and 11 say; PCR 4 may have any value.
fn examined(log: &[u8], pcr_4: [u8; 32]) -> (Failed, Vec<Field>) {
    let values = [[1; 32], pcr_4, [3; 32]].concat();
    let message = Message::new(&ASKED, &[0, 4, 11], &values).encode();
    let key = PublicKey::rsa(&attestation_key().modulus()).expect("a key");
    let mut examination = Examination::new(NOW);
    let claims = examine(
        &mut examination,
        &Quote {
            message: &message,
            signature: &attestation_key().sign(&message),
            key: Some(&key),
            pcr_values: &values,
            bank: HashAlgorithm::Sha256,
            pcrs: &policy(),
            event_log: Some(log),
            qualifying_data: Some(&ASKED),
        },
    );
    let clauses = examination.conclude(&[RULES]).clauses;
    assert!(clauses.iter().all(|clause| clause.outcome != Outcome::Skipped));
    (failed(&clauses), claims.expect("a quote").1)
}

#[test]
fn a_log_of_the_quoted_boot_holds() {
    let log = Log::default().event(4, EventKind::SEPARATOR, SEPARATOR).event(
        4,
        EventKind::EFI_ACTION,
        b"Calling EFI Application from Boot Option",
    );
    let (failed, boot) = examined(&log.bytes(), log.value(4));
    assert_eq!(failed, [].into());
    assert!(!boot.is_empty());
}

#[test]
fn a_log_of_another_boot_is_refused_and_not_read() {
    let log = Log::default().event(4, EventKind::SEPARATOR, SEPARATOR);
    let more = log.clone().event(4, EventKind::SEPARATOR, SEPARATOR);
    let mut cut = log.bytes();
    cut.pop();
    let json = br#"[{"imr":0,"event_type":4,"digest":"","event":"","event_payload":""}]"#;
    // One event more, none, one in a PCR with another value, half an event, registers of a TD, no log.
    for (other, pcr_4) in [
        (more.bytes(), log.value(4)),
        (log.bytes(), more.value(4)),
        (log.clone().event(11, EventKind::IPL, b"x").bytes(), log.value(4)),
        (cut, log.value(4)),
        (json.to_vec(), log.value(4)),
        (Vec::new(), log.value(4)),
    ] {
        let (failed, boot) = examined(&other, pcr_4);
        assert_eq!(failed, ["vtpm-event-log"].into());
        assert!(boot.is_empty());
    }
    // The digests that were extended, beside data that they are not of.
    let told = Log::default().measuring(4, EventKind::SEPARATOR, SEPARATOR, &[0xff; 4]);
    assert_eq!(told.value(4), log.value(4));
    assert_eq!(examined(&told.bytes(), log.value(4)).0, ["vtpm-event-log"].into());
}

#[test]
fn what_a_log_says_of_other_registers_is_left_aside() {
    let log = Log::default().event(4, EventKind::SEPARATOR, SEPARATOR);
    let more = log.clone().event(8, EventKind::IPL, b"kernel_cmdline: trusted");
    let (expected, found) = (
        examined(&log.bytes(), log.value(4)),
        examined(&more.bytes(), log.value(4)),
    );
    assert_eq!(found, expected);
    assert!(found.0.is_empty());
}
