//! What ties a bundle to its reader: platform, statement, nonce, policy.

use attestation::{
    AppraisalPolicy, Bundle, BundleError, Nonce, PlatformTag, Role, Statement, StatementFields,
    endorsement_subject,
};
use simulated::Flavor;

use crate::support::{Case, fields, platform};

const FLAVORS: [Flavor; 2] = [Flavor::Snp, Flavor::Tdx];

fn case_of(fields: StatementFields, flavor: Flavor) -> Case {
    Case::with_statement(platform(), flavor, &fields.encode().expect("a statement"))
}

#[test]
fn evidence_under_another_nonce_is_refused() {
    for flavor in FLAVORS {
        let mut case = Case::new(flavor);
        case.nonce = Nonce::from_bytes([8; 32]);
        case.assert_failed(&["report-data"]);
        assert_eq!(case.appraise().expect_err("another nonce").exit_code(), 10);
    }
}

#[test]
fn a_swapped_statement_is_refused() {
    for flavor in FLAVORS {
        let mut case = Case::new(flavor);
        let swapped = StatementFields {
            receipt_key: [9; 32],
            ..fields()
        }
        .encode()
        .expect("a statement");
        case.bundle.statement = swapped.statement_bytes().to_vec();
        case.assert_failed(&["report-data"]);
    }
}

#[test]
fn a_statement_that_is_none_is_malformed() {
    let mut case = Case::new(Flavor::Snp);
    case.bundle.statement.push(0);
    case.assert_failed(&["statement-format"]);
    let error = case.appraise().expect_err("malformed");
    assert_eq!((error.code(), error.exit_code()), ("evidence-malformed", 20));
}

#[test]
fn the_statement_must_say_what_the_policy_asks() {
    for flavor in FLAVORS {
        let broker = StatementFields {
            role: Role::Broker,
            ..fields()
        };
        case_of(broker, flavor).assert_failed(&["statement-role"]);
        let config = StatementFields {
            config_digest: [6; 32],
            ..fields()
        };
        case_of(config, flavor).assert_failed(&["statement-config"]);
        for models in [vec![], vec![[9; 32]], vec![[4; 32], [9; 32]]] {
            let models = StatementFields {
                model_digests: models,
                ..fields()
            };
            case_of(models, flavor).assert_failed(&["statement-models"]);
        }
    }
}

#[test]
fn another_measurement_is_refused() {
    for (flavor, clause) in [(Flavor::Snp, "snp-measurement"), (Flavor::Tdx, "tdx-mrtd")] {
        let case = Case::new(flavor);
        let built = hex::encode(simulated::measure(flavor, b"executable", b"config"));
        let changed = hex::encode(simulated::measure(flavor, b"executable", b"Config"));
        let case = case.policy(&built, &changed);
        case.assert_failed(&[clause]);
        let error = case.appraise().expect_err("another measurement");
        assert_eq!((error.code(), error.exit_code()), ("evidence-mismatch", 10));
        assert_eq!(
            (&error.clause().expected, &error.clause().found),
            (&changed, &built)
        );
    }
}

#[test]
fn a_policy_that_does_not_name_simulated_evidence_refuses_it() {
    let [snp, tdx] = FLAVORS.map(Case::new);
    for (case, other) in [(&snp, &tdx), (&tdx, &snp)] {
        let case = Case {
            policy: other.policy.clone(),
            ..case.clone()
        };
        case.assert_failed(&["platform-accepted"]);
        assert_eq!(case.appraise().expect_err("not named").code(), "evidence-refused");
    }
    // A policy for hardware: the same table, without root and without danger.
    for (case, real) in [(&snp, "snp"), (&tdx, "tdx")] {
        let hardware = case.policy.replace(&format!("danger.simulated.{real}"), real);
        let lines: Vec<_> = hardware
            .lines()
            .filter(|line| !line.starts_with("root_certificate"))
            .collect();
        let case = Case {
            policy: lines.join("\n"),
            ..case.clone()
        };
        case.assert_failed(&["platform-accepted"]);
        // Nor does it pass when it claims to be real.
        let mut posing = case.clone();
        posing.bundle.platform = if real == "snp" {
            PlatformTag::AmdSevSnp
        } else {
            PlatformTag::IntelTdx
        };
        let failed = posing.failed();
        let root = if real == "snp" {
            "snp-root"
        } else {
            "tdx-pck-chain"
        };
        assert!(failed.contains(root), "{failed:?}");
    }
}

#[test]
fn a_root_is_refused_where_roots_are_built_in() {
    let refused = |policy: &str| {
        AppraisalPolicy::from_toml(policy)
            .expect_err("a root")
            .to_string()
    };
    let [snp, tdx] = FLAVORS.map(Case::new);
    for (case, table) in [(&snp, "snp"), (&tdx, "tdx")] {
        let real = case.policy.replace(&format!("danger.simulated.{table}"), table);
        let error = refused(&real);
        let key = format!("{table}.root_certificate: ");
        assert!(error.contains(&key) && error.contains("built in"), "{error}");
    }
    // Nor is a root of another manufacturer one of AMD's.
    let root = |policy: &str| {
        let line = policy.lines().find(|line| line.starts_with("root_certificate"));
        line.expect("a root").to_owned()
    };
    let error = refused(&snp.policy.replace(&root(&snp.policy), &root(&tdx.policy)));
    assert!(
        error.contains("danger.simulated.snp.root_certificate: its common name"),
        "{error}"
    );
}

#[test]
fn evidence_of_one_platform_is_not_taken_for_another() {
    let [snp, tdx] = FLAVORS.map(Case::new);
    let both = format!(
        "{}\n{}",
        snp.policy,
        &tdx.policy[tdx.policy.find("# SIMULATED").expect("a table")..]
    );
    let mut case = Case { policy: both, ..snp };
    case.assert_accepted();
    case.bundle.platform = PlatformTag::SimulatedIntelTdx;
    let error = case.appraise().expect_err("a report is no quote");
    assert_eq!(error.clause().id, "tdx-quote-format");
    case.bundle = tdx.bundle;
    case.assert_accepted();
    case.bundle.platform = PlatformTag::SimulatedAmdSevSnp;
    let error = case.appraise().expect_err("a quote is no report");
    assert_eq!(error.clause().id, "snp-report-format");
}

#[test]
fn bundles_round_trip() {
    for flavor in FLAVORS {
        let bundle = Case::new(flavor).bundle;
        let encoded = bundle.encode().expect("it fits");
        assert_eq!(Bundle::decode(&encoded).as_ref(), Ok(&bundle));
        let with_log = Bundle {
            event_log: Some(vec![1, 2, 3]),
            ..bundle
        };
        let encoded = with_log.encode().expect("it fits");
        assert_eq!(Bundle::decode(&encoded), Ok(with_log));
    }
}

#[test]
fn an_unknown_platform_is_unsupported() {
    let encoded = Case::new(Flavor::Snp).bundle.encode().expect("it fits");
    let tag = b"simulated-amd-sev-snp";
    let at = encoded
        .windows(tag.len())
        .position(|window| window == tag)
        .expect("the tag");
    let mut changed = encoded;
    changed[at] = b'S';
    let error = Bundle::decode(&changed).expect_err("unknown");
    assert_eq!(
        error,
        BundleError::UnknownPlatform("Simulated-amd-sev-snp".into())
    );
    assert_eq!((error.code(), error.exit_code()), ("bundle-unknown-platform", 30));
}

#[test]
fn endorsements_are_found_by_machine() {
    for flavor in FLAVORS {
        let bundle = Case::new(flavor).bundle;
        let subject = endorsement_subject(bundle.platform, &bundle.evidence).expect("a subject");
        let other = Case::with_statement(
            platform(),
            flavor,
            &Statement::parse(&bundle.statement).expect("a statement"),
        );
        assert_eq!(
            endorsement_subject(other.bundle.platform, &other.bundle.evidence),
            Ok(subject)
        );
        assert_eq!(
            endorsement_subject(bundle.platform, b"garbage"),
            Err(BundleError::Shape)
        );
    }
}
