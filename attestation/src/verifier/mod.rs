//! The Verifier: one examination, two ways to look at it.
//!
//! 1. The statement is read; with the nonce it gives the report data that evidence must carry.
//! 2. [`dispatch`] has the platform examined, [`devices`] whatever works beside it.
//! 3. Every rule of the platform, of the bundle, of the devices and of the statement must have passed.
//!
//! [`before_weights`] is the enclave's own look at its devices; [`alone`] looks at parts: evidence that carries somebody else's report data, one list, one log.

mod alone;
mod before_weights;
mod devices;
mod dispatch;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

pub use alone::{RawEvidence, explain_event_log, explain_revocation_list};
pub use before_weights::{DevicePolicy, VerifiedDevices};
pub(crate) use dispatch::every_rule;

use crate::claims::Claims;
use crate::examination::{Conclusion, Examination};
use crate::policy::SnpPolicy;
use crate::roots;
use crate::snp::Generation;
use crate::statement::{self, Statement};
use crate::x509::TrustAnchor;
use crate::{
    AppraisalError, AppraisalPolicy, Bundle, Explanation, Nonce, UnixTime, Verdict, VerifiedEvidence,
};

/// Appraises evidence under one policy.
#[derive(Clone, Debug)]
pub struct Verifier {
    policy: AppraisalPolicy,
    snp_anchors: Vec<(Generation, TrustAnchor)>,
    tdx_anchor: Option<TrustAnchor>,
    azure_anchor: Option<TrustAnchor>,
    simulated_snp_anchors: Vec<(Generation, TrustAnchor)>,
    simulated_azure_snp_anchors: Vec<(Generation, TrustAnchor)>,
}

impl Verifier {
    /// A verifier for `policy`. Built-in roots are used for hardware, the policy's own for simulation.
    pub fn new(policy: AppraisalPolicy) -> Self {
        let simulated_snp_anchors = anchors_of(policy.simulated_snp.as_ref());
        let simulated_azure = policy.simulated_azure.as_ref();
        let simulated_azure_snp_anchors = anchors_of(simulated_azure.and_then(|azure| azure.snp.as_ref()));
        let azure = policy.azure.as_ref();
        let snp = policy.snp.is_some() || azure.is_some_and(|azure| azure.snp.is_some());
        let tdx = policy.tdx.is_some() || azure.is_some_and(|azure| azure.tdx.is_some());
        Self {
            snp_anchors: if snp { roots::amd() } else { Vec::new() },
            tdx_anchor: tdx.then(roots::intel),
            azure_anchor: azure.is_some().then(roots::azure_vtpm),
            simulated_snp_anchors,
            simulated_azure_snp_anchors,
            policy,
        }
    }

    /// The same, with a test's own roots in the place of the manufacturers'.
    #[cfg(test)]
    pub(crate) fn with_roots(
        policy: AppraisalPolicy,
        snp: Vec<(Generation, TrustAnchor)>,
        tdx: TrustAnchor,
        azure: TrustAnchor,
    ) -> Self {
        Self {
            snp_anchors: snp,
            tdx_anchor: Some(tdx),
            azure_anchor: Some(azure),
            ..Self::new(policy)
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

    fn examine(
        &self,
        bundle: &Bundle,
        nonce: &Nonce,
        now: UnixTime,
    ) -> (Conclusion, Result<VerifiedEvidence, AppraisalError>) {
        let mut examination = Examination::new(now);
        let statement = statement::examine(&mut examination, &bundle.statement, &self.policy);
        let report_data = statement.as_ref().map(|statement| statement.report_data(nonce));
        let evidence = RawEvidence {
            platform: bundle.platform,
            evidence: &bundle.evidence,
            event_log: bundle.event_log.as_deref(),
            endorsements: &bundle.endorsements,
        };
        let claims = self.examine_platform(&mut examination, &evidence, report_data.as_ref());
        self.examine_devices(
            &mut examination,
            &bundle.devices,
            statement.as_ref(),
            report_data.as_ref(),
        );
        let mut rules = self.platform_rules(bundle.platform);
        rules.extend(self.device_rules());
        rules.extend([statement::REPORT_DATA_RULES, statement::STATEMENT_RULES]);
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
        let assurance = dispatch::assurance(claims.platform);
        VerifiedEvidence {
            statement,
            claims,
            assurance,
            appraised_at: now,
            fresh_until,
        }
    }
}

/// The root that the table of a simulated platform names, as the ARK of its generation.
fn anchors_of(snp: Option<&SnpPolicy>) -> Vec<(Generation, TrustAnchor)> {
    let root = snp.and_then(|snp| snp.root_certificate.as_ref());
    root.and_then(|root| Some((Generation::of_root(&root.0.common_name)?, root.0.clone())))
        .into_iter()
        .collect()
}
