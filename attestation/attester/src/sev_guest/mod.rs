//! SNP reports through `/dev/sev-guest`, for kernels before configfs-tsm (Linux 5.19 to 6.6).
//!
//! 1. The crate `sev` asks for a report of our report data.
//! 2. The host's certificates come from the extended request. They are an offer: where there are none,
//!    or the host does not know the request, the report stands alone.

mod ioctl;

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use attestation::{Endorsements, PlatformTag, ReportData};
use sev::error::{UserApiError, VmmError};
use sev::firmware::guest::Firmware;

use crate::{Access, Attester, AttesterError, Collected, certificate_table};

/// Where the driver puts itself; the crate `sev` knows no other place.
pub const DEVICE: &str = "/dev/sev-guest";

const MESSAGE_VERSION: u32 = 1;
const PRIVILEGE_LEVEL_MAX: u8 = 3;
/// A host limits how often its security processor is asked (GHCB specification, section 4.1.7).
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Collects SNP reports through `/dev/sev-guest`.
pub struct SevGuest {
    privilege_level: u8,
}

impl SevGuest {
    /// Opens the device.
    pub fn open() -> Result<Self, AttesterError> {
        if !is_device(Path::new(DEVICE)).map_err(unusable)? {
            return Err(AttesterError::NotAvailable(DEVICE.into()));
        }
        Firmware::open().map_err(unusable)?;
        Ok(Self { privilege_level: 0 })
    }

    /// Asks for reports of this privilege level (VMPL) instead of 0. The device does not say which
    /// levels the guest may have; the firmware refuses those above the guest's.
    pub fn with_privilege_level(mut self, level: u8) -> Result<Self, AttesterError> {
        if level > PRIVILEGE_LEVEL_MAX {
            return Err(AttesterError::PrivilegeLevel {
                asked: level,
                floor: 0,
            });
        }
        self.privilege_level = level;
        Ok(self)
    }

    fn report(&self, report_data: &ReportData) -> Result<Vec<u8>, AttesterError> {
        let level = u32::from(self.privilege_level);
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let mut firmware = Firmware::open().map_err(unusable)?;
            match firmware.get_report(Some(MESSAGE_VERSION), Some(*report_data), Some(level)) {
                Ok(report) => return Ok(report),
                Err(UserApiError::VmmError(VmmError::RateLimitRetryRequest)) if attempt < ATTEMPTS => {}
                Err(UserApiError::VmmError(VmmError::RateLimitRetryRequest)) => {
                    return Err(AttesterError::Busy("the security processor"));
                }
                Err(error) => {
                    return Err(AttesterError::Device {
                        path: DEVICE.into(),
                        reason: error.to_string(),
                    });
                }
            }
            thread::sleep(pause);
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }
}

impl Attester for SevGuest {
    fn platform(&self) -> PlatformTag {
        PlatformTag::AmdSevSnp
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        let evidence = self.report(report_data)?;
        let level = u32::from(self.privilege_level);
        let endorsements = match ioctl::certificate_table(Path::new(DEVICE), report_data, level) {
            Err(_) => Endorsements::new(),
            Ok(table) => certificate_table::endorsements(&table).ok_or(AttesterError::Malformed {
                path: DEVICE.into(),
                reason: "not a certificate table",
            })?,
        };
        Ok(Collected {
            evidence,
            event_log: None,
            endorsements,
            devices: Vec::new(),
        })
    }

    fn access(&self) -> Access {
        Access {
            devices: vec![DEVICE.into()],
            ..Access::default()
        }
    }
}

fn unusable(source: io::Error) -> AttesterError {
    AttesterError::Io {
        path: DEVICE.into(),
        source,
    }
}

/// Whether a device is there; something else in its place is an error.
pub(crate) fn is_device(path: &Path) -> io::Result<bool> {
    match path.metadata() {
        Ok(metadata) if metadata.file_type().is_char_device() => Ok(true),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a character device",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
