//! What was launched, and how: measurement, report data, identity block, guest policy.

use alloc::format;
use alloc::string::{String, ToString as _};

use super::examine::Evidence;
use super::report::Report;
use super::rules;
use crate::endorsements::EndorsementKind;
use crate::examination::Examination;
use crate::policy::{GuestAllowance, Machine, SnpPolicy};
use crate::{gce, statement};

const DEBUG_BIT: u32 = 19;
const MIGRATE_MA_BIT: u32 = 18;
const RESERVED_ONE_BIT: u32 = 17;
const FIRST_RESERVED_BIT: u32 = 26;

/// Records the clauses.
pub(super) fn examine(examination: &mut Examination, report: &Report<'_>, evidence: &Evidence<'_>) {
    let policy = evidence.policy;
    if let Some(report_data) = evidence.report_data {
        statement::check_report_data(examination, report_data, report.report_data());
    }
    macro_rules! any_of {
        ($rule:ident, $list:expr, $value:expr) => {
            examination.check(
                &rules::$rule,
                $list.contains($value),
                $list.to_string(),
                hex::encode($value),
            )
        };
    }
    firmware(examination, report.measurement(), evidence);
    any_of!(HOST_DATA, policy.host_data, report.host_data());
    any_of!(FAMILY_ID, policy.family_ids, report.family_id());
    any_of!(IMAGE_ID, policy.image_ids, report.image_id());
    any_of!(ID_KEY, policy.id_key_digests, report.id_key_digest());
    let author = report.author_key_digest();
    let consistent = report.author_key_enabled() == author.iter().any(|byte| *byte != 0);
    examination.check(
        &rules::AUTHOR_KEY,
        consistent && policy.author_key_digests.contains(author),
        policy.author_key_digests.to_string(),
        format!(
            "{}, AUTHOR_KEY_EN {}",
            hex::encode(author),
            u8::from(report.author_key_enabled())
        ),
    );
    let vmpl = report.vmpl();
    examination.check(
        &rules::VMPL,
        vmpl == policy.vmpl,
        policy.vmpl.to_string(),
        vmpl.to_string(),
    );
    examination.check(
        &rules::GUEST_SVN,
        report.guest_svn() >= policy.guest_svn_minimum,
        format!("at least {}", policy.guest_svn_minimum),
        report.guest_svn().to_string(),
    );
    let platform_info = report.platform_info();
    let required = policy
        .platform_required
        .iter()
        .fold(0u64, |bits, protection| bits | 1 << protection.bit());
    examination.check(
        &rules::PLATFORM_INFO,
        platform_info & required == required,
        format!("bits {required:#x}"),
        format!("{platform_info:#x}"),
    );
    guest_policy(examination, report, policy);
}

/// What was launched: listed, or endorsed by Google.
fn firmware(examination: &mut Examination, measurement: &[u8; 48], evidence: &Evidence<'_>) {
    let policy = evidence.policy;
    let (holds, expected) = match (&policy.launch_measurements, &policy.gce_firmware) {
        (Some(references), None) => (references.contains(measurement), references.to_string()),
        (None, Some(policy)) => {
            let endorsed = gce::examine(
                examination,
                &gce::Evidence {
                    document: evidence
                        .endorsements
                        .document(EndorsementKind::GceLaunchEndorsement),
                    policy,
                    machine: Machine::Snp,
                    measurement,
                },
            );
            (endorsed, String::from("endorsed by Google"))
        }
        // Reading a policy refuses both.
        _ => (false, String::from("one kind of reference")),
    };
    examination.check(&rules::MEASUREMENT, holds, expected, hex::encode(measurement));
}

fn guest_policy(examination: &mut Examination, report: &Report<'_>, policy: &SnpPolicy) {
    let guest = report.policy();
    let found = format!("{guest:#x}");
    let has = |bit: u32| guest >> bit & 1 == 1;
    examination.check(
        &rules::DEBUG,
        !has(DEBUG_BIT),
        "0",
        if has(DEBUG_BIT) { "1" } else { "0" },
    );
    let unbound = report.report_id_ma() == &[0xff; 32];
    examination.check(
        &rules::MIGRATION,
        !has(MIGRATE_MA_BIT) && unbound,
        "no migration agent",
        format!(
            "MIGRATE_MA {}, REPORT_ID_MA {}",
            u8::from(has(MIGRATE_MA_BIT)),
            if unbound { "none" } else { "set" }
        ),
    );
    examination.check(
        &rules::POLICY_RESERVED,
        has(RESERVED_ONE_BIT) && guest >> FIRST_RESERVED_BIT == 0,
        "bit 17 set, bits 26 to 63 clear",
        found.clone(),
    );
    let required = policy
        .guest_policy_required
        .iter()
        .fold(0u64, |bits, protection| bits | 1 << protection.bit());
    examination.check(
        &rules::POLICY_REQUIRED,
        guest & required == required,
        format!("bits {required:#x}"),
        found.clone(),
    );
    let refused = GuestAllowance::ALL
        .into_iter()
        .filter(|allowance| !policy.guest_policy_accepted.contains(allowance))
        .fold(0u64, |bits, allowance| bits | 1 << allowance.bit());
    examination.check(
        &rules::POLICY_ALLOWED,
        guest & refused == 0,
        format!("not bits {refused:#x}"),
        found,
    );
    let [minor, major, ..] = guest.to_le_bytes();
    let minimum = policy.guest_abi_minimum;
    examination.check(
        &rules::POLICY_ABI,
        (major, minor) >= (minimum.major, minimum.minor),
        format!("at least {minimum}"),
        format!("{major}.{minor}"),
    );
}
