//! Disks are the same bytes each time, and programs that nobody here wrote find no fault in them.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// An EFI program that shows a menu on the console.
const EFI_PROGRAM: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const SAYS: &str = "Reboot Into Firmware Interface";
const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// An image of `bytes`, of bytes that compress badly and differ from sector to sector.
fn image(folder: &Path, bytes: usize) -> PathBuf {
    let mut contents = b"MZ".to_vec();
    let mut block = Sha256::digest(bytes.to_le_bytes());
    while contents.len() < bytes {
        block = Sha256::digest(block);
        contents.extend(block);
    }
    contents.truncate(bytes);
    let path = folder.join(format!("{bytes}.efi"));
    fs::write(&path, contents).expect("written");
    path
}

fn write(uki: &Path, format: &str, out: &Path) {
    let output = adyton_image(uki, format, out);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn adyton_image(uki: &Path, format: &str, out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_adyton-image"))
        .args([Path::new("disk"), uki, Path::new("--format"), Path::new(format)])
        .arg("--out")
        .arg(out)
        .output()
        .expect("it runs")
}

/// Runs another program over a file; `None`, said plainly, where it is not installed. In CI it must be.
fn other(program: &str, arguments: &[&str]) -> Option<String> {
    let path = format!("/usr/sbin:/sbin:{}", std::env::var("PATH").unwrap_or_default());
    let output = match Command::new("env")
        .arg(format!("PATH={path}"))
        .arg(program)
        .args(arguments)
        .output()
    {
        Ok(output) if output.status.code() != Some(127) => output,
        _ => {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{program} is missing"
            );
            eprintln!("NOT RUN: {program} is not installed");
            return None;
        }
    };
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    Some(said)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn digest(path: &Path) -> String {
    hex::encode(Sha256::digest(fs::read(path).expect("readable")))
}

/// Sizes at the edges: one cluster, below and above the smallest volume, and where clusters become larger.
const SIZES: [usize; 5] = [2, 512, 60 << 20, (62 << 20) + 1, 256 << 20];

#[test]
fn other_programs_find_no_fault_in_table_and_volume() {
    let folder = TempDir::new().expect("a folder");
    for bytes in SIZES {
        let uki = image(folder.path(), bytes);
        let disk = folder.path().join("disk.img");
        write(&uki, "raw", &disk);
        assert_eq!(fs::metadata(&disk).expect("there").len() % (1 << 20), 0);
        if let Some(said) = other("sgdisk", &["--verify", text(&disk)]) {
            assert!(said.contains("No problems found"), "{bytes}: {said}");
        }
        let volume = folder.path().join("volume.img");
        let contents = fs::read(&disk).expect("readable");
        fs::write(&volume, &contents[1 << 20..contents.len() - (1 << 20)]).expect("written");
        if let Some(said) = other("fsck.vfat", &["-n", "-v", text(&volume)]) {
            assert!(said.contains("4 files"), "{bytes}: {said}");
            assert!(
                !said.contains("differ") && !said.contains("wrong"),
                "{bytes}: {said}"
            );
        }
        let back = folder.path().join("back.efi");
        if other(
            "mcopy",
            &["-n", "-i", text(&volume), "::/EFI/BOOT/BOOTX64.EFI", text(&back)],
        )
        .is_some()
        {
            assert_eq!(digest(&back), digest(&uki), "{bytes}");
            fs::remove_file(&back).expect("removed");
        }
        fs::remove_file(&uki).expect("removed");
    }
}

#[test]
fn clouds_formats_hold_the_same_disk() {
    let folder = TempDir::new().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let uki = image(folder.path(), 3 << 20);
    for (format, name) in [("raw", "disk.img"), ("vhd", "disk.vhd"), ("gce", "disk.tar.gz")] {
        write(&uki, format, &place(name));
    }
    let raw = fs::read(place("disk.img")).expect("readable");
    let vhd = fs::read(place("disk.vhd")).expect("readable");
    assert_eq!(vhd.len(), raw.len() + 512);
    assert!(vhd.starts_with(&raw), "a fixed VHD is the disk and a footer");
    if let Some(said) = other("qemu-img", &["info", "-f", "vpc", text(&place("disk.vhd"))]) {
        assert!(said.contains(&format!("({} bytes)", raw.len())), "{said}");
        let compared = other(
            "qemu-img",
            &[
                "compare",
                "-f",
                "raw",
                "-F",
                "vpc",
                text(&place("disk.img")),
                text(&place("disk.vhd")),
            ],
        );
        assert!(compared.is_some_and(|said| said.contains("identical")));
    }

    if let Some(listed) = other("tar", &["tzvf", text(&place("disk.tar.gz"))]) {
        assert!(
            listed.contains("root/root")
                && listed.contains(" 1073741824 1970-01-01")
                && listed.contains("disk.raw"),
            "{listed}"
        );
        assert!(
            fs::metadata(place("disk.tar.gz")).expect("there").len() < 4 << 20,
            "holes cost nothing"
        );
        other(
            "tar",
            &["xzf", text(&place("disk.tar.gz")), "-C", text(folder.path())],
        );
        let extracted = fs::read(place("disk.raw")).expect("extracted");
        assert_eq!(extracted.len(), 1 << 30);
        // Up to the first table's words on where the disk ends it is the raw disk.
        let volume = 1 << 20..raw.len() - (1 << 20);
        assert!(extracted[volume.clone()] == raw[volume], "the volume is the same");
        if let Some(said) = other("sgdisk", &["--verify", text(&place("disk.raw"))]) {
            assert!(said.contains("No problems found"), "{said}");
        }
    }
}

#[test]
fn the_same_image_gives_the_same_bytes_and_another_image_another_disk() {
    let folder = TempDir::new().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let (one, other) = (image(folder.path(), 4096), image(folder.path(), 4097));
    for format in ["raw", "vhd", "gce"] {
        write(&one, format, &place("first"));
        std::thread::sleep(Duration::from_millis(1100)); // formats count in seconds
        let again = Command::new("env")
            .args([
                "-i",
                "TZ=Asia/Kathmandu",
                env!("CARGO_BIN_EXE_adyton-image"),
                "disk",
            ])
            .args([text(&one), "--format", format, "--out", text(&place("second"))])
            .output()
            .expect("it runs");
        assert!(again.status.success());
        assert_eq!(digest(&place("first")), digest(&place("second")), "{format}");
        write(&other, format, &place("third"));
        assert_ne!(digest(&place("first")), digest(&place("third")));
    }
    // GUIDs are the image's: 56 is the disk's in the header, 16 the partition's in its entry.
    write(&one, "raw", &place("first"));
    write(&other, "raw", &place("third"));
    let (first, third) = (
        fs::read(place("first")).expect("readable"),
        fs::read(place("third")).expect("readable"),
    );
    for at in [512 + 56, 1024 + 16] {
        assert_ne!(first[at..at + 16], third[at..at + 16]);
        assert_eq!(first[at + 7] >> 4, 8, "version 8");
    }
}

#[test]
fn what_is_no_image_is_refused_and_nothing_is_left() {
    let folder = TempDir::new().expect("a folder");
    let (file, out) = (folder.path().join("file"), folder.path().join("out"));
    for contents in [&b""[..], b"#!/bin/sh"] {
        fs::write(&file, contents).expect("written");
        let output = adyton_image(&file, "vhd", &out);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("is no EFI program"));
    }
    fs::File::create(&file)
        .and_then(|mut file| {
            use std::io::Write as _;
            file.write_all(b"MZ")?;
            file.set_len((1 << 30) + 1)
        })
        .expect("a large file");
    let output = adyton_image(&file, "raw", &out);
    assert!(String::from_utf8_lossy(&output.stderr).contains("1073741825 bytes"));
    assert!(!out.exists());
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
}

/// OVMF finds the table, the partition and the program on it: the program is systemd's boot menu, which shows itself.
#[test]
fn firmware_boots_the_disk() {
    for file in [EFI_PROGRAM, FIRMWARE, VARIABLES, "/usr/bin/qemu-system-x86_64"] {
        if !Path::new(file).exists() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{file} is missing");
            eprintln!("NOT RUN: {file} is not there");
            return;
        }
    }
    let folder = TempDir::new().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    write(Path::new(EFI_PROGRAM), "raw", &place("disk.img"));
    fs::copy(VARIABLES, place("variables")).expect("copied");
    let mut machine = Command::new("/usr/bin/qemu-system-x86_64")
        .args([
            "-machine",
            "q35,accel=tcg",
            "-m",
            "256",
            "-display",
            "none",
            "-nodefaults",
            "-no-reboot",
        ])
        .args(["-serial", &format!("file:{}", text(&place("console")))])
        .args([
            "-drive",
            &format!("if=pflash,format=raw,readonly=on,file={FIRMWARE}"),
        ])
        .args([
            "-drive",
            &format!("if=pflash,format=raw,file={}", text(&place("variables"))),
        ])
        .args([
            "-drive",
            &format!("if=virtio,format=raw,file={}", text(&place("disk.img"))),
        ])
        .stdin(Stdio::null())
        .spawn()
        .expect("QEMU starts");
    let started = Instant::now();
    let booted = loop {
        let console = fs::read(place("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console).into_owned();
        if console.contains(SAYS) {
            break true;
        }
        if started.elapsed() > Duration::from_secs(120) {
            eprintln!("{console}");
            break false;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    machine.kill().expect("our child");
    machine.wait().expect("our child");
    assert!(booted, "firmware did not start the program on the disk");
}
