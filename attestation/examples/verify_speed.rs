//! Time to appraise one bundle on one core, nothing cached between appraisals but the parsed policy:
//! `cargo run --release -p adyton-attestation --example verify_speed`.
#![allow(clippy::print_stdout, reason = "it speaks to a person")]

use std::time::{Duration, Instant};

use attestation::{AppraisalPolicy, Bundle, Nonce, Role, StatementFields, UnixTime, Verifier};
use attester::Attester as _;
use simulated::{Flavor, Platform};

const ROUNDS: usize = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let now = UnixTime::from_seconds(1_795_000_000);
    let platform = Platform::manufacture(now, 3600)?;
    for (flavor, goal_ms) in [(Flavor::Snp, 2.0), (Flavor::Tdx, 3.0)] {
        let measurement = simulated::measure(flavor, b"executable", b"config");
        let nonce = Nonce::from_bytes([7; 32]);
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
            .evidence(&statement.report_data(&nonce))?;
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
        let verifier = Verifier::new(AppraisalPolicy::from_toml(&policy)?);
        let mut times: Vec<Duration> = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let bundle = Bundle::decode(&encoded)?;
            let verified = verifier.appraise(&bundle, &nonce, now)?;
            times.push(start.elapsed());
            let _ = std::hint::black_box(verified);
        }
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "{}: {} bytes, median {:.2} ms, best {:.2} ms, worst {:.2} ms of {ROUNDS} (goal {goal_ms} ms)",
            flavor.platform(),
            encoded.len(),
            ms(times[ROUNDS / 2]),
            ms(times[0]),
            ms(times[ROUNDS - 1]),
        );
    }
    Ok(())
}
