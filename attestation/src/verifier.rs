//! The Verifier: one examination, two ways to look at it.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use crate::claims::Claims;
use crate::clause::Question::{Expected, Genuine};
use crate::examination::{Conclusion, Examination, Fault, Rule};
use crate::gce;
use crate::policy::{SnpPolicy, TdxPolicy};
use crate::roots;
use crate::simulated::SignatureDomain;
use crate::snp::{self, Generation};
use crate::statement::{self, Statement};
use crate::tdx;
use crate::x509::TrustAnchor;
use crate::{
    AppraisalError, AppraisalPolicy, Assurance, Bundle, Endorsements, Explanation, Nonce, PlatformTag,
    ReportData, UnixTime, Verdict, VerifiedEvidence,
};

/// Appraises evidence under one policy.
#[derive(Clone, Debug)]
pub struct Verifier {
    policy: AppraisalPolicy,
    snp_anchors: Vec<(Generation, TrustAnchor)>,
    tdx_anchor: Option<TrustAnchor>,
    simulated_snp_anchors: Vec<(Generation, TrustAnchor)>,
}

static PLATFORM: Rule = Rule::new(
    "platform-accepted",
    Genuine,
    Fault::Refused,
    "policy: a table for the platform",
    "evidence of a kind that nobody asked for; simulated evidence",
);
static EVENT_LOG: Rule = Rule::new(
    "event-log-absent",
    Expected,
    Fault::Unsupported,
    "Adyton, bundle: evidence without run-time registers has no log",
    "a log that nobody compared with anything",
);
static COMMON: &[&Rule] = &[&PLATFORM];
static LOG: &[&Rule] = &[&EVENT_LOG];

impl Verifier {
    /// A verifier for `policy`. Built-in roots are used for hardware, the policy's own for simulation.
    pub fn new(policy: AppraisalPolicy) -> Self {
        let simulated_snp_anchors = policy
            .simulated_snp
            .iter()
            .filter_map(|snp| {
                let root = &snp.root_certificate.as_ref()?.0;
                Some((Generation::of_root(&root.common_name)?, root.clone()))
            })
            .collect();
        Self {
            snp_anchors: if policy.snp.is_some() {
                roots::amd()
            } else {
                Vec::new()
            },
            tdx_anchor: policy.tdx.is_some().then(roots::intel),
            simulated_snp_anchors,
            policy,
        }
    }

    /// The policy.
    pub fn policy(&self) -> &AppraisalPolicy {
        &self.policy
    }

    /// Appraises `bundle` as of `now`; every clause must pass.
    ///
    /// The nonce must be the caller's own, fresh and used once: the verifier has no memory.
    pub fn appraise(
        &self,
        bundle: &Bundle,
        nonce: &Nonce,
        now: UnixTime,
    ) -> Result<VerifiedEvidence, AppraisalError> {
        self.examine(bundle, nonce, now).1
    }

    /// The same appraisal, clause by clause.
    pub fn explain(&self, bundle: &Bundle, nonce: &Nonce, now: UnixTime) -> Explanation {
        let (conclusion, result) = self.examine(bundle, nonce, now);
        let verdict = match result {
            Ok(verified) => Verdict::Accepted(verified.assurance()),
            Err(error) => Verdict::Refused(error),
        };
        Explanation {
            clauses: conclusion.clauses,
            verdict,
        }
    }

    /// Examines evidence that carries somebody else's report data, and no statement of ours. The
    /// verdict is on the platform alone; nothing can be sealed to it.
    pub fn explain_evidence(
        &self,
        platform: PlatformTag,
        evidence: &[u8],
        endorsements: &Endorsements,
        report_data: &ReportData,
        now: UnixTime,
    ) -> Explanation {
        self.explain_logged_evidence(platform, evidence, None, endorsements, report_data, now)
    }

    /// The same of evidence that came with an event log.
    pub fn explain_logged_evidence(
        &self,
        platform: PlatformTag,
        evidence: &[u8],
        event_log: Option<&[u8]>,
        endorsements: &Endorsements,
        report_data: &ReportData,
        now: UnixTime,
    ) -> Explanation {
        let mut examination = Examination::new(now);
        check_log_absent(&mut examination, platform, event_log);
        self.examine_platform(
            &mut examination,
            platform,
            evidence,
            event_log,
            endorsements,
            Some(report_data),
        );
        let rules = [
            COMMON,
            platform_rules(platform),
            self.firmware_rules(platform),
            log_rules(platform),
            statement::REPORT_DATA_RULES,
        ];
        let conclusion = examination.conclude(&rules);
        let verdict = conclusion
            .error
            .map_or(Verdict::Accepted(assurance(platform)), Verdict::Refused);
        Explanation {
            clauses: conclusion.clauses,
            verdict,
        }
    }

    fn examine(
        &self,
        bundle: &Bundle,
        nonce: &Nonce,
        now: UnixTime,
    ) -> (Conclusion, Result<VerifiedEvidence, AppraisalError>) {
        let mut examination = Examination::new(now);
        let statement = statement::examine(&mut examination, &bundle.statement, &self.policy);
        let report_data = statement.as_ref().map(|statement| statement.report_data(nonce));
        let event_log = bundle.event_log.as_deref();
        check_log_absent(&mut examination, bundle.platform, event_log);
        let claims = self.examine_platform(
            &mut examination,
            bundle.platform,
            &bundle.evidence,
            event_log,
            &bundle.endorsements,
            report_data.as_ref(),
        );
        let rules = [
            COMMON,
            platform_rules(bundle.platform),
            self.firmware_rules(bundle.platform),
            log_rules(bundle.platform),
            statement::REPORT_DATA_RULES,
            statement::STATEMENT_RULES,
        ];
        let mut conclusion = examination.conclude(&rules);
        let result = match (conclusion.error.take(), statement, claims) {
            (Some(error), _, _) => Err(error),
            (None, Some(statement), Some(claims)) => {
                Ok(self.verified(statement, claims, now, conclusion.valid_until))
            }
            // Both are there whenever their rules passed; without them there is nothing to accept.
            (None, _, _) => {
                let nothing = Examination::new(now).conclude(&[]);
                Err(nothing
                    .error
                    .expect("an examination without rules accepts nothing"))
            }
        };
        (conclusion, result)
    }

    /// The rules on Google's endorsement, where the policy takes firmware on Google's word.
    fn firmware_rules(&self, platform: PlatformTag) -> &'static [&'static Rule] {
        let policy = &self.policy;
        let snp = |policy: &Option<SnpPolicy>| policy.as_ref().is_some_and(|snp| snp.gce_firmware.is_some());
        let tdx = |policy: &Option<TdxPolicy>| policy.as_ref().is_some_and(|tdx| tdx.gce_firmware.is_some());
        let endorsed = match platform {
            PlatformTag::AmdSevSnp => snp(&policy.snp),
            PlatformTag::SimulatedAmdSevSnp => snp(&policy.simulated_snp),
            PlatformTag::IntelTdx => tdx(&policy.tdx),
            PlatformTag::SimulatedIntelTdx => tdx(&policy.simulated_tdx),
        };
        if endorsed { gce::RULES } else { &[] }
    }

    fn verified(
        &self,
        statement: Statement,
        claims: Claims,
        now: UnixTime,
        valid_until: UnixTime,
    ) -> VerifiedEvidence {
        let fresh_until = now
            .plus_seconds(self.policy.evidence_age_seconds_max)
            .min(now.plus_seconds(statement.key_lifetime_seconds.into()))
            .min(valid_until);
        let assurance = assurance(claims.platform);
        VerifiedEvidence {
            statement,
            claims,
            assurance,
            appraised_at: now,
            fresh_until,
        }
    }

    fn examine_platform(
        &self,
        examination: &mut Examination,
        platform: PlatformTag,
        evidence: &[u8],
        event_log: Option<&[u8]>,
        endorsements: &Endorsements,
        report_data: Option<&ReportData>,
    ) -> Option<Claims> {
        let collateral_age_seconds_max = self.policy.collateral_age_seconds_max;
        let domain = if platform.is_simulated() {
            SignatureDomain::Simulated
        } else {
            SignatureDomain::Hardware
        };
        let accepted = PlatformTag::ALL
            .into_iter()
            .filter(|tag| self.policy.accepts(*tag));
        let expected = accepted.map(PlatformTag::as_str).collect::<Vec<_>>().join(" or ");
        if !examination.check(
            &PLATFORM,
            self.policy.accepts(platform),
            expected,
            platform.to_string(),
        ) {
            return None;
        }
        let snp = |policy, anchors| snp::Evidence {
            platform,
            domain,
            report: evidence,
            endorsements,
            policy,
            anchors,
            collateral_age_seconds_max,
            report_data,
        };
        let tdx = |policy, anchor| tdx::Evidence {
            platform,
            domain,
            quote: evidence,
            endorsements,
            event_log,
            policy,
            anchor,
            collateral_age_seconds_max,
            report_data,
        };
        let policy = &self.policy;
        match platform {
            PlatformTag::AmdSevSnp => {
                snp::examine(examination, &snp(policy.snp.as_ref()?, &self.snp_anchors))
            }
            PlatformTag::SimulatedAmdSevSnp => snp::examine(
                examination,
                &snp(policy.simulated_snp.as_ref()?, &self.simulated_snp_anchors),
            ),
            PlatformTag::IntelTdx => {
                tdx::examine(examination, &tdx(policy.tdx.as_ref()?, self.tdx_anchor.as_ref()?))
            }
            PlatformTag::SimulatedIntelTdx => {
                let policy = policy.simulated_tdx.as_ref()?;
                tdx::examine(examination, &tdx(policy, &policy.root_certificate.as_ref()?.0))
            }
        }
    }
}

const fn assurance(platform: PlatformTag) -> Assurance {
    if platform.is_simulated() {
        Assurance::Simulated
    } else {
        Assurance::Hardware
    }
}

/// Whether the platform has registers that a log explains; its own rules are then about the log.
const fn has_event_log(platform: PlatformTag) -> bool {
    matches!(platform, PlatformTag::IntelTdx | PlatformTag::SimulatedIntelTdx)
}

fn log_rules(platform: PlatformTag) -> &'static [&'static Rule] {
    if has_event_log(platform) { &[] } else { LOG }
}

fn check_log_absent(examination: &mut Examination, platform: PlatformTag, event_log: Option<&[u8]>) {
    if !has_event_log(platform) {
        let absent = event_log.is_none();
        let found = if absent { "none" } else { "an event log" };
        examination.check(&EVENT_LOG, absent, "no event log", found);
    }
}

fn platform_rules(platform: PlatformTag) -> &'static [&'static Rule] {
    match platform {
        PlatformTag::AmdSevSnp | PlatformTag::SimulatedAmdSevSnp => snp::RULES,
        PlatformTag::IntelTdx | PlatformTag::SimulatedIntelTdx => tdx::RULES,
    }
}

/// Simulated evidence and real evidence do not verify as each other, even under the same keys: here
/// the verifier is given the simulated roots as if they were built in.
#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use std::sync::OnceLock;

    use attester::Attester as _;
    use simulated::adversary::{Domain, sign_quote, sign_report};
    use simulated::{Flavor, Platform};

    use super::Verifier;
    use crate::snp::Generation;
    use crate::{AppraisalPolicy, Endorsements, Outcome, PlatformTag, UnixTime};

    const REPORT_DATA: [u8; 64] = [7; 64];
    const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);

    /// This crate is linked twice, as itself under test and as the simulated platform's own: times,
    /// reports and endorsements cross over as numbers and bytes.
    fn platform() -> &'static Platform {
        static PLATFORM: OnceLock<Platform> = OnceLock::new();
        let now = simulated::UnixTime::from_seconds(NOW.seconds());
        PLATFORM.get_or_init(|| Platform::manufacture(now, 3600).expect("a platform"))
    }

    /// A verifier that takes the simulated roots for real ones, and the other way round.
    fn verifier(flavor: Flavor) -> Verifier {
        let mut policy = alloc::format!(
            "version = 1\nrole = \"broker\"\nevidence_age_seconds_max = 60\ncollateral_age_seconds_max = 60\n\
             config_digests = [\"{}\"]\n",
            "00".repeat(32)
        );
        policy.push_str(&platform().policy_fragment(flavor, &[9; 48]));
        let policy = AppraisalPolicy::from_toml(&policy).expect("the policy reads");
        let mut verifier = Verifier::new(policy);
        verifier.policy.snp = verifier.policy.simulated_snp.clone();
        verifier.policy.tdx = verifier.policy.simulated_tdx.clone();
        verifier.snp_anchors = verifier.simulated_snp_anchors.clone();
        let root = verifier
            .policy
            .tdx
            .as_ref()
            .and_then(|tdx| tdx.root_certificate.clone());
        verifier.tdx_anchor = root.map(|root| root.0);
        assert!(
            verifier
                .snp_anchors
                .iter()
                .all(|(generation, _)| *generation == Generation::Genoa)
        );
        verifier
    }

    fn failed(flavor: Flavor, domain: Domain, tag: PlatformTag) -> BTreeSet<&'static str> {
        let collected = platform()
            .attester(flavor, [9; 48], [0; 32])
            .evidence(&REPORT_DATA)
            .expect("evidence");
        let mut evidence = collected.evidence;
        match flavor {
            Flavor::Snp => sign_report(platform(), &mut evidence, domain),
            Flavor::Tdx => sign_quote(platform(), &mut evidence, domain),
        }
        .expect("a signature");
        let endorsements = Endorsements::decode(&collected.endorsements.encode()).expect("endorsements");
        let explanation = verifier(flavor).explain_evidence(tag, &evidence, &endorsements, &REPORT_DATA, NOW);
        let clauses = explanation.clauses;
        assert!(clauses.iter().all(|clause| clause.outcome != Outcome::Skipped));
        clauses
            .iter()
            .filter(|clause| clause.outcome == Outcome::Fail)
            .map(|clause| clause.id)
            .collect()
    }

    #[test]
    fn each_domain_verifies_in_its_own_tag_only_even_under_the_same_keys() {
        let snp = ["snp-report-signature"];
        let tdx = ["tdx-qe-report-signature", "tdx-quote-signature"];
        for (flavor, real, simulated, clauses) in [
            (
                Flavor::Snp,
                PlatformTag::AmdSevSnp,
                PlatformTag::SimulatedAmdSevSnp,
                &snp[..],
            ),
            (
                Flavor::Tdx,
                PlatformTag::IntelTdx,
                PlatformTag::SimulatedIntelTdx,
                &tdx[..],
            ),
        ] {
            let clauses: BTreeSet<_> = clauses.iter().copied().collect();
            assert_eq!(failed(flavor, Domain::Simulated, simulated), BTreeSet::new());
            assert_eq!(failed(flavor, Domain::Hardware, real), BTreeSet::new());
            assert_eq!(
                failed(flavor, Domain::Simulated, real),
                clauses,
                "simulated evidence posing as real"
            );
            assert_eq!(
                failed(flavor, Domain::Hardware, simulated),
                clauses,
                "real evidence posing as simulated"
            );
        }
    }
}
