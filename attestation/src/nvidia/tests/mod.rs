//! Tests on real evidence (`vectors`) and on evidence made under test keys.

mod authority;
mod der;
mod devices;
mod limits;
mod machine;
mod manifests;
mod parsers;
mod paths;
mod policies;
mod revocation;
mod shown;
mod vectors;
mod words;

use alloc::collections::BTreeSet;
use alloc::string::String;

use crate::{AppraisalPolicy, Explanation, Outcome, Verifier};

/// A policy that accepts devices by `table`, and some confidential VM.
fn policy_text(table: &str) -> String {
    let zero = "00".repeat(32);
    let measurement = "00".repeat(48);
    alloc::format!(
        "version = 1\nrole = \"broker\"\nevidence_age_seconds_max = 60\ncollateral_age_seconds_max = 86400\n\
         config_digests = [\"{zero}\"]\n{table}\n[tdx]\nmrtd = [\"{measurement}\"]\nrtmr0 = [\"{measurement}\"]\n\
         rtmr1 = [\"{measurement}\"]\nrtmr2 = [\"{measurement}\"]\nrtmr3 = [\"{measurement}\"]\n\
         xfam = [0]\nenrolled_machines = \"any\"\nevaluation_number_minimum = 1\n"
    )
}

fn verifier(table: &str) -> Verifier {
    Verifier::new(AppraisalPolicy::from_toml(&policy_text(table)).expect("the policy reads"))
}

/// A policy that takes every version, with these numbers, modes and exceptions.
fn table(gpus: u32, switches: u32, exceptions: &[&str]) -> String {
    let mut table = alloc::format!(
        "[nvidia]\ngpus = {gpus}\nswitches = {switches}\nmodes = [\"single-gpu\", \"multi-gpu\", \"protected-pcie\"]\n\
         enrolled_devices = \"any\"\n"
    );
    for (architecture, driver) in [("hopper", true), ("blackwell", true), ("ls10", false)] {
        table.push_str(&alloc::format!(
            "[[nvidia.minimum_versions]]\narchitecture = \"{architecture}\"\nvbios = \"00.00.00.00.00\"\n{}",
            if driver { "driver = \"0.0\"\n" } else { "" }
        ));
    }
    for name in exceptions {
        table.push_str(&alloc::format!(
            "[[nvidia.exceptions]]\nname = \"{name}\"\nreason = \"test\"\n"
        ));
    }
    table
}

/// The clauses that failed.
fn failed(explanation: &Explanation) -> BTreeSet<&'static str> {
    with(explanation, Outcome::Fail)
}

/// The clauses that nobody recorded.
fn skipped(explanation: &Explanation) -> BTreeSet<&'static str> {
    with(explanation, Outcome::Skipped)
}

fn with(explanation: &Explanation, outcome: Outcome) -> BTreeSet<&'static str> {
    let clauses = explanation.clauses.iter();
    clauses
        .filter(|clause| clause.outcome == outcome)
        .map(|clause| clause.id)
        .collect()
}
