//! `adyton-host measure uki`.

use std::path::{Path, PathBuf};

use clap::Args;
use measurement::{FIRMWARE_BYTES_MAX, KERNEL_BYTES_MAX, registers, uki::UnifiedKernelImage};
use sha2::Sha256;

use super::{References, of, read, read_beginning, references::hex};
use crate::error::HostError;

#[derive(Args)]
pub(super) struct Arguments {
    /// The image.
    #[arg(value_name = "FILE")]
    image: PathBuf,
    /// Table of the policy that the values are for: a table of PCRs, or tdx for the events that the image brings into
    /// RTMR 1 and 2, among those of firmware.
    #[arg(long, value_name = "TABLE", default_value = "azure.pcrs", value_parser = table)]
    table: String,
    /// Firmware by which a machine of QEMU's boots the image from a disk, OVMF without Secure Boot: adds the other PCRs, so
    /// that the table is whole.
    #[arg(long, value_name = "FILE")]
    firmware: Option<PathBuf>,
    /// That disk (`adyton-image disk --format raw`): adds PCR 5.
    #[arg(long, value_name = "FILE", requires = "firmware")]
    disk: Option<PathBuf>,
}

fn table(name: &str) -> Result<String, String> {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if name.split('.').all(word) {
        Ok(name.to_owned())
    } else {
        Err("a table like azure.pcrs".to_owned())
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<References, HostError> {
    let bytes = read(&arguments.image, KERNEL_BYTES_MAX)?;
    let image = UnifiedKernelImage::parse(&bytes).map_err(of(&arguments.image))?;
    if arguments.table == "tdx" {
        if arguments.firmware.is_some() {
            return Err(HostError::Config("--firmware is for a table of PCRs".to_owned()));
        }
        return events(arguments, &image);
    }
    let measured = image.measure::<Sha256>().map_err(of(&arguments.image))?;
    let pcrs = measured.pcrs::<Sha256>();
    let mut references = References::new(&arguments.table);
    references.comment(format!("unified kernel image {}", arguments.image.display()));
    references.comment(format!(
        "command line {:?}",
        image.command_line().map_err(of(&arguments.image))?
    ));
    references.comment("4: booted directly by firmware, without a boot loader; 9: without systemd add-ons");
    references.accept("4", &pcrs.pcr4);
    references.accept("9", &pcrs.pcr9);
    references.accept("11", &pcrs.pcr11);
    if let Some(firmware) = &arguments.firmware {
        machine(&mut references, firmware, arguments.disk.as_deref())?;
    }
    references.detail("authenticode_sha256", hex(&measured.image));
    references.detail("kernel_authenticode_sha256", hex(&measured.kernel));
    Ok(references)
}

/// The PCRs that are not the image's. Words are for those that the host writes, or that nobody can know from these files.
fn machine(references: &mut References, firmware: &Path, disk: Option<&Path>) -> Result<(), HostError> {
    let image = read(firmware, FIRMWARE_BYTES_MAX)?;
    references.comment(format!(
        "firmware {}, without Secure Boot, in QEMU",
        firmware.display()
    ));
    references.comment(
        "1: boot variables and ACPI tables, which the host writes; 10: the kernel's digest of 0 to 9",
    );
    references.word("1", "any");
    references.word("10", "any");
    match registers::firmware(&image) {
        Some(pcr) => references.accept("0", &pcr),
        None => {
            references.comment("0: of a build that is not known; its launch digest is what pins it");
            references.word("0", "any");
        }
    }
    match disk {
        Some(disk) => {
            let table = read_beginning(disk, registers::TABLE_BYTES)?;
            references.accept("5", &registers::partitions(&table).map_err(of(disk))?);
        }
        None => references.word("5", "any"),
    }
    for pcr in registers::SEPARATED {
        references.accept(&pcr.to_string(), &registers::separated());
    }
    references.accept("7", &registers::without_secure_boot());
    for pcr in registers::ZERO {
        references.accept(&pcr.to_string(), &[0; 32]);
    }
    for pcr in registers::ONES {
        references.accept(&pcr.to_string(), &[0xff; 32]);
    }
    Ok(())
}

/// What a machine whose firmware is not at hand adds to RTMR 1 and 2 stands among these events, and is for its policy.
fn events(arguments: &Arguments, image: &UnifiedKernelImage<'_>) -> Result<References, HostError> {
    let (rtmr1, rtmr2) = image.rtmrs().map_err(of(&arguments.image))?;
    let mut references = References::new("tdx");
    references.comment(format!("unified kernel image {}", arguments.image.display()));
    references.comment("events of the image itself; firmware adds its own, which are for you to know");
    references.word("rtmr1", "events");
    references.word("rtmr2", "events");
    for event in rtmr1.iter().chain(&rtmr2) {
        references.accept("event_digests", event);
    }
    Ok(references)
}
