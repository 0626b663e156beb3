//! `adyton-host measure uki`.

use std::path::PathBuf;

use clap::Args;
use measurement::{KERNEL_BYTES_MAX, uki::UnifiedKernelImage};
use sha2::Sha256;

use super::{References, of, read, references::hex};
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
    references.detail("authenticode_sha256", hex(&measured.image));
    references.detail("kernel_authenticode_sha256", hex(&measured.kernel));
    Ok(references)
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
