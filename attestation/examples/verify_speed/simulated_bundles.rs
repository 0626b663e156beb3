//! Whole bundles of the simulated platform: statement, evidence, endorsements.

use attestation::{AppraisalPolicy, Bundle, Nonce, Role, StatementFields, UnixTime, Verifier};
use attester::Attester as _;
use simulated::{Flavor, Platform};

use crate::measure;

const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);
const NONCE: Nonce = Nonce::from_bytes([7; 32]);

pub(crate) fn measure_all() -> Result<(), Box<dyn std::error::Error>> {
    let platform = Platform::manufacture(NOW, 3600)?;
    for (flavor, goal_ms) in [(Flavor::Snp, 2.0), (Flavor::Tdx, 3.0)] {
        let measurement = simulated::measure(flavor, b"executable", b"config");
        let statement = StatementFields {
            role: Role::Inference,
            key_configs: vec![0; 1300],
            receipt_key: [1; 32],
            tls_spki_sha256: [2; 32],
            wrap_key: vec![0; 1300],
            boot_id: [3; 16],
            model_digests: vec![[4; 32]],
            config_digest: [5; 32],
            policy_digest: [0; 32],
            key_lifetime_seconds: 3600,
            software_version: "speed".into(),
            device_digests: Vec::new(),
        }
        .encode()?;
        let collected = platform
            .attester(flavor, measurement, [0; 32])
            .evidence(&statement.report_data(&NONCE))?;
        let bundle = Bundle {
            platform: flavor.platform(),
            evidence: collected.evidence,
            statement: statement.statement_bytes().to_vec(),
            event_log: None,
            endorsements: collected.endorsements,
            devices: Vec::new(),
        };
        let encoded = bundle.encode()?;
        let policy = format!(
            "version = 1\nrole = \"inference\"\nevidence_age_seconds_max = 3600\ncollateral_age_seconds_max = 3600\n\
             model_digests = [\"{}\"]\nconfig_digests = [\"{}\"]\n{}",
            "04".repeat(32),
            "05".repeat(32),
            platform.policy_fragment(flavor, &measurement)
        );
        let policy = AppraisalPolicy::from_toml(&policy)?;
        let name = flavor.platform().to_string();
        measure(&name, encoded.len(), Some(goal_ms), || {
            let bundle = Bundle::decode(&encoded).expect("a bundle");
            let verified = Verifier::new(policy.clone()).appraise(&bundle, &NONCE, NOW);
            assert!(std::hint::black_box(verified).is_ok(), "accepted");
        });
    }
    Ok(())
}
