//! The proof type of an appraisal.

use crate::{Assurance, Claims, Statement, UnixTime};

/// Evidence that was appraised in full: every clause passed. Built only by
/// [`crate::Verifier::appraise`] (invariant I5).
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEvidence {
    pub(crate) statement: Statement,
    pub(crate) claims: Claims,
    pub(crate) assurance: Assurance,
    pub(crate) appraised_at: UnixTime,
    pub(crate) fresh_until: UnixTime,
}

impl VerifiedEvidence {
    /// What the process says of itself.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// What platform and launch are.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What the acceptance rests on.
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// The `now` of the appraisal.
    pub fn appraised_at(&self) -> UnixTime {
        self.appraised_at
    }

    /// The last moment at which this may be relied upon: the earliest of the policy's maximum
    /// evidence age, the statement's key lifetime, and the end of every certificate, revocation list
    /// and signed document that was used.
    pub fn fresh_until(&self) -> UnixTime {
        self.fresh_until
    }

    /// Whether this may be relied upon at `now`. Ask at every use, not only after the appraisal.
    /// A `now` before the appraisal (a clock that was set back) is not fresh.
    pub fn is_fresh(&self, now: UnixTime) -> bool {
        self.appraised_at <= now && now <= self.fresh_until
    }
}
