//! What goes wrong, from the caller's side.

use alloc::boxed::Box;
use alloc::string::String;

use thiserror::Error;

use crate::cbor::CborFault;
use crate::clause::Clause;

/// Evidence that was not accepted. Each variant carries the first clause that did not pass.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AppraisalError {
    /// The bytes are not the structure that they claim to be.
    #[error("malformed evidence: {}", describe(.0))]
    Malformed(Box<Clause>),
    /// A format, version or algorithm that this verifier does not know.
    #[error("unsupported evidence: {}", describe(.0))]
    Unsupported(Box<Clause>),
    /// No signature path leads to a trust anchor of the policy.
    #[error("untrusted evidence: {}", describe(.0))]
    Untrusted(Box<Clause>),
    /// Genuine, but not at this time.
    #[error("outside validity: {}", describe(.0))]
    OutsideValidity(Box<Clause>),
    /// Withdrawn by the endorser.
    #[error("revoked: {}", describe(.0))]
    Revoked(Box<Clause>),
    /// The platform's security version is below what is asked for.
    #[error("out of date: {}", describe(.0))]
    OutOfDate(Box<Clause>),
    /// A claim differs from its reference value.
    #[error("mismatch: {}", describe(.0))]
    Mismatch(Box<Clause>),
    /// Genuine, but the policy does not take this kind.
    #[error("refused by policy: {}", describe(.0))]
    Refused(Box<Clause>),
}

fn describe(clause: &Clause) -> String {
    alloc::format!(
        "{}: expected {}, found {}",
        clause.id,
        clause.expected,
        clause.found
    )
}

impl AppraisalError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            AppraisalError::Malformed(_) => "evidence-malformed",
            AppraisalError::Unsupported(_) => "evidence-unsupported",
            AppraisalError::Untrusted(_) => "evidence-untrusted",
            AppraisalError::OutsideValidity(_) => "evidence-outside-validity",
            AppraisalError::Revoked(_) => "evidence-revoked",
            AppraisalError::OutOfDate(_) => "evidence-out-of-date",
            AppraisalError::Mismatch(_) => "evidence-mismatch",
            AppraisalError::Refused(_) => "evidence-refused",
        }
    }

    /// The first clause that did not pass.
    pub fn clause(&self) -> &Clause {
        match self {
            AppraisalError::Malformed(clause)
            | AppraisalError::Unsupported(clause)
            | AppraisalError::Untrusted(clause)
            | AppraisalError::OutsideValidity(clause)
            | AppraisalError::Revoked(clause)
            | AppraisalError::OutOfDate(clause)
            | AppraisalError::Mismatch(clause)
            | AppraisalError::Refused(clause) => clause,
        }
    }

    /// Exit code of a command: 10 rejected, 20 malformed, 30 unsupported.
    pub fn exit_code(&self) -> u8 {
        match self {
            AppraisalError::Malformed(_) => 20,
            AppraisalError::Unsupported(_) => 30,
            _ => 10,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            AppraisalError::Malformed(_) => {
                "fetch the evidence again; if it persists, the enclave or the host sends garbage"
            }
            AppraisalError::Unsupported(_) => "use a newer verifier, or a platform that this one knows",
            AppraisalError::Untrusted(_) => {
                "the evidence is forged, altered or from another root; do not use this enclave"
            }
            AppraisalError::OutsideValidity(_) => "check the clock; have the host renew its endorsements",
            AppraisalError::Revoked(_) => "the manufacturer withdrew this platform; use another machine",
            AppraisalError::OutOfDate(_) => "update firmware and microcode of the machine, or use another",
            AppraisalError::Mismatch(_) => {
                "compare the measurement with the release that you expect; if it is an upgrade, update the policy"
            }
            AppraisalError::Refused(_) => {
                "the policy does not take this configuration; change the machine, or the policy if you accept the risk"
            }
        }
    }
}

/// Bytes that are not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Not CBOR of the documented shape.
    #[error("not a bundle: the encoding has another shape")]
    Shape,
    /// The same content in another than the deterministic encoding.
    #[error("not a bundle: the encoding is not deterministic")]
    NotCanonical,
    /// A part is larger than its bound.
    #[error("not a bundle: a part exceeds its bound")]
    Bound,
    /// A newer format.
    #[error("bundle format version {0} is not known")]
    UnknownVersion(u64),
    /// A platform that this verifier does not know.
    #[error("platform {0:?} is not known")]
    UnknownPlatform(String),
    /// An endorsement that this verifier does not know.
    #[error("the bundle holds an endorsement of a kind that is not known")]
    UnknownEndorsement,
    /// A device that this verifier does not know.
    #[error("the bundle holds a device of a kind that is not known")]
    UnknownDevice,
}

impl BundleError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BundleError::Shape => "bundle-shape",
            BundleError::NotCanonical => "bundle-not-canonical",
            BundleError::Bound => "bundle-bound",
            BundleError::UnknownVersion(_) => "bundle-unknown-version",
            BundleError::UnknownPlatform(_) => "bundle-unknown-platform",
            BundleError::UnknownEndorsement => "bundle-unknown-endorsement",
            BundleError::UnknownDevice => "bundle-unknown-device",
        }
    }

    /// Exit code of a command: 20 malformed, 30 unsupported.
    pub fn exit_code(&self) -> u8 {
        match self {
            BundleError::UnknownVersion(_)
            | BundleError::UnknownPlatform(_)
            | BundleError::UnknownEndorsement
            | BundleError::UnknownDevice => 30,
            _ => 20,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self.exit_code() {
            30 => "use a newer verifier, or a platform that this one knows",
            _ => "fetch the evidence again; if it persists, the host sends garbage",
        }
    }
}

impl From<CborFault> for BundleError {
    fn from(fault: CborFault) -> Self {
        match fault {
            CborFault::Shape => BundleError::Shape,
            CborFault::Bound => BundleError::Bound,
        }
    }
}

/// Bytes or fields that are not a statement.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Not CBOR of the documented shape.
    #[error("not a statement: the encoding has another shape")]
    Shape,
    /// The same content in another than the deterministic encoding.
    #[error("not a statement: the encoding is not deterministic")]
    NotCanonical,
    /// A field is outside its bound.
    #[error("not a statement: a field is outside its bound")]
    Bound,
    /// A newer format.
    #[error("statement format version {0} is not known")]
    UnknownVersion(u64),
    /// A role that this verifier does not know.
    #[error("role {0} is not known")]
    UnknownRole(u8),
}

impl StatementError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            StatementError::Shape => "statement-shape",
            StatementError::NotCanonical => "statement-not-canonical",
            StatementError::Bound => "statement-bound",
            StatementError::UnknownVersion(_) => "statement-unknown-version",
            StatementError::UnknownRole(_) => "statement-unknown-role",
        }
    }
}

impl From<CborFault> for StatementError {
    fn from(fault: CborFault) -> Self {
        match fault {
            CborFault::Shape => StatementError::Shape,
            CborFault::Bound => StatementError::Bound,
        }
    }
}

/// A policy that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not TOML of the documented shape: a missing or unknown key, or a wrong type.
    #[error("the policy cannot be read: {0}")]
    Syntax(String),
    /// A value that would accept nothing, or more than is meant.
    #[error("the policy cannot be used: {key}: {reason}")]
    Value {
        /// The key in question.
        key: String,
        /// What is wrong with its value.
        reason: String,
    },
}

impl PolicyError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            PolicyError::Syntax(_) => "policy-syntax",
            PolicyError::Value { .. } => "policy-value",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            PolicyError::Syntax(_) => {
                "compare the policy with attestation/examples/policy.toml; no key may be missing, misspelt or unknown"
            }
            PolicyError::Value { .. } => {
                "give the key a value of the documented form; lists must not be empty"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::{String, ToString as _};
    use alloc::vec::Vec;

    use super::{AppraisalError, BundleError, PolicyError, StatementError};
    use crate::cbor::CborFault;
    use crate::clause::{Clause, Outcome, Question};

    fn clause() -> Box<Clause> {
        Box::new(Clause {
            id: "test",
            question: Question::Genuine,
            citation: "",
            outcome: Outcome::Fail,
            expected: String::from("one"),
            found: String::from("two"),
        })
    }

    #[test]
    fn each_refusal_has_its_code_exit_code_and_hint() {
        type Of = fn(Box<Clause>) -> AppraisalError;
        let refusals: [(Of, _, _, _, _); 8] = [
            (
                AppraisalError::Malformed,
                "malformed evidence",
                "evidence-malformed",
                20,
                "again",
            ),
            (
                AppraisalError::Unsupported,
                "unsupported evidence",
                "evidence-unsupported",
                30,
                "newer verifier",
            ),
            (
                AppraisalError::Untrusted,
                "untrusted evidence",
                "evidence-untrusted",
                10,
                "do not use",
            ),
            (
                AppraisalError::OutsideValidity,
                "outside validity",
                "evidence-outside-validity",
                10,
                "clock",
            ),
            (
                AppraisalError::Revoked,
                "revoked",
                "evidence-revoked",
                10,
                "another machine",
            ),
            (
                AppraisalError::OutOfDate,
                "out of date",
                "evidence-out-of-date",
                10,
                "update firmware",
            ),
            (
                AppraisalError::Mismatch,
                "mismatch",
                "evidence-mismatch",
                10,
                "update the policy",
            ),
            (
                AppraisalError::Refused,
                "refused by policy",
                "evidence-refused",
                10,
                "accept the risk",
            ),
        ];
        for (of, kind, code, exit_code, hint) in refusals {
            let error = of(clause());
            assert_eq!(
                error.to_string(),
                [kind, ": test: expected one, found two"].concat()
            );
            assert_eq!((error.code(), error.exit_code()), (code, exit_code));
            assert!(error.hint().contains(hint), "{code}: {}", error.hint());
            assert_eq!(error.clause().id, "test");
        }
    }

    #[test]
    fn each_fault_of_a_bundle_has_its_code_and_its_exit_code_the_hint() {
        for (error, code, exit_code) in [
            (BundleError::Shape, "bundle-shape", 20),
            (BundleError::NotCanonical, "bundle-not-canonical", 20),
            (BundleError::Bound, "bundle-bound", 20),
            (BundleError::UnknownVersion(2), "bundle-unknown-version", 30),
            (
                BundleError::UnknownPlatform(String::from("sgx")),
                "bundle-unknown-platform",
                30,
            ),
            (BundleError::UnknownEndorsement, "bundle-unknown-endorsement", 30),
            (BundleError::UnknownDevice, "bundle-unknown-device", 30),
        ] {
            assert_eq!((error.code(), error.exit_code()), (code, exit_code));
            let newer = error.hint().contains("newer verifier");
            assert_eq!(newer, exit_code == 30, "{code}: {}", error.hint());
            assert_eq!(error.hint().contains("again"), !newer, "{code}: {}", error.hint());
        }
    }

    #[test]
    fn each_fault_of_a_statement_or_policy_has_its_code() {
        let codes: Vec<_> = [
            StatementError::Shape,
            StatementError::NotCanonical,
            StatementError::Bound,
            StatementError::UnknownVersion(2),
            StatementError::UnknownRole(9),
        ]
        .iter()
        .map(StatementError::code)
        .collect();
        assert_eq!(
            codes,
            [
                "statement-shape",
                "statement-not-canonical",
                "statement-bound",
                "statement-unknown-version",
                "statement-unknown-role",
            ]
        );
        let value = PolicyError::Value {
            key: String::from("vmpl"),
            reason: String::new(),
        };
        for (error, code, hint) in [
            (
                PolicyError::Syntax(String::new()),
                "policy-syntax",
                "examples/policy.toml",
            ),
            (value, "policy-value", "must not be empty"),
        ] {
            assert_eq!(error.code(), code);
            assert!(error.hint().contains(hint), "{code}: {}", error.hint());
        }
    }

    #[test]
    fn what_exceeds_a_bound_says_so() {
        assert_eq!(BundleError::from(CborFault::Shape), BundleError::Shape);
        assert_eq!(BundleError::from(CborFault::Bound), BundleError::Bound);
        assert_eq!(StatementError::from(CborFault::Shape), StatementError::Shape);
        assert_eq!(StatementError::from(CborFault::Bound), StatementError::Bound);
    }
}
