//! The way to a key that something can be sealed to: evidence, here from the simulated security processor.

use std::sync::OnceLock;

use attestation::{
    AppraisalPolicy, Bundle, Nonce, Role, StatementFields, UnixTime, VerifiedEvidence, Verifier,
};
use attester::Attester as _;
use sealing::{AttestedKey, KeyPair, Label, Profile, SealingError, Suite, open_once, seal_once};
use simulated::{Flavor, Platform};
use wire::KeyConfig;

const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);

/// One platform for all tests: its RSA keys take seconds to make.
fn platform() -> &'static Platform {
    static PLATFORM: OnceLock<Platform> = OnceLock::new();
    PLATFORM.get_or_init(|| Platform::manufacture(NOW, 30 * 24 * 3600).expect("a platform"))
}

/// Appraised evidence for a statement with these keys.
fn evidence(key_configs: Vec<u8>, wrap_key: Vec<u8>) -> VerifiedEvidence {
    let fields = StatementFields {
        role: Role::Inference,
        key_configs,
        receipt_key: [1; 32],
        tls_spki_sha256: [2; 32],
        wrap_key,
        boot_id: [3; 16],
        model_digests: vec![[4; 32]],
        config_digest: [5; 32],
        policy_digest: [0; 32],
        key_lifetime_seconds: 7200,
        software_version: "test".into(),
        device_digests: Vec::new(),
    };
    let statement = fields.encode().expect("a statement");
    let nonce = Nonce::from_bytes([7; 32]);
    let measurement = simulated::measure(Flavor::Snp, b"executable", b"config");
    let collected = platform()
        .attester(Flavor::Snp, measurement, [0; 32])
        .evidence(&statement.report_data(&nonce))
        .expect("evidence");
    let bundle = Bundle {
        platform: Flavor::Snp.platform(),
        evidence: collected.evidence,
        statement: statement.statement_bytes().to_vec(),
        event_log: None,
        endorsements: collected.endorsements,
        devices: Vec::new(),
    };
    let policy = format!(
        "version = 1\nrole = \"inference\"\nevidence_age_seconds_max = 3600\n\
         collateral_age_seconds_max = {}\nmodel_digests = [\"{}\"]\nconfig_digests = [\"{}\"]\n{}",
        20 * 24 * 3600,
        "04".repeat(32),
        "05".repeat(32),
        platform().policy_fragment(Flavor::Snp, &measurement)
    );
    let policy = AppraisalPolicy::from_toml(&policy).expect("the policy reads");
    Verifier::new(policy)
        .appraise(&bundle, &nonce, NOW)
        .expect("accepted")
}

fn key(suite: Suite, key_id: u8) -> KeyPair {
    KeyPair::generate(suite, key_id).expect("randomness")
}

fn list(keys: &[&KeyPair]) -> Vec<u8> {
    KeyConfig::encode_list(
        &keys
            .iter()
            .map(|key| key.key_config().clone())
            .collect::<Vec<_>>(),
    )
}

#[test]
fn only_a_configuration_of_the_statement_is_bound() {
    let attested = key(Suite::XWING_SHA256_AES256, 1);
    let swapped = key(Suite::XWING_SHA256_AES256, 1);
    let evidence = evidence(list(&[&attested]), Vec::new());
    assert!(AttestedKey::bind(attested.key_config(), &evidence).is_ok());
    let refused = AttestedKey::bind(swapped.key_config(), &evidence);
    assert_eq!(refused.err(), Some(SealingError::NotAttested));
}

#[test]
fn each_profile_chooses_its_best_and_nothing_else() {
    let suites = [
        Suite::X25519_SHA256_AES128,
        Suite::P384_SHA384_AES256,
        Suite::MLKEM1024_P384_SHA384_AES256,
        Suite::XWING_SHA256_AES256,
    ];
    let keys: Vec<_> = (1..)
        .zip(suites)
        .map(|(key_id, suite)| key(suite, key_id))
        .collect();
    let choose = |profile, keys: &[&KeyPair]| {
        AttestedKey::choose(profile, &evidence(list(keys), Vec::new())).map(|key| key.suite())
    };
    let all: Vec<_> = keys.iter().collect();
    assert_eq!(choose(Profile::Default, &all), Ok(Suite::XWING_SHA256_AES256));
    assert_eq!(
        choose(Profile::Default, &all[..3]),
        Ok(Suite::MLKEM1024_P384_SHA384_AES256)
    );
    assert_eq!(
        choose(Profile::Default, &all[..2]),
        Err(SealingError::NoPermittedSuite)
    );
    assert_eq!(
        choose(Profile::Fips, &all),
        Ok(Suite::MLKEM1024_P384_SHA384_AES256)
    );
    assert_eq!(choose(Profile::Fips, &all[..2]), Ok(Suite::P384_SHA384_AES256));
    assert_eq!(
        choose(Profile::Fips, &all[..1]),
        Err(SealingError::NoPermittedSuite)
    );
    assert_eq!(choose(Profile::Fips, &[]), Err(SealingError::NoPermittedSuite));
}

#[test]
fn an_attested_key_of_a_suite_for_tests_is_refused_all_the_same() {
    for suite in [Suite::X25519_SHA256_AES128, Suite::XWING_SHA256_AES128] {
        let key = key(suite, 1);
        let evidence = evidence(list(&[&key]), key.key_config().encode());
        let bound = AttestedKey::bind(key.key_config(), &evidence);
        assert_eq!(bound.err(), Some(SealingError::NoPermittedSuite), "{suite}");
        assert_eq!(
            AttestedKey::bind_wrap_key(&evidence).err(),
            Some(SealingError::NoPermittedSuite),
            "{suite}"
        );
    }
}

#[test]
fn the_wrap_key_opens_what_is_sealed_while_the_evidence_is_fresh() {
    let wrap = key(Suite::XWING_SHA256_AES256, 0);
    let evidence = evidence(Vec::new(), wrap.key_config().encode());
    let attested = AttestedKey::bind_wrap_key(&evidence).expect("a permitted suite");
    assert_eq!(attested.key_config(), wrap.key_config());
    let seal = |now| seal_once(&attested, Label::KeyRelease, b"record", b"model key", now);
    let sealed = seal(NOW).expect("fresh");
    let opened = open_once(&wrap, Label::KeyRelease, b"record", &sealed).expect("opens");
    assert_eq!(opened.as_slice(), b"model key");
    assert!(seal(evidence.fresh_until()).is_ok());
    assert_eq!(
        seal(evidence.fresh_until().plus_seconds(1)),
        Err(SealingError::Stale)
    );
    let before = UnixTime::from_seconds(NOW.seconds() - 1);
    assert_eq!(
        seal(before),
        Err(SealingError::Stale),
        "a clock that was set back"
    );
}

#[test]
fn a_statement_without_a_readable_key_gives_none() {
    let evidence = evidence(vec![0, 9, 1], vec![1, 2, 3]);
    assert!(matches!(
        AttestedKey::choose(Profile::Default, &evidence),
        Err(SealingError::Malformed(_))
    ));
    assert!(matches!(
        AttestedKey::bind_wrap_key(&evidence),
        Err(SealingError::Malformed(_))
    ));
}
