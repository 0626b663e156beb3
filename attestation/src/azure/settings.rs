//! The paravisor's settings and the guest's user data against the policy.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::json::Json;
use super::rules;
use super::runtime::RuntimeData;
use crate::examination::{Examination, Rule};
use crate::policy::{AzureException, AzurePolicy};
use crate::vtpm_qualifying_data;

/// Settings that the rules below decide on, and those that are only for people.
const KNOWN: [&str; 11] = [
    "secure-boot",
    "tpm-enabled",
    "tpm-persisted",
    "console-enabled",
    "interactive-console-enabled",
    "ipmi-enabled",
    "filtered-vpci-devices-allowed",
    "root-cert-thumbprint",
    "vmUniqueId",
    "current-time",
    "tpm-version",
];

/// One yes-or-no setting: what it must be, what it is where the paravisor does not write it, and the
/// exception under which it may be otherwise.
struct Switch {
    rule: &'static Rule,
    name: &'static str,
    expected: bool,
    /// `None` where every paravisor writes it. Later settings came together with what they turn on.
    absent: Option<bool>,
    exception: Option<AzureException>,
}

static SWITCHES: [Switch; 7] = [
    Switch {
        rule: &rules::SECURE_BOOT,
        name: "secure-boot",
        expected: true,
        absent: None,
        exception: Some(AzureException::SecureBootDisabled),
    },
    Switch {
        rule: &rules::TPM,
        name: "tpm-enabled",
        expected: true,
        absent: None,
        exception: None,
    },
    Switch {
        rule: &rules::TPM_STATE,
        name: "tpm-persisted",
        expected: false,
        // The paravisors that do not write it always kept the state.
        absent: Some(true),
        exception: Some(AzureException::PersistedVtpm),
    },
    Switch {
        rule: &rules::CONSOLE,
        name: "console-enabled",
        expected: false,
        absent: None,
        exception: Some(AzureException::ConsoleEnabled),
    },
    Switch {
        rule: &rules::INTERACTIVE_CONSOLE,
        name: "interactive-console-enabled",
        expected: false,
        absent: Some(false),
        exception: Some(AzureException::InteractiveConsole),
    },
    Switch {
        rule: &rules::IPMI,
        name: "ipmi-enabled",
        expected: false,
        absent: Some(false),
        exception: Some(AzureException::IpmiEnabled),
    },
    Switch {
        rule: &rules::DEVICES,
        name: "filtered-vpci-devices-allowed",
        expected: false,
        absent: Some(false),
        exception: Some(AzureException::FilteredDevices),
    },
];

/// Records the clauses. `qualifying_data` is what the vTPM was asked to sign.
pub(super) fn examine(
    examination: &mut Examination,
    runtime: &RuntimeData,
    policy: &AzurePolicy,
    qualifying_data: Option<&[u8]>,
) {
    for switch in &SWITCHES {
        check_switch(examination, runtime, policy, switch);
    }
    thumbprint(examination, runtime, policy);
    let id = runtime.setting("vmUniqueId").and_then(Json::text);
    examination.check(
        &rules::VM_ID,
        // Paravisors have written the same id in either case.
        id.is_some_and(|id| policy.vm_ids.any(|listed| listed.eq_ignore_ascii_case(id))),
        policy.vm_ids.to_string(),
        shown(runtime, "vmUniqueId"),
    );
    others(examination, runtime, policy);
    user_data(examination, runtime, policy, qualifying_data);
}

fn check_switch(examination: &mut Examination, runtime: &RuntimeData, policy: &AzurePolicy, switch: &Switch) {
    let value = match runtime.setting(switch.name) {
        // Anything but true and false is neither.
        Some(value) => value.boolean(),
        None => switch.absent,
    };
    let excepted = switch.exception.filter(|exception| policy.excepts(*exception));
    let holds = value == Some(switch.expected) || (value.is_some() && excepted.is_some());
    let expected = match excepted {
        Some(exception) => format!("{}, or the exception {}", switch.expected, exception.name()),
        None => switch.expected.to_string(),
    };
    examination.check(switch.rule, holds, expected, shown(runtime, switch.name));
}

/// A paravisor that does not write it has none.
fn thumbprint(examination: &mut Examination, runtime: &RuntimeData, policy: &AzurePolicy) {
    let name = "root-cert-thumbprint";
    let thumbprint = runtime.setting(name).map_or(Some(""), Json::text);
    let accepted = &policy.root_certificate_thumbprints;
    let quoted = accepted.iter().map(|thumbprint| format!("{thumbprint:?}"));
    examination.check(
        &rules::THUMBPRINT,
        thumbprint.is_some_and(|thumbprint| accepted.iter().any(|other| other == thumbprint)),
        quoted.collect::<Vec<_>>().join(" or "),
        shown(runtime, name),
    );
}

fn others(examination: &mut Examination, runtime: &RuntimeData, policy: &AzurePolicy) {
    let settings = runtime.settings.iter().map(|(name, _)| name);
    let settings = settings.filter(|name| !KNOWN.contains(&name.as_str()));
    let others: Vec<&String> = settings.chain(&runtime.others).collect();
    let accepted = &policy.other_settings_accepted;
    let holds = others.iter().all(|name| accepted.contains(name));
    let expected = match accepted.as_slice() {
        [] => String::from("none"),
        names => format!("none but {}", names.join(", ")),
    };
    let found = others
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let found = if others.is_empty() {
        String::from("none")
    } else {
        found
    };
    examination.check(&rules::OTHERS, holds, expected, found);
}

/// What the policy lists, or the report data of this very appraisal: a guest that can hands them to the paravisor, too,
/// and what the vTPM was asked to sign is their digest.
fn user_data(
    examination: &mut Examination,
    runtime: &RuntimeData,
    policy: &AzurePolicy,
    qualifying_data: Option<&[u8]>,
) {
    let (holds, found) = match &runtime.user_data {
        Some(text) => {
            let mut data = [0; 64];
            let whole = hex::decode_to_slice(text, &mut data).is_ok();
            let own = qualifying_data == Some(&vtpm_qualifying_data(&data)[..]);
            let accepted = own || policy.user_data.contains(&data);
            (whole && accepted, text.as_str())
        }
        None => (policy.excepts(AzureException::AbsentUserData), "none"),
    };
    let expected = format!("{}, or this appraisal's report data", policy.user_data);
    examination.check(&rules::USER_DATA, holds, expected, found);
}

fn shown(runtime: &RuntimeData, name: &str) -> String {
    runtime
        .setting(name)
        .map_or(String::from("not said"), Json::to_string)
}
