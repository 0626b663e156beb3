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
    /// Kernel of the simulated image, where it is booted directly. Measured.
    #[serde(default)]
    kernel: Option<PathBuf>,
    /// Its initrd. Measured.
    #[serde(default)]
    initrd: Option<PathBuf>,
    /// Its command line. Measured.
    #[serde(default)]
    command_line: Option<String>,
    /// In place of these three: a disk with the simulated image's unified kernel image (`adyton-image disk --format
    /// raw`). The machine is then like one of Azure's: firmware boots the disk and measures it into a vTPM, for which a
    /// SIMULATED paravisor vouches. Measured by the firmware.
    #[serde(default)]
    disk: Option<PathBuf>,
    /// The software TPM behind the paravisor. Default: `/usr/bin/swtpm`.
    #[serde(default = "swtpm")]
    pub swtpm: PathBuf,
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

/// What a machine boots, and how its evidence comes about.
#[derive(Debug, Clone, Copy)]
pub enum Boot<'a> {
    /// QEMU gives the image to the firmware; a security processor measures all of it.
    Direct {
        /// The kernel.
        kernel: &'a Path,
        /// The initrd.
        initrd: &'a Path,
        /// The command line.
        command_line: &'a str,
    },
    /// Firmware boots a disk and measures it into a vTPM; the security processor measures the firmware.
    AzureLike {
        /// The disk.
        disk: &'a Path,
    },
}

fn swtpm() -> PathBuf {
    "/usr/bin/swtpm".into()
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
        let direct = [
            self.kernel.is_some(),
            self.initrd.is_some(),
            self.command_line.is_some(),
        ];
        if direct != [self.disk.is_none(); 3] {
            return refuse(
                "disk",
                "must stand alone, or kernel, initrd and command_line in its place",
            );
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
        if self.disk.is_some() && self.host_data.is_some() {
            return refuse("host_data", "is the paravisor's where there is a disk");
        }
        if self
            .network
            .is_some_and(|address| !address.ip().is_loopback() || address.port() == 0)
        {
            return refuse("network", "must be a port of the loopback, like 127.0.0.1:17001");
        }
        let given = [&mut self.kernel, &mut self.initrd, &mut self.disk].into_iter();
        let always = [
            &mut self.firmware,
            &mut self.supply,
            &mut self.processor,
            &mut self.platform,
            &mut self.run_directory,
            &mut self.swtpm,
        ];
        for path in given.flatten().chain(always) {
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

    /// What it boots. [`SimulatedVmConfig::settle`] has seen to it that one of the two is there whole.
    pub fn boot(&self) -> Boot<'_> {
        match &self.disk {
            Some(disk) => Boot::AzureLike { disk },
            None => Boot::Direct {
                kernel: self.kernel.as_deref().unwrap_or(Path::new("")),
                initrd: self.initrd.as_deref().unwrap_or(Path::new("")),
                command_line: self.command_line.as_deref().unwrap_or_default(),
            },
        }
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
