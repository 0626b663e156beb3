//! Each component of each version of a TDX platform, one below, equal, one above: in the certificate, in the
//! quote, in Intel's documents, in the policy. On the simulated platform, which signs anything.

use std::collections::BTreeSet;

use simulated::Flavor;
use simulated::adversary::{self, Domain, PCK_TCB, Publication, QE_REPORT_AT};

use crate::support::{COLLATERAL_SECONDS, Case, DAY, NOW, changeable_platform, platform};
use crate::sweep::say;

const BODY: usize = 48;

#[track_caller]
fn assert_failed(case: &Case, clauses: &[&'static str], what: &str) {
    let expected: BTreeSet<_> = clauses.iter().copied().collect();
    assert_eq!(case.failed(), expected, "{what}");
}

/// The case with bytes of the quote set, signed by the platform.
fn with(changes: &[(usize, u8)]) -> Case {
    let mut case = Case::new(Flavor::Tdx);
    for (offset, value) in changes {
        case.bundle.evidence[*offset] = *value;
    }
    adversary::sign_quote(platform(), &mut case.bundle.evidence, Domain::Simulated).expect("a signature");
    case
}

/// A platform whose PCK is one of these components and this PCESVN.
fn certified(components: &[u8; 16], pcesvn: u16) -> Case {
    let mut platform = changeable_platform();
    adversary::certify_components(&mut platform, components, pcesvn, NOW, DAY).expect("it is issued");
    Case::of(&platform, Flavor::Tdx)
}

/// Below its level a platform is at the next one, which is out of date.
#[test]
fn each_component_of_a_simulated_pck_counts_below_equal_and_above() {
    let (components, pcesvn) = PCK_TCB;
    let mut count = 0;
    for place in 0..components.len() {
        for step in [-1i8, 0, 1] {
            let mut changed = components;
            let Some(value) = changed[place].checked_add_signed(step) else {
                continue;
            };
            changed[place] = value;
            let clauses: &[_] = if step < 0 { &["tdx-tcb-status"] } else { &[] };
            assert_failed(
                &certified(&changed, pcesvn),
                clauses,
                &format!("component {place} {step:+}"),
            );
            count += 1;
        }
    }
    for (changed, clauses) in [
        (pcesvn - 1, &["tdx-tcb-status"][..]),
        (pcesvn, &[]),
        (pcesvn + 1, &[]),
        (u16::MAX, &[]),
        (0, &["tdx-tcb-status"]),
    ] {
        assert_failed(
            &certified(&components, changed),
            clauses,
            &format!("PCESVN {changed}"),
        );
        count += 1;
    }
    say(&format!("{count} cases of components in PCK certificates"));
}

/// The simulated TCB info asks for components 5, 0, 4 of the TDX module's platform, and module 1 at level 11.
#[test]
fn each_component_of_a_simulated_quote_counts_below_equal_and_above() {
    let (module, platform) = (&["tdx-module-level"][..], &["tdx-platform-level"][..]);
    for (changes, clauses) in [
        // The module's own level, by its major version.
        (&[(0, 10)][..], module),
        (&[(0, 11)], &[]),
        (&[(0, 12)], &[]),
        (&[(0, 0)], module),
        (&[(0, 255)], &[]),
        (&[(1, 2)], &["tdx-module-identity"]),
        (&[(1, 255)], &["tdx-module-identity"]),
        // Before TDX 1.5 both belong to the platform.
        (&[(0, 4), (1, 0)], platform),
        (&[(0, 5), (1, 0)], &[]),
        (&[(0, 6), (1, 0)], &[]),
        // Late microcode.
        (&[(2, 3)], platform),
        (&[(2, 4)], &[]),
        (&[(2, 5)], &[]),
        (&[(2, 0)], platform),
    ] {
        let changes: Vec<_> = changes
            .iter()
            .map(|(place, value)| (BODY + place, *value))
            .collect();
        assert_failed(&with(&changes), clauses, &format!("{changes:?}"));
    }
    for place in 3..16 {
        assert_failed(&with(&[(BODY + place, 1)]), &[], &format!("component {place} +1"));
    }
}

#[test]
fn the_simulated_quoting_enclaves_level_counts() {
    let level = &["tdx-qe-level"][..];
    for (low, high, clauses) in [
        (3, 0, level),
        (4, 0, &[][..]),
        (5, 0, &[]),
        (0, 0, level),
        // 256: the two bytes are one number.
        (0, 1, &[]),
    ] {
        let case = with(&[(QE_REPORT_AT + 258, low), (QE_REPORT_AT + 259, high)]);
        assert_failed(&case, clauses, &format!("ISVSVN {low} {high}"));
    }
    // The product is one, not a minimum.
    for (product, clauses) in [
        (1, &["tdx-quoting-enclave"][..]),
        (2, &[]),
        (3, &["tdx-quoting-enclave"]),
    ] {
        assert_failed(
            &with(&[(QE_REPORT_AT + 256, product)]),
            clauses,
            &format!("ISVPRODID {product}"),
        );
    }
}

#[test]
fn the_evaluation_number_counts_in_each_document_and_in_the_policy() {
    let old = &["tdx-evaluation-number"][..];
    let case = |tcb_info, qe_identity| {
        let publication = Publication {
            tcb_info_evaluation_number: tcb_info,
            qe_identity_evaluation_number: qe_identity,
            ..Publication::default()
        };
        let mut platform = changeable_platform();
        adversary::publish(&mut platform, NOW, COLLATERAL_SECONDS, &publication).expect("it is published");
        Case::of(&platform, Flavor::Tdx)
    };
    for (tcb_info, qe_identity, clauses) in [
        (19, 20, old),
        (20, 19, old),
        (19, 19, old),
        (20, 20, &[][..]),
        (21, 20, &[]),
        (20, 21, &[]),
        (0, u32::MAX, old),
    ] {
        let what = format!("evaluation {tcb_info} and {qe_identity}");
        assert_failed(&case(tcb_info, qe_identity), clauses, &what);
    }
    for (minimum, clauses) in [(19, &[][..]), (20, &[]), (21, old)] {
        let to = format!("evaluation_number_minimum = {minimum}");
        let case = Case::new(Flavor::Tdx).policy("evaluation_number_minimum = 20", &to);
        assert_failed(&case, clauses, &to);
    }
}
