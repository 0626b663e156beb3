//! `adyton up --vm`: the enclave in an emulated machine that boots the measured image.
//!
//! 1. What the machine will be measured as is predicted by `adyton-host measure`, as an image owner would.
//!    In a machine like Azure's these are the firmware's launch measurement, and the registers of the vTPM.
//! 2. Configuration and sealed model become the disk that the host supplies.
//! 3. In a machine like Azure's a second disk has the image.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{process, state::StateDir, tools};
use crate::error::ClientError;

/// Where init keeps the sealed model.
pub const MODEL: &str = "/run/adyton/model";
/// Processors of the machine: emulation is not faster with more.
pub const VCPUS: u32 = 1;
/// The processor model that is measured.
pub const CPU_MODEL: &str = "EPYC-Milan";
/// The archiver of every Linux.
const TAR: &str = "/usr/bin/tar";
const HOST: &str = "adyton-host";
const IMAGE: &str = "adyton-image";
/// The table of a vTPM's registers in a policy.
const PCRS: &str = "danger.simulated.azure.pcrs";

/// Files of the simulated image, and the firmware that boots it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The firmware.
    pub firmware: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// The initrd.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
    /// The three in one, which firmware boots from a disk.
    pub unified: PathBuf,
}

impl Image {
    /// The image in `folder`, as `scripts/build-image --simulated` leaves it.
    pub fn of(folder: &Path) -> Result<Self, ClientError> {
        let missing = |path: &Path| {
            ClientError::State(format!(
                "{} cannot be read: build the image with scripts/build-image --simulated",
                path.display()
            ))
        };
        let folder = std::fs::canonicalize(folder).map_err(|_| missing(folder))?;
        let file = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                Ok(path)
            } else {
                Err(missing(&path))
            }
        };
        let command_line = file("cmdline")?;
        Ok(Self {
            firmware: file("firmware.fd")?,
            kernel: file("vmlinuz")?,
            initrd: file("initrd.cpio")?,
            unified: file("adyton.efi")?,
            command_line: std::fs::read_to_string(&command_line).map_err(|_| missing(&command_line))?,
        })
    }

    /// The tables of a policy that accepts this platform and this image: `[danger.simulated.snp]`, or those of
    /// `[danger.simulated.azure]` for a machine that boots it from `disk`.
    pub async fn policy_fragment(&self, platform: &Path, disk: Option<&Path>) -> Result<String, ClientError> {
        if let Some(disk) = disk {
            let firmware = self.measurement(false).await?;
            let fragment = tools::azure_fragment(platform, &firmware).await?;
            return Ok([fragment, self.registers(disk).await?].join("\n"));
        }
        tools::machine_fragment(platform, &self.measurement(true).await?).await
    }

    /// The launch digest of the firmware, with or without the kernel that it is given.
    async fn measurement(&self, direct: bool) -> Result<String, ClientError> {
        let mut arguments: Vec<OsString> = ["measure", "snp", "--json", "--vcpu-type", CPU_MODEL]
            .map(OsString::from)
            .to_vec();
        arguments.extend(["--vcpus".into(), VCPUS.to_string().into()]);
        arguments.extend(["--firmware".into(), self.firmware.clone().into_os_string()]);
        let given = [
            ("--kernel", self.kernel.as_os_str()),
            ("--initrd", self.initrd.as_os_str()),
            ("--append", self.command_line.as_ref()),
        ];
        for (flag, value) in given.into_iter().filter(|_| direct) {
            arguments.extend([flag.into(), value.to_owned()]);
        }
        let printed = process::run_to_end(HOST, &process::sibling(HOST)?, &arguments).await?;
        let document: Value = serde_json::from_str(&printed).unwrap_or_default();
        let measurement = &document["reference_values"]["launch_measurements"][0];
        let measurement = measurement.as_str().ok_or_else(|| ClientError::Malformed {
            what: "adyton-host's measurement",
            problem: "no launch measurement".to_owned(),
        })?;
        Ok(measurement.to_owned())
    }

    /// The table of the vTPM's registers after a boot of the unified image by this firmware.
    async fn registers(&self, disk: &Path) -> Result<String, ClientError> {
        let mut arguments: Vec<OsString> = ["measure", "uki", "--table", PCRS].map(OsString::from).to_vec();
        arguments.extend(["--firmware".into(), self.firmware.clone().into_os_string()]);
        arguments.extend(["--disk".into(), disk.as_os_str().to_owned()]);
        arguments.push(self.unified.clone().into_os_string());
        process::run_to_end(HOST, &process::sibling(HOST)?, &arguments).await
    }

    /// Writes the disk that boots the unified image, at [`boot_disk`].
    pub async fn disk(&self, state: &StateDir) -> Result<PathBuf, ClientError> {
        let out = boot_disk(state);
        let mut arguments: Vec<OsString> = ["disk", "--format", "raw", "--out"].map(OsString::from).to_vec();
        arguments.extend([
            out.clone().into_os_string(),
            self.unified.clone().into_os_string(),
        ]);
        process::run_to_end(IMAGE, &process::sibling(IMAGE)?, &arguments).await?;
        Ok(out)
    }
}

/// Where the disk that boots is kept.
pub fn boot_disk(state: &StateDir) -> PathBuf {
    state.path("models/boot.img")
}

/// A port of the loopback that nobody has, for the machine's to be forwarded from. QEMU takes it a moment later; if another
/// process is quicker, the start fails and says so.
pub fn free_port() -> Result<SocketAddr, ClientError> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| ClientError::State(format!("no free port on the loopback: {error}")))
}

/// Writes the disk that the host supplies: `enclave.toml` and the sealed model in one archive.
pub async fn supply(state: &StateDir, sealed: &Path) -> Result<PathBuf, ClientError> {
    let out = state.path("models/supply.img");
    let folder = sealed.parent().unwrap_or(Path::new("/"));
    let name = sealed
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let mut arguments: Vec<OsString> = [
        "--format=gnu",
        "--owner=0",
        "--group=0",
        "--mtime=@0",
        "--sort=name",
    ]
    .map(OsString::from)
    .to_vec();
    // The sealed model's folder has the model's name; in the archive it is `model`.
    arguments.push(format!("--transform=s,^{},model,", name.replace('.', r"\.")).into());
    arguments.extend(["-cf".into(), out.clone().into_os_string()]);
    arguments.extend([
        "-C".into(),
        state.path("config").into_os_string(),
        "enclave.toml".into(),
    ]);
    arguments.extend(["-C".into(), folder.as_os_str().to_owned(), OsString::from(name)]);
    process::run_to_end("tar", Path::new(TAR), &arguments).await?;
    Ok(out)
}
