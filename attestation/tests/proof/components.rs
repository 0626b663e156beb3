//! Each component of each version of an SNP platform, one below, equal, one above: in the report, in the
//! certificate, in the policy. On simulated platforms of Genoa and Turin, whose processors sign anything.

use std::collections::BTreeSet;

use simulated::adversary::{self, Domain};
use simulated::{Flavor, Platform};

use crate::support::{COLLATERAL_SECONDS, Case, DAY, NOW, changeable_platform};
use crate::sweep::say;

/// Name in policies and place in a TCB version.
type Component = (&'static str, usize);
const GENOA: &[Component] = &[("boot_loader", 0), ("tee", 1), ("snp", 6), ("microcode", 7)];
const TURIN: &[Component] = &[
    ("fmc", 0),
    ("boot_loader", 1),
    ("tee", 2),
    ("snp", 3),
    ("microcode", 7),
];

const REPORTED: usize = 0x180;
const COMMITTED: usize = 0x1e0;
const CURRENT: usize = 0x038;
const LAUNCH: usize = 0x1f0;
const CURRENT_FIRMWARE: usize = 0x1e8;
const COMMITTED_FIRMWARE: usize = 0x1ec;
const LAUNCH_MITIGATIONS: usize = 0x1f8;
const CURRENT_MITIGATIONS: usize = 0x200;

/// A platform and its components.
fn generations() -> [(Platform, &'static [Component]); 2] {
    let (genoa, mut turin) = (changeable_platform(), changeable_platform());
    adversary::become_turin(&mut turin, NOW, COLLATERAL_SECONDS).expect("it is issued");
    [(genoa, GENOA), (turin, TURIN)]
}

/// One below, equal, one above; not below zero.
fn around(value: u8) -> impl Iterator<Item = (i8, u8)> {
    [-1i8, 0, 1]
        .into_iter()
        .filter_map(move |step| Some((step, value.checked_add_signed(step)?)))
}

/// The case with bytes of the report set, signed by the platform.
fn with(platform: &Platform, changes: &[(usize, u8)]) -> Case {
    let mut case = Case::of(platform, Flavor::Snp);
    for (offset, value) in changes {
        case.bundle.evidence[*offset] = *value;
    }
    adversary::sign_report(platform, &mut case.bundle.evidence, Domain::Simulated).expect("a signature");
    case
}

#[track_caller]
fn assert_failed(case: &Case, clauses: &[&'static str], what: &str) {
    let expected: BTreeSet<_> = clauses.iter().copied().collect();
    assert_eq!(case.failed(), expected, "{what}");
}

#[test]
fn each_component_of_each_simulated_tcb_counts_below_equal_and_above() {
    // By what is changed: what fails one below, and one above.
    let of_report: [(&str, usize, &[&str], &[&str]); 4] = [
        (
            "reported",
            REPORTED,
            &["snp-tcb-certified", "snp-tcb-reported"],
            &["snp-tcb-certified", "snp-tcb-order"],
        ),
        (
            "committed",
            COMMITTED,
            &["snp-tcb-committed", "snp-tcb-order"],
            &["snp-tcb-order"],
        ),
        ("current", CURRENT, &["snp-tcb-order"], &[]),
        ("launch", LAUNCH, &["snp-tcb-launch"], &["snp-tcb-order"]),
    ];
    let mut count = 0;
    for (platform, components) in generations() {
        let tcb = adversary::tcb(&platform);
        for (name, place) in components {
            for (of, at, below, above) in of_report {
                for (step, value) in around(tcb[*place]) {
                    let clauses = match step {
                        -1 => below,
                        0 => &[],
                        _ => above,
                    };
                    let case = with(&platform, &[(at + place, value)]);
                    assert_failed(&case, clauses, &format!("{of} {name} {step:+}"));
                    count += 1;
                }
            }
        }
    }
    say(&format!("{count} cases of components in reports"));
    assert!(count > 100);
}

/// All four versions one below together stand in order: only the policy's minimum refuses them.
#[test]
fn each_component_that_is_old_everywhere_is_below_the_simulated_minimum() {
    for (mut platform, components) in generations() {
        let tcb = adversary::tcb(&platform);
        for (name, place) in components.iter().filter(|(_, place)| tcb[*place] > 0) {
            let mut older = tcb;
            older[*place] -= 1;
            adversary::certify_tcb(&mut platform, &older, NOW, DAY).expect("it is issued");
            let everywhere = [REPORTED, COMMITTED, CURRENT, LAUNCH].map(|at| (at + place, older[*place]));
            let case = with(&platform, &everywhere);
            let clauses = ["snp-tcb-committed", "snp-tcb-launch", "snp-tcb-reported"];
            assert_failed(&case, &clauses, name);
            // Launched before the update.
            adversary::certify_tcb(&mut platform, &tcb, NOW, DAY).expect("it is issued");
            assert_failed(
                &with(&platform, &[(LAUNCH + place, older[*place])]),
                &["snp-tcb-launch"],
                name,
            );
        }
    }
}

#[test]
fn each_component_of_a_simulated_certificate_is_that_of_the_report() {
    for (mut platform, components) in generations() {
        let tcb = adversary::tcb(&platform);
        for (name, place) in components {
            for (step, value) in around(tcb[*place]) {
                let mut certified = tcb;
                certified[*place] = value;
                adversary::certify_tcb(&mut platform, &certified, NOW, DAY).expect("it is issued");
                let clauses: &[_] = if step == 0 { &[] } else { &["snp-tcb-certified"] };
                assert_failed(
                    &with(&platform, &[]),
                    clauses,
                    &format!("certified {name} {step:+}"),
                );
            }
        }
        // What the generation reserves has no component.
        let reserved = (0..8).filter(|place| !components.iter().any(|(_, of)| of == place));
        for place in reserved {
            let mut certified = tcb;
            certified[place] = 1;
            adversary::certify_tcb(&mut platform, &certified, NOW, DAY).expect("it is issued");
            assert_failed(
                &with(&platform, &[]),
                &["snp-leaf-profile"],
                &format!("reserved {place}"),
            );
            adversary::certify_tcb(&mut platform, &tcb, NOW, DAY).expect("it is issued");
            for at in [REPORTED, COMMITTED, CURRENT, LAUNCH] {
                let case = with(&platform, &[(at + place, 1)]);
                assert_failed(
                    &case,
                    &["snp-tcb-layout"],
                    &format!("reserved {place} at {at:#x}"),
                );
            }
        }
    }
}

#[test]
fn each_component_of_the_policy_counts_below_equal_and_above() {
    for (platform, components) in generations() {
        let tcb = adversary::tcb(&platform);
        let case = Case::of(&platform, Flavor::Snp);
        for (name, place) in components {
            for (step, value) in around(tcb[*place]) {
                let (from, to) = (
                    format!("\n{name} = {}\n", tcb[*place]),
                    format!("\n{name} = {value}\n"),
                );
                let clauses: &[_] = if step == 1 {
                    &["snp-tcb-committed", "snp-tcb-launch", "snp-tcb-reported"]
                } else {
                    &[]
                };
                assert_failed(
                    &case.clone().policy(&from, &to),
                    clauses,
                    &format!("policy {name} {step:+}"),
                );
            }
        }
    }
}

#[test]
fn each_part_of_the_simulated_firmware_version_counts() {
    let [(platform, _), _] = generations();
    // Build, minor, major, as they stand in a report.
    let firmware = [49u8, 55, 1];
    let case = Case::of(&platform, Flavor::Snp);
    for (place, value) in firmware.into_iter().enumerate() {
        let of_step = |step: i8, below: &[&'static str], above: &[&'static str]| match step {
            -1 => below.to_vec(),
            0 => Vec::new(),
            _ => above.to_vec(),
        };
        for (step, changed) in around(value) {
            let what = format!("firmware part {place} {step:+}");
            let committed = with(&platform, &[(COMMITTED_FIRMWARE + place, changed)]);
            assert_failed(
                &committed,
                &of_step(step, &["snp-firmware"], &["snp-firmware-order"]),
                &what,
            );
            let current = with(&platform, &[(CURRENT_FIRMWARE + place, changed)]);
            assert_failed(&current, &of_step(step, &["snp-firmware-order"], &[]), &what);
            let mut minimum = firmware;
            minimum[place] = changed;
            let minimum = format!("firmware = \"{}.{}.{}\"", minimum[2], minimum[1], minimum[0]);
            let policy = case.clone().policy("firmware = \"1.55.49\"", &minimum);
            assert_failed(&policy, &of_step(step, &[], &["snp-firmware"]), &what);
        }
    }
}

#[test]
fn each_mitigation_counts_at_launch_and_now() {
    let [(platform, _), _] = generations();
    let case = Case::of(&platform, Flavor::Snp);
    for bit in 0..6 {
        let without = 0x3f & !(1 << bit);
        for at in [LAUNCH_MITIGATIONS, CURRENT_MITIGATIONS] {
            let what = format!("mitigation {bit} at {at:#x}");
            assert_failed(&with(&platform, &[(at, without)]), &["snp-mitigations"], &what);
        }
        let fewer = case
            .clone()
            .policy("mitigations = 0x3f", &format!("mitigations = {without:#x}"));
        assert_failed(&fewer, &[], "a policy that asks for fewer");
    }
    for at in [LAUNCH_MITIGATIONS, CURRENT_MITIGATIONS] {
        assert_failed(&with(&platform, &[(at, 0x7f)]), &[], "one more");
    }
    let more = case.policy("mitigations = 0x3f", "mitigations = 0x7f");
    assert_failed(&more, &["snp-mitigations"], "a policy that asks for one more");
}
