//! QEMU's command line for a confidential machine (QEMU, `docs/system/i386/amd-memory-encryption.rst` and `tdx.rst`).
//!
//! Every virtio device has `disable-legacy=on,iommu_platform=on`: the guest's memory is not the device's to read, so
//! data goes through pages that the guest shares. Nothing of QEMU's defaults is there, and no firmware variables are
//! kept: a machine starts as it was measured.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;

use super::{
    CommandLine, Tee,
    command_line::Properties,
    config::{ConfidentialVmConfig, SnpConfig, TdxConfig, digits},
    processor::MemoryEncryption,
};
use crate::{error::HostError, measure};

/// QEMU's control socket, in the run directory.
pub const CONTROL_SOCKET: &str = "qmp.sock";

const ID_BLOCK_BYTES: usize = 96;
const ID_AUTH_BYTES: usize = 4096;

/// The command line for `config` as a `tee`. `host` is the processor that launches, for SNP.
///
/// # Errors
/// [`HostError::Config`] when the table for `tee` is missing, an ID block is unreadable, or the processor has no SEV
/// and the configuration does not say what it would be.
pub fn command_line(
    config: &ConfidentialVmConfig,
    tee: Tee,
    host: Option<MemoryEncryption>,
) -> Result<CommandLine, HostError> {
    let missing = || HostError::Config(format!("the table confidential_vm.{} is missing", tee.as_str()));
    let mut line = CommandLine::new(&text(&config.qemu));
    base(&mut line, config);
    match tee {
        Tee::Snp => snp(&mut line, config.snp.as_ref().ok_or_else(missing)?, host)?,
        Tee::Tdx => tdx(&mut line, config.tdx.as_ref().ok_or_else(missing)?),
    }
    boot(&mut line, config);
    devices(&mut line, config);
    gpus(&mut line, config);
    console(&mut line, config);
    Ok(line)
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned() // UTF-8 was checked with the configuration
}

fn base(line: &mut CommandLine, config: &ConfidentialVmConfig) {
    line.begin_guest(Properties::of("adyton").with("debug-threads", "on"));
    line.option("accel", "kvm");
    line.option("smp", config.vcpus.to_string());
    line.option("m", format!("{}M", config.memory_mib));
    let memory = Properties::of("memory-backend-memfd")
        .with("id", "ram0")
        .with("size", format!("{}M", config.memory_mib))
        .with("share", "true")
        .with("prealloc", "false");
    let memory = if config.huge_pages {
        memory.with("hugetlb", "on").with("hugetlbsize", "2M")
    } else {
        memory
    };
    line.properties("object", memory);
}

fn machine(guest: &str) -> Properties {
    Properties::of("q35")
        .with("kernel-irqchip", "split")
        .with("confidential-guest-support", guest)
        .with("memory-backend", "ram0")
        .with("hpet", "off")
        .with("smm", "off")
        .with("vmport", "off")
}

fn snp(line: &mut CommandLine, snp: &SnpConfig, host: Option<MemoryEncryption>) -> Result<(), HostError> {
    let unknown = |key: &str| {
        HostError::Config(format!(
            "this processor has no SEV: confidential_vm.snp.{key} must say what the launching one has"
        ))
    };
    let of_host = |value: fn(MemoryEncryption) -> u32| host.map(value);
    let cbit = snp
        .cbit_position
        .or(of_host(|host| host.cbit_position))
        .ok_or_else(|| unknown("cbit_position"))?;
    let reduced = snp
        .reduced_phys_bits
        .or(of_host(|host| host.reduced_phys_bits))
        .ok_or_else(|| unknown("reduced_phys_bits"))?;
    let mut guest = Properties::of("sev-snp-guest")
        .with("id", "tee0")
        .with("policy", format!("{:#x}", snp.policy))
        .with("cbitpos", cbit)
        .with("reduced-phys-bits", reduced)
        .with("sev-device", snp.sev_device.display())
        .with("kernel-hashes", "on");
    if let Some(host_data) = snp.host_data.as_deref().and_then(digits::<32>) {
        guest = guest.with("host-data", BASE64_STANDARD.encode(host_data));
    }
    if let (Some(block), Some(auth)) = (&snp.id_block, &snp.id_auth) {
        let author = |auth: &[u8]| auth.get(4..8).is_some_and(|algorithm| algorithm != [0; 4]);
        let (block, auth) = (
            base64_file(block, ID_BLOCK_BYTES)?,
            base64_file(auth, ID_AUTH_BYTES)?,
        );
        guest = guest
            .with("author-key-enabled", if author(&auth) { "on" } else { "off" })
            .with("id-block", BASE64_STANDARD.encode(block))
            .with("id-auth", BASE64_STANDARD.encode(auth));
    }
    line.option("cpu", snp.cpu_model.clone());
    line.properties("machine", machine("tee0"));
    line.properties("object", guest);
    Ok(())
}

fn base64_file(path: &Path, bytes: usize) -> Result<Vec<u8>, HostError> {
    let wrong = || HostError::Config(format!("{} is not {bytes} bytes in base64", path.display()));
    let text = measure::read(path, 2 * bytes)?;
    let decoded = BASE64_STANDARD.decode(text.trim_ascii()).map_err(|_| wrong())?;
    Some(decoded)
        .filter(|decoded| decoded.len() == bytes)
        .ok_or_else(wrong)
}

/// The object is given as JSON: its socket is a structure. Types of its own, so that the order is always this one.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct TdxGuest<'a> {
    qom_type: &'static str,
    id: &'static str,
    sept_ve_disable: bool,
    quote_generation_socket: UnixSocket<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mrconfigid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mrowner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mrownerconfig: Option<String>,
}

#[derive(Serialize)]
struct UnixSocket<'a> {
    r#type: &'static str,
    path: &'a Path,
}

fn tdx(line: &mut CommandLine, tdx: &TdxConfig) {
    let base64 = |value: &Option<String>| {
        let bytes = value.as_deref().and_then(digits::<48>);
        bytes.map(|bytes| BASE64_STANDARD.encode(bytes))
    };
    let guest = TdxGuest {
        qom_type: "tdx-guest",
        id: "tee0",
        sept_ve_disable: true,
        quote_generation_socket: UnixSocket {
            r#type: "unix",
            path: &tdx.quote_generation_socket,
        },
        mrconfigid: base64(&tdx.mrconfigid),
        mrowner: base64(&tdx.mrowner),
        mrownerconfig: base64(&tdx.mrownerconfig),
    };
    line.option("cpu", "host");
    line.properties("machine", machine("tee0"));
    line.option(
        "object",
        serde_json::to_string(&guest).expect("paths of a configuration in TOML are UTF-8"),
    );
}

fn boot(line: &mut CommandLine, config: &ConfidentialVmConfig) {
    line.option("bios", text(&config.firmware)); // never pflash: variables would be the host's
    line.option("kernel", text(&config.kernel));
    if let Some(initrd) = &config.initrd {
        line.option("initrd", text(initrd));
    }
    if let Some(command_line) = &config.command_line {
        line.option("append", command_line.clone());
    }
}

fn virtio(kind: &str) -> Properties {
    Properties::of(kind)
        .with("disable-legacy", "on")
        .with("iommu_platform", "on")
}

fn devices(line: &mut CommandLine, config: &ConfidentialVmConfig) {
    line.properties(
        "device",
        virtio("vhost-vsock-pci").with("guest-cid", config.guest_cid),
    );
    for (index, disk) in config.disks.iter().enumerate() {
        let node = format!("disk{index}");
        line.properties(
            "blockdev",
            Properties::of("driver=raw")
                .with("node-name", &node)
                .with("read-only", "on")
                .with("file.driver", "file")
                .with("file.filename", text(disk)),
        );
        line.properties("device", virtio("virtio-blk-pci").with("drive", &node));
    }
}

/// Firmware sizes its window by a number of MiB, QEMU the host bridge by bytes: both must hold every GPU's memory.
fn gpus(line: &mut CommandLine, config: &ConfidentialVmConfig) {
    let Some(hole_gib) = config.pci_hole64_gib else {
        return;
    };
    line.option("global", format!("q35-pcihost.pci-hole64-size={}G", hole_gib));
    line.properties(
        "fw_cfg",
        Properties::of("name=opt/ovmf/X-PciMmio64Mb").with("string", u64::from(hole_gib) * 1024),
    );
    line.properties("object", Properties::of("iommufd").with("id", "iommufd0"));
    for (index, address) in config.gpus.iter().enumerate() {
        let port = format!("gpu-port{index}");
        line.properties(
            "device",
            Properties::of("pcie-root-port")
                .with("id", &port)
                .with("bus", "pcie.0")
                .with("chassis", index + 1),
        );
        line.properties(
            "device",
            Properties::of("vfio-pci")
                .with("host", address)
                .with("bus", &port)
                .with("iommufd", "iommufd0"),
        );
    }
}

fn console(line: &mut CommandLine, config: &ConfidentialVmConfig) {
    let socket = text(&config.run_directory.join(CONTROL_SOCKET));
    line.properties(
        "qmp",
        Properties::of(&format!("unix:{socket}"))
            .with("server", "on")
            .with("wait", "off"),
    );
    if config.development {
        line.properties(
            "chardev",
            Properties::of("stdio")
                .with("id", "console0")
                .with("signal", "off"),
        );
        line.option("serial", "chardev:console0");
    }
}
