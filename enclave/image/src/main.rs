//! `adyton-image`: builds the measured image, checks it, and puts it on disks. `scripts/build-image` and
//! `scripts/check-image` call it.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this binary speaks to a person"
)]

use std::{
    fs::{self, File},
    io::{BufWriter, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use image::{
    assemble::{Inputs, assemble},
    booted,
    check::{Finding, check},
    disk::{Disk, Format, UKI_BYTES_MAX},
    gce_archive,
    policy::{Policy, Variant},
    supply,
};

/// Builds the measured image, checks it, and puts it on disks.
#[derive(Parser)]
#[command(name = "adyton-image", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the packages that an image is made from: suite, name, version, SHA-256.
    Packages,
    /// Prints the files of the packages that an image is made from, modules without their compression.
    Files,
    /// Builds an image.
    #[command(after_help = "Example:\n  \
        adyton-image build --variant release --binary adyton-enclave --entry entry.bin --packages root/ \
        --crates crates.txt --out image/")]
    Build {
        /// Which image.
        #[arg(long, value_enum)]
        variant: VariantArg,
        /// The statically linked binary.
        #[arg(long, value_name = "FILE")]
        binary: PathBuf,
        /// The code before the kernel's entry.
        #[arg(long, value_name = "FILE")]
        entry: PathBuf,
        /// Folder in which the packages are unpacked.
        #[arg(long, value_name = "FOLDER")]
        packages: PathBuf,
        /// What `cargo tree --edges normal --prefix none` says of the binary.
        #[arg(long, value_name = "FILE")]
        crates: PathBuf,
        /// Folder that the image is written to.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Checks a built image against the policy: one line a finding.
    Check {
        /// The image's folder.
        #[arg(value_name = "FOLDER")]
        image: PathBuf,
        /// Folder in which the packages are unpacked.
        #[arg(long, value_name = "FOLDER")]
        packages: PathBuf,
    },
    /// Checks what a booted guest of the simulated image wrote to its console.
    CheckBooted {
        /// The boot log.
        #[arg(value_name = "FILE")]
        log: PathBuf,
    },
    /// Writes a disk that boots a unified kernel image: the same image, the same bytes.
    #[command(after_help = "Examples:\n  \
        adyton-image disk adyton.efi --format raw --out adyton.img        (QEMU, or a disk of your own)\n  \
        adyton-image disk adyton.efi --format vhd --out adyton.vhd        (Azure)\n  \
        adyton-image disk adyton.efi --format gce --out adyton.tar.gz     (Compute Engine)")]
    Disk {
        /// The unified kernel image.
        #[arg(value_name = "UKI")]
        uki: PathBuf,
        /// How it is written.
        #[arg(long, value_enum)]
        format: FormatArg,
        /// File that is written.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Writes the disk that a cloud attaches to a machine: an archive of enclave.toml and the sealed model, then zeros.
    #[command(after_help = "Examples:\n  \
        tar --format=gnu --owner=0 --group=0 -cf supply.img enclave.toml model/\n  \
        adyton-image supply supply.img --format vhd --out supply.vhd        (Azure)\n  \
        adyton-image supply supply.img --format gce --out supply.tar.gz     (Compute Engine)")]
    Supply {
        /// The archive.
        #[arg(value_name = "ARCHIVE")]
        archive: PathBuf,
        /// How it is written.
        #[arg(long, value_enum)]
        format: FormatArg,
        /// File that is written.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum VariantArg {
    /// What serves.
    Release,
    /// With the simulated security processor and a console.
    Simulated,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    /// As it is.
    Raw,
    /// Fixed VHD of whole MiB.
    Vhd,
    /// disk.raw of whole GiB in a compressed archive.
    Gce,
}

impl FormatArg {
    fn format(self) -> Format {
        match self {
            Self::Raw => Format::Raw,
            Self::Vhd => Format::Vhd,
            Self::Gce => Format::Gce,
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("adyton-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<bool> {
    let policy = Policy::of_this_version()?;
    match command {
        Command::Packages => {
            for package in &policy.packages {
                println!(
                    "{} {} {} {}",
                    package.suite, package.name, package.version, package.sha256
                );
            }
            Ok(true)
        }
        Command::Files => {
            let kernel = &policy.kernel;
            for file in [&kernel.image, &kernel.options, &kernel.stub] {
                println!("{file}");
            }
            for file in &policy.modules.files {
                println!("{}/{file}", kernel.modules);
            }
            Ok(true)
        }
        Command::Build {
            variant,
            binary,
            entry,
            packages,
            crates,
            out,
        } => {
            let crates = read_text(&crates)?;
            let inputs = Inputs {
                variant: match variant {
                    VariantArg::Release => Variant::Release,
                    VariantArg::Simulated => Variant::Simulated,
                },
                binary: &binary,
                entry: &entry,
                packages: &packages,
                crates: &crates,
            };
            write(&out, &assemble(&policy, &inputs)?)?;
            Ok(true)
        }
        Command::Check { image, packages } => Ok(report(&check(&policy, &image, &packages)?)),
        Command::Disk { uki, format, out } => write_disk(&uki, format, &out).map(|()| true),
        Command::Supply { archive, format, out } => write_supply(&archive, format, &out).map(|()| true),
        Command::CheckBooted { log } => Ok(report(&booted::check(&policy, &read_text(&log)?)?)),
    }
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write(out: &Path, artifacts: &[(&str, Vec<u8>)]) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    for (name, bytes) in artifacts {
        let path = out.join(name);
        fs::write(&path, bytes).with_context(|| format!("{} cannot be written", path.display()))?;
        println!("{:>10} bytes  {}", bytes.len(), path.display());
    }
    Ok(())
}

/// Prints every finding; whether all passed.
fn report(findings: &[Finding]) -> bool {
    for finding in findings {
        println!("{}", finding.line());
    }
    findings.iter().all(|finding| finding.faults.is_empty())
}

fn write_disk(uki: &Path, format: FormatArg, out: &Path) -> anyhow::Result<()> {
    let mut image = Vec::new();
    File::open(uki)
        .and_then(|file| file.take(UKI_BYTES_MAX + 1).read_to_end(&mut image))
        .with_context(|| format!("{} cannot be read", uki.display()))?;
    anyhow::ensure!(
        image.starts_with(b"MZ"),
        "{} is no EFI program; scripts/build-image writes adyton.efi",
        uki.display()
    );
    let format = format.format();
    let disk = Disk::booting(&image, format.granularity())?;
    write_whole(out, |file| {
        match format {
            Format::Raw => disk.write_raw(file),
            Format::Vhd => disk.write_vhd(file),
            Format::Gce => gce_archive::write(&disk, BufWriter::new(file)),
        }?;
        Ok(disk.bytes)
    })
}

fn write_supply(archive: &Path, format: FormatArg, out: &Path) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be read", archive.display());
    let mut archive = File::open(archive).with_context(cannot)?;
    write_whole(out, |file| supply::write(&mut archive, format.format(), file))
}

/// A file that is whole or not there: an upload of half a disk would boot nothing. `write` says how long its disk is.
fn write_whole(out: &Path, write: impl FnOnce(&mut File) -> anyhow::Result<u64>) -> anyhow::Result<()> {
    let cannot = |path: &Path| format!("{} cannot be written", path.display());
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = File::create(&partial).with_context(|| cannot(&partial))?;
    let bytes = write(&mut file).with_context(|| cannot(out))?;
    file.sync_all()
        .and_then(|()| fs::rename(&partial, out))
        .with_context(|| cannot(out))?;
    println!("{bytes} bytes of disk  {}", out.display());
    Ok(())
}
