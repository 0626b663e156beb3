//! `[confidential_vm]`: the machine of `--tee snp` and `--tee tdx`.
//!
//! What is measured (firmware, kernel, initrd, command line, processors, and memory on TDX) must be what reference
//! values were predicted from, else no broker releases a key and no client sends a prompt. The rest costs availability.

use std::path::{Path, PathBuf};

use measurement::snp::{Processor, VCPUS_MAX};
use serde::Deserialize;

use super::{Tee, machine::Run};

/// Smallest context id of a guest (vsock(7)); 0 to 2 are the hypervisor, the loopback and the host.
const GUEST_CID_MIN: u32 = 3;
const DISKS_MAX: usize = 8;
const GPUS_MAX: usize = 16;

/// The machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfidentialVmConfig {
    /// QEMU: 9.1 or later for SNP, 10.1 or later for TDX. Default: `/usr/bin/qemu-system-x86_64`.
    #[serde(default = "qemu")]
    pub qemu: PathBuf,
    /// OVMF image; on SNP one with kernel hashes. Measured.
    pub firmware: PathBuf,
    /// Kernel, or a unified kernel image. Measured.
    pub kernel: PathBuf,
    /// Initrd of a kernel that is not a unified image. Measured. Default: none.
    #[serde(default)]
    pub initrd: Option<PathBuf>,
    /// Kernel command line. Measured. Default: none, as a unified image has its own.
    #[serde(default)]
    pub command_line: Option<String>,
    /// Virtual processors. Measured on SNP.
    pub vcpus: u32,
    /// Memory in MiB. Measured on TDX.
    pub memory_mib: u32,
    /// Back the memory with huge pages of 2 MiB, which must be reserved. Default: no.
    #[serde(default)]
    pub huge_pages: bool,
    /// The guest's vsock context id, 3 and above, unique on this host.
    pub guest_cid: u32,
    /// vsock port on which the enclave listens. Default: 1.
    #[serde(default = "enclave_port")]
    pub enclave_port: u32,
    /// vsock port on which the host listens for the enclave. Default: 2.
    #[serde(default = "host_port")]
    pub host_port: u32,
    /// Raw disks, read-only in the guest: sealed models. Their contents are verified in the guest. Default: none.
    #[serde(default)]
    pub disks: Vec<PathBuf>,
    /// PCI addresses of GPUs in confidential mode that are passed through, as in `0000:41:00.0`. Default: none.
    #[serde(default)]
    pub gpus: Vec<String>,
    /// Size of the guest's 64-bit PCI hole in GiB: more than the memory of all GPUs. Needed with GPUs.
    #[serde(default)]
    pub pci_hole64_gib: Option<u32>,
    /// Keep the first 256 KiB of the guest's console in `boot.log`. Only images for development write there, and what
    /// they write is for the host to read: leave it off with anything real. Default: no.
    #[serde(default)]
    pub development: bool,
    /// Folder of QEMU's control socket and the boot log.
    pub run_directory: PathBuf,
    /// Seconds from launch to the enclave's first answer before it is taken for dead. Default: 300.
    #[serde(default = "start_seconds_max")]
    pub start_seconds_max: u64,
    /// Seconds from the press of the power button until the machine is killed. Default: 30.
    #[serde(default = "stop_seconds_max")]
    pub stop_seconds_max: u64,
    /// What only SNP has.
    #[serde(default)]
    pub snp: Option<SnpConfig>,
    /// What only TDX has.
    #[serde(default)]
    pub tdx: Option<TdxConfig>,
}

/// `[confidential_vm.snp]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpConfig {
    /// QEMU's processor model. Measured.
    pub cpu_model: String,
    /// Guest policy (AMD 56860, table 9). Default: 0x30000, no debugging, one guest context.
    #[serde(default = "policy")]
    pub policy: u64,
    /// HOST_DATA, 64 hexadecimal digits. Default: zeros.
    #[serde(default)]
    pub host_data: Option<String>,
    /// File with an ID block in base64, from `adyton-host measure snp --id-block`. Default: none.
    #[serde(default)]
    pub id_block: Option<PathBuf>,
    /// File with its signatures in base64. Needed with an ID block.
    #[serde(default)]
    pub id_auth: Option<PathBuf>,
    /// The security processor's device. Default: `/dev/sev`.
    #[serde(default = "sev_device")]
    pub sev_device: PathBuf,
    /// Position of the encryption bit. Default: as the processor says (CPUID 0x8000001f).
    #[serde(default)]
    pub cbit_position: Option<u32>,
    /// Bits of physical addresses that encryption takes. Default: as the processor says.
    #[serde(default)]
    pub reduced_phys_bits: Option<u32>,
}

/// `[confidential_vm.tdx]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxConfig {
    /// Socket of the quote generation service. Default: `/var/run/tdx-qgs/qgs.socket`.
    #[serde(default = "quote_socket")]
    pub quote_generation_socket: PathBuf,
    /// MRCONFIGID, 96 hexadecimal digits. Default: zeros.
    #[serde(default)]
    pub mrconfigid: Option<String>,
    /// MROWNER, 96 hexadecimal digits. Default: zeros.
    #[serde(default)]
    pub mrowner: Option<String>,
    /// MROWNERCONFIG, 96 hexadecimal digits. Default: zeros.
    #[serde(default)]
    pub mrownerconfig: Option<String>,
}

fn qemu() -> PathBuf {
    "/usr/bin/qemu-system-x86_64".into()
}
fn enclave_port() -> u32 {
    1
}
fn host_port() -> u32 {
    2
}
fn start_seconds_max() -> u64 {
    300
}
fn stop_seconds_max() -> u64 {
    30
}
fn policy() -> u64 {
    0x30000
}
fn sev_device() -> PathBuf {
    "/dev/sev".into()
}
fn quote_socket() -> PathBuf {
    "/var/run/tdx-qgs/qgs.socket".into()
}

/// Bytes of exactly `N * 2` hexadecimal digits.
pub(crate) fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// `dddd:bb:dd.f`.
fn is_pci_address(text: &str) -> bool {
    let hex =
        |part: &str, digits: usize| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<_> = text.split([':', '.']).collect();
    matches!(parts[..], [domain, bus, device, function]
        if hex(domain, 4) && hex(bus, 2) && hex(device, 2) && function.len() == 1 && function < "8"
            && text.as_bytes().get(10) == Some(&b'.'))
}

impl ConfidentialVmConfig {
    /// Checks what types cannot, and makes paths relative to `base`.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn settle(&mut self, base: &Path) -> Result<(), String> {
        let refuse = |key: &str, reason: &str| Err(format!("confidential_vm.{key} {reason}"));
        if self.vcpus == 0 || self.vcpus > VCPUS_MAX {
            return refuse("vcpus", "must be 1 to 512");
        }
        if self.memory_mib < 256 {
            return refuse("memory_mib", "must be at least 256");
        }
        if self.guest_cid < GUEST_CID_MIN || self.guest_cid == u32::MAX {
            return refuse("guest_cid", "must be 3 or more, and not 4294967295");
        }
        if self.enclave_port == self.host_port {
            return refuse("host_port", "must differ from enclave_port");
        }
        if self.start_seconds_max == 0 || self.stop_seconds_max == 0 {
            return refuse("start_seconds_max and stop_seconds_max", "must be at least 1");
        }
        if self.disks.len() > DISKS_MAX {
            return refuse("disks", "may be 8 at most");
        }
        if self.gpus.len() > GPUS_MAX || !self.gpus.iter().all(|address| is_pci_address(address)) {
            return refuse("gpus", "must be up to 16 PCI addresses like 0000:41:00.0");
        }
        if self.gpus.is_empty() != self.pci_hole64_gib.is_none() {
            return refuse("pci_hole64_gib", "goes with gpus, and they with it");
        }
        let line = self.command_line.as_deref().unwrap_or_default();
        if line.len() > measurement::COMMAND_LINE_BYTES_MAX
            || line.bytes().any(|byte| !(b' '..=b'~').contains(&byte))
        {
            return refuse("command_line", "must be printable ASCII, up to 2047 bytes");
        }
        if let Some(snp) = &self.snp {
            snp.check()?;
        }
        if let Some(tdx) = &self.tdx {
            tdx.check()?;
        }
        let mut paths = vec![&mut self.firmware, &mut self.kernel, &mut self.run_directory];
        paths.extend(&mut self.initrd);
        paths.extend(&mut self.disks);
        if let Some(snp) = &mut self.snp {
            paths.extend(&mut snp.id_block);
            paths.extend(&mut snp.id_auth);
        }
        for path in paths {
            *path = base.join(&*path);
            if path.to_str().is_none_or(|text| text.contains(['\0', '\n'])) {
                return refuse("paths", "must be text without line breaks");
            }
        }
        // QEMU's short form of a control socket has no way to write one.
        if self.run_directory.to_str().is_none_or(|text| text.contains(',')) {
            return refuse("run_directory", "must be without a comma");
        }
        Ok(())
    }

    /// How a run of QEMU is watched.
    pub fn run(&self) -> Run {
        Run {
            directory: self.run_directory.clone(),
            console: self.development,
            start_seconds_max: self.start_seconds_max,
            stop_seconds_max: self.stop_seconds_max,
        }
    }

    /// Whether the table for `tee` is there.
    pub fn has(&self, tee: Tee) -> bool {
        match tee {
            Tee::Snp => self.snp.is_some(),
            Tee::Tdx => self.tdx.is_some(),
        }
    }
}

impl SnpConfig {
    fn check(&self) -> Result<(), String> {
        let refuse = |key: &str, reason: &str| Err(format!("confidential_vm.snp.{key} {reason}"));
        if Processor::of_model(&self.cpu_model).is_err() {
            return refuse(
                "cpu_model",
                "must be an EPYC model of QEMU: others cannot be predicted",
            );
        }
        if self.policy & 1 << 17 == 0 {
            return refuse("policy", "must have bit 17 set");
        }
        if self.policy & 1 << 19 != 0 {
            return refuse("policy", "allows debugging: the host could read the guest");
        }
        let host_data = self.host_data.as_deref();
        if host_data.is_some_and(|text| digits::<32>(text).is_none()) {
            return refuse("host_data", "must be 64 hexadecimal digits");
        }
        if self.id_block.is_some() != self.id_auth.is_some() {
            return refuse("id_block", "goes with id_auth");
        }
        Ok(())
    }
}

impl TdxConfig {
    fn check(&self) -> Result<(), String> {
        for (key, value) in [
            ("mrconfigid", &self.mrconfigid),
            ("mrowner", &self.mrowner),
            ("mrownerconfig", &self.mrownerconfig),
        ] {
            if value.as_deref().is_some_and(|text| digits::<48>(text).is_none()) {
                return Err(format!("confidential_vm.tdx.{key} must be 96 hexadecimal digits"));
            }
        }
        Ok(())
    }
}
