//! A deployment to attack: platform, statement, policy, bundle.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use attestation::{
    AppraisalError, AppraisalPolicy, Bundle, Nonce, Outcome, Role, Statement, StatementFields, UnixTime,
    Verdict, VerifiedEvidence, Verifier,
};
use attester::Attester as _;
use simulated::{Flavor, Platform};

pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);
pub(crate) const DAY: u64 = 24 * 3600;
/// How long the platform's collateral is valid.
pub(crate) const COLLATERAL_SECONDS: u64 = 30 * DAY;
pub(crate) const EVIDENCE_AGE_SECONDS: u64 = 3600;
pub(crate) const COLLATERAL_AGE_SECONDS: u64 = 20 * DAY;
pub(crate) const NONCE: Nonce = Nonce::from_bytes([7; 32]);

/// One platform for all tests: its RSA keys take seconds to make.
pub(crate) fn platform() -> &'static Platform {
    static PLATFORM: OnceLock<Platform> = OnceLock::new();
    PLATFORM.get_or_init(|| Platform::manufacture(NOW, COLLATERAL_SECONDS).expect("a platform"))
}

/// The same platform with keys and documents of its own to change.
pub(crate) fn changeable_platform() -> Platform {
    let folder = tempfile::tempdir().expect("a folder");
    platform().save(folder.path()).expect("it is saved");
    Platform::load(folder.path()).expect("it loads")
}

/// A bundle, the policy that accepts it, and the arguments of its appraisal.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) bundle: Bundle,
    pub(crate) policy: String,
    pub(crate) nonce: Nonce,
    pub(crate) now: UnixTime,
}

pub(crate) fn fields() -> StatementFields {
    StatementFields {
        role: Role::Inference,
        key_configs: vec![1, 2, 3],
        receipt_key: [1; 32],
        tls_spki_sha256: [2; 32],
        wrap_key: vec![4, 5, 6],
        boot_id: [3; 16],
        model_digests: vec![[4; 32]],
        config_digest: [5; 32],
        policy_digest: [0; 32],
        key_lifetime_seconds: 7200,
        software_version: "test".into(),
        device_digests: Vec::new(),
    }
}

impl Case {
    /// What is accepted.
    pub(crate) fn new(flavor: Flavor) -> Self {
        Self::of(platform(), flavor)
    }

    pub(crate) fn of(platform: &Platform, flavor: Flavor) -> Self {
        Self::with_statement(platform, flavor, &fields().encode().expect("a statement"))
    }

    pub(crate) fn with_statement(platform: &Platform, flavor: Flavor, statement: &Statement) -> Self {
        let measurement = simulated::measure(flavor, b"executable", b"config");
        let collected = platform
            .attester(flavor, measurement, [0; 32])
            .evidence(&statement.report_data(&NONCE))
            .expect("evidence");
        let bundle = Bundle {
            platform: flavor.platform(),
            evidence: collected.evidence,
            statement: statement.statement_bytes().to_vec(),
            event_log: None,
            endorsements: collected.endorsements,
            devices: Vec::new(),
        };
        let policy = format!(
            "version = 1\nrole = \"inference\"\nevidence_age_seconds_max = {EVIDENCE_AGE_SECONDS}\n\
             collateral_age_seconds_max = {COLLATERAL_AGE_SECONDS}\nmodel_digests = [\"{}\"]\n\
             config_digests = [\"{}\"]\n{}",
            "04".repeat(32),
            "05".repeat(32),
            platform.policy_fragment(flavor, &measurement)
        );
        Self {
            bundle,
            policy,
            nonce: NONCE,
            now: NOW,
        }
    }

    /// The same with a policy in which `from` reads `to`.
    pub(crate) fn policy(mut self, from: &str, to: &str) -> Self {
        assert!(self.policy.contains(from), "{from} is in the policy");
        self.policy = self.policy.replace(from, to);
        self
    }

    pub(crate) fn at(mut self, now: UnixTime) -> Self {
        self.now = now;
        self
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new(AppraisalPolicy::from_toml(&self.policy).expect("the policy reads"))
    }

    pub(crate) fn appraise(&self) -> Result<VerifiedEvidence, AppraisalError> {
        self.verifier().appraise(&self.bundle, &self.nonce, self.now)
    }

    /// The clauses that failed; explanation and appraisal must agree.
    pub(crate) fn failed(&self) -> BTreeSet<&'static str> {
        let explanation = self.verifier().explain(&self.bundle, &self.nonce, self.now);
        let of = |outcome| {
            explanation
                .clauses
                .iter()
                .filter(move |clause| clause.outcome == outcome)
        };
        let failed: BTreeSet<_> = of(Outcome::Fail).map(|clause| clause.id).collect();
        match (self.appraise(), &explanation.verdict) {
            (Ok(verified), Verdict::Accepted(assurance)) => {
                assert_eq!(verified.assurance(), *assurance);
                assert!(failed.is_empty() && of(Outcome::Skipped).next().is_none());
            }
            (Err(error), Verdict::Refused(refused)) => {
                assert_eq!(error, *refused);
                assert_eq!(Some(error.clause()), of(Outcome::Fail).next());
            }
            (appraised, verdict) => panic!("{appraised:?} but {verdict:?}"),
        }
        failed
    }

    #[track_caller]
    pub(crate) fn assert_failed(&self, clauses: &[&str]) {
        assert_eq!(self.failed(), clauses.iter().copied().collect());
    }

    #[track_caller]
    pub(crate) fn assert_accepted(&self) {
        self.assert_failed(&[]);
    }
}
