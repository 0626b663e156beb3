//! `[simulated_vm]`: the machine of `--tee simulated-vm`.

use std::{
    net::SocketAddrV4,
    path::{Path, PathBuf},
};

use measurement::snp::{Processor, VCPUS_MAX};
use serde::Deserialize;

use crate::confidential_vm::{config::digits, machine::Run};

/// The machine. Relative paths are relative to the file's own folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulatedVmConfig {
    /// QEMU, 9.1 or later. Default: `/usr/bin/qemu-system-x86_64`.
    #[serde(default = "qemu")]
    pub qemu: PathBuf,
    /// OVMF with kernel hashes, which also boots without SEV (Debian's package ovmf-generic, 2026.08). Measured.
    pub firmware: PathBuf,
    /// Kernel of the simulated image. Measured.
    pub kernel: PathBuf,
    /// Its initrd. Measured.
    pub initrd: PathBuf,
    /// Its command line. Measured.
    pub command_line: String,
    /// Virtual processors. Measured. Default: 1.
    #[serde(default = "one")]
    pub vcpus: u32,
    /// The processor model that is measured; what QEMU emulates is its own. Default: EPYC-Milan.
    #[serde(default = "cpu_model")]
    pub cpu_model: String,
    /// HOST_DATA of the reports, 64 hexadecimal digits. Default: zeros.
    #[serde(default)]
    pub host_data: Option<String>,
    /// Memory in MiB. Default: 1024.
    #[serde(default = "memory_mib")]
    pub memory_mib: u32,
    /// Gives the machine a network card, and carries the channel over it as a remote guest's: this address on the loopback
    /// is forwarded to the guest's port, and the guest reaches nothing. Default: none, the channel is a port of
    /// virtio-serial.
    #[serde(default)]
    pub network: Option<SocketAddrV4>,
    /// Archive of enclave.toml and the sealed model, given to the guest as a disk that it reads only.
    pub supply: PathBuf,
    /// `adyton-enclave-simulated`, which is also the security processor.
    pub processor: PathBuf,
    /// Folder of the simulated platform's keys.
    pub platform: PathBuf,
    /// Folder of sockets and of the boot log.
    pub run_directory: PathBuf,
    /// Seconds from launch to the enclave's first answer before it is taken for dead. Default: 120.
    #[serde(default = "start_seconds_max")]
    pub start_seconds_max: u64,
}

fn qemu() -> PathBuf {
    "/usr/bin/qemu-system-x86_64".into()
}
fn one() -> u32 {
    1
}
fn cpu_model() -> String {
    "EPYC-Milan".to_owned()
}
fn memory_mib() -> u32 {
    1024
}
fn start_seconds_max() -> u64 {
    120
}

/// Nothing in this guest listens to a power button.
const STOP_SECONDS_MAX: u64 = 1;

impl SimulatedVmConfig {
    /// Checks what types cannot, and makes paths relative to `base`.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn settle(&mut self, base: &Path) -> Result<(), String> {
        let refuse = |key: &str, reason: &str| Err(format!("simulated_vm.{key} {reason}"));
        if self.vcpus == 0 || self.vcpus > VCPUS_MAX {
            return refuse("vcpus", "must be 1 to 512");
        }
        if self.memory_mib < 256 {
            return refuse("memory_mib", "must be at least 256");
        }
        if self.start_seconds_max == 0 {
            return refuse("start_seconds_max", "must be at least 1");
        }
        if Processor::of_model(&self.cpu_model).is_err() {
            return refuse("cpu_model", "must be an EPYC model of QEMU");
        }
        if self
            .host_data
            .as_deref()
            .is_some_and(|text| digits::<32>(text).is_none())
        {
            return refuse("host_data", "must be 64 hexadecimal digits");
        }
        if self
            .network
            .is_some_and(|address| !address.ip().is_loopback() || address.port() == 0)
        {
            return refuse("network", "must be a port of the loopback, like 127.0.0.1:17001");
        }
        for path in [
            &mut self.firmware,
            &mut self.kernel,
            &mut self.initrd,
            &mut self.supply,
            &mut self.processor,
            &mut self.platform,
            &mut self.run_directory,
        ] {
            *path = base.join(&*path);
            if path.to_str().is_none_or(|text| text.contains(['\0', '\n'])) {
                return refuse("paths", "must be text without line breaks");
            }
        }
        if self.run_directory.to_str().is_none_or(|text| text.contains(',')) {
            return refuse("run_directory", "must be without a comma");
        }
        Ok(())
    }

    /// How a run of QEMU is watched.
    pub fn run(&self) -> Run {
        Run {
            directory: self.run_directory.clone(),
            console: true,
            start_seconds_max: self.start_seconds_max,
            stop_seconds_max: STOP_SECONDS_MAX,
        }
    }
}
