//! Real evidence from public repositories.

use alloc::string::String;
use alloc::vec::Vec;
use std::path::{Path, PathBuf};

use super::{failed, skipped, table, verifier};
use crate::nvidia::{Report, fields};
use crate::{
    DeviceKind, EndorsementKind, Endorsements, Explanation, NvidiaDevice, UnixTime, Verdict,
    explain_reference_manifest,
};

const ALL_EXCEPTIONS: [&str; 3] = [
    "no-reference-manifest",
    "no-revocation-check",
    "no-switch-evidence",
];

/// The folder of vectors, or `None` (said plainly) if it is not here. In CI it must be.
#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
fn folder() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    if folder.join("nvidia").is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "no vectors in {}",
        folder.display()
    );
    std::eprintln!(
        "NOT RUN: no NVIDIA evidence in {} (set ADYTON_VECTORS)",
        folder.display()
    );
    None
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).expect("the file of a vector")
}

fn at(moment: &str) -> UnixTime {
    UnixTime::parse_rfc3339(moment).expect("a moment")
}

fn vector(folder: &Path, name: &str) -> (Vec<u8>, Vec<u8>) {
    let part = |file: &str| read(folder, &alloc::format!("nvidia/{name}/{file}"));
    (part("evidence.bin"), part("chain.pem"))
}

/// The nonce that the device was asked with.
fn nonce(evidence: &[u8]) -> [u8; 32] {
    evidence
        .get(4..36)
        .and_then(|nonce| nonce.try_into().ok())
        .unwrap_or_default()
}

fn kind(name: &str) -> DeviceKind {
    if name.contains("switch") {
        DeviceKind::NvidiaSwitch
    } else {
        DeviceKind::NvidiaGpu
    }
}

fn explain(
    kind: DeviceKind,
    table: &str,
    evidence: &[u8],
    chain: &[u8],
    endorsements: &Endorsements,
) -> Explanation {
    let device = NvidiaDevice {
        name: "device",
        kind,
        evidence,
        chain,
        endorsements,
    };
    verifier(table).explain_devices(&[device], &nonce(evidence), at("2026-07-01T00:00:00Z"))
}

fn counts(name: &str) -> (u32, u32) {
    if name.contains("switch") { (0, 1) } else { (1, 0) }
}

#[test]
fn evidence_gets_its_expected_verdict() {
    let Some(folder) = folder() else { return };
    for (name, clauses) in [
        ("nvidia-blackwell-veraison", &[][..]),
        ("nvidia-hopper", &[]),
        ("nvidia-hopper-cert-hold", &[]),
        ("nvidia-hopper-coco", &[]),
        ("nvidia-hopper-expired-chain", &[]),
        (
            "nvidia-hopper-invalid-signature",
            &["nvidia-fwid", "nvidia-report-signature"],
        ),
        ("nvidia-hopper-multi-0", &[]),
        ("nvidia-hopper-multi-1", &[]),
        ("nvidia-hopper-sdk", &[]),
        ("nvidia-switch-ls10", &[]),
    ] {
        let (evidence, chain) = vector(&folder, name);
        let (gpus, switches) = counts(name);
        let table = table(gpus, switches, &ALL_EXCEPTIONS);
        let explanation = explain(kind(name), &table, &evidence, &chain, &Endorsements::new());
        assert_eq!(failed(&explanation), clauses.iter().copied().collect(), "{name}");
        assert!(skipped(&explanation).is_empty(), "{name}");
        assert_eq!(
            matches!(explanation.verdict, Verdict::Accepted(_)),
            clauses.is_empty(),
            "{name}"
        );
        let report = Report::parse(&evidence).expect("a report");
        assert!(fields(&report).len() > 40, "{name}");
    }
}

#[test]
fn eight_gpus_of_one_machine_are_told_apart() {
    let Some(folder) = folder() else { return };
    let endorsements = Endorsements::new();
    let parts: Vec<(Vec<u8>, Vec<u8>, String)> = (0..8)
        .map(|number| {
            let part = |file: &str| {
                let path = alloc::format!("composite/composite-tdx-8xhopper-near/gpu-{number}.{file}");
                read(&folder, &path)
            };
            (
                part("evidence.bin"),
                part("chain.pem"),
                alloc::format!("gpu {number}"),
            )
        })
        .collect();
    let mut devices: Vec<_> = parts
        .iter()
        .map(|(evidence, chain, name)| NvidiaDevice {
            name,
            kind: DeviceKind::NvidiaGpu,
            evidence,
            chain,
            endorsements: &endorsements,
        })
        .collect();
    let nonce = nonce(&parts[0].0);
    let now = at("2026-07-14T01:00:00Z");
    let verify = |devices: &[NvidiaDevice<'_>], gpus, exceptions: &[&str]| {
        verifier(&table(gpus, 0, exceptions)).explain_devices(devices, &nonce, now)
    };
    let explanation = verify(&devices, 8, &ALL_EXCEPTIONS);
    assert_eq!(failed(&explanation), [].into());
    assert!(matches!(explanation.verdict, Verdict::Accepted(_)));
    let explanation = verify(&devices, 8, &ALL_EXCEPTIONS[..2]);
    assert_eq!(failed(&explanation), ["nvidia-topology"].into());
    let explanation = verify(&devices[..7], 8, &ALL_EXCEPTIONS);
    assert_eq!(failed(&explanation), ["nvidia-device-count"].into());
    devices[7] = devices[0];
    let explanation = verify(&devices, 8, &ALL_EXCEPTIONS);
    assert_eq!(failed(&explanation), ["nvidia-devices-distinct"].into());
    let (evidence, chain) = vector(&folder, "nvidia-hopper-coco");
    devices[7].evidence = &evidence;
    devices[7].chain = &chain;
    let explanation = verify(&devices, 8, &ALL_EXCEPTIONS);
    let expected = ["nvidia-nonce", "nvidia-one-mode"];
    assert_eq!(failed(&explanation), expected.into());
}

const DRIVER_550: &str = "nvidia/rim/NV_GPU_DRIVER_GH100_550.144.03.xml";
const DRIVER_EXPIRED: &str = "nvidia/rim/NV_GPU_DRIVER_GH100_570.124.03_expired.xml";
const VBIOS_1010: &str = "nvidia/rim/1010_0200_882_96005E0001_PROD.swidtag";
const VBIOS_G520: &str = "nvidia/rim/g520_0200_885_9600740001_PROD.swidtag";

#[test]
fn manifests_hold_in_the_time_of_their_signers() {
    let Some(folder) = folder() else { return };
    let over = &["nvidia-manifest-validity"][..];
    // Its signer had one day, and its content was changed after the signature.
    let expired = &["nvidia-manifest-signature", "nvidia-manifest-validity"][..];
    let changed = &["nvidia-manifest-signature"][..];
    for (name, moment, clauses) in [
        (DRIVER_550, "2026-07-01T00:00:00Z", &[][..]),
        (DRIVER_550, "2026-12-30T16:56:51Z", over),
        (VBIOS_1010, "2026-07-01T00:00:00Z", over),
        (VBIOS_1010, "2025-06-22T09:30:33Z", &[]),
        (VBIOS_G520, "2026-07-01T00:00:00Z", over),
        (VBIOS_G520, "2024-01-01T00:00:00Z", &[]),
        (DRIVER_EXPIRED, "2026-07-01T00:00:00Z", expired),
        (DRIVER_EXPIRED, "2025-01-01T12:00:00Z", changed),
    ] {
        let explanation = explain_reference_manifest(&read(&folder, name), at(moment));
        assert_eq!(
            failed(&explanation),
            clauses.iter().copied().collect(),
            "{name} {moment}"
        );
        assert!(skipped(&explanation).is_empty(), "{name}");
    }
}

#[test]
fn a_manifest_changed_anywhere_is_refused() {
    let Some(folder) = folder() else { return };
    let document = read(&folder, VBIOS_1010);
    let now = at("2024-01-01T00:00:00Z");
    let accepted = |document: &[u8]| {
        let explanation = explain_reference_manifest(document, now);
        matches!(explanation.verdict, Verdict::Accepted(_))
    };
    assert!(accepted(&document));
    // Certificates above the leaf and the white space around the signature's parts are not signed, but
    // bound by the path or without meaning: tested apart.
    let text = String::from_utf8(document.clone()).expect("text");
    let signed = text.find("<ds:KeyInfo>").expect("the signature");
    for place in (0..signed).step_by(13) {
        let mut changed = document.clone();
        changed[place] ^= 1 << (place % 7);
        assert!(!accepted(&changed), "byte {place}");
    }
    for end in (0..document.len() - 1).step_by(37) {
        assert!(!accepted(&document[..end]), "{end} bytes");
    }
}

/// The VBIOS of a real report is the one of a real manifest: everything that it marks active is equal.
#[test]
fn a_real_report_measured_what_its_manifest_says() {
    let Some(folder) = folder() else { return };
    let (evidence, chain) = vector(&folder, "nvidia-hopper-sdk");
    let verify = |manifest: Vec<u8>| {
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::NvidiaVbiosRim, manifest);
        let device = NvidiaDevice {
            name: "gpu 0",
            kind: DeviceKind::NvidiaGpu,
            evidence: &evidence,
            chain: &chain,
            endorsements: &endorsements,
        };
        let table = table(1, 0, &["no-reference-manifest", "no-revocation-check"]);
        verifier(&table).explain_devices(&[device], &nonce(&evidence), at("2024-01-01T00:00:00Z"))
    };
    let explanation = verify(read(&folder, VBIOS_1010));
    assert_eq!(failed(&explanation), [].into());
    let equal = explanation
        .clauses
        .iter()
        .find(|clause| clause.id == "nvidia-measurements")
        .expect("the clause");
    assert_eq!(equal.expected, "12 measurements as in the manifests");
    assert_eq!(equal.found, "gpu 0: equal");
    let explanation = verify(read(&folder, VBIOS_G520));
    let expected = ["nvidia-manifest-subject", "nvidia-measurements"];
    assert_eq!(failed(&explanation), expected.into());
}

#[test]
fn real_evidence_changed_anywhere_is_refused() {
    let Some(folder) = folder() else { return };
    let endorsements = Endorsements::new();
    for name in ["nvidia-hopper-coco", "nvidia-switch-ls10"] {
        let (evidence, chain) = vector(&folder, name);
        let (gpus, switches) = counts(name);
        let table = table(gpus, switches, &ALL_EXCEPTIONS);
        let verifier = verifier(&table);
        let genuine = |evidence: &[u8], chain: &[u8]| {
            let device = NvidiaDevice {
                name: "device",
                kind: kind(name),
                evidence,
                chain,
                endorsements: &endorsements,
            };
            let explanation =
                verifier.explain_devices(&[device], &nonce(evidence), at("2026-07-01T00:00:00Z"));
            matches!(explanation.verdict, Verdict::Accepted(_))
        };
        assert!(genuine(&evidence, &chain), "{name}");
        for place in (0..evidence.len()).step_by(9) {
            let mut changed = evidence.clone();
            changed[place] ^= 1 << (place % 8);
            assert!(!genuine(&changed, &chain), "{name} byte {place}");
        }
        for end in (0..evidence.len() - 2).step_by(41) {
            assert!(!genuine(&evidence[..end], &chain), "{name} {end} bytes");
        }
        let longer = [&evidence[..], &[0, 0]].concat();
        assert!(!genuine(&longer, &chain), "{name}");
        // The last certificate is the root, for which only its exact bytes stand.
        for place in (0..chain.len() - 2).step_by(23) {
            let mut changed = chain.clone();
            changed[place] ^= 1 << (place % 6);
            assert!(!genuine(&evidence, &changed), "{name} chain byte {place}");
        }
    }
}
