//! `adyton-host measure snp`.

use std::path::PathBuf;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::Args;
use measurement::{
    FIRMWARE_BYTES_MAX, INITRD_BYTES_MAX, KERNEL_BYTES_MAX,
    pe::Image,
    snp::{Firmware, IdAuth, IdBlock, IdKey, KernelHashes, Launch, Processor, Vmm, launch_digest},
    uki::UnifiedKernelImage,
};
use serde_json::json;

use super::{References, number, of, read, references::hex};
use crate::error::HostError;

const KEY_FILE_BYTES_MAX: usize = 64 << 10;

#[derive(Args)]
pub(super) struct Arguments {
    /// OVMF image, as the launcher gives it to QEMU.
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// Kernel that is booted directly; without one the firmware boots from the disk, which is not measured.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initrd of that kernel.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// Its command line.
    #[arg(long, value_name = "TEXT", requires = "kernel", default_value = "")]
    append: String,
    /// Number of virtual processors; several numbers, separated by commas, give a list of accepted digests.
    #[arg(long, value_name = "N", value_delimiter = ',', required = true)]
    vcpus: Vec<u32>,
    /// QEMU's name of the processor model; several give a list.
    #[arg(long, value_name = "MODEL", value_delimiter = ',', required = true)]
    vcpu_type: Vec<String>,
    /// SEV_FEATURES of the save areas; bit 0 is SNP.
    #[arg(long, value_name = "BITS", default_value = "0x1", value_parser = number)]
    guest_features: u64,
    /// Who launches: qemu, ec2 or gce.
    #[arg(long, value_name = "VMM", default_value = "qemu", value_parser = vmm)]
    vmm: Vmm,
    /// Key that signs an ID block, P-384 in PKCS#8 PEM: keep it away from hosts. The launch then fails on any other
    /// digest, and reports show the key's digest.
    #[arg(long, value_name = "FILE", requires_all = ["id_block", "id_auth"])]
    id_key: Option<PathBuf>,
    /// Key that signs the ID key.
    #[arg(long, value_name = "FILE", requires = "id_key")]
    author_key: Option<PathBuf>,
    /// Guest policy that the ID block demands.
    #[arg(long, value_name = "BITS", default_value = "0x30000", value_parser = number)]
    policy: u64,
    /// GUEST_SVN of the ID block.
    #[arg(long, value_name = "N", default_value_t = 0)]
    guest_svn: u32,
    /// Where the ID block is written, in base64, for the launcher's snp.id_block.
    #[arg(long, value_name = "FILE", requires = "id_key")]
    id_block: Option<PathBuf>,
    /// Where its signatures are written, in base64, for snp.id_auth.
    #[arg(long, value_name = "FILE", requires = "id_key")]
    id_auth: Option<PathBuf>,
}

fn vmm(name: &str) -> Result<Vmm, String> {
    Vmm::of_name(name).ok_or_else(|| "qemu, ec2 or gce".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> Result<References, HostError> {
    let image = read(&arguments.firmware, FIRMWARE_BYTES_MAX)?;
    let firmware = Firmware::parse(&image).map_err(of(&arguments.firmware))?;
    let mut references = References::new("snp");
    references.comment(format!("firmware {}", arguments.firmware.display()));
    let kernel_hashes = match &arguments.kernel {
        None => None,
        Some(path) => {
            let kernel = read(path, KERNEL_BYTES_MAX)?;
            let initrd = match &arguments.initrd {
                Some(initrd) => read(initrd, INITRD_BYTES_MAX)?,
                None => Vec::new(),
            };
            let hashes = KernelHashes::of(&kernel, &initrd, &arguments.append).map_err(of(path))?;
            references.comment(format!("kernel sha256 {}", hex(&hashes.kernel)));
            references.comment(
                match brings_tables(&kernel) {
                    true => "ACPI tables: the image's own",
                    false => "ACPI tables: the HOST'S. SEV-SNP does not measure them, and their bytecode runs in the kernel",
                }
                .to_owned(),
            );
            references.comment(format!("initrd sha256 {}", hex(&hashes.initrd)));
            references.comment(format!("command line {:?}", arguments.append));
            Some(hashes)
        }
    };
    let mut digests = Vec::new();
    for model in &arguments.vcpu_type {
        let processor = Processor::of_model(model).map_err(of(model.as_ref()))?;
        for vcpus in &arguments.vcpus {
            let launch = Launch {
                kernel_hashes: kernel_hashes.clone(),
                vcpus: *vcpus,
                processor,
                guest_features: arguments.guest_features,
                vmm: arguments.vmm,
            };
            let digest = launch_digest(&firmware, &launch).map_err(of(&arguments.firmware))?;
            references.comment(format!("{model}, {vcpus} vCPUs: {}", hex(&digest)));
            references.accept("launch_measurements", &digest);
            digests.push(digest);
        }
    }
    references.detail("firmware_digest", hex(&firmware.pages_digest));
    sign(arguments, &digests, &mut references)?;
    Ok(references)
}

/// Whether the image's builder put its entry before the kernel's, which replaces the host's ACPI tables. The kernel may be
/// that of a unified image.
fn brings_tables(kernel: &[u8]) -> bool {
    let inner = UnifiedKernelImage::parse(kernel).ok();
    let inner = inner.as_ref().and_then(|image| image.section(".linux"));
    Image::parse(inner.unwrap_or(kernel))
        .is_ok_and(|image| image.sections().iter().any(|section| section.is(".entry")))
}

/// Signs an ID block where a key is given: one launch, one block.
fn sign(arguments: &Arguments, digests: &[[u8; 48]], references: &mut References) -> Result<(), HostError> {
    let (Some(path), Some(block_file), Some(auth_file)) =
        (&arguments.id_key, &arguments.id_block, &arguments.id_auth)
    else {
        return Ok(());
    };
    let [launch_digest] = digests else {
        return Err(HostError::Config(
            "an ID block is for one number and one type of vCPUs".to_owned(),
        ));
    };
    let key = |path: &PathBuf| {
        let pem = String::from_utf8(read(path, KEY_FILE_BYTES_MAX)?)
            .map_err(|_| HostError::Config(format!("{} is not text", path.display())))?;
        IdKey::from_pem(&pem).map_err(of(path))
    };
    let block = IdBlock {
        launch_digest: *launch_digest,
        family_id: [0; 16],
        image_id: [0; 16],
        guest_svn: arguments.guest_svn,
        policy: arguments.policy,
    };
    let block = IdBlock::parse(&block.to_bytes()).map_err(of("--policy".as_ref()))?;
    let author_key = arguments.author_key.as_ref().map(key).transpose()?;
    let auth = IdAuth::sign(&block, &key(path)?, author_key.as_ref());
    let keys = auth.verify(&block).map_err(of(path))?;
    references.accept("id_key_digests", &keys.id_key_digest);
    references.accept("author_key_digests", &keys.author_key_digest);
    references.detail("guest_svn", json!(block.guest_svn));
    for (file, bytes) in [(block_file, &block.to_bytes()[..]), (auth_file, auth.as_bytes())] {
        let text = BASE64_STANDARD.encode(bytes);
        std::fs::write(file, text).map_err(HostError::io(format!("write {}", file.display())))?;
    }
    Ok(())
}
