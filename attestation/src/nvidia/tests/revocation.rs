//! OCSP under test keys: who may answer, what counts as good, and for how long.

use alloc::vec::Vec;

use super::authority::{Certificate, HOUR, Responder, Response, SHA1, SHA256, after, before};
use super::failed;
use super::machine::Machine;

/// What is changed, and how.
type Case = (&'static str, fn(&mut Response));

/// A responder of the issuer's.
fn delegate() -> Certificate {
    let mut delegate = Certificate::signer("OCSP responder", 60);
    let purpose = super::der::sequence(&[super::der::oid("1.3.6.1.5.5.7.3.9")]);
    delegate.extensions.push(("2.5.29.37", true, purpose));
    delegate
}

fn delegated(change: impl Fn(&mut Certificate)) -> Responder {
    let mut certificate = delegate();
    change(&mut certificate);
    Responder::Delegated(certificate, None)
}

/// What fails if the first response is changed so.
fn with(change: impl Fn(&mut Response)) -> Vec<&'static str> {
    let mut machine = Machine::new();
    let responses = machine.responses.as_mut().expect("responses");
    change(&mut responses[0]);
    failed(&machine.explain()).into_iter().collect()
}

#[test]
fn the_issuer_or_its_responder_answers() {
    let good: &[Case] = &[
        ("the issuer by key", |response| response.by_key = true),
        ("SHA-1", |response| response.hash = SHA1),
        ("SHA-256", |response| response.hash = SHA256),
        ("extensions", |response| response.extensions = [Some(false); 2]),
        ("without nextUpdate", |response| response.next_update = None),
        ("a responder", |response| response.responder = delegated(|_| {})),
        ("a responder by key", |response| {
            response.responder = delegated(|_| {});
            response.by_key = true;
        }),
    ];
    for (what, change) in good.iter().copied() {
        assert!(with(change).is_empty(), "{what}");
    }
    let bad: &[Case] = &[
        ("another issuer's key", |response| response.issuer.key = 61),
        ("a name of this issuer and a key of another", |response| {
            response.named_key = Some(61);
        }),
        ("another issuer's name", |response| response.issuer.name.push('2')),
        ("somebody else's name", |response| response.misnamed = true),
        ("an unknown critical extension of the response", |response| {
            response.extensions[0] = Some(true);
        }),
        ("an unknown critical extension of the status", |response| {
            response.extensions[1] = Some(true);
        }),
        ("another serial number", |response| response.serial = 99),
        ("an unknown hash", |response| {
            response.hash = "2.16.840.1.101.3.4.2.3"
        }),
        ("no purpose", |response| {
            response.responder = delegated(|responder| responder.extensions.clear());
        }),
        ("another purpose", |response| {
            response.responder = delegated(|responder| {
                let purpose = super::der::sequence(&[super::der::oid("1.3.6.1.5.5.7.3.1")]);
                responder.extensions[0].2 = purpose;
            });
        }),
        ("a responder that may not sign", |response| {
            response.responder = delegated(|responder| responder.usage = 0x04);
        }),
        ("an expired responder", |response| {
            response.responder = delegated(|responder| responder.not_after = before(HOUR));
        }),
        ("an authority as responder", |response| {
            response.responder = delegated(|responder| responder.authority = Some(None));
        }),
        ("a responder of somebody else", |response| {
            let other = Certificate::authority(&response.issuer.name, 62);
            response.responder = Responder::Delegated(delegate(), Some(other));
        }),
    ];
    for (what, change) in bad.iter().copied() {
        assert_eq!(with(change), ["nvidia-ocsp-responses"], "{what}");
    }
    let critical = |response: &mut Response| {
        response.responder = delegated(|responder| {
            responder.extensions.push(("1.2.3.4", true, alloc::vec![5, 0]));
        });
    };
    assert_eq!(with(critical), ["nvidia-ocsp-responses"]);
}

#[test]
fn only_good_is_good() {
    let revoked: &[Case] = &[
        ("revoked", |response| *response = response.clone().revoked(None)),
        ("key compromise", |response| {
            *response = response.clone().revoked(Some(1))
        }),
        ("on hold", |response| {
            *response = response.clone().revoked(Some(6))
        }),
        ("unknown", |response| response.status = (0x82, Vec::new())),
    ];
    for (what, change) in revoked.iter().copied() {
        assert_eq!(with(change), ["nvidia-not-revoked"], "{what}");
    }
    // A good answer beside it, newer or older, changes nothing.
    for moment in [before(2 * HOUR), before(60)] {
        let mut machine = Machine::new();
        let responses = machine.responses.as_mut().expect("responses");
        let mut second = responses[0].clone();
        second.this_update = moment;
        responses[0] = responses[0].clone().revoked(Some(6));
        responses.push(second);
        assert_eq!(failed(&machine.explain()), ["nvidia-not-revoked"].into());
    }
}

#[test]
fn answers_age() {
    let cases: &[Case] = &[
        ("nvidia-ocsp-current", |response| {
            response.next_update = Some(before(1))
        }),
        ("nvidia-ocsp-age", |response| {
            response.this_update = before(25 * HOUR)
        }),
        ("nvidia-ocsp-age", |response| {
            response.this_update = before(25 * HOUR);
            response.next_update = None;
        }),
        ("nvidia-ocsp-age", |response| {
            // The responder lives on; only the age is wrong.
            response.this_update = before(25 * HOUR);
            response.responder = delegated(|responder| responder.not_after = after(HOUR));
        }),
    ];
    for (rule, change) in cases.iter().copied() {
        assert_eq!(with(change), [rule], "{rule}");
    }
    let future = |response: &mut Response| response.this_update = after(60);
    assert_eq!(with(future), ["nvidia-ocsp-current"]);
}

/// Every link but the device's own leaf: each answer is needed.
#[test]
fn every_link_is_asked_about() {
    let machine = Machine::new();
    let count = machine.responses.as_ref().map_or(0, Vec::len);
    // Device, two authorities; signer and two authorities of manifests.
    assert_eq!(count, 6);
    for missing in 0..count {
        let mut machine = Machine::new();
        machine.responses.as_mut().expect("responses").remove(missing);
        assert_eq!(
            failed(&machine.explain()),
            ["nvidia-ocsp-responses"].into(),
            "{missing}"
        );
    }
    for revoked in 0..count {
        let mut machine = Machine::new();
        let responses = machine.responses.as_mut().expect("responses");
        responses[revoked] = responses[revoked].clone().revoked(None);
        assert_eq!(
            failed(&machine.explain()),
            ["nvidia-not-revoked"].into(),
            "{revoked}"
        );
    }
}
