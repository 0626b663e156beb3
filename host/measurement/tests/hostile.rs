//! Hostile firmware and images: no panic, every truncation refused, every check there for a reason.

use measurement::{
    pe::Image,
    snp::{self, Launch, Processor, Section, SectionKind, Vmm},
    tdx::{self, PageOrder},
    uki::UnifiedKernelImage,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

#[path = "support/files.rs"]
mod files;

use files::{firmware, pe};

fn launch() -> Launch {
    Launch {
        kernel_hashes: snp::KernelHashes::of(b"kernel", b"", "quiet").ok(),
        vcpus: 2,
        processor: Processor::of_model("EPYC-Milan").expect("a model"),
        guest_features: 1,
        vmm: Vmm::Qemu,
    }
}

#[test]
fn every_truncation_of_firmware_is_an_error() {
    let image = firmware();
    let parsed = snp::Firmware::parse(&image).expect("well-formed");
    assert!(snp::launch_digest(&parsed, &launch()).is_ok());
    assert!(tdx::Firmware::parse(&image).is_ok());
    for length in 0..image.len() {
        assert!(
            snp::Firmware::parse(&image[..length]).is_err(),
            "SNP, {length} bytes"
        );
        assert!(
            tdx::Firmware::parse(&image[..length]).is_err(),
            "TDX, {length} bytes"
        );
    }
}

#[test]
fn what_a_security_processor_would_refuse_is_refused() {
    let good = snp::Firmware::parse(&firmware()).expect("well-formed");
    let digest = |change: &dyn Fn(&mut snp::Firmware)| {
        let mut firmware = good.clone();
        change(&mut firmware);
        snp::launch_digest(&firmware, &launch())
    };
    assert!(digest(&|_| {}).is_ok());
    assert!(digest(&|firmware| firmware.sections[0].bytes = 0).is_err());
    assert!(digest(&|firmware| firmware.sections[0].bytes += 1).is_err());
    assert!(digest(&|firmware| firmware.sections[0].address += 1).is_err());
    assert!(
        digest(&|firmware| firmware.sections[0].bytes = 0xf000).is_err(),
        "overlap"
    );
    assert!(
        digest(&|firmware| firmware.sections[0].address = 0xffff_e000).is_err(),
        "over the image"
    );
    assert!(
        digest(&|firmware| firmware.sections[1].bytes = 0x2000).is_err(),
        "secrets are a page"
    );
    assert!(digest(&|firmware| firmware.sections[0].address = 0x1000_0000).is_ok());
    let huge = |firmware: &mut snp::Firmware| {
        firmware.sections[0] = Section {
            address: 0x1000_0000,
            bytes: 65 << 20,
            kind: SectionKind::Memory,
        };
    };
    assert!(digest(&huge).is_err());
    assert!(digest(&|firmware| firmware.kernel_hashes_address = None).is_err());
    assert!(
        digest(&|firmware| firmware.kernel_hashes_address = Some(0x81_1000)).is_err(),
        "elsewhere"
    );
    assert!(
        digest(&|firmware| firmware.kernel_hashes_address = Some(0x81_0fff)).is_err(),
        "crosses"
    );
    assert!(
        digest(&|firmware| firmware.sections.truncate(3)).is_err(),
        "no section for hashes"
    );
    assert!(
        digest(&|firmware| firmware.reset_eip = 0).is_err(),
        "two processors, one start"
    );
    let with = |change: &dyn Fn(&mut Launch)| {
        let mut launch = launch();
        change(&mut launch);
        snp::launch_digest(&good, &launch)
    };
    assert!(with(&|launch| launch.vcpus = 0).is_err());
    assert!(with(&|launch| launch.vcpus = 513).is_err());
    assert!(with(&|launch| launch.guest_features = 0x20).is_err());
    for command_line in ["a\0b", "a\n", "\u{e9}", &"a".repeat(2048)] {
        assert!(snp::KernelHashes::of(b"kernel", b"", command_line).is_err());
    }
    assert!(snp::KernelHashes::of(b"", b"", "").is_err());
}

#[test]
fn each_input_of_a_launch_changes_its_digest() {
    let image = firmware();
    let digest = |image: &[u8], launch: &Launch| {
        snp::launch_digest(&snp::Firmware::parse(image).expect("well-formed"), launch).expect("measured")
    };
    let base = digest(&image, &launch());
    let mut seen = std::collections::BTreeSet::from([base]);
    let mut other = image.clone();
    other[0] ^= 1;
    assert!(seen.insert(digest(&other, &launch())), "firmware");
    let changes: [&dyn Fn(&mut Launch); 7] = [
        &|launch| launch.vcpus = 3,
        &|launch| launch.processor = Processor::of_model("EPYC-Genoa").expect("a model"),
        &|launch| launch.guest_features = 0x21,
        &|launch| launch.vmm = Vmm::Ec2,
        &|launch| launch.kernel_hashes = None,
        &|launch| launch.kernel_hashes = snp::KernelHashes::of(b"kernel", b"initrd", "quiet").ok(),
        &|launch| launch.kernel_hashes = snp::KernelHashes::of(b"kernel", b"", "quiet x").ok(),
    ];
    for change in changes {
        let mut launch = launch();
        change(&mut launch);
        assert!(seen.insert(digest(&image, &launch)));
    }
}

fn image(command_line: &str) -> Vec<u8> {
    let kernel = pe(&[(".text", b"a kernel")], &[]);
    pe(
        &[
            (".initrd", b"an initrd"),
            (".cmdline", command_line.as_bytes()),
            (".linux", &kernel),
            (".osrel", b"ID=adyton\n"),
        ],
        &[],
    )
}

#[test]
fn checksum_and_certificates_are_not_hashed_and_all_else_is() {
    let digest = |bytes: &[u8]| Image::parse(bytes).map(|image| image.authenticode::<Sha256>());
    let plain = pe(&[(".text", b"code"), (".data", b"data")], &[]);
    let signed = pe(&[(".text", b"code"), (".data", b"data")], &[7; 16]);
    assert_eq!(digest(&plain), digest(&signed));
    let mut other = plain.clone();
    other[0x40 + 24 + 64] ^= 0xff;
    assert_eq!(digest(&plain), digest(&other), "the checksum");
    for at in [2, 0x90, 0x300, 0x400, 0x600, plain.len() - 1] {
        let mut other = plain.clone();
        other[at] ^= 1;
        assert_ne!(digest(&plain), digest(&other), "byte {at:#x}");
    }
    let mut trailing = plain.clone();
    trailing.extend([1; 8]);
    assert_ne!(digest(&plain), digest(&trailing), "what follows the sections");
    trailing.push(0);
    assert!(digest(&trailing).is_err(), "a length that is padded by some");
}

#[test]
fn every_truncation_of_an_image_is_an_error() {
    let bytes = image("quiet");
    let whole = UnifiedKernelImage::parse(&bytes).expect("well-formed");
    assert!(whole.pcrs().is_ok());
    assert_eq!(whole.command_line(), Ok("quiet"));
    for length in 0..bytes.len() {
        let cut = UnifiedKernelImage::parse(&bytes[..length]).and_then(|image| image.pcrs());
        assert!(cut.is_err(), "{length} bytes");
    }
}

#[test]
fn an_image_that_depends_on_more_than_itself_is_refused() {
    let kernel = pe(&[(".text", b"a kernel")], &[]);
    let parse = |sections: &[(&str, &[u8])]| {
        let bytes = pe(sections, &[]);
        UnifiedKernelImage::parse(&bytes).map(drop)
    };
    let base: [(&str, &[u8]); 2] = [(".linux", &kernel), (".cmdline", b"quiet")];
    assert!(parse(&base).is_ok());
    assert!(parse(&base[..1]).is_err(), "no command line");
    assert!(parse(&base[1..]).is_err(), "no kernel");
    for section in [".ucode", ".profile", ".dtbauto", ".hwids", ".efifw"] {
        assert!(parse(&[base[0], base[1], (section, b"x")]).is_err(), "{section}");
    }
    assert!(parse(&[base[0], base[1], base[1]]).is_err(), "a section twice");
    for line in [" quiet", "quiet ", "quiet\n", "qui\net", "quiet\0", ""] {
        assert!(
            parse(&[base[0], (".cmdline", line.as_bytes())]).is_err(),
            "{line:?}"
        );
    }
}

#[test]
fn each_section_of_an_image_changes_a_register() {
    let pcrs = |bytes: &[u8]| {
        UnifiedKernelImage::parse(bytes)
            .and_then(|image| image.pcrs())
            .expect("measured")
    };
    let bytes = image("quiet");
    let base = pcrs(&bytes);
    let other = pcrs(&image("loud!"));
    assert!(base.pcr4 != other.pcr4 && base.pcr9 != other.pcr9 && base.pcr11 != other.pcr11);
    let text = bytes
        .windows(10)
        .position(|window| window == b"ID=adyton\n")
        .expect("there");
    let mut changed = bytes.clone();
    changed[text] ^= 1;
    let changed = pcrs(&changed);
    assert!(base.pcr4 != changed.pcr4 && base.pcr9 == changed.pcr9 && base.pcr11 != changed.pcr11);
    let digest = UnifiedKernelImage::parse(&bytes).map(|image| image.rtmrs().expect("measured"));
    assert_eq!(digest.expect("well-formed").0.len(), 6);
    assert_eq!(base.pcr11.len(), Sha256::output_size());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn changed_firmware_never_panics(changes in prop::collection::vec((0..0x420_usize, any::<u8>()), 1..8)) {
        let mut bytes = firmware();
        for (from_end, byte) in changes {
            let at = bytes.len() - 1 - from_end;
            bytes[at] = byte;
        }
        if let Ok(firmware) = snp::Firmware::parse(&bytes) {
            let _ = snp::launch_digest(&firmware, &launch());
        }
        if let Ok(firmware) = tdx::Firmware::parse(&bytes) {
            firmware.mrtd(PageOrder::SinglePass);
            firmware.mrtd(PageOrder::TwoPass);
            let _ = tdx::PlatformEvents::known(&firmware, 1 << 30, &tdx::SecureBoot::default());
        }
    }

    #[test]
    fn changed_images_never_panic(changes in prop::collection::vec((0..0x420_usize, any::<u8>()), 1..8)) {
        let mut bytes = image("quiet");
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let _ = UnifiedKernelImage::parse(&bytes).and_then(|image| image.rtmrs());
        let kernel = tdx::Kernel::Patched { file: &bytes, initrd_bytes: 4096, memory_bytes: 1 << 30 };
        let _ = tdx::kernel_events(kernel);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = snp::Firmware::parse(&bytes);
        let _ = tdx::Firmware::parse(&bytes);
        let _ = Image::parse(&bytes);
        let _ = snp::IdBlock::parse(&bytes);
        let _ = snp::IdAuth::parse(&bytes);
    }
}
