//! Reports and certificates of NVIDIA devices.

use attestation::{DeviceKind, Endorsements, NvidiaDevice, UnixTime, Verdict};

use super::{Fate, assert_none_accepted, copy, copy_tail, fate, number, pem, resize};
use crate::random::Random;
use crate::real::manifest;
use crate::times_real::nvidia_verifier;

struct Device {
    kind: DeviceKind,
    evidence: Vec<u8>,
    chain: Vec<u8>,
}

const NAMES: [&str; 7] = [
    "nvidia-blackwell-veraison",
    "nvidia-hopper",
    "nvidia-hopper-coco",
    "nvidia-hopper-multi-0",
    "nvidia-hopper-multi-1",
    "nvidia-hopper-sdk",
    "nvidia-switch-ls10",
];

/// Request of 37 bytes, header of the response, number of blocks, length of the record; then the blocks.
fn mutate(random: &mut Random, evidence: &mut Vec<u8>, other: &[u8]) {
    // A measurement block: index, specification, size, then type, size and value.
    const RECORD: usize = 37 + 8;
    match random.below(9) {
        0 => {
            let at = *random.pick(&[0, 1, 2, 3, 36, 37, 38, 39, 40, 41]);
            number(random, evidence, at, 1);
        }
        1 => number(random, evidence, 42, 3),
        2 => {
            let block = RECORD + 55 * random.below(64);
            let (at, length) = *random.pick(&[(0, 1), (1, 1), (2, 2), (4, 1), (5, 2)]);
            number(random, evidence, block + at, length);
        }
        3 => copy(evidence, other, RECORD + 55 * random.below(64), 55),
        4 => {
            let (one, two) = (RECORD + 55 * random.below(64), RECORD + 55 * random.below(64));
            super::swap(evidence, one, two, 55);
        }
        // From somewhere to the end: opaque data and signature of another.
        5 => {
            let at = random.below(evidence.len());
            copy_tail(evidence, other, at);
        }
        6 => resize(random, evidence),
        7 => {
            let from = evidence.len().saturating_sub(700);
            let at = from + random.below(600);
            number(random, evidence, at, 2);
        }
        _ => {
            let end = evidence.len() - 1;
            random.flip(evidence, 0, end);
        }
    }
}

#[test]
fn no_mutant_of_a_real_devices_evidence_is_accepted() {
    let Some((folder, _)) = manifest() else { return };
    let read = |name: String| std::fs::read(folder.join(name)).expect("the file of a vector");
    let all = NAMES.map(|name| Device {
        kind: if name.contains("switch") {
            DeviceKind::NvidiaSwitch
        } else {
            DeviceKind::NvidiaGpu
        },
        evidence: read(format!("nvidia/{name}/evidence.bin")),
        chain: read(format!("nvidia/{name}/chain.pem")),
    });
    let (gpu, switch, endorsements) = (nvidia_verifier(1, 0), nvidia_verifier(0, 1), Endorsements::new());
    let now = UnixTime::parse_rfc3339("2026-07-01T00:00:00Z").expect("a moment");
    let accepts = |device: &Device, evidence: &[u8], chain: &[u8]| {
        let verifier = if device.kind == DeviceKind::NvidiaSwitch {
            &switch
        } else {
            &gpu
        };
        let nonce = device.evidence[4..36].try_into().expect("32 bytes");
        let device = NvidiaDevice {
            name: "device",
            kind: device.kind,
            evidence,
            chain,
            endorsements: &endorsements,
        };
        let explanation = verifier.explain_devices(&[device], &nonce, now);
        matches!(explanation.verdict, Verdict::Accepted(_))
    };
    for device in &all {
        assert!(accepts(device, &device.evidence, &device.chain));
    }
    assert_none_accepted("devices", 2_500, |random| -> Fate {
        let (device, other) = (random.pick(&all), random.pick(&all));
        let (mut evidence, mut chain) = (device.evidence.clone(), device.chain.clone());
        if random.below(4) == 0 {
            chain = pem::mutate(random, &chain, &other.chain);
        } else {
            mutate(random, &mut evidence, &other.evidence);
        }
        let same = evidence == device.evidence && pem::same(&chain, &device.chain);
        let (original, changed) = (
            [&device.evidence[..], &device.chain].concat(),
            [&evidence[..], &chain].concat(),
        );
        fate(same, &original, &changed, || accepts(device, &evidence, &chain))
    });
}
