//! What people are shown of a clause, and settings of a policy that no other test takes.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::der::{explicit, octets, oid, sequence};
use super::failed;
use super::machine::{Device, Machine, tcb_info};
use crate::nvidia::Report;

/// What a clause found on the one device.
fn found(machine: &Machine, id: &str) -> String {
    let clauses = machine.explain().clauses;
    let clause = clauses.into_iter().find(|clause| clause.id == id);
    let clause = clause.expect("the clause was examined");
    let found = clause.found;
    found
        .strip_prefix("device 0: ")
        .map_or(found.clone(), String::from)
}

fn changed(change: impl FnOnce(&mut Device)) -> Machine {
    let mut machine = Machine::new();
    change(&mut machine.devices[0]);
    machine
}

#[test]
fn what_is_wrong_with_a_device_is_said() {
    let good = Machine::new();
    for (id, words) in [
        ("nvidia-certificate-chain", "such a path"),
        ("nvidia-architecture", "GH100"),
        ("nvidia-device-identity", "410000000000000001"),
        ("nvidia-accepted-architecture", "hopper"),
        (
            "nvidia-firmware-state",
            "not stated by this leaf: measurements show it",
        ),
        ("nvidia-video-decoder", "off"),
    ] {
        assert_eq!(found(&good, id), words, "{id}");
    }
    let unsigned = changed(|gpu| gpu.chain[0].usage = 0x04);
    assert_eq!(
        found(&unsigned, "nvidia-certificate-chain"),
        "a leaf that may not sign"
    );
    let other = changed(|gpu| gpu.set(4, &[0xa0, 1, 0, 0, 0, 0, 0, 0]));
    let words = "GH100 in the certificates, another in the report, or none of this kind";
    assert_eq!(found(&other, "nvidia-architecture"), words);
    for (flags, words) in [(0x80, "so"), (0x90, "not so")] {
        let state = changed(|gpu| {
            gpu.chain[0].extensions[1] = ("2.23.133.5.4.1.1", false, tcb_info(&[0xf1; 48], flags));
        });
        assert_eq!(found(&state, "nvidia-firmware-state"), words);
    }
    for (status, words) in [(0x55, "off"), (0xaa, "on"), (0, "not known")] {
        let decoder = changed(|gpu| gpu.set(11, &[status]));
        assert_eq!(found(&decoder, "nvidia-video-decoder"), words);
    }

    let mut switch = Machine::with_switches(2, 1);
    switch.devices[2].set(22, &[9; 8]);
    let clauses = switch.explain().clauses;
    let words = "500000000000005101, and another in the report";
    let said = |id: &str| {
        clauses
            .iter()
            .any(|clause| clause.id == id && clause.found.ends_with(words))
    };
    assert!(said("nvidia-device-identity"), "{clauses:?}");
}

#[test]
fn a_policy_may_take_the_video_decoder_but_not_an_unknown_status() {
    for (status, taken) in [(0x55, true), (0xaa, true), (0, false)] {
        let mut machine = changed(|gpu| gpu.set(11, &[status]));
        machine.policy = machine
            .policy
            .replace("gpus = 1", "gpus = 1\nvideo_decoder = true");
        let expected = if taken {
            vec![]
        } else {
            vec!["nvidia-video-decoder"]
        };
        assert_eq!(
            failed(&machine.explain()),
            expected.into_iter().collect(),
            "{status:x}"
        );
    }
}

#[test]
fn a_policy_that_ignores_every_measurement_compares_none() {
    let mut machine = Machine::new();
    for index in 0..8 {
        let ignored = format!("[[nvidia.ignored_measurements]]\nindex = {index}\nreason = \"test\"\n");
        machine.policy.push_str(&ignored);
    }
    assert_eq!(failed(&machine.explain()), ["nvidia-measurements"].into());
}

#[test]
fn text_of_a_report_is_clean_to_its_end() {
    let expected = [
        "nvidia-manifest-subject",
        "nvidia-minimum-driver",
        "nvidia-versions",
    ];
    for text in [
        &b"590.12\0x"[..],
        b"590.12\0x\0",
        b"590.12\n",
        b" 590.12",
        b"\0",
        b"",
    ] {
        let machine = changed(|gpu| gpu.set(3, text));
        assert_eq!(failed(&machine.explain()), expected.into(), "{text:?}");
    }
}

/// The first FWID of a list is that of the firmware; the others only have to be such.
#[test]
fn every_fwid_of_a_leaf_is_read() {
    let digest = |bytes: usize| sequence(&[oid("2.16.840.1.101.3.4.2.2"), octets(&vec![0xf1; bytes])]);
    let leaf = |list: &[Vec<u8>]| {
        let value = sequence(&[explicit(6, &list.concat())]);
        let machine = changed(|gpu| gpu.chain[0].extensions[1] = ("2.23.133.5.4.1.1", false, value));
        failed(&machine.explain()).contains("nvidia-fwid")
    };
    assert!(!leaf(&[digest(48)]));
    assert!(!leaf(&[digest(48), digest(48), digest(48)]));
    for list in [
        &[][..],
        &[digest(47)],
        &[digest(48), octets(b"x")],
        &[digest(48), digest(48), octets(b"x")],
    ] {
        assert!(leaf(list), "{list:x?}");
    }
}

#[test]
fn a_report_has_its_bound() {
    let of = |bytes: usize| {
        let mut gpu = Device::hopper(1);
        let padding = bytes - gpu.evidence().len();
        gpu.trailing = vec![0; padding];
        let evidence = gpu.evidence();
        assert_eq!(evidence.len(), bytes);
        Report::parse(&evidence).is_some()
    };
    assert_eq!((of(64 * 1024), of(64 * 1024 + 1)), (true, false));
}
