//! What the machine is measured as: the files that QEMU is given, by SEV-SNP's own algorithm. Of an Azure-like machine
//! that is the firmware alone, as on Azure it is paravisor and firmware: the rest is the vTPM's to tell.

use std::path::Path;

use measurement::{
    FIRMWARE_BYTES_MAX, INITRD_BYTES_MAX, KERNEL_BYTES_MAX, MeasureError,
    snp::{Firmware, KernelHashes, Launch, Processor, Vmm, launch_digest},
};

use super::config::{Boot, SimulatedVmConfig};
use crate::{error::HostError, measure::read};

/// SEV_FEATURES of a machine that QEMU starts: SNP itself.
const GUEST_FEATURES: u64 = 1;

/// The launch digest.
///
/// # Errors
/// [`HostError`] with the file that cannot be read or measured.
pub fn measure(config: &SimulatedVmConfig) -> Result<[u8; 48], HostError> {
    let of = |path: &Path| {
        let path = path.display().to_string();
        move |error: MeasureError| HostError::Config(format!("{path} cannot be measured: {error}"))
    };
    let image = read(&config.firmware, FIRMWARE_BYTES_MAX)?;
    let firmware = Firmware::parse(&image).map_err(of(&config.firmware))?;
    let kernel_hashes = match config.boot() {
        Boot::Direct {
            kernel: path,
            initrd,
            command_line,
        } => {
            let (kernel, initrd) = (read(path, KERNEL_BYTES_MAX)?, read(initrd, INITRD_BYTES_MAX)?);
            Some(KernelHashes::of(&kernel, &initrd, command_line).map_err(of(path))?)
        }
        Boot::AzureLike { .. } => None,
    };
    let launch = Launch {
        kernel_hashes,
        vcpus: config.vcpus,
        processor: Processor::of_model(&config.cpu_model).map_err(of(Path::new(&config.cpu_model)))?,
        guest_features: GUEST_FEATURES,
        vmm: Vmm::Qemu,
    };
    launch_digest(&firmware, &launch).map_err(of(&config.firmware))
}
