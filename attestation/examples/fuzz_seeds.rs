//! Makes the fixtures of the fuzz targets anew, and inputs to begin with, all SIMULATED:
//! `cargo run --release -p adyton-attestation --example fuzz_seeds -- attestation/fuzz`.
//!
//! The fixtures under NVIDIA's formats (`nvidia-*`) are under keys of the unit tests and not made here.
#![allow(clippy::print_stdout, reason = "it speaks to a person")]

use std::fs;
use std::path::{Path, PathBuf};

use attestation::{
    AzureEvidence, Bundle, EndorsementKind, GceVtpmEvidence, Nonce, PlatformTag, Role, Statement,
    StatementFields, UnixTime,
};
use attester::Attester as _;
use base64::Engine as _;
use simulated::gce::{Chain, LaunchEndorser};
use simulated::{Flavor, Platform};

type Error = Box<dyn std::error::Error>;

/// As in the fuzz targets.
const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);
const NONCE: Nonce = Nonce::from_bytes([7; 32]);
/// Ten years: fixtures are made once.
const VALIDITY_SECONDS: u64 = 10 * 366 * 24 * 3600;

/// Hardware, devices and Azure: whatever is read before a policy decides.
const HARDWARE: &str = include_str!("fuzz_policy.toml");

fn main() -> Result<(), Error> {
    let folder = PathBuf::from(
        std::env::args()
            .nth(1)
            .ok_or("name the folder of the fuzz targets")?,
    );
    let platform = Platform::manufacture(NOW, VALIDITY_SECONDS)?;
    let google = LaunchEndorser::new(NOW, VALIDITY_SECONDS, Chain::Direct)?;
    let mut policy = HARDWARE.to_owned();
    for flavor in [Flavor::Snp, Flavor::Tdx] {
        let bundle = bundle(&platform, &google, flavor, &mut policy)?;
        let name = match flavor {
            Flavor::Snp => "snp",
            Flavor::Tdx => "tdx",
        };
        write(
            &folder.join("fixtures").join(format!("{name}.bundle")),
            &bundle.encode()?,
        )?;
        seeds(&folder, name, &bundle)?;
    }
    write(&folder.join("fixtures/policy.toml"), policy.as_bytes())?;
    let seed =
        |target: &str, name: &str, bytes: &[u8]| write(&folder.join("corpus").join(target).join(name), bytes);
    seed("policy", "policy", policy.as_bytes())?;
    seed("event_log", "tcg", &tcg_log())?;
    let digest = "00".repeat(48);
    seed(
        "event_log",
        "json",
        format!("[{{\"imr\":3,\"event_type\":134217729,\"digest\":\"{digest}\",\"event\":\"app-id\",\"event_payload\":\"00\"}}]")
            .as_bytes(),
    )?;
    let settings = r#"{"keys":[{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"AQAB"}],"vm-configuration":{"console-enabled":true,"secure-boot":true,"tpm-enabled":true,"vmUniqueId":"0"},"user-data":"00"}"#;
    for (kind, name) in [(0, "snp"), (1, "tdx")] {
        seed("runtime_data", name, &[&[kind], settings.as_bytes()].concat())?;
    }
    let azure = AzureEvidence {
        hcl_report: vec![1; 40],
        td_quote: Some(vec![2; 40]),
        quote_message: attest(),
        quote_signature: vec![3; 256],
        pcr_values: vec![0; 32],
    };
    seed("azure_evidence", "small", &azure.encode()?)?;
    let vtpm = GceVtpmEvidence {
        ak_public: vec![1; 40],
        quote_message: attest(),
        quote_signature: vec![3; 256],
        pcr_values: vec![0; 32],
    };
    seed("vtpm_evidence", "small", &parts(&[&vtpm.encode()?, b""]))?;
    let signature = [&[0, 0x14, 0, 0x0b, 1, 0][..], &[3; 256]].concat();
    seed(
        "tpm_quote",
        "small",
        &parts(&[&attest(), &signature, &[0; 40], &[0; 32]]),
    )?;
    println!("made anew: fixtures and first inputs in {}", folder.display());
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::create_dir_all(path.parent().ok_or("a folder")?)?;
    Ok(fs::write(path, bytes)?)
}

/// As the targets take inputs of several parts.
fn parts(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        if number + 1 < parts.len() {
            bytes.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes());
        }
        bytes.extend(*part);
    }
    bytes
}

fn statement() -> Result<Statement, Error> {
    Ok(StatementFields {
        role: Role::Inference,
        key_configs: vec![0; 8],
        receipt_key: [1; 32],
        tls_spki_sha256: [2; 32],
        wrap_key: vec![0; 8],
        boot_id: [3; 16],
        model_digests: vec![[4; 32]],
        config_digest: [5; 32],
        policy_digest: [0; 32],
        key_lifetime_seconds: 3600,
        software_version: "fuzz".into(),
        device_digests: Vec::new(),
    }
    .encode()?)
}

/// A bundle that is accepted on Google's word, under the tables that are added to `policy`.
fn bundle(
    platform: &Platform,
    google: &LaunchEndorser,
    flavor: Flavor,
    policy: &mut String,
) -> Result<Bundle, Error> {
    let measurement = simulated::measure(flavor, b"executable", b"config");
    let statement = statement()?;
    let collected = platform
        .attester(flavor, measurement, [0; 32])
        .evidence(&statement.report_data(&NONCE))?;
    let (key, table, size) = match flavor {
        Flavor::Snp => ("launch_measurements", "snp", "vcpus = \"any\""),
        Flavor::Tdx => ("mrtd", "tdx", "ram_gib = \"any\""),
    };
    let listed = format!("{key} = [\"{}\"]\n", hex::encode(measurement));
    policy.push_str(
        &platform
            .policy_fragment(flavor, &measurement)
            .replace(&listed, ""),
    );
    policy.push_str(&format!(
        "[danger.simulated.{table}.gce_firmware]\nroot_certificate = \"{}\"\nissued_after = \"{NOW}\"\nsvn_minimum = 2\n{size}\n",
        base64::engine::general_purpose::STANDARD.encode(google.root_certificate())
    ));
    let mut golden = google.golden(NOW);
    golden.of_vcpus = vec![(4, measurement.to_vec())];
    golden.of_ram_gib = vec![(16, measurement.to_vec())];
    let mut endorsements = collected.endorsements;
    endorsements.insert(EndorsementKind::GceLaunchEndorsement, google.endorse(&golden)?);
    Ok(Bundle {
        platform: flavor.platform(),
        evidence: collected.evidence,
        statement: statement.statement_bytes().to_vec(),
        event_log: None,
        endorsements,
        devices: Vec::new(),
    })
}

/// The parts of a bundle for the targets that read them.
fn seeds(folder: &Path, name: &str, bundle: &Bundle) -> Result<(), Error> {
    let document = |kind| bundle.endorsements.document(kind).unwrap_or_default();
    let mut all: Vec<(&str, Vec<u8>)> = vec![
        ("bundle", bundle.encode()?),
        ("statement", bundle.statement.clone()),
        ("endorsements", bundle.endorsements.encode()),
        (
            "launch_endorsement",
            document(EndorsementKind::GceLaunchEndorsement).to_vec(),
        ),
    ];
    if bundle.platform == PlatformTag::SimulatedAmdSevSnp {
        let [leaf, intermediate, list] = [
            EndorsementKind::SnpLeaf,
            EndorsementKind::SnpIntermediate,
            EndorsementKind::SnpCrl,
        ]
        .map(document);
        all.extend([
            ("snp_report", bundle.evidence.clone()),
            ("snp_certificates", parts(&[leaf, intermediate, list])),
            ("der", leaf.to_vec()),
        ]);
    } else {
        let [tcb_info, qe_identity, list, chain] = [
            EndorsementKind::TdxTcbInfo,
            EndorsementKind::TdxQeIdentity,
            EndorsementKind::TdxPckCrl,
            EndorsementKind::TdxTcbSigningChain,
        ]
        .map(document);
        all.extend([
            ("tdx_quote", bundle.evidence.clone()),
            ("tdx_collateral", parts(&[tcb_info, qe_identity])),
            ("der", list.to_vec()),
            ("pem", chain.to_vec()),
        ]);
    }
    for (target, bytes) in all {
        write(&folder.join("corpus").join(target).join(name), &bytes)?;
    }
    Ok(())
}

/// A crypto agile log of one event (TCG PC Client Platform Firmware Profile section 10).
fn tcg_log() -> Vec<u8> {
    let mut specification = b"Spec ID Event03\0".to_vec();
    specification.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    specification.extend([2, 0, 0, 0, 0x0b, 0, 32, 0, 0x0c, 0, 48, 0, 0]);
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes();
    let mut log = [
        &[0; 4][..],
        &[3, 0, 0, 0],
        &[0; 20],
        &size(&specification),
        &specification,
    ]
    .concat();
    let data = b"console=ttyS0\0";
    log.extend([&[4, 0, 0, 0][..], &[0x0d, 0, 0, 0], &[2, 0, 0, 0]].concat());
    log.extend([&[0x0b, 0][..], &[1; 32], &[0x0c, 0], &[2; 48], &size(data), data].concat());
    log
}

/// TPMS_ATTEST of a quote over PCR 0 (TPM 2.0 Library, Part 2, section 10.12.12).
fn attest() -> Vec<u8> {
    [
        &[0xff, b'T', b'C', b'G', 0x80, 0x18, 0, 2, 0, 0x0b, 0, 4][..],
        b"data",
        &[0; 8 + 4 + 4],
        &[1],
        &[0; 8],
        &[0, 0, 0, 1, 0, 0x0b, 3, 1, 0, 0, 0, 32],
        &[5; 32],
    ]
    .concat()
}
