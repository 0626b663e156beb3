//! Devices travel with a bundle only if the statement lists them and the policy asks for them.

use attestation::{DeviceEvidence, DeviceKind, Endorsements, StatementFields};
use base64::Engine as _;
use simulated::Flavor;

use crate::support::{Case, fields, platform};

/// A device of which only its certificate is something: enough to be listed, not to be believed.
fn device(kind: DeviceKind, certificate: &[u8]) -> DeviceEvidence {
    let digits = base64::engine::general_purpose::STANDARD.encode(certificate);
    DeviceEvidence {
        kind,
        evidence: vec![1, 2, 3],
        certificates: format!("-----BEGIN CERTIFICATE-----\n{digits}\n-----END CERTIFICATE-----\n")
            .into_bytes(),
        endorsements: Endorsements::new(),
    }
}

/// A simulated machine whose statement lists some devices and whose bundle carries others.
fn case(listed: &[&DeviceEvidence], carried: &[&DeviceEvidence]) -> Case {
    let statement = StatementFields {
        device_digests: listed
            .iter()
            .map(|device| device.digest().expect("a digest"))
            .collect(),
        ..fields()
    };
    let statement = statement.encode().expect("a statement");
    let mut case = Case::with_statement(platform(), Flavor::Snp, &statement);
    case.bundle.devices = carried.iter().map(|device| (*device).clone()).collect();
    case
}

#[test]
fn devices_are_those_that_the_statement_lists_and_the_policy_asks_for() {
    let (one, other) = (
        device(DeviceKind::NvidiaGpu, b"one"),
        device(DeviceKind::NvidiaGpu, b"other"),
    );
    case(&[], &[]).assert_accepted();
    case(&[&one], &[]).assert_failed(&["statement-devices"]);
    case(&[], &[&one]).assert_failed(&["devices-accepted", "statement-devices"]);
    case(&[&one], &[&one]).assert_failed(&["devices-accepted"]);
    case(&[&one], &[&other]).assert_failed(&["devices-accepted", "statement-devices"]);
    let both = ["devices-accepted", "statement-devices"];
    case(&[&one, &other], &[&other, &one]).assert_failed(&both);
    case(&[&one], &[&one, &one]).assert_failed(&both);
}

/// The policy that asks for one GPU.
const NVIDIA: &str = r#"
[nvidia]
gpus = 1
modes = ["single-gpu"]
enrolled_devices = "any"
[[nvidia.minimum_versions]]
architecture = "hopper"
driver = "0.0"
vbios = "00.00.00.00.00"
"#;

#[test]
fn a_device_that_is_asked_for_must_be_there_and_of_its_kind() {
    let asked = |mut case: Case| {
        case.policy.push_str(NVIDIA);
        case.failed()
    };
    let failed = asked(case(&[], &[]));
    assert!(
        failed.contains("devices-accepted") && !failed.contains("statement-devices"),
        "{failed:?}"
    );
    let vtpm = device(DeviceKind::GceVtpm, b"vtpm");
    let failed = asked(case(&[&vtpm], &[&vtpm]));
    assert!(failed.contains("devices-accepted"), "{failed:?}");
    // One that is there and listed, and whose evidence is none.
    let gpu = device(DeviceKind::NvidiaGpu, b"gpu");
    assert_eq!(asked(case(&[&gpu], &[&gpu])), ["nvidia-report-format"].into());
    let failed = asked(case(&[&gpu, &vtpm], &[&gpu, &vtpm]));
    assert_eq!(failed, ["devices-accepted", "nvidia-report-format"].into());
}
