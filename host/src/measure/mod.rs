//! `adyton-host measure`: predicts what a launch will be measured as, and writes it as reference values of a policy.
//!
//! The host computes nothing here that anybody takes from it: who relies on a launch runs this on their own machine,
//! from their own copy of the files.

mod check;
mod references;
mod snp;
mod tdx;
mod uki;

use std::{io::Read, path::Path};

use clap::{Args, Subcommand};
use measurement::MeasureError;

pub use references::References;

use crate::error::HostError;

/// Arguments of `adyton-host measure`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
    adyton-host measure snp --firmware OVMF.amdsev.fd --kernel vmlinuz --initrd initrd.cpio \\\n      \
    --append 'console=hvc0' --vcpus 4 --vcpu-type EPYC-Milan >> policy.toml\n  \
    adyton-host measure tdx --firmware OVMF.fd --uki adyton.efi --memory 16G\n  \
    adyton-host measure uki adyton.efi --table azure.pcrs\n  \
    adyton-host measure uki adyton.efi --firmware OVMF.fd --disk adyton.img     (a whole table, for QEMU)\n  \
    adyton-host measure uki adyton.efi --table tdx            (by events, where the firmware is not yours)\n  \
    adyton-host measure --check snp.json"
)]
pub struct Arguments {
    /// Computes every case of a file of reference digests; ends with 0 only when all agree. Files that a case names by
    /// SHA-256 are looked for beside it and in the folder that ADYTON_FIRMWARE names.
    #[arg(long, value_name = "FILE")]
    check: Vec<std::path::PathBuf>,
    /// JSON instead of a part of a policy.
    #[arg(long, global = true, env = "ADYTON_JSON")]
    json: bool,
    #[command(subcommand)]
    kind: Option<Kind>,
}

#[derive(Subcommand)]
enum Kind {
    /// Launch digest of AMD SEV-SNP, and an ID block that pins it.
    Snp(Box<snp::Arguments>),
    /// MRTD and RTMR 0 to 3 of Intel TDX.
    Tdx(Box<tdx::Arguments>),
    /// PCR 4, 9 and 11 of a unified kernel image in a measured boot; with the firmware, all of them.
    Uki(uki::Arguments),
}

/// Runs the command and returns what it prints.
///
/// # Errors
/// [`HostError::Measure`] for an input that cannot be measured, [`HostError::Refuted`] when a check disagrees.
pub fn run(arguments: &Arguments) -> Result<String, HostError> {
    let references = match &arguments.kind {
        None => return check::run(&arguments.check, arguments.json),
        Some(Kind::Snp(arguments)) => snp::run(arguments)?,
        Some(Kind::Tdx(arguments)) => tdx::run(arguments)?,
        Some(Kind::Uki(arguments)) => uki::run(arguments)?,
    };
    Ok(if arguments.json {
        references.to_json()
    } else {
        references.to_toml()
    })
}

/// Reads a file up to a bound.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, HostError> {
    let io = || HostError::io(format!("read {}", path.display()));
    let file = std::fs::File::open(path).map_err(io())?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(io())?;
    if bytes.len() > bytes_max {
        return Err(HostError::Config(format!(
            "{} is longer than {bytes_max} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Reads as much of a file as `bytes` at its beginning.
fn read_beginning(path: &Path, bytes: usize) -> Result<Vec<u8>, HostError> {
    let io = || HostError::io(format!("read {}", path.display()));
    let file = std::fs::File::open(path).map_err(io())?;
    let mut beginning = Vec::new();
    file.take(bytes as u64)
        .read_to_end(&mut beginning)
        .map_err(io())?;
    Ok(beginning)
}

/// Names the file whose contents were at fault.
fn of(path: &Path) -> impl FnOnce(MeasureError) -> HostError {
    let path = path.display().to_string();
    move |source| HostError::Measure { path, source }
}

/// Parses a number, decimal or with 0x.
fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}
