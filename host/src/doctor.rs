//! `adyton-host doctor`: what this host has of what a confidential machine needs, and how to mend what is missing.
//!
//! It looks and changes nothing. The root folder is an argument, so that tests show it other hosts.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use measurement::{FIRMWARE_BYTES_MAX, snp, tdx};
use serde_json::{Value, json};

use crate::{
    confidential_vm::{Tee, config::ConfidentialVmConfig, machine::version},
    measure::read,
    remote::config::RemoteConfig,
};

/// Bound of a file under /proc or /sys.
const FILE_BYTES_MAX: usize = 4 << 20;
/// QEMU opens a few descriptors for each vCPU and stream.
const OPEN_FILES_MIN: u64 = 4096;

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// What, in a few words.
    pub name: &'static str,
    /// It is as needed.
    pub passed: bool,
    /// What was found.
    pub found: String,
    /// What to do when it is not.
    pub mend: &'static str,
}

impl Check {
    /// One line, and the way to mend it under a failure.
    pub fn line(&self) -> String {
        if self.passed {
            format!("PASS  {}: {}", self.name, self.found)
        } else {
            format!("FAIL  {}: {}\n      {}", self.name, self.found, self.mend)
        }
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        json!({
            "check": self.name,
            "outcome": if self.passed { "pass" } else { "fail" },
            "found": self.found,
            "mend": if self.passed { None } else { Some(self.mend) },
        })
    }
}

/// A host to look at.
pub struct Doctor<'a> {
    /// Where its file system begins.
    pub root: &'a Path,
    /// What QEMU answers to `--version` and to `-object help`; `None` when it does not run.
    pub qemu: Option<(String, String)>,
    /// The machine that is to be launched, where there is a configuration.
    pub machine: Option<&'a ConfidentialVmConfig>,
}

impl Doctor<'_> {
    /// Looks at everything that a launch as `tee` needs.
    pub fn examine(&self, tee: Tee) -> Vec<Check> {
        let mut checks = vec![self.processor(tee), self.kvm(), self.module(tee)];
        match tee {
            Tee::Snp => checks.push(self.security_processor()),
            Tee::Tdx => checks.push(self.quote_service()),
        }
        checks.extend([
            self.qemu_version(tee),
            self.qemu_object(tee),
            self.vsock(),
            self.open_files(),
        ]);
        if let Some(machine) = self.machine {
            checks.push(firmware(machine, tee));
            if machine.huge_pages {
                checks.push(self.huge_pages(machine));
            }
            if !machine.gpus.is_empty() {
                checks.extend([self.iommu(), self.gpu_drivers(machine), self.locked_memory()]);
            }
        }
        checks
    }

    /// Looks at what a relay to a guest that others started needs. A connection is opened to it and closed again: one that
    /// a relay holds already is not disturbed.
    pub fn examine_remote(&self, remote: &RemoteConfig) -> Vec<Check> {
        let waited = Duration::from_secs(remote.connect_seconds_max);
        let connected = TcpStream::connect_timeout(&remote.address.into(), waited);
        let guest = Check {
            name: "guest",
            passed: connected.is_ok(),
            found: match &connected {
                Ok(_) => format!("{} takes connections", remote.address),
                Err(error) => format!("{}: {error}", remote.address),
            },
            mend: "start the machine, use its address in remote.address, and let this host reach its port 7001",
        };
        vec![guest, self.open_files()]
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> Option<String> {
        let bytes = read(&self.path(path), FILE_BYTES_MAX).ok()?;
        String::from_utf8(bytes).ok()
    }

    fn there(&self, name: &'static str, path: &str, mend: &'static str) -> Check {
        let passed = self.path(path).exists();
        Check {
            name,
            passed,
            found: format!("{path} {}", if passed { "is there" } else { "is not there" }),
            mend,
        }
    }

    fn processor(&self, tee: Tee) -> Check {
        let (flag, mend) = match tee {
            Tee::Snp => (
                "sev_snp",
                "an EPYC of Milan or later; in firmware setup enable SMEE, SEV-ES ASIDs and SNP, then Linux 6.11 or later",
            ),
            Tee::Tdx => (
                "tdx_host_platform",
                "a Xeon of Sapphire Rapids (selected), Emerald Rapids or later; in firmware setup enable TME-MT and TDX",
            ),
        };
        let cpuinfo = self.text("/proc/cpuinfo").unwrap_or_default();
        let flags = cpuinfo
            .lines()
            .find(|line| line.starts_with("flags"))
            .unwrap_or_default();
        let model = cpuinfo
            .lines()
            .find(|line| line.starts_with("model name"))
            .and_then(|line| line.split_once(": "))
            .map_or("unknown processor", |(_, model)| model);
        let passed = flags.split_ascii_whitespace().any(|known| known == flag);
        Check {
            name: "processor",
            passed,
            found: format!("{model}, {} {flag}", if passed { "has" } else { "without" }),
            mend,
        }
    }

    fn kvm(&self) -> Check {
        self.there(
            "KVM",
            "/dev/kvm",
            "enable virtualisation in firmware setup, load kvm_amd or kvm_intel, and do not run inside a virtual machine",
        )
    }

    fn module(&self, tee: Tee) -> Check {
        let (path, mend) = match tee {
            Tee::Snp => (
                "/sys/module/kvm_amd/parameters/sev_snp",
                "boot with kvm_amd.sev=1 kvm_amd.sev_es=1 kvm_amd.sev_snp=1, on a kernel with KVM_AMD_SEV; see dmesg for SEV",
            ),
            Tee::Tdx => (
                "/sys/module/kvm_intel/parameters/tdx",
                "boot Linux 6.16 or later with kvm_intel.tdx=1 nohibernate; see dmesg for 'virt/tdx'",
            ),
        };
        let value = self.text(path).map(|text| text.trim().to_owned());
        let passed = value.as_deref().is_some_and(|value| value == "Y" || value == "1");
        Check {
            name: "KVM module",
            passed,
            found: format!("{path} is {}", value.as_deref().unwrap_or("not there")),
            mend,
        }
    }

    fn security_processor(&self) -> Check {
        self.there(
            "security processor",
            "/dev/sev",
            "load the module ccp; update the SEV firmware to 1.55 or later (snphost, or the vendor's BIOS)",
        )
    }

    fn quote_service(&self) -> Check {
        let default = Path::new("/var/run/tdx-qgs/qgs.socket");
        let socket = self
            .machine
            .and_then(|machine| machine.tdx.as_ref())
            .map_or(default, |tdx| &tdx.quote_generation_socket);
        self.there(
            "quote generation service",
            &socket.to_string_lossy(),
            "install Intel's tdx-qgs and its PCK provisioning, start qgsd, and register the platform",
        )
    }

    fn qemu_version(&self, tee: Tee) -> Check {
        let minimum = tee.qemu_minimum();
        let found = self.qemu.as_ref().and_then(|(said, _)| version(said));
        Check {
            name: "QEMU",
            passed: found.is_some_and(|found| found >= minimum),
            found: match found {
                Some((major, minor)) => format!(
                    "version {major}.{minor}, and {}.{} is needed",
                    minimum.0, minimum.1
                ),
                None => "does not run".to_owned(),
            },
            mend: "install QEMU 9.1 or later for SNP, 10.1 or later for TDX, and name it in confidential_vm.qemu",
        }
    }

    fn qemu_object(&self, tee: Tee) -> Check {
        let object = match tee {
            Tee::Snp => "sev-snp-guest",
            Tee::Tdx => "tdx-guest",
        };
        let known =
            |(_, objects): &(String, String)| objects.split_ascii_whitespace().any(|known| known == object);
        let passed = self.qemu.as_ref().is_some_and(known);
        Check {
            name: "QEMU object",
            passed,
            found: format!("{object} is {}", if passed { "known" } else { "not known" }),
            mend: "use a build of QEMU with KVM for x86-64",
        }
    }

    fn vsock(&self) -> Check {
        self.there(
            "vsock",
            "/dev/vhost-vsock",
            "load the module vhost_vsock, and let the launcher's user read and write the device",
        )
    }

    fn limit(&self, name: &str) -> Option<u64> {
        let limits = self.text("/proc/self/limits")?;
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        match line.split_ascii_whitespace().next()? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    fn open_files(&self) -> Check {
        let limit = self.limit("Max open files");
        Check {
            name: "open files",
            passed: limit.is_some_and(|limit| limit >= OPEN_FILES_MIN),
            found: limit.map_or("no limit could be read".to_owned(), |limit| {
                format!("limit {limit}")
            }),
            mend: "raise it to 4096 or more: LimitNOFILE in the unit, or ulimit -n",
        }
    }

    fn locked_memory(&self) -> Check {
        let limit = self.limit("Max locked memory");
        let needed = self
            .machine
            .map_or(0, |machine| u64::from(machine.memory_mib) << 20);
        Check {
            name: "locked memory",
            passed: limit.is_some_and(|limit| limit >= needed),
            found: limit.map_or("no limit could be read".to_owned(), |limit| {
                format!("limit {limit}, and devices map {needed} bytes")
            }),
            mend: "raise it to the machine's memory: LimitMEMLOCK=infinity in the unit",
        }
    }

    fn huge_pages(&self, machine: &ConfidentialVmConfig) -> Check {
        let needed = machine.memory_mib.div_ceil(2);
        let meminfo = self.text("/proc/meminfo").unwrap_or_default();
        let free = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("HugePages_Free:"))
            .and_then(|value| value.trim().parse::<u32>().ok())
            .unwrap_or(0);
        Check {
            name: "huge pages",
            passed: free >= needed,
            found: format!("{free} of 2 MiB free, and {needed} are needed"),
            mend: "set vm.nr_hugepages, or huge_pages = false",
        }
    }

    fn iommu(&self) -> Check {
        let groups = std::fs::read_dir(self.path("/sys/kernel/iommu_groups")).map_or(0, Iterator::count);
        let device = self.path("/dev/iommu").exists();
        Check {
            name: "IOMMU",
            passed: groups > 0 && device,
            found: format!(
                "{groups} groups, /dev/iommu {}",
                if device { "is there" } else { "is not there" }
            ),
            mend: "enable the IOMMU in firmware setup, boot with amd_iommu=on or intel_iommu=on, and load iommufd and vfio-pci",
        }
    }

    fn gpu_drivers(&self, machine: &ConfidentialVmConfig) -> Check {
        let driver = |address: &String| {
            let link = self.path(&format!("/sys/bus/pci/devices/{address}/driver"));
            let target = std::fs::read_link(link).ok();
            target.and_then(|target| Some(target.file_name()?.to_string_lossy().into_owned()))
        };
        let wrong: Vec<_> = machine
            .gpus
            .iter()
            .map(|address| (address, driver(address)))
            .filter(|(_, driver)| driver.as_deref() != Some("vfio-pci"))
            .map(|(address, driver)| format!("{address} has {}", driver.as_deref().unwrap_or("no driver")))
            .collect();
        Check {
            name: "GPU drivers",
            passed: wrong.is_empty(),
            found: if wrong.is_empty() {
                "every GPU is vfio-pci's".to_owned()
            } else {
                wrong.join(", ")
            },
            mend: "bind the GPUs to vfio-pci, and set them to confidential mode with NVIDIA's tool before that",
        }
    }
}

fn firmware(machine: &ConfidentialVmConfig, tee: Tee) -> Check {
    let parsed = read(&machine.firmware, FIRMWARE_BYTES_MAX)
        .map_err(|error| error.to_string())
        .and_then(|image| match tee {
            Tee::Snp => match snp::Firmware::parse(&image).map_err(|error| error.to_string())? {
                firmware if firmware.kernel_hashes_address.is_none() => {
                    Err("OVMF without SNP kernel hashes".to_owned())
                }
                _ => Ok("OVMF with SNP kernel hashes".to_owned()),
            },
            Tee::Tdx => tdx::Firmware::parse(&image)
                .map(|_| "OVMF with TDX metadata".to_owned())
                .map_err(|error| error.to_string()),
        });
    Check {
        name: "firmware",
        passed: parsed.is_ok(),
        found: parsed.unwrap_or_else(|error| error),
        mend: "use OVMF for this kind of machine: AmdSevX64 or edk2 2026.08 for SNP, IntelTdxX64 for TDX",
    }
}

/// Asks QEMU for its version and its objects.
pub fn ask_qemu(qemu: &Path) -> Option<(String, String)> {
    let ask = |arguments: &[&str]| {
        let output = std::process::Command::new(qemu)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    Some((ask(&["--version"])?, ask(&["-object", "help"])?))
}
