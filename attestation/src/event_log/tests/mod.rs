//! Logs of real machines, and logs made here to be wrong in one way.

mod json;
mod meaning;
mod real;
mod tcg;

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256, Sha384};

use super::{EventKind, EventLog, EventLogError};

const SHA1: u16 = 0x4;
const SHA256: u16 = 0xb;
const SHA384: u16 = 0xc;

/// Writes TCG logs.
struct Log {
    bytes: Vec<u8>,
    algorithms: Vec<u16>,
}

impl Log {
    fn new(algorithms: &[(u16, u16)]) -> Self {
        let mut data = b"Spec ID Event03\0".to_vec();
        data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        data.extend(u32::try_from(algorithms.len()).expect("few").to_le_bytes());
        for (algorithm, bytes) in algorithms {
            data.extend(algorithm.to_le_bytes());
            data.extend(bytes.to_le_bytes());
        }
        data.push(0);
        let mut bytes = [&[1, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20]].concat();
        bytes.extend(u32::try_from(data.len()).expect("few").to_le_bytes());
        bytes.extend(data);
        Self {
            bytes,
            algorithms: algorithms.iter().map(|(algorithm, _)| *algorithm).collect(),
        }
    }

    fn ccel() -> Self {
        Self::new(&[(SHA384, 48)])
    }

    /// An event whose digests are those of `measured`.
    fn measuring(mut self, register: u32, kind: EventKind, measured: &[u8], data: &[u8]) -> Self {
        self.bytes.extend(register.to_le_bytes());
        self.bytes.extend(kind.0.to_le_bytes());
        let count = u32::try_from(self.algorithms.len()).expect("few");
        self.bytes.extend(count.to_le_bytes());
        for algorithm in self.algorithms.clone() {
            self.bytes.extend(algorithm.to_le_bytes());
            match algorithm {
                SHA256 => self.bytes.extend(&Sha256::digest(measured)[..]),
                SHA384 => self.bytes.extend(&Sha384::digest(measured)[..]),
                _ => self.bytes.extend([7; 20]),
            }
        }
        self.bytes
            .extend(u32::try_from(data.len()).expect("few").to_le_bytes());
        self.bytes.extend(data);
        self
    }

    fn event(self, register: u32, kind: EventKind, data: &[u8]) -> Self {
        self.measuring(register, kind, data, data)
    }

    fn parse(&self) -> Result<EventLog, EventLogError> {
        EventLog::parse(&self.bytes)
    }

    fn read(&self) -> EventLog {
        self.parse().expect("it reads")
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn variable(name: &str, value: &[u8]) -> Vec<u8> {
    let mut data = super::variable::GLOBAL.to_vec();
    data.extend((name.len() as u64).to_le_bytes());
    data.extend((value.len() as u64).to_le_bytes());
    data.extend(utf16(name));
    data.extend(value);
    data
}

/// What a confidential VM boots: firmware, secure boot off, a line, a loader, a kernel.
fn boot() -> Log {
    boot_with(&[])
}

fn boot_with(secure_boot: &[u8]) -> Log {
    Log::ccel()
        .measuring(1, EventKind::EFI_PLATFORM_FIRMWARE_BLOB2, b"volume", b"name")
        .event(
            1,
            EventKind::EFI_VARIABLE_DRIVER_CONFIG,
            &variable("SecureBoot", secure_boot),
        )
        .event(1, EventKind::EFI_VARIABLE_DRIVER_CONFIG, &variable("PK", b"key"))
        .event(1, EventKind::SEPARATOR, &[0; 4])
        .measuring(1, EventKind::PLATFORM_CONFIG_FLAGS, b"tables", b"ACPI DATA")
        .event(
            2,
            EventKind::EFI_ACTION,
            b"Calling EFI Application from Boot Option",
        )
        .event(2, EventKind::SEPARATOR, &[0; 4])
        .measuring(
            2,
            EventKind::EFI_BOOT_SERVICES_APPLICATION,
            b"image",
            &image("\\EFI\\BOOT\\x.efi"),
        )
        .measuring(3, EventKind::IPL, b"ro quiet", b"kernel_cmdline: ro quiet\0")
        .event(2, EventKind::EFI_ACTION, b"Exit Boot Services Invocation")
        .event(
            2,
            EventKind::EFI_ACTION,
            b"Exit Boot Services Returned with Success",
        )
}

fn image(path: &str) -> Vec<u8> {
    let path = [utf16(path), alloc::vec![0, 0]].concat();
    let mut data = alloc::vec![9; 32];
    data.extend([4, 4]);
    data.extend(u16::try_from(path.len() + 4).expect("short").to_le_bytes());
    data.extend(path);
    data.extend([0x7f, 0xff, 4, 0]);
    data
}

fn field(log: &EventLog, name: &str) -> Option<String> {
    log.fields()
        .into_iter()
        .find(|field| field.name == name)
        .map(|field| field.value.to_string())
}
