//! What a person is shown of a report: every measurement and record, and what the records mean.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::authority::{chain_der, pem};
use super::machine::Device;
use crate::fields::Field;
use crate::{DeviceKind, device_subject, inspect, nvidia_manifests};

fn shown(device: &Device) -> Vec<(String, Option<usize>, String)> {
    let fields: Vec<Field> = inspect(&device.evidence()).expect("a report");
    let line = |field: Field| (field.name.into_owned(), field.offset, field.value.to_string());
    fields.into_iter().map(line).collect()
}

fn of(device: &Device, name: &str) -> Option<String> {
    let fields = shown(device).into_iter();
    let mut values = fields.filter(|(of, ..)| of == name).map(|(.., value)| value);
    let value = values.next();
    assert_eq!(values.next(), None, "{name} once");
    value
}

#[test]
fn a_gpus_report_is_shown_in_order() {
    let mut gpu = Device::hopper(1);
    gpu.measurements.truncate(2);
    gpu.trailing = alloc::vec![0];
    let digest = |byte: u8| format!("SHA-384 {}", hex::encode([byte; 48]));
    let nonce = "5e".repeat(32);
    let expected = [
        ("request header", Some(0), "11e001ff"),
        ("nonce", Some(4), nonce.as_str()),
        ("slot", Some(36), "0x0"),
        ("response header", Some(37), "11600000"),
        ("measurement blocks", Some(41), "0x2"),
        ("measurement 1", None, &digest(1)),
        ("measurement 2", None, &digest(2)),
        ("device nonce", None, &"07".repeat(32)),
        ("VBIOS version", None, "00af009601000000"),
        ("driver version", None, &hex::encode(b"590.12\0")),
        ("GPU info", None, "8001000000000000"),
        ("NVDEC0 status", None, "55"),
        ("FWID", None, &"f1".repeat(48)),
        ("protected PCIe status", None, "55"),
        ("opaque data version", None, "0100"),
        ("feature flag", None, "0000"),
        ("driver", None, "590.12"),
        ("VBIOS", None, "96.00.AF.00.01"),
        ("mode", None, "single-gpu"),
        ("driver manifest", None, "NV_GPU_DRIVER_GH100_590.12"),
        ("bytes after the signature", None, "1"),
    ];
    let shown: Vec<_> = shown(&gpu)
        .into_iter()
        .filter(|(name, ..)| name != "signature")
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, offset, value)| ((*name).to_string(), *offset, (*value).to_string()))
        .collect();
    assert_eq!(shown, expected);
    assert_eq!(
        of(&gpu, "signature").map(|signature| signature.len()),
        Some(2 * 96)
    );
}

#[test]
fn records_mean_what_the_device_is() {
    let mut gpu = Device::hopper(1);
    gpu.set(36, &[1, 0]);
    assert_eq!(of(&gpu, "mode").as_deref(), Some("multi-gpu"));
    gpu.set(36, &[2, 0]);
    assert_eq!(of(&gpu, "mode"), None, "flag and status contradict");
    gpu.set(21, &[0xaa]);
    assert_eq!(of(&gpu, "mode").as_deref(), Some("protected-pcie"));
    assert_eq!(of(&gpu, "locked"), None);
    // A VBIOS version in another form is shown as its text, an unknown record by its number.
    gpu.set(6, b"96.00\0");
    gpu.set(200, &[1, 2]);
    assert_eq!(of(&gpu, "VBIOS").as_deref(), Some("96.00"));
    assert_eq!(of(&gpu, "type 200").as_deref(), Some("0102"));

    let mut switch = Device::ls10(1, 2);
    assert_eq!(of(&switch, "mode"), None);
    assert_eq!(of(&switch, "locked").as_deref(), Some("yes"));
    assert_eq!(of(&switch, "VBIOS").as_deref(), Some("96.10.55.00.01"));
    switch.set(25, &[0, 0]);
    assert_eq!(of(&switch, "locked").as_deref(), Some("no"));

    // Records of another form are shown whole.
    let mut other = Device::hopper(1);
    other.opaque = alloc::vec![(3, b"1".to_vec()), (3, b"2".to_vec())];
    assert_eq!(
        of(&other, "opaque data").as_deref(),
        Some("030001003103000100 32".replace(' ', "").as_str())
    );
}

#[test]
fn manifests_are_named_by_driver_board_and_versions() {
    let mut gpu = Device::hopper(1);
    gpu.set(17, b"G520\0");
    gpu.set(18, b"0200\0");
    gpu.set(15, b"895\0");
    let names = |gpu: &Device| nvidia_manifests(&gpu.evidence());
    let vbios = String::from("NV_GPU_VBIOS_G520_0200_895_9600AF0001");
    let hopper = String::from("NV_GPU_DRIVER_GH100_590.12");
    assert_eq!(names(&gpu), Some((hopper, vbios.clone())));
    assert_eq!(of(&gpu, "VBIOS manifest"), Some(vbios.clone()));
    gpu.set(4, &[0xa0, 1, 0, 0, 0, 0, 0, 0]);
    let blackwell = |chip: &str| format!("NV_GPU_CC_DRIVER_{chip}_590.12");
    assert_eq!(names(&gpu), Some((blackwell("GB100"), vbios.clone())));
    gpu.set(35, b"GB202\0");
    assert_eq!(names(&gpu), Some((blackwell("GB202"), vbios)));
    assert_eq!(of(&gpu, "chip name").as_deref(), Some("GB202"));
    for missing in [3, 4, 6, 15, 17, 18] {
        let mut gpu = gpu.clone();
        gpu.remove(missing);
        assert_eq!(names(&gpu), None, "{missing}");
    }
    assert_eq!(nvidia_manifests(b"no report"), None);
}

#[test]
fn a_gpu_is_looked_up_by_its_manifests_and_its_chip() {
    let mut gpu = Device::hopper(1);
    for (kind, text) in [(17, &b"G520\0"[..]), (18, b"0200\0"), (15, b"895\0")] {
        gpu.set(kind, text);
    }
    let (evidence, chain) = (gpu.evidence(), chain_der(&gpu.chain));
    let (driver, vbios) = nvidia_manifests(&evidence).expect("names");
    let chip = crate::x509::Certificate::parse(&chain[1]).expect("a certificate");
    let expected = format!("{driver} {vbios} {}", hex::encode(chip.serial)).into_bytes();
    let subject = |kind, chain: &[Vec<u8>]| device_subject(kind, &evidence, pem(chain).as_bytes());
    assert_eq!(subject(DeviceKind::NvidiaGpu, &chain), Some(expected));
    assert_eq!(subject(DeviceKind::NvidiaSwitch, &chain), None);
    assert_eq!(subject(DeviceKind::NvidiaGpu, &chain[..1]), None);
}
