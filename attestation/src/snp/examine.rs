//! The examination of an SNP report: genuine, up to date, expected.
//!
//! Every step records clauses and goes on as far as it can, so that an explanation shows all that is
//! wrong. Only what a later step needs stops it.
//!
//! 1. [`structure`]: what the report is.
//! 2. [`launch`]: what was launched, and how.
//! 3. [`endorsed`]: the path from the report to a root.
//! 4. [`versions`]: how new platform and firmware are.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::generation::Generation;
use super::report::Report;
use super::{endorsed, launch, rules, versions};
use crate::PlatformTag;
use crate::claims::Claims;
use crate::endorsements::Endorsements;
use crate::examination::Examination;
use crate::policy::SnpPolicy;
use crate::simulated::SignatureDomain;
use crate::x509::TrustAnchor;

/// What is examined, and against what.
pub(crate) struct Evidence<'a> {
    pub(crate) platform: PlatformTag,
    pub(crate) domain: SignatureDomain,
    pub(crate) report: &'a [u8],
    pub(crate) endorsements: &'a Endorsements,
    pub(crate) policy: &'a SnpPolicy,
    pub(crate) anchors: &'a [(Generation, TrustAnchor)],
    pub(crate) collateral_age_seconds_max: u64,
    /// `None` if the statement could not be read.
    pub(crate) report_data: Option<&'a [u8; 64]>,
}

/// Records a clause for each of [`rules::RULES`]; claims only if the structure could be read.
pub(crate) fn examine(examination: &mut Examination, evidence: &Evidence<'_>) -> Option<Claims> {
    let found = format!("{} bytes", evidence.report.len());
    let report = Report::parse(evidence.report);
    let report = examination.require(&rules::REPORT_FORMAT, report, "1184 bytes", found)?;
    let version = u64::from(report.version());
    let versions = &evidence.policy.report_versions;
    if !examination.check(
        &rules::REPORT_VERSION,
        versions.contains(version),
        versions.to_string(),
        format!("{version:#x}"),
    ) {
        return None;
    }
    structure(examination, &report);
    launch::examine(examination, &report, evidence);
    let endorsed = endorsed::examine(examination, &report, evidence)?;
    versions::examine(examination, &report, &endorsed, evidence.policy);
    Some(Claims {
        platform: evidence.platform,
        launch_measurement: *report.measurement(),
        hardware_id: endorsed.leaf.hardware_id,
        vtpm: None,
        boot: Vec::new(),
    })
}

fn structure(examination: &mut Examination, report: &Report<'_>) {
    let algorithm = report.signature_algorithm();
    examination.check(
        &rules::SIGNATURE_ALGORITHM,
        algorithm == 1,
        "1, ECDSA P-384 with SHA-384",
        algorithm.to_string(),
    );
    let reserved = report.reserved_not_zero();
    let found = reserved.map_or(String::from("zero"), |offset| format!("not zero at {offset:#x}"));
    examination.check(&rules::RESERVED_ZERO, reserved.is_none(), "zero", found);
    let masked = report.chip_key_is_masked();
    examination.check(&rules::CHIP_KEY, !masked, "0", if masked { "1" } else { "0" });
}
