//! Parts of evidence on their own, for whoever inspects a file or keeps a corpus. No verdict here becomes
//! [`crate::VerifiedEvidence`]: nothing can be sealed to it.

use alloc::format;
use alloc::string::{String, ToString as _};

use super::{Verifier, dispatch};
use crate::event_log::EventLog;
use crate::examination::{Examination, Rule, rules};
use crate::statement;
use crate::x509::{Certificate, RevocationList};
use crate::{
    Assurance, AzureEvidence, Endorsements, Explanation, PlatformTag, ReportData, UnixTime, Verdict,
};

/// Evidence of a platform with what belongs to it, and no statement of ours.
#[derive(Clone, Copy, Debug)]
pub struct RawEvidence<'a> {
    /// What kind of evidence this claims to be.
    pub platform: PlatformTag,
    /// The raw evidence, as bundles carry it.
    pub evidence: &'a [u8],
    /// The event log behind run-time measurement registers.
    pub event_log: Option<&'a [u8]>,
    /// What the manufacturer published.
    pub endorsements: &'a Endorsements,
}

impl Verifier {
    /// Examines evidence that carries somebody else's report data. The verdict is on the platform alone. Without
    /// report data to compare with, that clause is SKIPPED, and so the evidence refused.
    pub fn explain_evidence(
        &self,
        evidence: &RawEvidence<'_>,
        report_data: Option<&ReportData>,
        now: UnixTime,
    ) -> Explanation {
        let mut examination = Examination::new(now);
        self.examine_platform(&mut examination, evidence, report_data);
        self.explanation(examination, evidence.platform)
    }

    /// The same for Azure's evidence, of which the vTPM signed `qualifying_data`, whatever that is.
    pub fn explain_azure_evidence(
        &self,
        platform: PlatformTag,
        evidence: &AzureEvidence,
        event_log: Option<&[u8]>,
        endorsements: &Endorsements,
        qualifying_data: Option<&[u8]>,
        now: UnixTime,
    ) -> Explanation {
        let mut examination = Examination::new(now);
        if self.accept(&mut examination, platform) {
            // What exceeds its bound is no evidence, and no bytes are none either.
            let encoded = evidence.encode().unwrap_or_default();
            let evidence = RawEvidence {
                platform,
                evidence: &encoded,
                event_log,
                endorsements,
            };
            self.examine_azure(&mut examination, &evidence, qualifying_data);
        }
        self.explanation(examination, platform)
    }

    /// What an examination of a platform alone came to.
    fn explanation(&self, examination: Examination, platform: PlatformTag) -> Explanation {
        let mut rules = self.platform_rules(platform);
        rules.push(statement::REPORT_DATA_RULES);
        concluded(examination, &rules, dispatch::assurance(platform))
    }
}

fn concluded(examination: Examination, rules: &[&[&'static Rule]], assurance: Assurance) -> Explanation {
    let conclusion = examination.conclude(rules);
    let verdict = conclusion
        .error
        .map_or(Verdict::Accepted(assurance), Verdict::Refused);
    Explanation {
        clauses: conclusion.clauses,
        verdict,
    }
}

/// The rules on one revocation list under one issuer.
pub(super) mod list {
    use super::rules;
    rules! {
        FORMAT = "crl-format", Genuine, Malformed, "RFC 5280 section 5.1",
            "bytes that only look like a list; partial and indirect lists";
        SIGNATURE = "crl-signature", Genuine, Untrusted, "RFC 5280 section 5.1.1.3",
            "a list that its issuer did not sign";
        CURRENT = "crl-current", UpToDate, OutsideValidity, "RFC 5280 section 5.1.2.5",
            "an old list that does not name what was revoked since";
    }
}

/// The rules on one event log.
pub(super) mod log {
    use super::rules;
    rules! {
        FORMAT = "event-log-format", Genuine, Malformed, "TCG PC Client Platform Firmware Profile section 10",
            "bytes that only look like a log; lengths that do not add up";
    }
}

/// Appraises a revocation list under the certificate of its issuer (both DER), as of `now`. Whether that
/// certificate is believed is not asked.
pub fn explain_revocation_list(list: &[u8], issuer: &[u8], now: UnixTime) -> Explanation {
    let mut examination = Examination::new(now);
    let found = format!("{} bytes of another shape", list.len());
    let list = RevocationList::parse(list).ok();
    if let Some(list) = examination.require(&list::FORMAT, list, "a complete list", found) {
        let issuer = Certificate::parse(issuer).ok();
        let key = issuer.as_ref().and_then(|issuer| issuer.public_key().ok());
        let signed = issuer
            .as_ref()
            .zip(key)
            .is_some_and(|(issuer, key)| list.is_issued_by(issuer.subject, &key));
        let name = issuer.as_ref().and_then(Certificate::common_name);
        examination.check(
            &list::SIGNATURE,
            signed,
            format!("signed by {}", name.unwrap_or("its issuer")),
            if signed {
                "valid"
            } else {
                "not valid, or no issuer"
            },
        );
        examination.check(
            &list::CURRENT,
            list.is_current_at(now),
            format!("{} to {}", list.this_update, list.next_update),
            now.to_string(),
        );
    }
    concluded(examination, &[list::RULES], Assurance::Hardware)
}

/// Reads an event log, and says of which registers it is. Alone it proves nothing: whoever wrote it may have
/// written anything.
pub fn explain_event_log(log: &[u8], now: UnixTime) -> Explanation {
    let mut examination = Examination::new(now);
    let parsed = EventLog::parse(log);
    let found = match &parsed {
        Ok(log) => format!("{} events", log.events().len()),
        Err(error) => error.to_string(),
    };
    examination.check(&log::FORMAT, parsed.is_ok(), String::from("an event log"), found);
    concluded(examination, &[log::RULES], Assurance::Hardware)
}
