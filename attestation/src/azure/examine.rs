//! The examination of Azure's evidence.
//!
//! 1. The evidence and the HCL report can be read, and are of the processor that is asked for.
//! 2. The hardware report carries the hash of the runtime data and nothing else.
//! 3. The processor's own examination: the report or the quote is genuine, up to date, and of a
//!    paravisor that the policy names.
//! 4. The runtime data name one attestation key, and have the settings that the policy asks for.
//! 5. The key's certificates lead to Azure's root for vTPMs, unless the policy does without.
//! 6. The vTPM's quote under that key: PCRs and nonce.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::hcl::{HclReport, ReportType};
use super::runtime::{RuntimeData, VtpmKey};
use super::td_report::TdReport;
use super::{rules, settings};
use crate::PlatformTag;
use crate::claims::Claims;
use crate::endorsements::{EndorsementKind, Endorsements};
use crate::examination::Examination;
use crate::policy::{AzureException, AzurePolicy, SnpPolicy, TdxPolicy};
use crate::simulated::SignatureDomain;
use crate::snp::{self, Generation};
use crate::tdx;
use crate::tpm::evidence::Parts;
use crate::tpm::{self, HashAlgorithm, chain};
use crate::x509::{Certificate, TrustAnchor};

/// What is examined, and against what.
pub(crate) struct Evidence<'a> {
    pub(crate) platform: PlatformTag,
    pub(crate) domain: SignatureDomain,
    /// The encoding of [`super::AzureEvidence`].
    pub(crate) evidence: &'a [u8],
    /// What was measured into the vTPM's PCRs, event by event.
    pub(crate) event_log: Option<&'a [u8]>,
    pub(crate) endorsements: &'a Endorsements,
    pub(crate) policy: &'a AzurePolicy,
    pub(crate) processor: Processor<'a>,
    /// Azure's root for vTPMs.
    pub(crate) anchor: &'a TrustAnchor,
    pub(crate) collateral_age_seconds_max: u64,
    /// What the vTPM was asked to sign; `None` if the statement could not be read.
    pub(crate) qualifying_data: Option<&'a [u8]>,
}

/// The processor that is asked for, and what is accepted of it.
#[derive(Clone, Copy)]
pub(crate) enum Processor<'a> {
    Snp(&'a SnpPolicy, &'a [(Generation, TrustAnchor)]),
    Tdx(&'a TdxPolicy, &'a TrustAnchor),
}

static CHAIN_RULES: chain::Rules = chain::Rules {
    certificates: &rules::AK_CERTIFICATES,
    chain: &rules::AK_CHAIN,
    validity: &rules::AK_VALIDITY,
    key: &rules::AK_KEY,
};

/// Records a clause for each rule of this module, of `tpm`, and of the processor; claims only if
/// everything could be read.
pub(crate) fn examine(examination: &mut Examination, evidence: &Evidence<'_>) -> Option<Claims> {
    let on_tdx = matches!(evidence.processor, Processor::Tdx(..));
    let (parts, fault) = match Parts::decode(evidence.evidence) {
        Ok(parts) if parts.td_quote.is_none() || on_tdx => (Some(parts), String::new()),
        Ok(_) => (None, String::from("a TD quote beside an SNP report")),
        Err(error) => (None, error.to_string()),
    };
    let parts = examination.require(&rules::EVIDENCE, parts, "vTPM evidence", fault)?;
    let hcl = HclReport::parse(parts.voucher);
    let found = format!("{} bytes of another shape", parts.voucher.len());
    let hcl = examination.require(&rules::HCL_FORMAT, hcl, "an HCL report", found)?;
    let report_data = envelope(examination, &hcl, evidence.processor);

    let runtime = RuntimeData::parse(hcl.runtime_data);
    let otherwise = "not JSON of that form, or a doubled name";
    let runtime = examination.require(
        &rules::RUNTIME_DATA,
        runtime,
        "keys, vm-configuration, user-data",
        otherwise,
    );
    let key = runtime
        .as_ref()
        .and_then(|runtime| attestation_key(examination, runtime));
    if let Some(runtime) = &runtime {
        settings::examine(examination, runtime, evidence.policy, evidence.qualifying_data);
    }
    certificates(examination, evidence, key.as_ref());
    let vtpm = tpm::examine(
        examination,
        &tpm::Quote {
            message: parts.message,
            signature: parts.signature,
            key: key.as_ref().map(|key| &key.key),
            pcr_values: parts.pcr_values,
            bank: HashAlgorithm::Sha256,
            pcrs: &evidence.policy.pcrs,
            event_log: evidence.event_log,
            qualifying_data: evidence.qualifying_data,
        },
    );
    let claims = processor(examination, evidence, &parts, &hcl, report_data.as_ref())?;
    let (vtpm, boot) = vtpm?;
    Some(Claims {
        vtpm: Some(vtpm),
        boot,
        ..claims
    })
}

/// What the header says, and what the hardware must have signed: the hash of the runtime data.
fn envelope(
    examination: &mut Examination,
    hcl: &HclReport<'_>,
    processor: Processor<'_>,
) -> Option<[u8; 64]> {
    examination.check(
        &rules::HCL_VERSION,
        matches!((hcl.version, hcl.data_version), (1 | 2, 1 | 2)),
        "1 or 2, data 1 or 2",
        format!("{}, data {}", hcl.version, hcl.data_version),
    );
    let (report_type, carried) = match processor {
        Processor::Snp(..) => (
            ReportType::Snp,
            snp::Report::parse(hcl.hardware_report).map(|report| *report.report_data()),
        ),
        Processor::Tdx(..) => (
            ReportType::Tdx,
            Some(*TdReport::new(hcl.hardware_report).report_data()),
        ),
    };
    examination.check(
        &rules::REPORT_TYPE,
        hcl.report_type == report_type,
        report_type.to_string(),
        hcl.report_type.to_string(),
    );
    let hash_type = hcl.hash_type();
    let found = hash_type.map_or_else(|number| format!("hash type {number}"), |hash| hash.to_string());
    let expected = "SHA-256, SHA-384 or SHA-512";
    examination.check(&rules::HASH_TYPE, hash_type.is_ok(), expected, found);
    let report_data = hash_type.ok()?.report_data(hcl.runtime_data);
    examination.check(
        &rules::RUNTIME_HASH,
        carried == Some(report_data),
        hex::encode(report_data),
        carried.map_or(String::from("no report"), hex::encode),
    );
    Some(report_data)
}

fn attestation_key(examination: &mut Examination, runtime: &RuntimeData) -> Option<VtpmKey> {
    let key = runtime.attestation_key();
    let otherwise = format!("no such key, or two, among {}", runtime.key_names());
    examination.require(
        &rules::ATTESTATION_KEY,
        key,
        "one RSA key named HCLAkPub",
        otherwise,
    )
}

fn certificates(examination: &mut Examination, evidence: &Evidence<'_>, key: Option<&VtpmKey>) {
    let document = evidence.endorsements.document(EndorsementKind::VtpmAkChain);
    let exception = AzureException::AbsentAkCertificate;
    if document.is_none() && evidence.policy.excepts(exception) {
        CHAIN_RULES.pass_without(examination, exception.name());
        return;
    }
    let ders = document.and_then(chain::certificates).unwrap_or_default();
    let parsed = ders.iter().map(|der| Certificate::parse(der).ok());
    let parsed = parsed
        .collect::<Option<Vec<_>>>()
        .filter(|chain| !chain.is_empty());
    let Some(parsed) = examination.require(
        &rules::AK_CERTIFICATES,
        parsed,
        "a chain of certificates",
        "missing or malformed",
    ) else {
        return;
    };
    let modulus = key.map(|key| key.modulus.as_slice());
    chain::examine(examination, &parsed, evidence.anchor, modulus, &CHAIN_RULES);
}

/// The processor's own examination. It finds the hash of the runtime data where a guest without
/// paravisor has the caller's report data.
fn processor(
    examination: &mut Examination,
    evidence: &Evidence<'_>,
    parts: &Parts<'_>,
    hcl: &HclReport<'_>,
    report_data: Option<&[u8; 64]>,
) -> Option<Claims> {
    let (platform, domain) = (evidence.platform, evidence.domain);
    let (endorsements, collateral_age_seconds_max) =
        (evidence.endorsements, evidence.collateral_age_seconds_max);
    match evidence.processor {
        Processor::Snp(policy, anchors) => snp::examine(
            examination,
            &snp::Evidence {
                platform,
                domain,
                report: hcl.hardware_report,
                endorsements,
                policy,
                anchors,
                collateral_age_seconds_max,
                report_data,
            },
        ),
        Processor::Tdx(policy, anchor) => {
            let quote = parts.td_quote.unwrap_or_default();
            TdReport::new(hcl.hardware_report).check(examination, quote);
            tdx::examine(
                examination,
                &tdx::Evidence {
                    platform,
                    domain,
                    quote,
                    endorsements,
                    // On Azure the guest measures into the vTPM; these registers stay zero.
                    event_log: None,
                    policy,
                    anchor,
                    collateral_age_seconds_max,
                    report_data,
                },
            )
        }
    }
}
