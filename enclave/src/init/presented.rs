//! What the host presents to the guest before anything of it is used: devices on the PCI bus.
//!
//! They are not measured. The image brings its own list; another device is a fault, and so is a virtio device of the
//! legacy kind, whose ids are not on the list. ACPI tables are replaced before the kernel starts (`enclave/entry`).

use std::{fs, path::Path};

use crate::error::{EnclaveError, Result};

/// Where the image keeps its list: one `vendor:device` a line in hexadecimal, a star for each device of a vendor.
const PCI_DEVICES: &str = "/pci-devices";
const PCI_BUS: &str = "/sys/bus/pci/devices";

fn fault(what: &'static str) -> EnclaveError {
    EnclaveError::Init(what)
}

/// Refuses what the image does not know.
pub(super) fn check() -> Result<()> {
    let listed = fs::read_to_string(PCI_DEVICES).map_err(|_| fault("the image's list of devices"))?;
    check_devices(Path::new(PCI_BUS), &listed)
}

/// Compares the bus with the list. A machine without PCI has no devices.
fn check_devices(bus: &Path, listed: &str) -> Result<()> {
    let Ok(devices) = fs::read_dir(bus) else {
        return Ok(());
    };
    for device in devices {
        let device = device.map_err(|_| fault("the PCI bus"))?.path();
        let id = |name| fs::read_to_string(device.join(name)).map_err(|_| fault("the PCI bus"));
        let (vendor, device) = (id("vendor")?, id("device")?);
        if !is_listed(&vendor, &device, listed) {
            return Err(fault("the host presents a device that the image does not know"));
        }
    }
    Ok(())
}

fn is_listed(vendor: &str, device: &str, listed: &str) -> bool {
    let digits = |id: &str| id.trim().strip_prefix("0x").map(str::to_owned);
    let (Some(vendor), Some(device)) = (digits(vendor), digits(device)) else {
        return false;
    };
    listed.lines().any(|line| {
        line.split_once(':')
            .is_some_and(|(v, d)| v == vendor && (d == device || d == "*"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "8086:29c0\n1af4:1042\n10de:*\n";

    fn bus(devices: &[(&str, &str)]) -> tempfile::TempDir {
        let bus = tempfile::tempdir().expect("a folder");
        for (number, (vendor, device)) in devices.iter().enumerate() {
            let folder = bus.path().join(format!("0000:00:{number:02}.0"));
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("vendor"), format!("{vendor}\n")).expect("written");
            fs::write(folder.join("device"), format!("{device}\n")).expect("written");
        }
        bus
    }

    fn verdict(devices: &[(&str, &str)]) -> bool {
        check_devices(bus(devices).path(), LISTED).is_ok()
    }

    #[test]
    fn a_bus_of_listed_devices_passes_and_each_other_device_is_a_fault() {
        let listed = [("0x8086", "0x29c0"), ("0x1af4", "0x1042"), ("0x10de", "0x2331")];
        assert!(verdict(&listed));
        assert!(verdict(&[]));
        for other in [
            ("0x1af4", "0x1001"), // a block device of legacy virtio
            ("0x1af4", "0x1044"), // randomness of the host's
            ("0x8086", "0x1042"),
            ("0x10dd", "0x2331"),
            ("8086", "29c0"),
            ("", ""),
        ] {
            assert!(!verdict(&[listed.as_slice(), &[other]].concat()), "{other:?}");
        }
    }

    #[test]
    fn a_device_that_cannot_be_read_is_a_fault_and_no_bus_is_none() {
        let bus = bus(&[("0x8086", "0x29c0")]);
        fs::remove_file(bus.path().join("0000:00:00.0/device")).expect("it was there");
        assert!(check_devices(bus.path(), LISTED).is_err());
        assert!(check_devices(Path::new("/nowhere"), LISTED).is_ok());
    }
}
