//! Devices in a bundle: those that the statement lists, and of kinds that the policy asks for.

use attestation::{DeviceEvidence, DeviceKind, EndorsementKind, Endorsements, StatementFields};
use base64::Engine as _;
use simulated::Flavor;

use crate::support::{Case, fields, platform};

/// A device with the certificate that there is; it signs nothing that anybody believes.
fn device(kind: DeviceKind) -> DeviceEvidence {
    let endorsements = Case::new(Flavor::Snp).bundle.endorsements;
    let leaf = endorsements.document(EndorsementKind::SnpLeaf).expect("a leaf");
    let text = base64::engine::general_purpose::STANDARD.encode(leaf);
    DeviceEvidence {
        kind,
        evidence: vec![0; 37],
        certificates: format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
            .into_bytes(),
        endorsements: Endorsements::new(),
    }
}

/// A bundle with `devices`, of which the statement lists `listed`.
fn case(devices: Vec<DeviceEvidence>, listed: &[DeviceEvidence]) -> Case {
    let digests = listed
        .iter()
        .map(|device| device.digest().expect("a certificate"));
    let statement = StatementFields {
        device_digests: digests.collect(),
        ..fields()
    };
    let statement = statement.encode().expect("a statement");
    let mut case = Case::with_statement(platform(), Flavor::Tdx, &statement);
    case.bundle.devices = devices;
    case
}

#[test]
fn a_device_that_the_statement_does_not_list_is_refused_and_so_is_one_that_is_missing() {
    let vtpm = device(DeviceKind::GceVtpm);
    case(vec![], std::slice::from_ref(&vtpm)).assert_failed(&["statement-devices"]);
    case(vec![vtpm.clone()], &[]).assert_failed(&["devices-accepted", "statement-devices"]);
    let twice = vec![vtpm.clone(), vtpm.clone()];
    case(twice, &[vtpm]).assert_failed(&["devices-accepted", "statement-devices"]);
}

#[test]
fn a_device_of_a_kind_that_nobody_asked_for_is_refused() {
    for kind in DeviceKind::ALL {
        let device = device(kind);
        case(vec![device.clone()], &[device]).assert_failed(&["devices-accepted"]);
    }
}
