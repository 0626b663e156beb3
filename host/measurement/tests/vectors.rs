//! Reference digests that other programs, firmware and hardware gave (`measurement/` of the vectors).
//!
//! Firmware images that are named by their digest are read from the folder that `ADYTON_FIRMWARE` names, searched to
//! any depth; without it their launch digests are computed from the sections that the vectors list.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use measurement::{
    pe::Image,
    snp::{self, IdAuth, IdBlock, KernelHashes, Launch, Processor, SaveArea, Section, SectionKind, Vmm},
    tdx::{self, PageOrder},
    uki,
};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha384};

fn vectors() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "no vectors in {}",
        folder.display()
    );
    eprintln!(
        "NOT RUN: no measurement vectors in {} (set ADYTON_VECTORS)",
        folder.display()
    );
    None
}

/// Files of the vectors' folder and of `ADYTON_FIRMWARE`, by SHA-256.
fn files(vectors: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![vectors.join("measurement")];
    match std::env::var_os("ADYTON_FIRMWARE") {
        Some(folder) => folders.push(PathBuf::from(folder)),
        None => eprintln!(
            "NOT RUN: firmware of Debian and its kernel (set ADYTON_FIRMWARE to a folder with them)"
        ),
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).expect("a readable file");
                found.insert(hex::encode(Sha256::digest(bytes)), entry.path());
            }
        }
    }
    found
}

fn json(vectors: &Path, name: &str) -> Value {
    let text = fs::read_to_string(vectors.join("measurement").join(name)).expect("a vector file");
    serde_json::from_str(&text).expect("JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key}"))
}

fn digest<const N: usize>(value: &Value, key: &str) -> [u8; N] {
    hex::decode(text(value, key))
        .expect("hex")
        .try_into()
        .expect("a digest")
}

/// The firmware of a case as its JSON describes it.
fn described(case: &Value) -> snp::Firmware {
    let sections = case["sections"].as_array().expect("sections").iter();
    snp::Firmware {
        pages_digest: digest(case, "ovmf_hash"),
        address: number(case, "firmware_gpa"),
        sections: sections
            .map(|section| Section {
                address: number(section, "gpa") as u32,
                bytes: number(section, "size") as u32,
                kind: SectionKind::from_number(number(section, "type") as u32).expect("a known type"),
            })
            .collect(),
        kernel_hashes_address: case["hashes_table_gpa"].as_u64().map(|address| address as u32),
        reset_eip: number(case, "sev_es_reset_eip") as u32,
    }
}

#[test]
fn snp_launch_digests_equal_those_of_sev_snp_measure() {
    let Some(vectors) = vectors() else { return };
    let files = files(&vectors);
    let cases = json(&vectors, "snp.json");
    let cases = cases["cases"].as_array().expect("cases");
    let mut whole = 0;
    for (index, case) in cases.iter().enumerate() {
        let processor = Processor::of_model(text(case, "vcpu_type")).expect("a model");
        assert_eq!(u64::from(processor.0), number(case, "vcpu_sig"), "case {index}");
        let kernel_hashes = case["kernel_sha256"].as_str().map(|_| {
            KernelHashes::of_digests(
                digest(case, "kernel_sha256"),
                digest(case, "initrd_sha256"),
                text(case, "cmdline"),
            )
            .expect("a command line")
        });
        if let Some(hashes) = &kernel_hashes {
            assert_eq!(
                hex::encode(hashes.table()),
                text(case, "hashes_table"),
                "case {index}"
            );
            let [kernel, initrd] = ["kernel_sha256", "initrd_sha256"].map(|key| {
                files
                    .get(text(case, key))
                    .map(|path| fs::read(path).expect("readable"))
            });
            if let (Some(kernel), Some(initrd)) = (kernel, initrd) {
                assert_eq!(
                    KernelHashes::of(&kernel, &initrd, text(case, "cmdline")).as_ref(),
                    Ok(hashes)
                );
            }
        }
        let launch = Launch {
            kernel_hashes,
            vcpus: number(case, "vcpus") as u32,
            processor,
            guest_features: number(case, "guest_features"),
            vmm: Vmm::of_name(text(case, "vmm")).expect("a monitor"),
        };
        let described = described(case);
        let areas = case["vmsa_sha256"].as_array().expect("save areas");
        for (vcpu, expected) in areas.iter().enumerate() {
            let area = SaveArea::new(vcpu as u32, described.reset_eip, &launch);
            assert_eq!(
                hex::encode(Sha256::digest(area.page())),
                expected.as_str().expect("hex"),
                "case {index}"
            );
        }
        let expected = digest(case, "launch_digest");
        assert_eq!(
            snp::launch_digest(&described, &launch),
            Ok(expected),
            "case {index}"
        );
        if let Some(path) = files.get(text(case, "firmware_sha256")) {
            let firmware = snp::Firmware::parse(&fs::read(path).expect("readable")).expect("an OVMF image");
            assert_eq!(firmware.pages_digest, described.pages_digest, "case {index}");
            assert_eq!(firmware.sections, described.sections, "case {index}");
            assert_eq!(firmware.reset_eip, described.reset_eip, "case {index}");
            assert_eq!(
                snp::launch_digest(&firmware, &launch),
                Ok(expected),
                "case {index}"
            );
            whole += 1;
        }
    }
    assert_eq!(cases.len(), 40);
    eprintln!("40 launch digests, {whole} of them from the firmware's bytes");
    assert!(whole >= 25, "the synthetic firmware is beside the vectors");
}

#[test]
fn the_id_block_of_sev_snp_measure_verifies_and_is_built_alike() {
    let Some(vectors) = vectors() else { return };
    let vector = json(&vectors, "snp-idblock.json");
    let decode = |key| BASE64_STANDARD.decode(text(&vector, key)).expect("base64");
    let block = IdBlock::parse(&decode("id_block_b64")).expect("an ID block");
    let built = IdBlock {
        launch_digest: digest(&vector, "launch_digest"),
        family_id: digest(&vector, "family_id"),
        image_id: digest(&vector, "image_id"),
        guest_svn: number(&vector, "guest_svn") as u32,
        policy: 0x30000,
    };
    assert_eq!(block, built);
    assert_eq!(built.to_bytes().to_vec(), decode("id_block_b64"));
    let auth = IdAuth::parse(&decode("id_auth_b64")).expect("an ID authentication");
    let keys = auth.verify(&block).expect("signed by sev-snp-measure");
    assert_eq!(
        hex::encode(keys.id_key_digest),
        text(&vector, "id_key_digest_sha384_of_pubkey_struct")
    );
    assert_eq!(
        hex::encode(keys.author_key_digest),
        text(&vector, "author_key_digest_sha384_of_pubkey_struct")
    );
}

#[test]
fn mrtd_equals_the_reference_in_both_orders() {
    let Some(vectors) = vectors() else { return };
    let files = files(&vectors);
    let cases = json(&vectors, "tdx-mrtd.json");
    let mut checked = 0;
    for case in cases["cases"].as_array().expect("cases") {
        let Some(path) = files.get(text(case, "firmware_sha256")) else {
            eprintln!("NOT RUN: MRTD of {}: no such file", text(case, "firmware"));
            continue;
        };
        let image = fs::read(path).expect("readable");
        let firmware = tdx::Firmware::parse(&image).expect("TDVF");
        let single = firmware.mrtd(PageOrder::SinglePass);
        assert_eq!(
            hex::encode(single),
            text(case, "mrtd_single_pass"),
            "{}",
            text(case, "firmware")
        );
        assert_eq!(
            hex::encode(firmware.mrtd(PageOrder::TwoPass)),
            text(case, "mrtd_two_pass")
        );
        checked += 1;
    }
    assert!(checked >= 1);
}

#[test]
fn registers_of_a_measured_boot_follow_from_the_image() {
    let Some(vectors) = vectors() else { return };
    let boot = json(&vectors, "tcg-boot.json");
    let pcr = |index: &str| text(&boot["pcrs"], index).to_owned();
    let of = |name: &str| hex::decode(text(&boot["sections"][name], "sha256")).expect("hex");
    let names = [".sbat", ".osrel", ".cmdline", ".uname", ".linux", ".initrd"];
    let sections = names.map(|name| (name, of(name)));
    let register = |events: &[Vec<u8>]| hex::encode(uki::register::<Sha256>(events));
    assert_eq!(register(&uki::section_events::<Sha256>(&sections)), pcr("11"));
    let image: [u8; 32] = digest(&boot, "uki_authenticode_sha256");
    let kernel: [u8; 32] = digest(&boot, "linux_authenticode_sha256");
    assert_eq!(
        register(&uki::boot_applications::<Sha256>(&image, &kernel)),
        pcr("4")
    );
    // The vector gives the command line by its digest.
    let line = "console=ttyS0 panic=-1 quiet";
    assert_eq!(Sha256::digest(line).to_vec(), of(".cmdline"));
    assert_eq!(
        register(&uki::kernel_inputs::<Sha256>(line, Some(&of(".initrd")))),
        pcr("9")
    );

    if let Some(path) = files(&vectors).get(&hex::encode(of(".linux"))) {
        let bytes = fs::read(path).expect("readable");
        let image = Image::parse(&bytes).expect("a kernel");
        assert_eq!(image.authenticode::<Sha256>(), kernel, "as firmware measured it");
        for patched in [0, 1 << 20] {
            let kernel = tdx::Kernel::Patched {
                file: &bytes,
                initrd_bytes: patched,
                memory_bytes: 4 << 30,
            };
            assert_eq!(tdx::kernel_events(kernel).map(|events| events.len()), Ok(5));
        }
    }
}

/// A TD of a provider on real hardware: its log replays to the quote's registers, and what needs no secret input of
/// that provider is predicted exactly.
#[test]
fn the_log_of_a_real_td_is_predicted_where_its_inputs_are_known() {
    let Some(vectors) = vectors() else { return };
    let folder = vectors.join("composite/composite-tdx-8xhopper-near");
    let log: Value =
        serde_json::from_slice(&fs::read(folder.join("event-log.json")).expect("a log")).expect("JSON");
    let quote = fs::read(folder.join("quote.bin")).expect("a quote");
    let events = |imr: u64| -> Vec<Vec<u8>> {
        let log = log.as_array().expect("events").iter();
        log.filter(|event| event["imr"].as_u64() == Some(imr))
            .map(|event| hex::decode(text(event, "digest")).expect("hex"))
            .collect()
    };
    for imr in 0..4 {
        let register = uki::register::<Sha384>(&events(imr));
        assert!(quote.windows(48).any(|window| window == register), "RTMR {imr}");
    }
    // RTMR 1 but for the kernel itself.
    let boot = uki::boot_applications::<Sha384>(&[], &[]);
    assert_eq!(events(1)[1..3], boot[..2]);
    assert_eq!(
        events(1)[3],
        Sha384::digest("Exit Boot Services Invocation").to_vec()
    );
    // RTMR 0 with this firmware's configuration volume, on a machine of 2 TiB.
    let files = files(&vectors);
    let generic = "6a3e8f438ad7269f5dfd884647587b88391fb23965bb3aa7902b519438dba129";
    let Some(path) = files.get(generic) else { return };
    let image = fs::read(path).expect("readable");
    let firmware = tdx::Firmware::parse(&image).expect("TDVF");
    let known = tdx::PlatformEvents::known(&firmware, 2 << 40, &tdx::SecureBoot::default()).expect("events");
    for index in 1..8 {
        assert_eq!(known.0[index].1, events(0)[index], "{}", known.0[index].0);
    }
}
