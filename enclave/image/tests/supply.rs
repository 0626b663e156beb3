//! The supply's disk is the archive and zeros, in every format, and other programs read it.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// An archive as docs/launch.md has it, with a model of `bytes`.
fn archive(folder: &Path, files: &[&str], bytes: usize) -> PathBuf {
    fs::write(folder.join("enclave.toml"), "threads = 1\n").expect("written");
    fs::create_dir_all(folder.join("model")).expect("made");
    fs::write(folder.join("model/weights-00001.sealed"), vec![7; bytes]).expect("written");
    let path = folder.join("supply.img");
    let tar = Command::new("tar")
        .current_dir(folder)
        .args(["--format=gnu", "--owner=0", "--group=0", "-cf"])
        .arg(&path)
        .args(files)
        .output()
        .expect("tar is everywhere");
    assert!(tar.status.success());
    path
}

fn adyton_image(archive: &Path, format: &str, out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_adyton-image"))
        .arg("supply")
        .arg(archive)
        .args(["--format", format, "--out"])
        .arg(out)
        .output()
        .expect("it runs")
}

fn write(archive: &Path, format: &str, out: &Path) -> Vec<u8> {
    let output = adyton_image(archive, format, out);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    fs::read(out).expect("written")
}

/// The archive, then nothing but zeros, to a whole number of `unit` bytes.
fn assert_is_archive_and_zeros(disk: &[u8], archive: &[u8], unit: usize) {
    assert_eq!(disk.len(), archive.len().next_multiple_of(unit));
    assert!(disk[..archive.len()] == *archive);
    assert!(disk[archive.len()..].iter().all(|byte| *byte == 0));
}

#[test]
fn raw_and_vhd_are_the_archive_in_whole_mebibytes_and_the_same_each_time() {
    let folder = TempDir::new().expect("a folder");
    for bytes in [1, 3 * MIB] {
        let path = archive(folder.path(), &["enclave.toml", "model"], bytes);
        let contents = fs::read(&path).expect("there");
        assert_is_archive_and_zeros(&write(&path, "raw", &folder.path().join("raw")), &contents, MIB);
        let file = folder.path().join("supply.vhd");
        let vhd = write(&path, "vhd", &file);
        let (disk, footer) = vhd.split_at(vhd.len() - 512);
        assert_is_archive_and_zeros(disk, &contents, MIB);
        assert!(footer.starts_with(b"conectix"));
        assert!(write(&path, "vhd", &folder.path().join("again.vhd")) == vhd);
        match Command::new("qemu-img")
            .args(["info", "-f", "vpc"])
            .arg(&file)
            .output()
        {
            Ok(info) => {
                let said = String::from_utf8_lossy(&info.stdout);
                assert!(said.contains(&format!("({} bytes)", disk.len())), "{said}");
            }
            Err(error) => eprintln!("NOT RUN: qemu-img: {error}"),
        }
    }
}

#[test]
fn tar_reads_the_disk_of_compute_engine_back() {
    let folder = TempDir::new().expect("a folder");
    let path = archive(folder.path(), &["./enclave.toml", "./model"], 5000);
    let file = folder.path().join("supply.tar.gz");
    let first = write(&path, "gce", &file);
    assert!(first.len() < MIB, "holes take no room");
    let extracted = Command::new("tar")
        .current_dir(folder.path())
        .arg("-xzf")
        .arg(&file)
        .output()
        .expect("tar is everywhere");
    assert!(
        extracted.status.success(),
        "{}",
        String::from_utf8_lossy(&extracted.stderr)
    );
    let disk = fs::read(folder.path().join("disk.raw")).expect("extracted");
    assert_is_archive_and_zeros(&disk, &fs::read(&path).expect("there"), 1 << 30);
}

#[test]
fn what_init_would_not_find_is_not_written() {
    let folder = TempDir::new().expect("a folder");
    let out = folder.path().join("out");
    let text = folder.path().join("text");
    fs::write(&text, "enclave.toml").expect("written");
    let cut = folder.path().join("cut");
    let whole = fs::read(archive(folder.path(), &["enclave.toml"], 10)).expect("there");
    fs::write(&cut, &whole[..700]).expect("written");
    let other = archive(folder.path(), &["model", "enclave.toml"], 10);
    for (path, reason) in [
        (&other, "does not begin with enclave.toml"),
        (&text, "does not begin with enclave.toml"),
        (&cut, "whole blocks"),
    ] {
        let output = adyton_image(path, "vhd", &out);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(reason), "{said}");
        assert!(!out.exists());
    }
}
