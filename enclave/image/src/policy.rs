//! `policy.toml`: what the image is made of, and what it must and must not hold.

use anyhow::Context as _;
use serde::Deserialize;

/// The policy of this version, compiled in: an image is checked by the policy that it was built by.
pub const POLICY: &str = include_str!("../policy.toml");

/// Which image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// What serves.
    Release,
    /// The same with the simulated security processor and a console: its measurement always differs.
    Simulated,
}

impl Variant {
    /// `release` or `simulated`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Simulated => "simulated",
        }
    }
}

/// The whole policy. Unknown keys are errors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Packages that files are taken from.
    pub packages: Vec<Package>,
    /// Where the kernel's parts stand in them.
    pub kernel: Kernel,
    /// Modules in load order.
    pub modules: Modules,
    /// The kernel's command line.
    pub command_line: CommandLine,
    /// Options of the kernel.
    pub kernel_options: KernelOptions,
    /// Paths of the initrd.
    pub files: Files,
    /// What the host may present to the guest.
    pub presented: Presented,
    /// What the booted guest may show.
    pub booted: Booted,
    /// What is known of time.
    pub time: Time,
}

/// A package of Debian.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// The suite that has it.
    pub suite: String,
    /// SHA-256 of the package file.
    pub sha256: String,
    /// SPDX licence of what is taken from it.
    pub licence: String,
}

/// Paths in the unpacked packages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// The kernel's own name for its version.
    pub release: String,
    /// The kernel.
    pub image: String,
    /// Its options.
    pub options: String,
    /// Folder of its modules.
    pub modules: String,
    /// The stub of the unified image.
    pub stub: String,
}

/// Modules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modules {
    /// Paths below the modules' folder, without the suffix of compression.
    pub files: Vec<String>,
}

/// The kernel's command line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandLine {
    common: Vec<String>,
    release: Vec<String>,
    simulated: Vec<String>,
    forbidden: Vec<String>,
    forbidden_release: Vec<String>,
}

impl CommandLine {
    /// The line of a variant.
    pub fn of(&self, variant: Variant) -> String {
        let own = match variant {
            Variant::Release => &self.release,
            Variant::Simulated => &self.simulated,
        };
        [self.common.as_slice(), own.as_slice()].concat().join(" ")
    }

    /// Words of `line` that are forbidden in `variant`.
    pub fn forbidden_in<'a>(&self, line: &'a str, variant: Variant) -> Vec<&'a str> {
        let release = self
            .forbidden_release
            .iter()
            .filter(|_| variant == Variant::Release);
        let forbidden: Vec<_> = self.forbidden.iter().chain(release).collect();
        let hit = |word: &&str| {
            forbidden.iter().any(|name| {
                word.strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            })
        };
        line.split_whitespace().filter(hit).collect()
    }
}

/// Options of the kernel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelOptions {
    /// `NAME=value`.
    pub required: Vec<String>,
    /// Names that must not be on, not even as a module.
    pub forbidden: Vec<String>,
    /// What is on and shut otherwise.
    pub shut: Vec<Shut>,
}

/// Options that the kernel has on, and what shuts them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shut {
    /// Their names.
    pub options: Vec<String>,
    /// By what.
    pub by: ShutBy,
    /// The word of the command line, when it is one.
    #[serde(default)]
    pub word: Option<String>,
}

/// What shuts an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ShutBy {
    /// A word of the command line.
    #[serde(rename = "word")]
    Word,
    /// Init, through sysctl, before it reads anything of the host's.
    #[serde(rename = "init")]
    Init,
    /// The module is not in the image.
    #[serde(rename = "no module")]
    NoModule,
}

/// Paths of the initrd besides modules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Empty folders.
    pub directories: Vec<String>,
    /// Programs.
    pub executables: Vec<String>,
    /// Device nodes that init needs before it has /dev.
    pub devices: Vec<String>,
    /// Data.
    pub data: Vec<String>,
    /// Names that no path may end in.
    pub forbidden_names: Vec<String>,
    /// Bound of the initrd.
    pub initrd_bytes_max: u64,
}

/// What the host may present to the guest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presented {
    /// Devices on the PCI bus: `vendor:device` in hexadecimal, a star for each device of a vendor.
    pub pci_devices: Vec<String>,
}

/// What the booted guest may show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Booted {
    /// The only TCP port that a guest whose link is a network has sockets of. Others have no TCP or UDP socket.
    pub listening_tcp_port: u16,
    /// Processes that are not the kernel's.
    pub processes_max: usize,
    /// Modules that may be loaded.
    pub modules: Vec<String>,
    /// Mounts that may be writable.
    pub writable_mounts: Vec<String>,
    /// Vulnerabilities that an emulated processor has and a real one need not.
    pub vulnerable_emulated: Vec<String>,
    /// Whether swap may be on.
    pub swap: bool,
}

/// What is known of time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// Seconds since 1970: no clock is right that is before.
    pub floor: u64,
}

impl Policy {
    /// The policy of this version.
    ///
    /// # Errors
    /// When the file in the source is not one: a test keeps it from being committed.
    pub fn of_this_version() -> anyhow::Result<Self> {
        toml::from_str(POLICY).context("policy.toml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_one_and_its_own_command_lines_pass() {
        let policy = Policy::of_this_version().expect("it parses");
        for variant in [Variant::Release, Variant::Simulated] {
            let line = policy.command_line.of(variant);
            assert_eq!(policy.command_line.forbidden_in(&line, variant), [""; 0]);
            assert!(line.len() < 2048 && line.starts_with("rdinit=/init "));
        }
        for device in &policy.presented.pci_devices {
            let digits =
                |id: &str| id.len() == 4 && id.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
            let (vendor, device) = device.split_once(':').expect("vendor:device");
            assert!(
                digits(vendor) && (device == "*" || digits(device)),
                "{vendor}:{device}"
            );
            assert!(vendor != "1af4" || device >= "1041", "legacy virtio: {device}");
        }
        for shut in &policy.kernel_options.shut {
            assert_eq!(shut.word.is_some(), shut.by == ShutBy::Word, "{shut:?}");
        }
    }

    #[test]
    fn forbidden_words_are_words_not_prefixes() {
        let policy = Policy::of_this_version().expect("it parses");
        let found = |line, variant| policy.command_line.forbidden_in(line, variant);
        assert_eq!(found("init_on_free=1 rdinit=/init", Variant::Release), [""; 0]);
        assert_eq!(found("init=/bin/sh quiet", Variant::Release), ["init=/bin/sh"]);
        assert_eq!(found("console=ttyS0", Variant::Release), ["console=ttyS0"]);
        assert_eq!(found("console=ttyS0", Variant::Simulated), [""; 0]);
        assert_eq!(
            found("a mitigations=off", Variant::Simulated),
            ["mitigations=off"]
        );
    }
}
