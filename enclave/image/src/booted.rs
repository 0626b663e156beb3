//! What a guest of the simulated image said of itself, against the policy.
//!
//! Its init writes one line to the console once the engine runs: `adyton-init: inventory` and a document. A release
//! image has no console and says nothing; it has the same init, the same policy and the same kernel.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;

use crate::{
    check::Finding,
    policy::{Policy, Variant},
};

/// What stands before the document.
pub const PREFIX: &str = "adyton-init: inventory ";

/// What init found in /proc and /sys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inventory {
    command_line: String,
    /// The way to the host: `serial`, `vsock` or `network`.
    link: String,
    lockdown: String,
    modules: Vec<String>,
    inet_sockets: Vec<String>,
    mounts: Vec<Mount>,
    processes: Vec<String>,
    swaps: usize,
    sysctl: BTreeMap<String, String>,
    vulnerabilities: BTreeMap<String, String>,
    io_ports: usize,
    /// `NAME of AUTHOR`.
    firmware_tables: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mount {
    path: String,
    options: String,
}

/// Settings of the kernel that init made.
const SYSCTL: &[(&str, &[&str])] = &[
    ("fs.suid_dumpable", &["0"]),
    ("kernel.core_pattern", &["/dev/null"]),
    ("kernel.dmesg_restrict", &["1"]),
    ("kernel.kexec_load_disabled", &["1"]),
    ("kernel.kptr_restrict", &["2"]),
    ("kernel.modules_disabled", &["1"]),
    ("kernel.sysrq", &["0"]),
    ("kernel.unprivileged_bpf_disabled", &["1", "2"]),
    ("kernel.yama.ptrace_scope", &["3"]),
    ("user.max_user_namespaces", &["0"]),
    ("vm.unprivileged_userfaultfd", &["0"]),
];

/// Checks the boot log of a guest.
///
/// # Errors
/// When the guest did not get so far as to say what it is.
pub fn check(policy: &Policy, log: &str) -> anyhow::Result<Vec<Finding>> {
    let line = log
        .lines()
        .find_map(|line| line.trim().strip_prefix(PREFIX))
        .context("the boot log has no inventory: the guest did not get so far")?;
    let inventory: Inventory = serde_json::from_str(line).context("the inventory in the boot log")?;
    let rules = &policy.booted;

    // The firmware says where the initrd is, in a word of its own; the kernel's EFI stub looks at nothing else of it.
    let words: Vec<_> = inventory
        .command_line
        .split_whitespace()
        .filter(|word| *word != "initrd=initrd")
        .collect();
    // A machine of QEMU's without a TEE gets the tables of the entry alone, however it boots.
    let foreign_tables: Vec<_> = inventory
        .firmware_tables
        .iter()
        .filter(|table| !table.ends_with(" of ADYTON"))
        .cloned()
        .collect();
    let command_line = if policy.command_line.of(Variant::Simulated) == words.join(" ") {
        vec![]
    } else {
        vec![inventory.command_line.clone()]
    };
    let modules = inventory
        .modules
        .iter()
        .filter(|module| !rules.modules.contains(module));
    let sockets = socket_faults(&inventory, rules.listening_tcp_port);
    let writable = inventory.mounts.iter().filter(|mount| {
        mount.options.split(',').any(|option| option == "rw") && !rules.writable_mounts.contains(&mount.path)
    });
    let executable = inventory.mounts.iter().filter(|mount| {
        let has = |wanted: &str| mount.options.split(',').any(|option| option == wanted);
        has("rw") && !(has("noexec") && has("nosuid"))
    });
    let processes = if inventory.processes.len() > rules.processes_max {
        inventory.processes.clone()
    } else {
        vec![]
    };
    let swap = if inventory.swaps > 0 && !rules.swap {
        vec![inventory.swaps.to_string()]
    } else {
        vec![]
    };
    let lockdown = if inventory.lockdown.contains("[confidentiality]") {
        vec![]
    } else {
        vec![inventory.lockdown.clone()]
    };
    let sysctl = SYSCTL.iter().filter_map(|(name, wanted)| {
        let found = inventory.sysctl.get(*name);
        let fine = found.is_some_and(|found| wanted.contains(&found.as_str()));
        (!fine).then(|| format!("{name} is {found:?}"))
    });
    // What the processor under the guest is open to is for the people who choose it; what the kernel could close and
    // does not is ours.
    let vulnerable = inventory.vulnerabilities.iter().filter(|(name, state)| {
        state.starts_with("Vulnerable")
            && !state.contains("no microcode")
            && !state.contains("SMT")
            && !rules.vulnerable_emulated.contains(name)
    });

    Ok(vec![
        Finding::new("booted: command line is the policy's", command_line),
        Finding::new("booted: kernel is locked down to confidentiality", lockdown),
        Finding::new(
            "booted: modules are those of the policy",
            modules.cloned().collect(),
        ),
        Finding::new(
            "booted: ACPI tables are the image's own, and there is no SMBIOS",
            match inventory.firmware_tables.is_empty() {
                true => vec!["there are none".to_owned()],
                false => foreign_tables,
            },
        ),
        Finding::new("booted: no TCP or UDP socket but the network link's", sockets),
        Finding::new(
            "booted: writable mounts are those of the policy",
            writable.map(|mount| mount.path.clone()).collect(),
        ),
        Finding::new(
            "booted: nothing writable can run",
            executable.map(|mount| mount.path.clone()).collect(),
        ),
        Finding::new("booted: init and the engine, no other process", processes),
        Finding::new("booted: no swap", swap),
        Finding::new("booted: settings of the kernel", sysctl.collect()),
        Finding::new(
            format!(
                "booted: {} processor vulnerabilities mitigated or absent",
                inventory.vulnerabilities.len()
            ),
            vulnerable
                .map(|(name, state)| format!("{name}: {state}"))
                .collect(),
        ),
        Finding::new(
            format!(
                "booted: {} ranges of I/O ports, none for user space",
                inventory.io_ports
            ),
            vec![], // lockdown keeps ioperm and iopl shut; the number is for people who compare machines
        ),
    ])
}

/// Sockets that are not the link's one port: it listens, and one relay may be connected. Rows are those of /proc/net/tcp:
/// number, own address and port, the other's, state, in hexadecimal (Linux, Documentation/networking/proc_net_tcp.rst).
fn socket_faults(inventory: &Inventory, port: u16) -> Vec<String> {
    const LISTENS: &str = "0A";
    let words = |row: &str| -> Vec<String> { row.split_whitespace().map(str::to_owned).collect() };
    let of_link = |row: &String| {
        let words = words(row);
        let own = words.get(2).and_then(|own| own.rsplit_once(':'));
        inventory.link == "network"
            && words.first().is_some_and(|kind| kind == "tcp")
            && own.is_some_and(|(_, own)| u16::from_str_radix(own, 16) == Ok(port))
    };
    let mut faults: Vec<_> = inventory
        .inet_sockets
        .iter()
        .filter(|row| !of_link(row))
        .cloned()
        .collect();
    let listening = inventory.inet_sockets.iter().filter(|row| {
        let words = words(row);
        words.get(4).is_some_and(|state| state == LISTENS)
    });
    if inventory.link == "network" && listening.count() != 1 {
        faults.push(format!("port {port} does not listen, or not alone"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let policy = Policy::of_this_version().expect("it parses");
        let sysctl: BTreeMap<_, _> = SYSCTL.iter().map(|(name, values)| (*name, values[0])).collect();
        let mut inventory = serde_json::json!({
            "command_line": policy.command_line.of(Variant::Simulated),
            "link": "vsock",
            "lockdown": "none integrity [confidentiality]",
            "modules": ["tsm", "configfs"],
            "inet_sockets": [],
            "mounts": [
                {"path": "/", "options": "ro"},
                {"path": "/run", "options": "rw,nosuid,nodev,noexec"},
            ],
            "processes": ["init", "init"],
            "swaps": 0,
            "sysctl": sysctl,
            "vulnerabilities": {"meltdown": "Mitigation: PTI", "mds": "Not affected"},
            "io_ports": 40,
            "firmware_tables": ["DSDT of ADYTON", "FACP of ADYTON"],
        });
        change(&mut inventory);
        format!("Linux says hello\n{PREFIX}{inventory}\n")
    }

    fn faults(change: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
        let policy = Policy::of_this_version().expect("it parses");
        let findings = check(&policy, &log(change)).expect("an inventory");
        findings
            .into_iter()
            .filter(|finding| !finding.faults.is_empty())
            .map(|finding| finding.line())
            .collect()
    }

    #[test]
    fn a_guest_as_it_should_be_passes_and_each_change_fails_by_itself() {
        assert_eq!(faults(|_| ()), [""; 0]);
        let changes: [(&str, serde_json::Value); 9] = [
            ("command_line", "rdinit=/init".into()),
            ("firmware_tables", serde_json::json!([])),
            ("lockdown", "[none] integrity confidentiality".into()),
            ("modules", serde_json::json!(["evil"])),
            ("inet_sockets", serde_json::json!(["tcp 0.0.0.0:22"])),
            (
                "mounts",
                serde_json::json!([{"path": "/", "options": "rw,nosuid,noexec"}]),
            ),
            ("processes", serde_json::json!(["init", "init", "sh"])),
            ("swaps", 1.into()),
            ("vulnerabilities", serde_json::json!({"retbleed": "Vulnerable"})),
        ];
        for (key, value) in changes {
            assert_eq!(faults(|inventory| inventory[key] = value).len(), 1, "{key}");
        }
        assert_eq!(
            faults(|inventory| inventory["sysctl"]["kernel.sysrq"] = "1".into()).len(),
            1
        );
        let executable = serde_json::json!([{"path": "/run", "options": "rw,nosuid"}]);
        assert_eq!(faults(|inventory| inventory["mounts"] = executable).len(), 1);
    }

    #[test]
    fn no_boot_has_a_table_of_the_hosts() {
        let faults = |table: &str, word: &str| {
            faults(|inventory| {
                let line = inventory["command_line"].as_str().unwrap_or_default();
                inventory["command_line"] = format!("{word} {line}").into();
                inventory["firmware_tables"] = serde_json::json!(["FACP of ADYTON", table]);
            })
            .len()
        };
        for word in ["initrd=initrd", ""] {
            for table in ["DSDT of BOCHS ", "SSDT1 of EVIL  ", "DMI of the host"] {
                assert_eq!(faults(table, word), 1, "{table}");
            }
            assert_eq!(faults("DSDT of ADYTON", word), 0);
        }
    }

    #[test]
    fn a_network_has_its_one_port_and_nothing_else() {
        let listens =
            "tcp    0: 00000000:1B59 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1234 1";
        let relay =
            "tcp    1: 0F02000A:1B59 0202000A:9C40 01 00000000:00000000 00:00000000 00000000 0 0 1235 1";
        let faults = |link: &str, sockets: &[&str]| {
            faults(|inventory| {
                inventory["link"] = link.into();
                inventory["inet_sockets"] = serde_json::json!(sockets);
            })
            .len()
        };
        assert_eq!(faults("network", &[listens]), 0);
        assert_eq!(faults("network", &[listens, relay]), 0);
        for (what, link, sockets) in [
            ("nobody listens", "network", vec![]),
            ("only a connection", "network", vec![relay.to_owned()]),
            (
                "another port listens",
                "network",
                vec![listens.to_owned(), listens.replace("1B59", "0016")],
            ),
            (
                "a connection of another port",
                "network",
                vec![listens.to_owned(), relay.replace("1B59", "9C41")],
            ),
            (
                "UDP",
                "network",
                vec![listens.to_owned(), relay.replace("tcp", "udp")],
            ),
            (
                "a packet socket",
                "network",
                vec![listens.to_owned(), "raw nonsense".to_owned()],
            ),
            ("twice", "network", vec![listens.to_owned(); 2]),
            ("without a network", "vsock", vec![listens.to_owned()]),
        ] {
            let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
            assert_eq!(faults(link, &sockets), 1, "{what}");
        }
    }

    #[test]
    fn a_log_without_an_inventory_is_an_error() {
        let policy = Policy::of_this_version().expect("it parses");
        assert!(check(&policy, "Kernel panic - not syncing").is_err());
    }
}
