//! `adyton-image`: the measured image, as clouds and firmware take it.

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
    disk::{Disk, Format, UKI_BYTES_MAX},
    gce_archive,
};

/// The measured image, as clouds and firmware take it.
#[derive(Parser)]
#[command(name = "adyton-image", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adyton-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Disk { uki, format, out } => write_disk(&uki, format, &out),
    }
}

fn write_disk(uki: &Path, format: FormatArg, out: &Path) -> anyhow::Result<()> {
    let cannot = |what: &str, path: &Path| format!("{} cannot be {what}", path.display());
    let mut image = Vec::new();
    File::open(uki)
        .and_then(|file| file.take(UKI_BYTES_MAX + 1).read_to_end(&mut image))
        .with_context(|| cannot("read", uki))?;
    anyhow::ensure!(
        image.starts_with(b"MZ"),
        "{} is no EFI program; scripts/build-image writes adyton.efi",
        uki.display()
    );
    let format = match format {
        FormatArg::Raw => Format::Raw,
        FormatArg::Vhd => Format::Vhd,
        FormatArg::Gce => Format::Gce,
    };
    let disk = Disk::booting(&image, format.granularity())?;
    // A file that is whole or not there: an upload of half a disk would boot nothing.
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = File::create(&partial).with_context(|| cannot("written", &partial))?;
    let written = match format {
        Format::Raw => disk.write_raw(&mut file),
        Format::Vhd => disk.write_vhd(&mut file),
        Format::Gce => gce_archive::write(&disk, BufWriter::new(&file)),
    };
    written
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&partial, out))
        .with_context(|| cannot("written", out))?;
    println!("{} bytes of disk  {}", disk.bytes, out.display());
    Ok(())
}
