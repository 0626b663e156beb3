//! Whether NVIDIA withdrew a certificate. Its devices' certificates end in the year 9999, so nothing
//! but OCSP says it.
//!
//! The leaf of a device is left out: the device itself issued it, and no responder answers for that.
//! Withdrawn is the authority in the device.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::rules;
use crate::UnixTime;
use crate::examination::Examination;
use crate::x509::{Answer, CertStatus, Certificate, OcspResponse};

/// A certificate and who issued it.
pub(super) struct Link<'a> {
    subject: &'a Certificate<'a>,
    issuer: &'a Certificate<'a>,
}

/// The links of a path, from the certificate `from` to `anchor`. The path may end in the anchor itself.
pub(super) fn links<'a>(
    certificates: &'a [Certificate<'a>],
    anchor: &'a Certificate<'a>,
    from: usize,
) -> Vec<Link<'a>> {
    let below = certificates
        .iter()
        .filter(|certificate| !certificate.is(anchor.bytes()));
    let issuers = below.clone().skip(1).chain(core::iter::once(anchor));
    below
        .zip(issuers)
        .skip(from)
        .map(|(subject, issuer)| Link { subject, issuer })
        .collect()
}

/// Records the clauses on OCSP. `document` holds responses one after the other.
pub(super) fn examine(
    examination: &mut Examination,
    links: &[Link<'_>],
    document: Option<&[u8]>,
    excepted: bool,
    age_seconds_max: u64,
) {
    if document.is_none() && excepted {
        for rule in [
            &rules::OCSP_RESPONSES,
            &rules::NOT_REVOKED,
            &rules::OCSP_CURRENT,
            &rules::OCSP_AGE,
        ] {
            examination.check(
                rule,
                true,
                "an answer, or the exception no-revocation-check",
                "revocation not checked: the exception",
            );
        }
        return;
    }
    let expected = format!("an answer for each of {} certificates", links.len());
    let responses = document.and_then(|bytes| OcspResponse::parse_all(bytes).ok());
    let Some(responses) = examination.require(
        &rules::OCSP_RESPONSES,
        responses,
        &expected,
        "missing or malformed",
    ) else {
        return;
    };
    let now = examination.now();
    let (mut unanswered, mut withdrawn) = (Vec::new(), Vec::new());
    let (mut since, mut until) = (None::<UnixTime>, UnixTime::MAX);
    let mut oldest = UnixTime::MAX;
    for link in links {
        let name = link.subject.common_name().unwrap_or("a certificate without name");
        let answers: Vec<Answer> = responses
            .iter()
            .filter_map(|response| response.answer(link.subject, link.issuer, now))
            .collect();
        // The worst counts: a host cannot outvote a revocation that it also passes on.
        match answers.iter().map(|answer| answer.status).max() {
            None => unanswered.push(name),
            Some(CertStatus::Good) => {
                if let Some(newest) = answers.iter().max_by_key(|answer| answer.this_update) {
                    since = since.max(Some(newest.this_update));
                    oldest = oldest.min(newest.this_update);
                    until = until.min(newest.until);
                }
            }
            Some(CertStatus::Unknown) => withdrawn.push(format!("{name} unknown")),
            Some(CertStatus::Revoked) => withdrawn.push(format!("{name} revoked")),
        }
    }
    let answered = unanswered.is_empty() && !links.is_empty();
    examination.check(
        &rules::OCSP_RESPONSES,
        answered,
        expected,
        if answered {
            String::from("each answered")
        } else {
            format!("no valid answer for {}", unanswered.join(", "))
        },
    );
    examination.check(
        &rules::NOT_REVOKED,
        withdrawn.is_empty(),
        "good",
        if withdrawn.is_empty() {
            String::from("good")
        } else {
            withdrawn.join(", ")
        },
    );
    let Some(since) = since else { return };
    examination.check(
        &rules::OCSP_CURRENT,
        since <= now && now <= until,
        format!("{since} to {until}"),
        now.to_string(),
    );
    examination.relies_until(until);
    examination.check_age(&rules::OCSP_AGE, oldest, age_seconds_max);
}
