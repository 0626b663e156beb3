//! The Verifier (skeleton).
use crate::{AppraisalError, AppraisalPolicy, Bundle, Explanation, Nonce, UnixTime, VerifiedEvidence};

/// Appraises bundles under one policy.
#[derive(Clone, Debug)]
pub struct Verifier {
    _policy: AppraisalPolicy,
}

impl Verifier {
    /// A verifier for `policy`.
    pub fn new(policy: AppraisalPolicy) -> Self {
        Self { _policy: policy }
    }

    /// Appraises `bundle` as of `now`; every clause must pass.
    pub fn appraise(&self, _bundle: &Bundle, _nonce: &Nonce, _now: UnixTime) -> Result<VerifiedEvidence, AppraisalError> {
        todo!()
    }

    /// The same appraisal, clause by clause.
    pub fn explain(&self, _bundle: &Bundle, _nonce: &Nonce, _now: UnixTime) -> Explanation {
        todo!()
    }
}
