//! Whether a report measured what NVIDIA's manifests say.
//!
//! Every measurement that a manifest marks active is compared. A manifest counts from 0, a report from
//! 1. What no manifest marks active has no reference value and decides nothing.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::manifest::Manifest;
use super::report::Report;
use super::rules;
use crate::examination::Examination;
use crate::policy::NvidiaPolicy;

/// Records the clauses on measurements. `manifests` is empty only if the policy excepts that.
pub(super) fn examine(
    examination: &mut Examination,
    report: &Report<'_>,
    manifests: &[(&str, &Manifest)],
    policy: &NvidiaPolicy,
) {
    if manifests.is_empty() {
        for rule in [&rules::MANIFESTS_DISJOINT, &rules::MEASUREMENTS] {
            examination.check(
                rule,
                true,
                "manifests, or the exception no-reference-manifest",
                "measurements not compared: the exception",
            );
        }
        return;
    }
    let (mut seen, mut doubled) = (Vec::new(), Vec::new());
    let (mut differing, mut ignored) = (Vec::new(), Vec::new());
    for (name, manifest) in manifests {
        for reference in manifest.active() {
            let index = reference.index;
            if seen.contains(&index) {
                doubled.push(format!("{index}"));
            }
            seen.push(index);
            let equal = report
                .digest(index)
                .is_some_and(|digest| reference.alternatives.contains(digest));
            if policy.ignores(index) {
                ignored.push(format!("{index}"));
            } else if !equal {
                differing.push(format!("{index} ({name})"));
            }
        }
    }
    examination.check(
        &rules::MANIFESTS_DISJOINT,
        doubled.is_empty(),
        "each measurement in one manifest",
        if doubled.is_empty() {
            String::from("in one each")
        } else {
            format!("in two: {}", doubled.join(", "))
        },
    );
    let passed_over = if ignored.is_empty() {
        String::new()
    } else {
        format!("; not compared by policy: {}", ignored.join(", "))
    };
    examination.check(
        &rules::MEASUREMENTS,
        differing.is_empty() && ignored.len() < seen.len(),
        format!("{} measurements as in the manifests", seen.len()),
        if differing.is_empty() {
            format!("equal{passed_over}")
        } else {
            format!("different: {}{passed_over}", differing.join(", "))
        },
    );
}
