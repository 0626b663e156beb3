//! What an enclave is told when it gets no key.

use wire::ProblemCode;

use prometheus_client::encoding::EncodeLabelValue;

/// Why nothing was released. The only words about it that leave the broker are these codes, their fixed hints, and
/// the id of the appraisal clause that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The request is not the structure that it claims to be.
    MalformedRequest,
    /// The request is longer than a request can be.
    TooLarge,
    /// The request did not come in time.
    Timeout,
    /// Too many appraisals at once, or the registration was replaced meanwhile.
    Busy,
    /// The broker is stopping.
    Stopping,
    /// A fault of ours.
    Internal,
    /// No such model is registered.
    UnknownModel,
    /// The owner has disabled the model.
    ModelDisabled,
    /// The statement names an earlier version of the model.
    RolledBack,
    /// The statement does not name the registered model.
    ModelMismatch,
    /// The statement claims another role than inference.
    WrongRole,
    /// The statement names another TLS key than the connection's.
    ChannelMismatch,
    /// Genuine or not, the evidence does not satisfy the policy; the clause says which part.
    EvidenceRejected,
    /// The evidence cannot be read.
    EvidenceMalformed,
    /// The evidence is of a kind that this broker does not know.
    EvidenceUnsupported,
    /// The statement's wrap key cannot be used.
    WrapKeyUnusable,
    /// The tenant's key is disabled.
    KekDisabled,
    /// The wrapped model key does not open.
    KeyUnavailable,
    /// The record of this decision could not be made durable.
    AuditUnavailable,
}

impl RefusalCode {
    /// Every code.
    pub const ALL: [RefusalCode; 19] = [
        Self::MalformedRequest,
        Self::TooLarge,
        Self::Timeout,
        Self::Busy,
        Self::Stopping,
        Self::Internal,
        Self::UnknownModel,
        Self::ModelDisabled,
        Self::RolledBack,
        Self::ModelMismatch,
        Self::WrongRole,
        Self::ChannelMismatch,
        Self::EvidenceRejected,
        Self::EvidenceMalformed,
        Self::EvidenceUnsupported,
        Self::WrapKeyUnusable,
        Self::KekDisabled,
        Self::KeyUnavailable,
        Self::AuditUnavailable,
    ];

    /// The refusal for evidence that a verifier would leave with this exit code (20 malformed, 30 unsupported).
    pub(crate) const fn of_exit_code(exit_code: u8) -> Self {
        match exit_code {
            20 => Self::EvidenceMalformed,
            30 => Self::EvidenceUnsupported,
            _ => Self::EvidenceRejected,
        }
    }

    /// The code that crosses the wire: what is finer stays in the record and in the hint.
    pub const fn problem(self) -> ProblemCode {
        match self {
            Self::MalformedRequest => ProblemCode::MalformedRequest,
            Self::TooLarge => ProblemCode::TooLarge,
            Self::Timeout => ProblemCode::UpstreamTimeout,
            Self::Busy => ProblemCode::Overloaded,
            Self::Stopping => ProblemCode::Stopping,
            Self::Internal => ProblemCode::Internal,
            Self::UnknownModel => ProblemCode::ModelNotRegistered,
            Self::ModelDisabled => ProblemCode::ModelDisabled,
            Self::RolledBack => ProblemCode::RolledBack,
            Self::ModelMismatch => ProblemCode::PolicyRefused,
            Self::WrongRole
            | Self::ChannelMismatch
            | Self::EvidenceRejected
            | Self::EvidenceMalformed
            | Self::EvidenceUnsupported
            | Self::WrapKeyUnusable => ProblemCode::EvidenceRejected,
            Self::KekDisabled | Self::KeyUnavailable => ProblemCode::KeyStoreUnavailable,
            Self::AuditUnavailable => ProblemCode::AuditUnavailable,
        }
    }

    /// The stable code in records, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed-request",
            Self::TooLarge => "too-large",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::Internal => "internal",
            Self::UnknownModel => "unknown-model",
            Self::ModelDisabled => "model-disabled",
            Self::RolledBack => "rolled-back",
            Self::ModelMismatch => "model-mismatch",
            Self::WrongRole => "wrong-role",
            Self::ChannelMismatch => "channel-mismatch",
            Self::EvidenceRejected => "evidence-rejected",
            Self::EvidenceMalformed => "evidence-malformed",
            Self::EvidenceUnsupported => "evidence-unsupported",
            Self::WrapKeyUnusable => "wrap-key-unusable",
            Self::KekDisabled => "kek-disabled",
            Self::KeyUnavailable => "key-unavailable",
            Self::AuditUnavailable => "audit-unavailable",
        }
    }

    /// What the operator of the enclave can do.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::MalformedRequest => "send one release request as adyton-release/1 defines it",
            Self::TooLarge => "send less collateral: a request is bounded",
            Self::Timeout => "send the request sooner after the challenge",
            Self::Busy => "try again later",
            Self::Stopping => "ask another instance, or this one again later",
            Self::Internal => "the broker's log has the place; please report it",
            Self::UnknownModel => "register the model with adyton seal, or correct its name",
            Self::ModelDisabled => "the owner has disabled this model",
            Self::RolledBack => "serve the registered version of the sealed model",
            Self::ModelMismatch => "serve the sealed model that was registered",
            Self::WrongRole => "only inference enclaves get model keys",
            Self::ChannelMismatch => "connect with the TLS key that the statement names",
            Self::EvidenceRejected => "compare the evidence with the model's policy",
            Self::EvidenceMalformed => "the bundle cannot be read",
            Self::EvidenceUnsupported => "this broker does not know the platform",
            Self::WrapKeyUnusable => "offer a wrap key of a suite that this broker knows",
            Self::KekDisabled => "the tenant has disabled its key",
            Self::KeyUnavailable => "register the model again",
            Self::AuditUnavailable => "the broker cannot record: try again later",
        }
    }

    /// Whether the same request may succeed later without a change at the enclave, and when to try.
    pub const fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::Busy | Self::Timeout | Self::Stopping => Some(1),
            Self::AuditUnavailable | Self::Internal => Some(10),
            Self::KekDisabled | Self::ModelDisabled => Some(60),
            _ => None,
        }
    }
}

impl EncodeLabelValue for RefusalCode {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::RefusalCode;

    #[test]
    fn codes_are_distinct_and_every_one_has_a_hint() {
        let mut seen = std::collections::BTreeSet::new();
        for code in RefusalCode::ALL {
            assert!(seen.insert(code.as_str()), "{code:?}");
            assert!(!code.hint().is_empty());
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        }
    }
}
