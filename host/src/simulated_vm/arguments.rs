//! QEMU's command line: the devices of a confidential machine, without what makes it confidential.
//!
//! Where there is no KVM, QEMU emulates the processor. Emulation has no AVX worth using: fused multiply-add there is three orders of magnitude slower than SSE2, so those
//! features are off and the engine takes its SSE2 path.

use super::{
    accelerator::Accelerator,
    config::{Boot, SimulatedVmConfig},
};
use crate::{
    confidential_vm::{CommandLine, Properties, arguments::CONTROL_SOCKET},
    remote::GUEST_PORT,
};

/// Socket of the host channel, in the run directory.
pub(super) const CHANNEL_SOCKET: &str = "channel.sock";
/// Socket of the security processor, or of the paravisor.
pub(super) const PROCESSOR_SOCKET: &str = "processor.sock";

pub(super) fn command_line(config: &SimulatedVmConfig, accelerator: Accelerator) -> CommandLine {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned(); // UTF-8 was checked with the configuration
    let socket = |name: &str| text(&config.run_directory.join(name));
    let mut line = CommandLine::new(&text(&config.qemu));
    line.begin_guest(Properties::of("adyton-simulated"));
    let (accelerator, processor) = match accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Tcg => ("tcg", "max,avx=off,avx2=off,fma=off"),
    };
    line.option("accel", accelerator);
    line.properties(
        "machine",
        Properties::of("q35")
            .with("hpet", "off")
            .with("smm", "off")
            .with("vmport", "off"),
    );
    line.option("cpu", processor);
    line.option("smp", config.vcpus.to_string());
    line.option("m", format!("{}M", config.memory_mib));
    line.option("bios", text(&config.firmware));
    if let Boot::Direct {
        kernel,
        initrd,
        command_line,
    } = config.boot()
    {
        line.option("kernel", text(kernel));
        line.option("initrd", text(initrd));
        line.option("append", command_line.to_owned());
    }

    let virtio = |kind: &str| Properties::of(kind).with("disable-legacy", "on");
    let channel = ("channel0", "adyton.channel", socket(CHANNEL_SOCKET));
    let processor = ("processor0", "adyton.evidence", socket(PROCESSOR_SOCKET));
    let channel = config.network.is_none().then_some(channel);
    let processor = matches!(config.boot(), Boot::Direct { .. }).then_some(processor);
    if channel.is_some() || processor.is_some() {
        line.properties("device", virtio("virtio-serial-pci").with("max_ports", 3));
    }
    for (id, name, path) in channel.into_iter().chain(processor) {
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
    if let Some(forwarded) = config.network {
        line.properties(
            "netdev",
            Properties::of("user")
                .with("id", "net0")
                .with("restrict", "on") // what is forwarded below, and nothing else
                .with("ipv6", "off")
                .with("hostfwd", format!("tcp:{forwarded}-:{GUEST_PORT}")),
        );
        line.properties(
            "device",
            virtio("virtio-net-pci")
                .with("netdev", "net0")
                .with("romfile", ""),
        );
    }
    let blocks = |node: &str, path: &std::path::Path| {
        Properties::of("driver=raw")
            .with("node-name", node)
            .with("read-only", "on")
            .with("file.driver", "file")
            .with("file.filename", text(path))
    };
    if let Boot::AzureLike { disk } = config.boot() {
        line.properties("blockdev", blocks("boot0", disk));
        line.properties(
            "device",
            virtio("virtio-blk-pci")
                .with("drive", "boot0")
                .with("bootindex", 0),
        );
        let path = socket(PROCESSOR_SOCKET);
        line.properties(
            "chardev",
            Properties::of("socket")
                .with("id", "paravisor0")
                .with("path", path),
        );
        line.properties(
            "tpmdev",
            Properties::of("emulator")
                .with("id", "tpm0")
                .with("chardev", "paravisor0"),
        );
        line.properties("device", Properties::of("tpm-crb").with("tpmdev", "tpm0"));
    }
    line.properties("blockdev", blocks("supply0", &config.supply));
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_accelerator_decides_the_processor_and_nothing_else() {
        let config: SimulatedVmConfig = toml::from_str(
            "firmware = '/f'\nkernel = '/k'\ninitrd = '/i'\ncommand_line = 'quiet'\nsupply = '/s'\n\
             processor = '/p'\nplatform = '/q'\nrun_directory = '/r'\n",
        )
        .expect("a configuration");
        let lines = |accelerator| -> Vec<String> {
            let line = command_line(&config, accelerator).to_string();
            line.lines()
                .map(|line| line.trim_end_matches(" \\").trim().to_owned())
                .collect()
        };
        let (kvm, tcg) = (lines(Accelerator::Kvm), lines(Accelerator::Tcg));
        let only = |these: &[String], others: &[String]| -> Vec<String> {
            these
                .iter()
                .filter(|line| !others.contains(line))
                .cloned()
                .collect()
        };
        assert_eq!(only(&kvm, &tcg), ["-accel kvm", "-cpu host"]);
        assert_eq!(
            only(&tcg, &kvm),
            ["-accel tcg", "-cpu max,avx=off,avx2=off,fma=off"]
        );
    }

    const DIRECT: &str = "kernel = \"k\"\ninitrd = \"i\"\ncommand_line = \"quiet\"\n";

    /// A configuration with `more` lines, settled.
    fn config(more: &str) -> Result<SimulatedVmConfig, String> {
        config_of(&[DIRECT, more].concat())
    }

    fn config_of(more: &str) -> Result<SimulatedVmConfig, String> {
        let text = format!(
            "firmware = \"f\"\nsupply = \"s\"\nprocessor = \"p\"\nplatform = \"q\"\nrun_directory = \"run\"\n{more}"
        );
        let mut config: SimulatedVmConfig = toml::from_str(&text).map_err(|error| error.to_string())?;
        config.settle(Path::new("/vm")).map(|()| config)
    }

    #[test]
    fn the_channel_is_a_port_or_a_forwarded_port_of_the_loopback_and_never_both() {
        let words = |more: &str| command_line(&config(more).expect("valid"), Accelerator::Tcg).to_string();
        let serial = words("");
        assert!(serial.contains("name=adyton.channel") && !serial.contains("netdev"));
        let network = words("network = \"127.0.0.1:17001\"");
        assert!(!network.contains("name=adyton.channel"));
        let user = "user,id=net0,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:17001-:7001";
        assert!(network.contains(user), "{network}");
        for more in ["10.0.0.1:17001", "0.0.0.0:17001", "127.0.0.1:0"] {
            let refused = config(&format!("network = \"{more}\"")).expect_err(more);
            assert!(refused.contains("simulated_vm.network"), "{refused}");
        }
    }

    #[test]
    fn a_disk_with_a_vtpm_takes_the_place_of_kernel_and_security_processor() {
        let azure = config_of("disk = \"d\"").expect("valid");
        let words = command_line(&azure, Accelerator::Tcg).to_string();
        for there in [
            "node-name=boot0,read-only=on,file.driver=file,file.filename=/vm/d",
            "virtio-blk-pci,disable-legacy=on,drive=boot0,bootindex=0",
            "socket,id=paravisor0,path=/vm/run/processor.sock",
            "-tpmdev emulator,id=tpm0,chardev=paravisor0",
            "-device tpm-crb,tpmdev=tpm0",
            "name=adyton.channel",
        ] {
            assert!(words.contains(there), "{there}: {words}");
        }
        for absent in ["-kernel", "-initrd", "-append", "adyton.evidence"] {
            assert!(!words.contains(absent), "{absent}: {words}");
        }
        let direct = command_line(&config("").expect("valid"), Accelerator::Tcg).to_string();
        assert!(!direct.contains("tpm") && !direct.contains("boot0"), "{direct}");
        let network = config_of("disk = \"d\"\nnetwork = \"127.0.0.1:17001\"").expect("valid");
        assert!(
            !command_line(&network, Accelerator::Tcg)
                .to_string()
                .contains("virtio-serial")
        );
        for more in ["", "kernel = \"k\"\n", "disk = \"d\"\nkernel = \"k\"\n"] {
            let refused = config_of(more).expect_err(more);
            assert!(refused.contains("simulated_vm.disk"), "{refused}");
        }
        assert!(config("disk = \"d\"").is_err());
    }
}
