//! What the machine looks like from inside, for a development image's console: `scripts/check-image --booted` compares it
//! with the policy. Nothing of the host's supply is in it.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use super::system::SETTINGS;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The inventory, as one line of JSON; `link` is the way to the host.
pub(super) fn take(link: &str) -> Value {
    let first_words = |path: &str| -> Vec<String> {
        read(path)
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect()
    };
    let mounts: Vec<_> = read("/proc/mounts")
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (path, _, options) = (words.next()?, words.next()?, words.next()?);
            Some(json!({"path": path, "options": options}))
        })
        .collect();
    let settings: Map<_, _> = SETTINGS
        .iter()
        .filter_map(|(name, _)| {
            let value = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
            Some(((*name).to_owned(), value.trim().into()))
        })
        .collect();
    json!({
        "command_line": read("/proc/cmdline"),
        "link": link,
        "lockdown": read("/sys/kernel/security/lockdown"),
        "modules": first_words("/proc/modules"),
        "inet_sockets": inet_sockets(),
        "mounts": mounts,
        "processes": processes(),
        "swaps": read("/proc/swaps").lines().skip(1).count(),
        "sysctl": settings,
        "vulnerabilities": vulnerabilities(),
        "io_ports": read("/proc/ioports").lines().count(),
        "firmware_tables": firmware_tables(),
    })
}

/// Who wrote each ACPI table that the kernel has: its name and its author (ACPI 6.5, section 5.2.6). A FACS has none. SMBIOS
/// is the host's wherever it is.
fn firmware_tables() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/firmware/acpi/tables") else {
        return Vec::new();
    };
    let mut tables: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let table = fs::read(entry.path()).ok()?; // a folder of data is no table
            let author = String::from_utf8_lossy(table.get(10..16)?).into_owned();
            Some(format!("{} of {author}", entry.file_name().to_string_lossy()))
        })
        .filter(|table| !table.starts_with("FACS"))
        .collect();
    if Path::new("/sys/firmware/dmi/tables/DMI").exists() {
        tables.push("DMI of the host".to_owned());
    }
    tables.sort_unstable();
    tables
}

/// TCP and UDP sockets of every state: there is to be none, but for those of the network's one port.
fn inet_sockets() -> Vec<String> {
    ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"]
        .iter()
        .flat_map(|kind| {
            let table = read(&format!("/proc/net/{kind}"));
            let rows: Vec<_> = table.lines().skip(1).map(|row| format!("{kind} {row}")).collect();
            rows
        })
        .collect()
}

/// Names of processes that are not the kernel's own: those have no program.
fn processes() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .iter()
                .all(u8::is_ascii_digit)
        })
        .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| !line.is_empty()))
        .map(|entry| {
            fs::read_to_string(entry.path().join("comm"))
                .unwrap_or_default()
                .trim()
                .to_owned()
        })
        .collect()
}

fn vulnerabilities() -> Map<String, Value> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return Map::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let state = fs::read_to_string(entry.path()).ok()?;
            Some((entry.file_name().into_string().ok()?, state.trim().into()))
        })
        .collect()
}
