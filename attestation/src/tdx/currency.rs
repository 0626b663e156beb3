//! What Intel says of platform, module and quoting enclave, and since when.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::collateral::{QeIdentity, TcbInfo};
use super::examine::Evidence;
use super::level::{self, Level, Module};
use super::pck::Pck;
use super::quote::Quote;
use super::rules;
use super::status::TcbStatus;
use crate::examination::Examination;
use crate::policy::TdxPolicy;

/// Whether the signed documents are about this platform, of this time, and new enough.
pub(super) fn collateral(
    examination: &mut Examination,
    tcb_info: &TcbInfo,
    qe_identity: &QeIdentity,
    pck: &Pck,
    evidence: &Evidence<'_>,
) {
    let same = tcb_info.id == "TDX"
        && tcb_info.version == 3
        && tcb_info.tcb_type == 0
        && tcb_info.fmspc.0 == pck.fmspc
        && tcb_info.pce_id.0 == pck.pceid;
    let name = |id: &str, version, fmspc: &[u8; 6], pceid: &[u8; 2]| {
        format!(
            "{id} version {version}, FMSPC {}, PCEID {}",
            hex::encode(fmspc),
            hex::encode(pceid)
        )
    };
    examination.check(
        &rules::TCB_INFO_SUBJECT,
        same,
        name("TDX", 3, &pck.fmspc, &pck.pceid),
        name(
            &tcb_info.id,
            tcb_info.version,
            &tcb_info.fmspc.0,
            &tcb_info.pce_id.0,
        ),
    );
    examination.check(
        &rules::QE_IDENTITY_SUBJECT,
        qe_identity.id == "TD_QE" && qe_identity.version == 2,
        "TD_QE version 2",
        format!("{} version {}", qe_identity.id, qe_identity.version),
    );
    let now = examination.now();
    let oldest = tcb_info.issue_date.min(qe_identity.issue_date);
    let since = tcb_info.issue_date.max(qe_identity.issue_date);
    let until = tcb_info.next_update.min(qe_identity.next_update);
    let current = since <= now && now <= until;
    examination.check(
        &rules::COLLATERAL_CURRENT,
        current,
        format!("{since} to {until}"),
        now.to_string(),
    );
    examination.relies_until(until);
    examination.check_age(
        &rules::COLLATERAL_AGE,
        oldest,
        evidence.collateral_age_seconds_max,
    );
    let number = tcb_info
        .tcb_evaluation_data_number
        .min(qe_identity.tcb_evaluation_data_number);
    let floor = evidence.policy.evaluation_number_minimum;
    examination.check(
        &rules::EVALUATION_NUMBER,
        number >= floor,
        format!("at least {floor}"),
        number.to_string(),
    );
}

/// Platform, module and quoting enclave each have a level; together they are as bad as the worst.
pub(super) fn levels(
    examination: &mut Examination,
    quote: &Quote<'_>,
    tcb_info: &TcbInfo,
    qe_identity: &QeIdentity,
    pck: &Pck,
    evidence: &Evidence<'_>,
) {
    let tee_tcb_svn = quote.body.tee_tcb_svn();
    let is_qe = level::is_quoting_enclave(qe_identity, &quote.qe_report);
    let expected = format!(
        "MRSIGNER {}, not under debug",
        hex::encode(qe_identity.mrsigner.0)
    );
    let found = format!("MRSIGNER {}", hex::encode(quote.qe_report.mrsigner()));
    examination.check(&rules::QUOTING_ENCLAVE, is_qe, expected, found);
    let module = Module::find(tcb_info, tee_tcb_svn).filter(|module| module.matches(&quote.body));
    let expected = format!("a listed TDX module {:02X}", tee_tcb_svn[1]);
    let found = format!("MRSIGNERSEAM {}", hex::encode(quote.body.mrsignerseam()));
    let module = examination.require(&rules::MODULE, module, &expected, found);

    let mut reached = |rule, level: Option<Level<'_>>| {
        let found = level.map_or(String::from("no level"), |level| level.status.to_string());
        let holds = level.is_some_and(|level| level.status != TcbStatus::Revoked);
        examination.check(rule, holds, "a level that is not revoked", found);
    };
    let platform = level::platform(tcb_info, pck, tee_tcb_svn);
    let quoting_enclave = level::quoting_enclave(qe_identity, &quote.qe_report);
    let module = module.map(|module| module.level(tee_tcb_svn));
    reached(&rules::PLATFORM_LEVEL, platform);
    reached(&rules::QE_LEVEL, quoting_enclave);
    let Some(module) = module else { return };
    reached(&rules::MODULE_LEVEL, module);
    let (Some(platform), Some(module), Some(quoting_enclave)) = (platform, module, quoting_enclave) else {
        return;
    };
    status(examination, &[platform, module, quoting_enclave], evidence.policy);
}

fn status(examination: &mut Examination, levels: &[Level<'_>], policy: &TdxPolicy) {
    let status = levels
        .iter()
        .fold(TcbStatus::UpToDate, |status, level| status.converge(level.status));
    let mut advisories = levels.iter().flat_map(|level| level.advisories);
    let exception = policy
        .tcb_exceptions
        .iter()
        .find(|exception| exception.status == status);
    let now = examination.now();
    let accepted = status == TcbStatus::UpToDate
        || exception.is_some_and(|exception| {
            now <= exception.until.0 && advisories.all(|advisory| exception.advisories.contains(advisory))
        });
    let expected = match exception {
        Some(exception) => {
            examination.relies_until(exception.until.0);
            format!(
                "UpToDate, or {status} with {} until {}",
                exception.advisories.join(" "),
                exception.until.0
            )
        }
        None => String::from("UpToDate"),
    };
    let listed: Vec<&str> = levels
        .iter()
        .flat_map(|level| level.advisories)
        .map(String::as_str)
        .collect();
    let found = if listed.is_empty() {
        status.to_string()
    } else {
        format!("{status} ({})", listed.join(" "))
    };
    examination.check(&rules::TCB_STATUS, accepted, expected, found);
}
