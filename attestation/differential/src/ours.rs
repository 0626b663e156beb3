//! Our verdict on the question that another verifier answers.

use attestation::{
    AppraisalPolicy, EndorsementKind, Endorsements, Explanation, Outcome, PlatformTag, RawEvidence, Verifier,
};

use crate::Opinion;
use crate::corpus::{Collateral, Documents, Piece};

/// Clauses on signature and chain of a report, and on bytes that no field covers.
const SIGNED: &[&str] = &[
    "snp-report-format",
    "snp-report-version",
    "snp-signature-algorithm",
    "snp-reserved-zero",
    "snp-certificates",
    "snp-root",
    "snp-intermediate-signature",
    "snp-leaf-signature",
    "snp-report-signature",
    "snp-tcb-layout",
];

/// Clauses on what is expected of a guest, and on how old documents may be: `dcap-qvl` is not asked.
const EXPECTED: &[&str] = &[
    "platform-accepted",
    "report-data",
    "tdx-attributes",
    "tdx-collateral-age",
    "tdx-enrolled-machine",
    "tdx-evaluation-number",
    "tdx-event-digests",
    "tdx-event-log",
    "tdx-event-order",
    "tdx-mrconfigid",
    "tdx-mrowner",
    "tdx-mrownerconfig",
    "tdx-mrtd",
    "tdx-rtmr0",
    "tdx-rtmr0-replay",
    "tdx-rtmr1",
    "tdx-rtmr1-replay",
    "tdx-rtmr2",
    "tdx-rtmr2-replay",
    "tdx-rtmr3",
    "tdx-rtmr3-replay",
    "tdx-xfam",
];

/// Our opinion, and the clauses that did not pass.
pub fn opinion(piece: &Piece) -> (Opinion, Vec<&'static str>) {
    let asked: fn(&str) -> bool = match piece.documents {
        Documents::Snp { .. } => |id| SIGNED.contains(&id),
        Documents::Tdx(_) => |id| !EXPECTED.contains(&id),
    };
    let clauses = explain(piece).clauses;
    let failed: Vec<_> = clauses
        .iter()
        .filter(|clause| asked(clause.id) && clause.outcome != Outcome::Pass)
        .map(|clause| clause.id)
        .collect();
    (Opinion::of(failed.is_empty()), failed)
}

fn explain(piece: &Piece) -> Explanation {
    let (platform, endorsements) = match &piece.documents {
        Documents::Snp {
            leaf,
            intermediate,
            list,
            ..
        } => {
            let mut endorsements = Endorsements::new();
            endorsements.insert(EndorsementKind::SnpLeaf, leaf.clone());
            endorsements.insert(EndorsementKind::SnpIntermediate, intermediate.clone());
            if let Some(list) = list {
                endorsements.insert(EndorsementKind::SnpCrl, list.clone());
            }
            (PlatformTag::AmdSevSnp, endorsements)
        }
        Documents::Tdx(collateral) => (PlatformTag::IntelTdx, of_collateral(collateral)),
    };
    let evidence = RawEvidence {
        platform,
        evidence: &piece.evidence,
        event_log: None,
        endorsements: &endorsements,
    };
    verifier().explain_evidence(&evidence, Some(&[0; 64]), piece.now)
}

/// A policy that decides nothing here: whatever it expects of a guest is not asked.
fn verifier() -> Verifier {
    let zero = |bytes: usize| "00".repeat(bytes);
    let policy = format!(
        r#"version = 1
role = "broker"
evidence_age_seconds_max = 60
collateral_age_seconds_max = {}
config_digests = ["{}"]
[snp]
launch_measurements = ["{register}"]
guest_svn_minimum = 0
guest_abi_minimum = "0.0"
guest_policy_required = []
platform_required = []
enrolled_machines = "any"
report_versions = [2, 3, 4, 5]
exceptions = ["absent-revocation-list", "milan-vcek"]
[[snp.minimum_tcb]]
generation = "genoa"
models = [0]
steppings = [0]
boot_loader = 0
tee = 0
snp = 0
microcode = 0
firmware = "0.0.0"
mitigations = 0
[tdx]
mrtd = ["{register}"]
rtmr0 = ["{register}"]
rtmr1 = ["{register}"]
rtmr2 = ["{register}"]
rtmr3 = ["{register}"]
xfam = [0]
enrolled_machines = "any"
evaluation_number_minimum = 0
"#,
        315_360_000,
        zero(32),
        register = zero(48),
    );
    Verifier::new(AppraisalPolicy::from_toml(&policy).expect("the policy reads"))
}

fn of_collateral(collateral: &Collateral) -> Endorsements {
    let list = |hexadecimal: &str| hex::decode(hexadecimal).unwrap_or_default();
    let signed = |name: &str, document: &str, signature: &str| {
        format!("{{\"{name}\":{document},\"signature\":\"{signature}\"}}").into_bytes()
    };
    let mut endorsements = Endorsements::new();
    for (kind, document) in [
        (EndorsementKind::TdxRootCrl, list(&collateral.root_ca_crl)),
        (EndorsementKind::TdxPckCrl, list(&collateral.pck_crl)),
        (
            EndorsementKind::TdxTcbInfo,
            signed("tcbInfo", &collateral.tcb_info, &collateral.tcb_info_signature),
        ),
        (
            EndorsementKind::TdxQeIdentity,
            signed(
                "enclaveIdentity",
                &collateral.qe_identity,
                &collateral.qe_identity_signature,
            ),
        ),
        (
            EndorsementKind::TdxTcbSigningChain,
            collateral.tcb_info_issuer_chain.clone().into_bytes(),
        ),
    ] {
        endorsements.insert(kind, document);
    }
    endorsements
}
