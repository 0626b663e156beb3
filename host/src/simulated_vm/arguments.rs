//! QEMU's command line: the devices of a confidential machine, without what makes it confidential.
//!
//! Emulation has no AVX worth using: fused multiply-add there is three orders of magnitude slower than SSE2, so those
//! features are off and the engine takes its SSE2 path.

use super::config::SimulatedVmConfig;
use crate::confidential_vm::{CommandLine, Properties, arguments::CONTROL_SOCKET};

/// Socket of the host channel, in the run directory.
pub(super) const CHANNEL_SOCKET: &str = "channel.sock";
/// Socket of the security processor.
pub(super) const PROCESSOR_SOCKET: &str = "processor.sock";

pub(super) fn command_line(config: &SimulatedVmConfig) -> CommandLine {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned(); // UTF-8 was checked with the configuration
    let socket = |name: &str| text(&config.run_directory.join(name));
    let mut line = CommandLine::new(&text(&config.qemu));
    line.begin_guest(Properties::of("adyton-simulated"));
    line.option("accel", "tcg");
    line.properties(
        "machine",
        Properties::of("q35")
            .with("hpet", "off")
            .with("smm", "off")
            .with("vmport", "off"),
    );
    line.option("cpu", "max,avx=off,avx2=off,fma=off");
    line.option("smp", config.vcpus.to_string());
    line.option("m", format!("{}M", config.memory_mib));
    line.option("bios", text(&config.firmware));
    line.option("kernel", text(&config.kernel));
    line.option("initrd", text(&config.initrd));
    line.option("append", config.command_line.clone());

    let virtio = |kind: &str| Properties::of(kind).with("disable-legacy", "on");
    line.properties("device", virtio("virtio-serial-pci").with("max_ports", 3));
    for (id, name, path) in [
        ("channel0", "adyton.channel", socket(CHANNEL_SOCKET)),
        ("processor0", "adyton.evidence", socket(PROCESSOR_SOCKET)),
    ] {
        line.properties(
            "chardev",
            Properties::of("socket").with("id", id).with("path", path),
        );
        line.properties(
            "device",
            Properties::of("virtserialport")
                .with("chardev", id)
                .with("name", name),
        );
    }
    line.properties(
        "blockdev",
        Properties::of("driver=raw")
            .with("node-name", "supply0")
            .with("read-only", "on")
            .with("file.driver", "file")
            .with("file.filename", text(&config.supply)),
    );
    line.properties("device", virtio("virtio-blk-pci").with("drive", "supply0"));
    line.properties(
        "qmp",
        Properties::of(&format!("unix:{}", socket(CONTROL_SOCKET)))
            .with("server", "on")
            .with("wait", "off"),
    );
    line.properties(
        "chardev",
        Properties::of("stdio")
            .with("id", "console0")
            .with("signal", "off"),
    );
    line.option("serial", "chardev:console0");
    line
}
