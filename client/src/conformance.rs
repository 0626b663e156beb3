//! One case on standard input, one verdict: how outside test suites drive the Verifier.
//!
//! The form of a case is `docs/conformance.schema.json`. Everything that decides is in the case: nothing is fetched,
//! no clock is read, no configuration counts.

use std::collections::BTreeMap;

use attestation::{
    AppraisalPolicy, Bundle, BundleError, EndorsementKind, Endorsements, Explanation, Nonce, PlatformTag,
    RawEvidence, UnixTime, Verifier,
};
use base64::Engine as _;
use serde::Deserialize;

use crate::error::ClientError;

/// Cases above this are refused (bytes).
pub const CASE_BYTES_MAX: u64 = 8 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u64,
    platform: String,
    evidence: String,
    #[serde(default)]
    event_log: Option<String>,
    #[serde(default)]
    endorsements: BTreeMap<String, String>,
    policy: String,
    at: String,
    #[serde(default)]
    statement: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    report_data: Option<String>,
}

/// A case that was read.
pub struct Case {
    /// The evidence with everything that travels beside it; the statement is empty where the case has none.
    pub bundle: Bundle,
    /// The encoded bundle's stand-in for sizes in output: the raw evidence.
    pub at: UnixTime,
    verifier: Verifier,
    binding: Binding,
}

enum Binding {
    Nonce(Nonce),
    ReportData(Box<[u8; 64]>),
}

impl Case {
    /// Reads a case; what is not of the documented form is malformed.
    pub fn read(text: &[u8]) -> Result<Self, ClientError> {
        let document: Document =
            serde_json::from_slice(text).map_err(|error| malformed(&error.to_string()))?;
        if document.version != 1 {
            return Err(malformed("only version 1 is known"));
        }
        let platform = PlatformTag::from_text(&document.platform)
            .ok_or(BundleError::UnknownPlatform(document.platform))?;
        let policy = AppraisalPolicy::from_toml(&document.policy).map_err(|source| ClientError::Policy {
            path: "the case's policy".into(),
            source,
        })?;
        let binding = match (&document.statement, &document.nonce, &document.report_data) {
            (Some(_), Some(nonce), None) => Binding::Nonce(Nonce::from_bytes(hex_of("nonce", nonce)?)),
            (None, None, Some(data)) => Binding::ReportData(Box::new(hex_of("report_data", data)?)),
            _ => {
                return Err(malformed(
                    "name statement and nonce, or report_data, and not both",
                ));
            }
        };
        let mut endorsements = Endorsements::new();
        for (kind, text) in &document.endorsements {
            let kind = EndorsementKind::ALL
                .into_iter()
                .find(|known| known.as_str() == kind)
                .ok_or(BundleError::UnknownEndorsement)?;
            endorsements.insert(kind, base64_of("endorsements", text)?);
        }
        let optional = |name: &'static str, text: &Option<String>| {
            text.as_ref().map(|text| base64_of(name, text)).transpose()
        };
        Ok(Self {
            bundle: Bundle {
                platform,
                evidence: base64_of("evidence", &document.evidence)?,
                statement: optional("statement", &document.statement)?.unwrap_or_default(),
                event_log: optional("event_log", &document.event_log)?,
                endorsements,
                devices: Vec::new(),
            },
            at: UnixTime::parse_rfc3339(&document.at).ok_or_else(|| malformed("at is no moment"))?,
            verifier: Verifier::new(policy),
            binding,
        })
    }

    /// The appraisal, clause by clause.
    pub fn explain(&self) -> Explanation {
        match &self.binding {
            Binding::Nonce(nonce) => self.verifier.explain(&self.bundle, nonce, self.at),
            Binding::ReportData(data) => {
                let evidence = RawEvidence {
                    platform: self.bundle.platform,
                    evidence: &self.bundle.evidence,
                    event_log: self.bundle.event_log.as_deref(),
                    endorsements: &self.bundle.endorsements,
                };
                self.verifier.explain_evidence(&evidence, Some(data), self.at)
            }
        }
    }
}

fn malformed(problem: &str) -> ClientError {
    ClientError::Malformed {
        what: "the case",
        problem: problem.to_owned(),
    }
}

fn hex_of<const N: usize>(name: &str, text: &str) -> Result<[u8; N], ClientError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map(|()| bytes)
        .map_err(|_| malformed(&format!("{name} must be {} hexadecimal digits", 2 * N)))
}

fn base64_of(name: &str, text: &str) -> Result<Vec<u8>, ClientError> {
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|_| malformed(&format!("{name} is not base64")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_the_documented_form_is_malformed() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"version":1,"platform":"amd-sev-snp","evidence":"","policy":"","at":"","extra":1}"#,
        ] {
            let error = Case::read(text.as_bytes()).err().expect("it is refused");
            assert_eq!(error.exit_code(), crate::error::EXIT_MALFORMED, "{text}");
        }
    }

    #[test]
    fn an_unknown_platform_is_unsupported() {
        let text = r#"{"version":1,"platform":"arm-cca","evidence":"","policy":"","at":"","report_data":""}"#;
        let error = Case::read(text.as_bytes()).err().expect("it is refused");
        assert_eq!(error.exit_code(), crate::error::EXIT_UNSUPPORTED);
    }

    #[test]
    fn the_schema_names_every_platform_and_every_endorsement_of_one() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../docs/conformance.schema.json")).expect("JSON");
        let platforms = schema["properties"]["platform"]["enum"]
            .as_array()
            .expect("a list");
        for platform in PlatformTag::ALL {
            assert!(
                platforms.iter().any(|name| name == platform.as_str()),
                "{platform}"
            );
        }
        let kinds = &schema["properties"]["endorsements"]["properties"];
        for kind in EndorsementKind::ALL {
            let of_a_device = kind.as_str().starts_with("nvidia");
            assert_eq!(
                kinds.get(kind.as_str()).is_none(),
                of_a_device,
                "{}",
                kind.as_str()
            );
        }
    }
}
