//! For each rule on devices and sets evidence that breaks this rule and no other, under test keys.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use super::authority::{Certificate, HOUR, NOW, before, chain_der, pem};
use super::machine::{Device, Machine, composite_device_id, spdm_name, tcb_info};
use super::{failed, skipped};
use crate::nvidia::{RULES, SET_RULES};
use crate::{DeviceKind, DevicePolicy, Verdict, device_nonce};

type Case = (&'static str, &'static str, Box<dyn Fn(&mut Machine)>);

fn case(rule: &'static str, what: &'static str, change: impl Fn(&mut Machine) + 'static) -> Case {
    (rule, what, Box::new(change))
}

fn gpu(rule: &'static str, what: &'static str, change: impl Fn(&mut Device) + 'static) -> Case {
    case(rule, what, move |machine| change(&mut machine.devices[0]))
}

/// The policy with one line replaced.
fn policy(rule: &'static str, what: &'static str, from: &'static str, to: &'static str) -> Case {
    case(rule, what, move |machine| {
        assert!(machine.policy.contains(from), "{from}");
        machine.policy = machine.policy.replace(from, to);
    })
}

fn cases() -> Vec<Case> {
    vec![
        gpu("nvidia-report-request", "no signature asked for", |gpu| {
            gpu.request[2] = 0
        }),
        gpu("nvidia-report-request", "one measurement", |gpu| {
            gpu.request[3] = 1
        }),
        gpu("nvidia-report-request", "SPDM 1.2", |gpu| gpu.request[0] = 0x12),
        gpu("nvidia-report-request", "another request", |gpu| {
            gpu.request[1] = 0xe1
        }),
        gpu("nvidia-report-request", "another slot", |gpu| gpu.slot = 1),
        gpu("nvidia-report-request", "an error in response", |gpu| {
            gpu.response[1] = 0x7f
        }),
        gpu("nvidia-report-request", "a response from another slot", |gpu| {
            gpu.response[3] = 1
        }),
        gpu("nvidia-report-trailing", "a byte", |gpu| gpu.trailing = vec![1]),
        gpu("nvidia-report-trailing", "two zero bytes", |gpu| {
            gpu.trailing = vec![0, 0]
        }),
        gpu("nvidia-nonce", "another nonce", |gpu| gpu.nonce[31] ^= 1),
        gpu("nvidia-certificate-chain", "a leaf that may not sign", |gpu| {
            gpu.chain[0].usage = 0x04
        }),
        gpu("nvidia-certificate-chain", "an authority as leaf", |gpu| {
            gpu.chain[0].authority = Some(None);
            gpu.chain[0].usage = 0x84;
        }),
        gpu("nvidia-certificate-chain", "a device that may not issue", |gpu| {
            gpu.chain[1].usage = 0x80
        }),
        gpu(
            "nvidia-certificate-chain",
            "an unknown critical extension",
            |gpu| {
                gpu.chain[0].extensions.push(("1.2.3.4", true, vec![5, 0]));
            },
        ),
        gpu("nvidia-certificate-validity", "an expired leaf", |gpu| {
            gpu.chain[0].not_after = before(HOUR);
        }),
        gpu("nvidia-device-identity", "no serial number", |gpu| {
            gpu.chain[1].device = None
        }),
        gpu("nvidia-device-identity", "a short serial number", |gpu| {
            gpu.chain[1].device = Some("41".to_string());
        }),
        gpu("nvidia-architecture", "another chip in the leaf's name", |gpu| {
            gpu.chain[0].name = "GB100 A01 GSP FMC LF".to_string();
        }),
        gpu("nvidia-architecture", "another chip in the report", |gpu| {
            gpu.set(4, &[0xa0, 1, 0, 0, 0, 0, 0, 0]);
        }),
        gpu("nvidia-architecture", "no chip in the report", |gpu| {
            gpu.remove(4)
        }),
        gpu("nvidia-architecture", "a GPU said to be a switch", |gpu| {
            gpu.kind = DeviceKind::NvidiaSwitch;
        }),
        gpu(
            "nvidia-architecture",
            "another chip in the leaf's SPDM name",
            |gpu| {
                gpu.chain[0].extensions[0].2 = spdm_name("GB100");
            },
        ),
        gpu("nvidia-architecture", "another chip by name", |gpu| {
            gpu.set(35, b"GB100\0")
        }),
        gpu("nvidia-fwid", "another FWID in the report", |gpu| {
            gpu.set(20, &[0xf2; 48])
        }),
        gpu("nvidia-fwid", "a shorter FWID in the report", |gpu| {
            gpu.set(20, &[0xf1; 47])
        }),
        gpu("nvidia-fwid", "another device's key", |gpu| {
            gpu.chain[0].extensions[1].2 = composite_device_id(29, &[0xf1; 48]);
        }),
        gpu("nvidia-firmware-state", "firmware under debug", |gpu| {
            gpu.chain[0].extensions[1] = ("2.23.133.5.4.1.1", false, tcb_info(&[0xf1; 48], 0x90));
        }),
        gpu("nvidia-firmware-state", "firmware in recovery", |gpu| {
            gpu.chain[0].extensions[1] = ("2.23.133.5.4.1.1", false, tcb_info(&[0xf1; 48], 0xa0));
        }),
        gpu("nvidia-mode", "several GPUs", |gpu| gpu.set(36, &[1, 0])),
        gpu("nvidia-mode", "protected PCIe", |gpu| {
            gpu.set(36, &[2, 0]);
            gpu.set(21, &[0xaa]);
        }),
        gpu("nvidia-mode", "a flag and a status that contradict", |gpu| {
            gpu.set(21, &[0xaa])
        }),
        gpu("nvidia-mode", "an unknown flag", |gpu| gpu.set(36, &[3, 0])),
        gpu("nvidia-mode", "an unknown status", |gpu| gpu.set(21, &[0])),
        gpu("nvidia-video-decoder", "the decoder on", |gpu| {
            gpu.set(11, &[0xaa])
        }),
        gpu("nvidia-video-decoder", "an unknown status", |gpu| {
            gpu.set(11, &[0])
        }),
        gpu("nvidia-video-decoder", "no status", |gpu| gpu.remove(11)),
        gpu("nvidia-measurements", "another driver", |gpu| {
            gpu.measurements[2] = [5; 48]
        }),
        gpu("nvidia-measurements", "another VBIOS", |gpu| {
            gpu.measurements[0][47] ^= 1
        }),
        gpu("nvidia-measurements", "too few", |gpu| {
            gpu.measurements.truncate(3)
        }),
        policy(
            "nvidia-minimum-driver",
            "a newer minimum",
            "570.86.10",
            "590.48.01",
        ),
        policy(
            "nvidia-minimum-vbios",
            "a newer minimum",
            "96.00.5E.00.01",
            "96.00.AF.00.02",
        ),
        policy(
            "nvidia-enrolled-device",
            "another device",
            "\"any\"",
            "[\"410000000000000002\"]",
        ),
        policy("nvidia-device-count", "two GPUs expected", "gpus = 1", "gpus = 2"),
        case(
            "nvidia-manifest-subject",
            "another driver's manifest",
            |machine| {
                machine.driver.as_mut().expect("one").version = "590.48.01".to_string();
            },
        ),
        case("nvidia-manifest-subject", "another VBIOS's manifest", |machine| {
            machine.vbios.as_mut().expect("one").version = "96.00.AF.00.02".to_string();
        }),
        case("nvidia-manifest-subject", "another chip's manifest", |machine| {
            machine.vbios.as_mut().expect("one").product = "GB100".to_string();
        }),
        case("nvidia-manifest-subject", "a switch's manifest", |machine| {
            machine.driver.as_mut().expect("one").edition = "SWITCH".to_string();
        }),
        case(
            "nvidia-manifests-disjoint",
            "two manifests for one measurement",
            |machine| {
                let vbios = machine.vbios.as_mut().expect("one");
                vbios.references.push((2, true, vec![[3; 48]]));
            },
        ),
        case("nvidia-devices-distinct", "a device twice", |machine| {
            machine.devices.push(machine.devices[0].clone());
            machine.policy = machine.policy.replace("gpus = 1", "gpus = 2");
        }),
        case("nvidia-devices-distinct", "two leaves of one device", |machine| {
            machine.devices.push(Device::hopper(2));
            machine.devices[1].chain[1].device = machine.devices[0].chain[1].device.clone();
            machine.policy = machine.policy.replace("gpus = 1", "gpus = 2");
            machine.answer();
        }),
        case("nvidia-topology", "switches with different GPUs", |machine| {
            *machine = Machine::with_switches(2, 2);
            let mut peers = machine.devices[3].opaque[2].1.clone();
            peers[0] ^= 1;
            machine.devices[3].set(26, &peers);
        }),
        case("nvidia-one-mode", "two modes", |machine| {
            machine.devices.push(Device::hopper(2));
            machine.devices[1].set(36, &[1, 0]);
            machine.policy = machine
                .policy
                .replace("gpus = 1", "gpus = 2")
                .replace("[\"single-gpu\"]", "[\"single-gpu\", \"multi-gpu\"]");
            machine.answer();
        }),
        case("nvidia-topology", "a switch without evidence", |machine| {
            *machine = Machine::with_switches(2, 2);
            machine.devices.pop();
            machine.policy = machine.policy.replace("switches = 2", "switches = 1");
        }),
        case("nvidia-topology", "a GPU without evidence", |machine| {
            *machine = Machine::with_switches(2, 2);
            machine.devices.remove(0);
            machine.policy = machine.policy.replace("gpus = 2", "gpus = 1");
        }),
        case("nvidia-topology", "links that only one end names", |machine| {
            *machine = Machine::with_switches(2, 1);
            machine.devices[1].remove(22);
        }),
        case("nvidia-mode", "a switch that is not locked", |machine| {
            *machine = Machine::with_switches(2, 1);
            machine.devices[2].set(25, &[0, 0]);
        }),
        case("nvidia-architecture", "a switch with a driver", |machine| {
            *machine = Machine::with_switches(2, 1);
            machine.devices[2].set(3, b"590.12\0");
        }),
        case(
            "nvidia-architecture",
            "a switch with the name of a chip",
            |machine| {
                *machine = Machine::with_switches(2, 1);
                machine.devices[2].set(35, b"LS_10\0");
            },
        ),
        case(
            "nvidia-device-identity",
            "a switch with another's identifier",
            |machine| {
                *machine = Machine::with_switches(2, 1);
                machine.devices[2].set(22, &[9; 8]);
            },
        ),
    ]
}

/// Rules whose breach hides others, because nothing is left to look at.
fn cases_that_stop() -> Vec<Case> {
    vec![
        gpu("nvidia-opaque-data", "a type twice", |gpu| {
            gpu.opaque.push((3, b"590.48".to_vec()))
        }),
        gpu("nvidia-opaque-data", "a newer format", |gpu| gpu.set(34, &[2, 0])),
        gpu(
            "nvidia-certificate-chain",
            "another root: nobody answers for what it issued",
            |gpu| gpu.chain[4].key = 33,
        ),
        gpu("nvidia-fwid", "two FWID extensions", |gpu| {
            let second = ("2.23.133.5.4.1.1", false, tcb_info(&[0xf1; 48], 0x80));
            gpu.chain[0].extensions.push(second);
        }),
        gpu("nvidia-fwid", "no FWID extension", |gpu| {
            gpu.chain[0].extensions.truncate(1)
        }),
        gpu("nvidia-certificates", "a leaf alone", |gpu| gpu.chain.truncate(1)),
        gpu("nvidia-report-format", "no measurements", |gpu| {
            gpu.measurements.clear()
        }),
    ]
}

#[test]
fn a_whole_machine_is_accepted() {
    for machine in [
        Machine::new(),
        Machine::with_switches(2, 1),
        Machine::with_switches(4, 3),
    ] {
        let explanation = machine.explain();
        assert_eq!(failed(&explanation), [].into());
        assert!(matches!(explanation.verdict, Verdict::Accepted(_)));
    }
    for (what, change) in [
        (
            "one trailing zero",
            (|gpu| gpu.trailing = vec![0]) as fn(&mut Device),
        ),
        ("a report without FWID", |gpu| gpu.remove(20)),
        ("a driver before the feature flag", |gpu| {
            [34, 36].iter().for_each(|kind| gpu.remove(*kind))
        }),
        ("a driver before protected PCIe", |gpu| {
            [21, 34, 36].iter().for_each(|kind| gpu.remove(*kind))
        }),
        ("an unknown record", |gpu| gpu.set(200, &[1])),
        ("a chain without its root", |gpu| gpu.chain.truncate(5)),
        ("DICE TCB info", |gpu| {
            gpu.chain[0].extensions[1] = ("2.23.133.5.4.1.1", false, tcb_info(&[0xf1; 48], 0x80));
        }),
        ("no SPDM name", |gpu| drop(gpu.chain[0].extensions.remove(0))),
    ] {
        let mut machine = Machine::new();
        change(&mut machine.devices[0]);
        assert_eq!(failed(&machine.explain()), [].into(), "{what}");
    }
}

/// What an enclave asks of its devices before it gives them weights, and what it then puts into its statement.
#[test]
fn devices_that_answer_for_the_enclave_are_believed_and_named() {
    let report_data = [0x2c; 64];
    let mut machine = Machine::with_switches(2, 1);
    for device in &mut machine.devices {
        device.nonce = device_nonce(&report_data);
    }
    let policy: DevicePolicy =
        toml::from_str(&format!("collateral_age_seconds_max = 86400\n{}", machine.policy)).expect("it reads");
    let (anchors, devices) = (machine.anchors(), machine.devices());
    let verified = policy
        .appraise_under(&anchors, &devices, &report_data, NOW)
        .expect("accepted");
    let digests: Vec<[u8; 32]> = machine
        .devices
        .iter()
        .map(|device| Sha256::digest(&chain_der(&device.chain)[0]).into())
        .collect();
    assert_eq!(verified.digests(), digests);
    assert_eq!(digests.len(), 3);

    // Another question; one device left out; keys that are not NVIDIA's.
    let appraised = |devices, report_data: &_| policy.appraise_under(&anchors, devices, report_data, NOW);
    assert!(appraised(&devices, &[0x2d; 64]).is_err());
    assert!(appraised(&devices[1..], &report_data).is_err());
    assert!(policy.appraise(&devices, &report_data, NOW).is_err());
}

#[test]
fn each_rule_has_evidence_that_breaks_only_it() {
    let mut broken = BTreeSet::new();
    for (rule, what, change) in cases() {
        let mut machine = Machine::new();
        change(&mut machine);
        let explanation = machine.explain();
        assert_eq!(failed(&explanation), [rule].into(), "{what}");
        broken.insert(rule);
    }
    for (rule, what, change) in cases_that_stop() {
        let mut machine = Machine::new();
        change(&mut machine);
        let explanation = machine.explain();
        assert!(failed(&explanation).contains(rule), "{what}");
        assert!(matches!(explanation.verdict, Verdict::Refused(_)), "{what}");
        broken.insert(rule);
    }
    // Tested apart: signature below, OCSP in `revocation`.
    broken.extend([
        "nvidia-report-signature",
        "nvidia-versions",
        "nvidia-accepted-architecture",
    ]);
    let ocsp = |id: &str| id.contains("ocsp") || id == "nvidia-not-revoked";
    for rule in RULES.iter().chain(SET_RULES) {
        assert!(
            broken.contains(rule.id) || ocsp(rule.id),
            "{} is not tested",
            rule.id
        );
    }
}

#[test]
fn a_report_signed_by_another_key_is_refused() {
    let machine = Machine::new();
    let evidence = machine.devices[0].evidence();
    let mut other = machine.devices[0].clone();
    other.chain[0].key = 77;
    let explain = |evidence: Vec<u8>| {
        let chain = pem(&chain_der(&machine.devices[0].chain));
        let documents = [&machine.driver, &machine.vbios]
            .map(|manifest| manifest.as_ref().map(|manifest| manifest.document().into_bytes()));
        let [driver, vbios] = documents;
        machine.explain_bytes(&[evidence], &[chain], driver, vbios)
    };
    assert_eq!(failed(&explain(evidence)), [].into());
    assert_eq!(
        failed(&explain(other.evidence())),
        ["nvidia-report-signature"].into()
    );
}

#[test]
fn versions_and_architectures_that_are_not_known_are_refused() {
    let mut machine = Machine::new();
    machine.devices[0].set(3, b"590.12-beta\0");
    let expected = [
        "nvidia-manifest-subject",
        "nvidia-minimum-driver",
        "nvidia-versions",
    ];
    assert_eq!(failed(&machine.explain()), expected.into());
    let mut machine = Machine::new();
    machine.devices[0].set(6, &[0, 0xaf, 0, 0x96, 1, 0, 0, 1]);
    let expected = [
        "nvidia-manifest-subject",
        "nvidia-minimum-vbios",
        "nvidia-versions",
    ];
    assert_eq!(failed(&machine.explain()), expected.into());
    let mut machine = Machine::new();
    machine.policy = machine.policy.replace("hopper", "blackwell");
    let expected = [
        "nvidia-accepted-architecture",
        "nvidia-minimum-driver",
        "nvidia-minimum-vbios",
    ];
    assert_eq!(failed(&machine.explain()), expected.into());
    let mut machine = Machine::new();
    for certificate in &mut machine.devices[0].chain[..2] {
        certificate.name = certificate.name.replace("GH100", "GX100");
    }
    machine.devices[0].chain[0].extensions.remove(0);
    machine.answer();
    let explanation = machine.explain();
    assert!(failed(&explanation).contains("nvidia-architecture"));
    assert!(skipped(&explanation).contains("nvidia-measurements"));
}

/// Exceptions forgive what is missing, not what is wrong.
#[test]
fn exceptions_are_named_and_forgive_only_what_is_missing() {
    let exception =
        |name: &str| alloc::format!("[[nvidia.exceptions]]\nname = \"{name}\"\nreason = \"test\"\n");
    let mut machine = Machine::new();
    (machine.driver, machine.vbios) = (None, None);
    let expected = ["nvidia-manifest-format"];
    assert_eq!(failed(&machine.explain()), expected.into());
    machine.policy.push_str(&exception("no-reference-manifest"));
    assert_eq!(failed(&machine.explain()), [].into());
    machine.driver = Machine::new().driver;
    machine.devices[0].measurements[2] = [5; 48];
    assert_eq!(failed(&machine.explain()), ["nvidia-measurements"].into());

    let mut machine = Machine::new();
    machine.responses = None;
    assert_eq!(failed(&machine.explain()), ["nvidia-ocsp-responses"].into());
    machine.policy.push_str(&exception("no-revocation-check"));
    assert_eq!(failed(&machine.explain()), [].into());
    machine.responses = Machine::new().responses;
    let revoked = machine.responses.as_mut().expect("responses");
    revoked[0] = revoked[0].clone().revoked(None);
    assert_eq!(failed(&machine.explain()), ["nvidia-not-revoked"].into());

    let mut machine = Machine::new();
    machine.devices[0].measurements[2] = [5; 48];
    machine
        .policy
        .push_str("[[nvidia.ignored_measurements]]\nindex = 2\nreason = \"test\"\n");
    let explanation = machine.explain();
    assert_eq!(failed(&explanation), [].into());
    let clause = explanation
        .clauses
        .iter()
        .find(|clause| clause.id == "nvidia-measurements");
    let found = &clause.expect("the clause").found;
    assert_eq!(found, "device 0: equal; not compared by policy: 2");

    let mut machine = Machine::with_switches(2, 1);
    machine.devices.pop();
    machine.policy = machine.policy.replace("switches = 1\n", "");
    assert_eq!(failed(&machine.explain()), ["nvidia-topology"].into());
    machine.policy.push_str(&exception("no-switch-evidence"));
    assert_eq!(failed(&machine.explain()), [].into());
}

/// What one device passed does not count for its neighbour.
#[test]
fn each_device_answers_for_itself() {
    let mut machine = Machine::new();
    machine.devices.push(Device::hopper(2));
    machine.policy = machine.policy.replace("gpus = 1", "gpus = 2");
    machine.answer();
    assert_eq!(failed(&machine.explain()), [].into());
    machine.devices[1].nonce = [0; 32];
    let explanation = machine.explain();
    let Verdict::Refused(error) = &explanation.verdict else {
        panic!("accepted");
    };
    assert_eq!(error.clause().id, "nvidia-nonce");
    assert!(error.clause().found.starts_with("device 1: "));
    machine.devices[1] = Device::hopper(2);
    machine.devices[1].chain = vec![Certificate::signer("GH100 A01 GSP FMC LF", 12)];
    let explanation = machine.explain();
    assert!(skipped(&explanation).contains("nvidia-report-signature"));
    assert!(matches!(explanation.verdict, Verdict::Refused(_)));
}
