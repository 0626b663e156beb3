//! The vTPM of a Google Compute Engine VM: a quote by a key that Google certified for one instance.
//!
//! The host runs this vTPM. It is outside the TEE, and nothing ties its key to the processor's
//! evidence but the nonce that both carry; on TDX the run-time measurement registers say the same from
//! inside. Whoever uses both asks both for the same statement and nonce:
//! [`crate::vtpm_qualifying_data`] is a function of the processor's report data.
//!
//! 1. The evidence and the key's public area can be read; the key is a restricted signing key.
//! 2. Its certificates lead to Google's root and name it.
//! 3. They name an instance that the policy accepts.
//! 4. The quote under that key: PCRs and nonce (`tpm`).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::instance::{INSTANCE_INFO, Instance};
use super::vtpm_rules as rules;
use crate::clause::Clause;
use crate::examination::{Examination, Rule};
use crate::policy::GceVtpmPolicy;
use crate::tpm::evidence::Parts;
use crate::tpm::{self, AttestationKey, HashAlgorithm, chain};
use crate::x509::{Certificate, TrustAnchor};
use crate::{AppraisalError, BundleError, UnixTime, roots};

/// A quote of a Google Compute Engine VM's vTPM and its key. Nothing in it has been checked but its
/// shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GceVtpmEvidence {
    /// TPMT_PUBLIC of the attestation key; at most 8 KiB.
    pub ak_public: Vec<u8>,
    /// TPMS_ATTEST of the quote over the SHA-256 bank, with [`crate::vtpm_qualifying_data`]; at most 1 KiB.
    pub quote_message: Vec<u8>,
    /// RSASSA signature over it, without the TPMT_SIGNATURE around it; at most 512 bytes.
    pub quote_signature: Vec<u8>,
    /// The quoted PCRs' values, one after the other in ascending order; at most 768 bytes.
    pub pcr_values: Vec<u8>,
}

impl GceVtpmEvidence {
    /// Encodes; refuses what [`GceVtpmEvidence::decode`] would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, BundleError> {
        Parts {
            voucher: &self.ak_public,
            td_quote: None,
            message: &self.quote_message,
            signature: &self.quote_signature,
            pcr_values: &self.pcr_values,
        }
        .encode()
    }

    /// Decodes; only the deterministic encoding within the bounds is accepted.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        let parts = Parts::decode(bytes)?;
        if parts.td_quote.is_some() {
            return Err(BundleError::Shape);
        }
        Ok(Self {
            ak_public: parts.voucher.to_vec(),
            quote_message: parts.message.to_vec(),
            quote_signature: parts.signature.to_vec(),
            pcr_values: parts.pcr_values.to_vec(),
        })
    }
}

/// What is examined, and against what.
pub(crate) struct VtpmEvidence<'a> {
    /// The encoding of [`GceVtpmEvidence`].
    pub(crate) evidence: &'a [u8],
    /// PEM, leaf first.
    pub(crate) certificates: &'a [u8],
    /// What was measured into the PCRs, event by event, if that was sent.
    pub(crate) event_log: Option<&'a [u8]>,
    pub(crate) policy: &'a GceVtpmPolicy,
    /// Google's root for vTPM keys.
    pub(crate) anchor: &'a TrustAnchor,
    /// What the vTPM was asked to sign; `None` if the statement could not be read.
    pub(crate) qualifying_data: Option<&'a [u8]>,
}

/// The rules of a whole examination.
pub(crate) static RULES: [&[&Rule]; 2] = [rules::RULES, tpm::RULES];
static CERTIFICATE_RULES: &[&Rule] = &[
    &rules::CERTIFICATES,
    &rules::CHAIN,
    &rules::VALIDITY,
    &rules::INSTANCE,
    &rules::PRODUCTION,
    &rules::PROJECT,
    &rules::ZONE,
    &rules::INSTANCE_ID,
];
static QUOTE_RULES: &[&Rule] = &[&rules::EVIDENCE, &rules::PUBLIC, &rules::ATTRIBUTES];
static CHAIN_RULES: chain::Rules = chain::Rules {
    certificates: &rules::CERTIFICATES,
    chain: &rules::CHAIN,
    validity: &rules::VALIDITY,
    key: &rules::KEY,
};

/// Records a clause for each of [`RULES`].
pub(crate) fn examine(examination: &mut Examination, evidence: &VtpmEvidence<'_>) {
    let decoded = GceVtpmEvidence::decode(evidence.evidence);
    let fault = decoded
        .as_ref()
        .err()
        .map(ToString::to_string)
        .unwrap_or_default();
    let decoded = examination.require(&rules::EVIDENCE, decoded.ok(), "vTPM evidence", fault);
    let key = decoded
        .as_ref()
        .and_then(|decoded| quote(examination, decoded, evidence));
    let modulus = key.as_ref().map(|key| key.modulus);
    certificates(examination, evidence, modulus);
}

fn quote<'a>(
    examination: &mut Examination,
    decoded: &'a GceVtpmEvidence,
    evidence: &VtpmEvidence<'_>,
) -> Option<AttestationKey<'a>> {
    let key = AttestationKey::parse(&decoded.ak_public);
    let found = format!("{} bytes of another shape", decoded.ak_public.len());
    let key = examination.require(&rules::PUBLIC, key, "an RSA key for RSASSA with SHA-256", found);
    if let Some(key) = &key {
        examination.check(
            &rules::ATTRIBUTES,
            key.is_restricted_signer(),
            "fixed to its TPM and parent, made there, restricted, signs and does not decrypt",
            key.describe(),
        );
    }
    tpm::examine(
        examination,
        &tpm::Quote {
            message: &decoded.quote_message,
            signature: &decoded.quote_signature,
            key: key.as_ref().map(|key| &key.key),
            pcr_values: &decoded.pcr_values,
            bank: HashAlgorithm::Sha256,
            pcrs: &evidence.policy.pcrs,
            event_log: evidence.event_log,
            qualifying_data: evidence.qualifying_data,
        },
    );
    key
}

fn certificates(examination: &mut Examination, evidence: &VtpmEvidence<'_>, modulus: Option<&[u8]>) {
    let ders = chain::certificates(evidence.certificates).unwrap_or_default();
    let parsed = ders.iter().map(|der| Certificate::parse(der).ok());
    let parsed = parsed
        .collect::<Option<Vec<_>>>()
        .filter(|chain| !chain.is_empty());
    let expected = "a chain of certificates";
    let Some(parsed) = examination.require(&rules::CERTIFICATES, parsed, expected, "missing or malformed")
    else {
        return;
    };
    chain::examine(examination, &parsed, evidence.anchor, modulus, &CHAIN_RULES);
    let leaf = parsed.first();
    let extension = leaf.and_then(|leaf| leaf.extension(INSTANCE_INFO));
    let instance = extension.and_then(|extension| Instance::parse(extension).ok());
    let expected = "the instance info of a virtual machine";
    if let Some(instance) = examination.require(&rules::INSTANCE, instance, expected, "missing or malformed")
    {
        accepted(examination, &instance, evidence.policy);
    }
}

fn accepted(examination: &mut Examination, instance: &Instance<'_>, policy: &GceVtpmPolicy) {
    let production = instance.is_production;
    examination.check(&rules::PRODUCTION, production, "true", production.to_string());
    let (ids, numbers) = (&policy.project_ids, &policy.project_numbers);
    let holds =
        ids.any(|id| id == instance.project_id) && numbers.any(|number| *number == instance.project_number);
    examination.check(
        &rules::PROJECT,
        holds,
        format!("id {ids}, number {numbers}"),
        format!("id {}, number {}", instance.project_id, instance.project_number),
    );
    let zones = &policy.zones;
    let holds = zones.any(|zone| zone == instance.zone);
    examination.check(&rules::ZONE, holds, zones.to_string(), instance.zone);
    let id = instance.instance_id.to_string();
    let holds = policy.instance_ids.any(|listed| *listed == id);
    examination.check(
        &rules::INSTANCE_ID,
        holds,
        policy.instance_ids.to_string(),
        format!("{id}, {}", instance.instance_name),
    );
}

/// An examination of a host's vTPM. There is no assurance in it: the host runs that vTPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VtpmExplanation {
    /// Every clause, in the order of the questions.
    pub clauses: Vec<Clause>,
    /// The first clause that did not pass; `None` only if every one did.
    pub error: Option<AppraisalError>,
}

/// What one examines, beside the parts of evidence: under which policy, for which qualifying data, when.
#[derive(Clone, Copy, Debug)]
pub struct GceVtpmQuestion<'a> {
    /// What is accepted.
    pub policy: &'a GceVtpmPolicy,
    /// What the vTPM was asked to sign.
    pub qualifying_data: &'a [u8],
    /// The verifier's time.
    pub now: UnixTime,
}

/// Examines a quote of a Google Compute Engine VM's vTPM, the certificates of its key (PEM, leaf first) and
/// the log behind it, clause by clause.
pub fn explain_gce_vtpm(
    evidence: &[u8],
    certificates: &[u8],
    event_log: Option<&[u8]>,
    question: &GceVtpmQuestion<'_>,
) -> VtpmExplanation {
    let mut examination = Examination::new(question.now);
    let evidence = VtpmEvidence {
        evidence,
        certificates,
        event_log,
        policy: question.policy,
        anchor: &roots::google_vtpm(),
        qualifying_data: Some(question.qualifying_data),
    };
    examine(&mut examination, &evidence);
    conclude(examination, &RULES)
}

/// Examines the certificates alone: no quote says that anybody holds their key.
pub fn explain_gce_ak_certificates(
    certificates: &[u8],
    policy: &GceVtpmPolicy,
    now: UnixTime,
) -> VtpmExplanation {
    let mut examination = Examination::new(now);
    let evidence = VtpmEvidence {
        evidence: &[],
        certificates,
        event_log: None,
        policy,
        anchor: &roots::google_vtpm(),
        qualifying_data: None,
    };
    self::certificates(&mut examination, &evidence, None);
    conclude(examination, &[CERTIFICATE_RULES])
}

/// Examines the quote alone, and the log behind it: nobody says whose key it is.
pub fn explain_gce_vtpm_quote(
    evidence: &GceVtpmEvidence,
    event_log: Option<&[u8]>,
    question: &GceVtpmQuestion<'_>,
) -> VtpmExplanation {
    let mut examination = Examination::new(question.now);
    let fault = evidence.encode().err().map(|error| error.to_string());
    let found = fault.clone().unwrap_or_else(|| String::from("vTPM evidence"));
    examination.check(&rules::EVIDENCE, fault.is_none(), "vTPM evidence", found);
    let asked = VtpmEvidence {
        evidence: &[],
        certificates: &[],
        event_log,
        policy: question.policy,
        anchor: &roots::google_vtpm(),
        qualifying_data: Some(question.qualifying_data),
    };
    quote(&mut examination, evidence, &asked);
    conclude(examination, &[QUOTE_RULES, tpm::RULES])
}

fn conclude(examination: Examination, rules: &[&[&'static Rule]]) -> VtpmExplanation {
    let conclusion = examination.conclude(rules);
    VtpmExplanation {
        clauses: conclusion.clauses,
        error: conclusion.error,
    }
}

#[cfg(test)]
#[path = "vtpm_tests.rs"]
mod tests;
