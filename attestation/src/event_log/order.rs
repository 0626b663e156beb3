//! What cannot stand in an honest log of a register, though it replays.
//!
//! A register can be extended by whatever runs later, so a log that replays can still be the boot's with
//! something added: a separator, to make what follows look like the operating system's; a second SecureBoot
//! variable. Where a register is judged by its events and not by its value, that is refused here.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::event::{Event, EventKind};
use super::{Agreement, EventLog, agreement};

/// EV_EFI_ACTION when the boot loader takes over from the firmware (Platform Firmware Profile, section 3.3.4.3).
const EXIT_BOOT_SERVICES: &[u8] = b"Exit Boot Services Invocation";

/// RTMR0 and RTMR1 are the firmware's (UEFI section 38.4.1).
const FIRMWARE_REGISTERS: [u32; 2] = [1, 2];

impl EventLog {
    /// The first fault in the order of a confidential VM's register, in words.
    pub(crate) fn order_fault(&self, register: u32) -> Option<String> {
        let mut separated = false;
        let mut variables: Vec<&[u8]> = Vec::new();
        let exit = self.exit_boot_services();
        for (at, event) in self.extended(register) {
            let fault = |what: &str| Some(format!("event {at}, {}: {what}", event.kind));
            if event.kind == EventKind::SEPARATOR {
                if separated {
                    return fault("a second separator");
                }
                if event.agreement == Agreement::Recomputed && !agreement::SEPARATORS.contains(&event.data())
                {
                    return fault("not the value of a boot without error");
                }
                separated = true;
            } else if agreement::is_separator(event) {
                return fault("a separator under another type");
            } else if separated && precedes_separator(event.kind) {
                return fault("after the separator");
            }
            if event.kind == EventKind::EFI_VARIABLE_DRIVER_CONFIG && !event.data.is_empty() {
                let name = super::variable::Variable::parse(&event.data).map(|variable| variable.name);
                match name {
                    Some(name) if !variables.contains(&name) => variables.push(name),
                    Some(_) => return fault("a variable measured twice"),
                    None => return fault("not a variable"),
                }
            }
            let late = exit.is_some_and(|exit| at > exit) && event.kind != EventKind::EFI_ACTION;
            if late && FIRMWARE_REGISTERS.contains(&register) {
                return fault("after the firmware had handed over");
            }
        }
        None
    }

    /// Where the firmware handed over, if the log tells.
    pub(super) fn exit_boot_services(&self) -> Option<usize> {
        self.events.iter().position(|event: &Event| {
            event.kind == EventKind::EFI_ACTION
                && event.agreement == Agreement::Recomputed
                && event.data == EXIT_BOOT_SERVICES
        })
    }
}

/// Types that firmware measures before it draws the line (Platform Firmware Profile, section 3.3.4): its own code,
/// and the configuration of secure boot.
fn precedes_separator(kind: EventKind) -> bool {
    [
        EventKind::S_CRTM_CONTENTS,
        EventKind::S_CRTM_VERSION,
        EventKind::EFI_PLATFORM_FIRMWARE_BLOB,
        EventKind::EFI_PLATFORM_FIRMWARE_BLOB2,
        EventKind::EFI_VARIABLE_DRIVER_CONFIG,
    ]
    .contains(&kind)
}
