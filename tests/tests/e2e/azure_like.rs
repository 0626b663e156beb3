//! The main job in a SIMULATED machine like one of Azure's: OVMF boots the image from a disk and measures it into a
//! software TPM, a SIMULATED paravisor vouches for that TPM, and the collector of the release binary asks it. Clients and
//! broker compare registers and replay the event log. The machine is reached over its network, as there.
//!
//! The image is the one of `machine`; swtpm is needed, too.

use std::{fs, path::Path, process::Command};

use harness::deployment::{Deployment, binary, succeed};

use crate::{
    machine::{End, Launch, MEASUREMENT, Tampering, check_booted, flip, image, tamper_all},
    main_job::{QUESTION, ask, written_answer},
};

const SWTPM: &str = "/usr/bin/swtpm";
/// The clause that compares registers.
const REGISTERS: &str = "vtpm-pcr-values";

/// Boots another disk: that of the deployment's image after `change`.
fn change_image(launch: &mut Launch<'_>, change: impl FnOnce(&mut Vec<u8>)) {
    let image = image().expect("it was there");
    let mut bytes = fs::read(image.join("adyton.efi")).expect("a file of the image");
    change(&mut bytes);
    let (changed, disk) = (launch.folder.join("changed.efi"), launch.folder.join("boot.img"));
    fs::write(&changed, bytes).expect("ours");
    let mut write = Command::new(binary("adyton-image"));
    succeed(
        write
            .arg("disk")
            .arg(changed)
            .args(["--format", "raw", "--out"])
            .arg(&disk),
    );
    launch.set("disk", disk.to_str().expect("UTF-8"));
}

/// Gives the machine's keys another authority for vTPMs; the security processor stays the same.
fn change_authority(launch: &mut Launch<'_>) {
    let (platform, copy) = (launch.text("platform"), launch.folder.join("platform"));
    fs::create_dir(&copy).expect("ours");
    for entry in fs::read_dir(Path::new(&platform)).expect("a folder") {
        let file = entry.expect("an entry");
        if !file.file_name().to_string_lossy().starts_with("azure-vtpm") {
            fs::copy(file.path(), copy.join(file.file_name())).expect("ours");
        }
    }
    let mut manufacture = Command::new(binary("adyton-enclave-simulated"));
    succeed(manufacture.args(["manufacture", "--platform"]).arg(&copy));
    launch.set("platform", copy.to_str().expect("UTF-8"));
}

const TAMPERINGS: [Tampering; 4] = [
    (
        "initrd in the image",
        |launch| change_image(launch, |bytes| flip(bytes, b"1793491200\n")),
        End::Refused(REGISTERS),
    ),
    (
        "command line in the image",
        |launch| change_image(launch, |bytes| flip(bytes, b"slab_nomerge ")),
        End::Refused(REGISTERS),
    ),
    // A byte of the firmware that is erased flash.
    (
        "firmware",
        |launch| launch.change_file("firmware", |bytes| flip(bytes, &[0xff; 64])),
        End::Refused(MEASUREMENT),
    ),
    ("another vTPM", change_authority, End::Refused("azure-ak-chain")),
];

#[test]
fn the_main_job_in_an_azure_like_machine_and_what_another_boot_ends_in() {
    let Some(image) = image() else { return };
    if !Path::new(SWTPM).exists() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no swtpm");
        eprintln!("NOT RUN: no {SWTPM} (Debian package swtpm)");
        return;
    }
    let deployment = Deployment::start_azure_like_machine(&image);

    let explained = succeed(deployment.adyton().args(["verify", "--explain"]));
    assert!(
        explained.contains("SIMULATED") && !explained.contains("FAIL"),
        "{explained}"
    );
    assert!(explained.contains("simulated-azure-amd-sev-snp"), "{explained}");
    let log = explained.lines().find(|line| line.contains("vtpm-event-log"));
    assert!(log.is_some_and(|line| line.contains("PASS")), "{explained}");
    assert_eq!(ask(&deployment, QUESTION).trim(), written_answer(QUESTION));
    check_booted(&deployment);
    tamper_all(deployment, &TAMPERINGS);
}
