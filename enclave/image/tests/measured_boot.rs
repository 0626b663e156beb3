//! A boot from the disk is measured as it was predicted, and its ACPI tables are the image's own: OVMF, a software TPM, the
//! image's own stub, entry and kernel, and an init that reads registers and tables. What Azure's paravisor and Google's vTPM
//! are asked for is the same three PCRs. On q35, and on a machine with the chipset of Compute Engine's.
//!
//! Needs the packages and the entry that `scripts/build-image` leaves behind; says NOT RUN without them.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use image::{
    assemble::{Inputs, assemble},
    disk::{Disk, Format},
    policy::{Policy, Variant},
};
use measurement::uki::UnifiedKernelImage;

const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const QEMU: &str = "/usr/bin/qemu-system-x86_64";
const BOOT_SECONDS_MAX: u64 = 600;

/// A machine of QEMU's: its name, its TPM, and how its disk is attached.
struct Machine {
    name: &'static str,
    tpm: &'static str,
    disk: &'static str,
    tables: &'static [&'static str],
}

const MACHINES: [Machine; 2] = [
    Machine {
        name: "q35",
        tpm: "tpm-crb",
        disk: "virtio-blk-pci",
        tables: &["APIC", "DSDT", "FACP", "MCFG", "TPM2"],
    },
    Machine {
        name: "pc",
        tpm: "tpm-tis",
        disk: "nvme,serial=boot",
        tables: &["APIC", "DSDT", "FACP", "TPM2"],
    },
];

/// Prints the ACPI tables with who made them, and the PCRs of the SHA-256 bank, as the kernel has them.
const INIT: &str = r#"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
    int console = open("/dev/console", O_WRONLY);
    mkdir("/sys", 0755);
    mount("sysfs", "/sys", "sysfs", 0, 0);
    DIR *tables = opendir("/sys/firmware/acpi/tables");
    for (struct dirent *entry; tables && (entry = readdir(tables));) {
        char name[300], header[36] = "";
        snprintf(name, sizeof name, "/sys/firmware/acpi/tables/%s", entry->d_name);
        int file = open(name, O_RDONLY);
        if (file >= 0 && read(file, header, 36) == 36) dprintf(console, "TABLE %s %.6s\n", entry->d_name, header + 10);
    }
    for (int pcr = 0; pcr < 16; pcr++) {
        char name[64], value[65] = "";
        snprintf(name, sizeof name, "/sys/class/tpm/tpm0/pcr-sha256/%d", pcr);
        int file = open(name, O_RDONLY);
        if (file >= 0 && read(file, value, 64) == 64) dprintf(console, "PCR %d %s\n", pcr, value);
    }
    dprintf(console, "PCRs end\n");
    sleep(1);
    return reboot(RB_AUTOBOOT);
}
"#;

/// What `scripts/build-image` leaves behind.
fn image_folder() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/image");
    std::env::var_os("ADYTON_IMAGE_DIR").map_or_else(default, PathBuf::from)
}

/// Stopped when the test ends, however it ends.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

#[test]
fn a_boot_from_the_disk_is_measured_as_predicted() {
    let (packages, entry) = (
        image_folder().join("packages/unpacked"),
        image_folder().join("entry.bin"),
    );
    for needed in [
        &packages.join("boot"),
        &entry,
        Path::new(FIRMWARE),
        Path::new(QEMU),
        Path::new("/usr/bin/swtpm"),
    ] {
        if !needed.exists() {
            eprintln!("NOT RUN: {} is not there", needed.display());
            return;
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let text = |name: &str| place(name).display().to_string();
    fs::write(place("init.c"), INIT).expect("written");
    let compiled = Command::new("cc")
        .args(["-static", "-O1", "-o", &text("init"), &text("init.c")])
        .status();
    assert!(compiled.expect("a C compiler").success());

    let policy = Policy::of_this_version().expect("it parses");
    let artifacts = assemble(
        &policy,
        &Inputs {
            variant: Variant::Simulated, // it has a console
            binary: &place("init"),
            entry: &entry,
            packages: &packages,
            crates: "none v0.0.0\n",
        },
    );
    let artifacts = artifacts.expect("an image");
    let (_, uki) = artifacts
        .iter()
        .find(|(name, _)| *name == "adyton.efi")
        .expect("it has one");
    let predicted = UnifiedKernelImage::parse(uki)
        .and_then(|image| image.pcrs())
        .expect("measurable");
    let mut disk = fs::File::create(place("disk.img")).expect("made");
    Disk::booting(uki, Format::Raw.granularity())
        .expect("within the bounds")
        .write_raw(&mut disk)
        .expect("written");

    for machine in MACHINES {
        let name = machine.name;
        let printed = boot(folder.path(), &machine);
        let registers = pairs(&printed, "PCR ");
        for (pcr, value) in [
            ("4", &predicted.pcr4),
            ("9", &predicted.pcr9),
            ("11", &predicted.pcr11),
        ] {
            assert_eq!(registers.get(pcr), Some(&hex::encode(value)), "{name}: PCR {pcr}");
        }
        // What a policy drafted for a cloud holds at zero is zero: nothing came from outside the image.
        for pcr in ["8", "12", "13", "14", "15"] {
            assert_eq!(registers.get(pcr), Some(&"0".repeat(64)), "{name}: PCR {pcr}");
        }
        let tables = pairs(&printed, "TABLE ");
        // A FACS has no author.
        assert!(
            tables.values().all(|author| author == "adyton"),
            "{name}: {tables:?}"
        );
        let names: Vec<_> = tables.keys().map(String::as_str).collect();
        assert_eq!(names, machine.tables, "{name}");
    }
}

/// The lines that begin so: what stands first, and what stands behind it in lower case.
fn pairs(printed: &str, begin: &str) -> BTreeMap<String, String> {
    let lines = printed.lines();
    lines
        .filter_map(|line| line.trim().strip_prefix(begin)?.split_once(' '))
        .map(|(first, second)| (first.to_owned(), second.trim().to_lowercase()))
        .collect()
}

/// Boots disk.img with a software TPM, and returns what the console showed.
fn boot(folder: &Path, machine: &Machine) -> String {
    let text = |name: &str| folder.join(name).display().to_string();
    fs::copy(VARIABLES, folder.join("variables")).expect("copied");
    for left in ["tpm.sock", "console"] {
        let _ = fs::remove_file(folder.join(left)); // of the boot before
    }
    let _ = fs::remove_dir_all(folder.join("tpm"));
    fs::create_dir(folder.join("tpm")).expect("made");
    let _tpm = Running(
        Command::new("/usr/bin/swtpm")
            .args(["socket", "--tpm2", "--tpmstate", &format!("dir={}", text("tpm"))])
            .args(["--ctrl", &format!("type=unixio,path={}", text("tpm.sock"))])
            .stdin(Stdio::null())
            .spawn()
            .expect("swtpm starts"),
    );
    let begun = Instant::now();
    let wait = |until: &dyn Fn() -> bool| {
        while !until() {
            assert!(
                begun.elapsed().as_secs() < BOOT_SECONDS_MAX,
                "{}",
                console(folder)
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    wait(&|| folder.join("tpm.sock").exists());
    let _machine = Running(
        Command::new(QEMU)
            .args([
                "-machine",
                &format!("{},accel=tcg,smm=off", machine.name),
                "-cpu",
                "max,fma=off,avx2=off,avx=off",
                "-m",
                "512",
            ])
            .args(["-display", "none", "-nodefaults", "-no-reboot"])
            .args(["-serial", &format!("file:{}", text("console"))])
            .args([
                "-drive",
                &format!("if=pflash,format=raw,readonly=on,file={FIRMWARE}"),
            ])
            .args([
                "-drive",
                &format!("if=pflash,format=raw,file={}", text("variables")),
            ])
            .args([
                "-drive",
                &format!("if=none,id=disk,snapshot=on,format=raw,file={}", text("disk.img")),
                "-device",
                &format!("{},drive=disk", machine.disk),
            ])
            .args(["-chardev", &format!("socket,id=tpm,path={}", text("tpm.sock"))])
            .args([
                "-tpmdev",
                "emulator,id=tpm0,chardev=tpm",
                "-device",
                &format!("{},tpmdev=tpm0", machine.tpm),
            ])
            .stdin(Stdio::null())
            .spawn()
            .expect("QEMU starts"),
    );
    wait(&|| console(folder).contains("PCRs end"));
    console(folder)
}

fn console(folder: &Path) -> String {
    let bytes = fs::read(folder.join("console")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
