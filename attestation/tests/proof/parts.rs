//! Parts of evidence on their own: a revocation list, an event log, a log beside a vTPM's quote.

use attestation::{
    AppraisalPolicy, EndorsementKind, EventLog, UnixTime, Verdict, Verifier, explain_event_log,
    explain_revocation_list, published_names,
};

use crate::azure;
use crate::real::{Real, failed, manifest};
use crate::sweep::{accepted, flipped};

#[test]
fn a_revocation_list_alone_is_read_signed_and_current() {
    let Some((folder, _)) = manifest() else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).expect("the file of a vector");
    let (list, issuer) = (
        read("crl/amd-milan-empty.crl"),
        read("trust-roots/amd-ark-milan.der"),
    );
    let names = published_names(&list).expect("a list");
    let explain = |list: &[u8], issuer: &[u8], now| failed(&explain_revocation_list(list, issuer, now));
    for (now, clauses) in [
        (names.not_before.seconds() - 1, &["crl-current"][..]),
        (names.not_before.seconds(), &[]),
        (names.not_after.seconds(), &[]),
        (names.not_after.seconds() + 1, &["crl-current"]),
    ] {
        let expected = clauses.iter().copied().collect();
        assert_eq!(explain(&list, &issuer, UnixTime::from_seconds(now)), expected);
    }
    let now = names.not_before;
    let other = read("trust-roots/amd-ark-genoa.der");
    assert_eq!(explain(&list, &other, now), ["crl-signature"].into());
    assert_eq!(explain(&list, &[], now), ["crl-signature"].into());
    assert_eq!(explain(&issuer, &issuer, now), ["crl-format"].into());
    assert_eq!(explain(&[], &issuer, now), ["crl-format"].into());
    let accepts = |list: &[u8]| {
        let verdict = explain_revocation_list(list, &issuer, now).verdict;
        matches!(verdict, Verdict::Accepted(_))
    };
    let found = accepted(list.len(), |at| {
        accepts(&flipped(&list, at * 8 + at % 8)) || accepts(&list[..at])
    });
    assert_eq!(found, Vec::<usize>::new());
}

#[test]
fn bytes_that_are_no_event_log_are_refused() {
    let now = UnixTime::from_seconds(1_795_000_000);
    for bytes in [&b""[..], b"[", b"[{}]", &[0; 64]] {
        assert_eq!(
            failed(&explain_event_log(bytes, now)),
            ["event-log-format"].into(),
            "{bytes:?}"
        );
    }
    let Some(real) = Real::named("gcp-tdx-cos113-ccel") else {
        return;
    };
    let log = real.event_log.expect("a log");
    assert_eq!(failed(&explain_event_log(&log, now)), [].into());
    let used = EventLog::parse(&log).expect("it reads").bytes_used();
    assert_eq!(
        failed(&explain_event_log(&log[..used - 1], now)),
        ["event-log-format"].into()
    );
}

/// A log beside a vTPM's quote explains PCRs: one that does not is refused although nobody asked for it.
#[test]
fn a_log_that_does_not_explain_a_real_vtpms_registers_is_refused() {
    let Some((folder, vectors)) = azure::vectors() else {
        return;
    };
    let name = "azure-snp-genoa-v3-coco";
    let vector = vectors.iter().find(|vector| azure::text(vector, "name") == name);
    let real = azure::Real::new(&folder, vector.expect(name));
    let (evidence, endorsements) = (real.evidence(), real.endorsements());
    let with_crl = endorsements.document(EndorsementKind::SnpCrl).is_some();
    let policy = AppraisalPolicy::from_toml(&real.policy(&evidence, with_crl)).expect("the policy reads");
    let (verifier, asked) = (Verifier::new(policy), real.asked());
    let with = |log: Option<&[u8]>| {
        let (tag, now) = (real.tag(), real.now());
        azure::failed(&verifier.explain_azure_evidence(tag, &evidence, log, &endorsements, Some(&asked), now))
    };
    assert_eq!(
        azure::failed(&real.explain(&evidence)),
        [].into(),
        "{}",
        real.name
    );
    assert_eq!(with(None), [].into());
    assert_eq!(with(Some(b"no log")), ["vtpm-event-log"].into());
    // Logs of other machines: of a TPM, and of a confidential VM's registers.
    for other in [
        "gcp/logs/gcp-log-ubuntu2404-amd-sevsnp.bin",
        "gcp/gcp-tdx-cos113-ccel/ccel.bin",
    ] {
        let log = std::fs::read(folder.join(other)).expect("a log");
        assert_eq!(with(Some(&log)), ["vtpm-event-log"].into(), "{other}");
    }
}
