//! The Linux configfs-tsm interface (Documentation/ABI/testing/configfs-tsm-report, Linux 6.7).
//!
//! 1. A new folder below the root makes an entry with a `generation` counter.
//! 2. `privlevel` takes the privilege level (SNP's VMPL), no lower than `privlevel_floor`. It is written
//!    only where it differs from the kernel's default of 0.
//! 3. `inblob` takes the report data; each write adds one to the generation.
//! 4. `provider` names the security processor, `outblob` holds the evidence, `auxblob` what the host
//!    adds: a certificate table on SNP.
//! 5. If the generation is not what our writes make, somebody else wrote in between, and what was read
//!    may be of their report data. The same shows a write that the kernel dropped.
//! 6. Removing the folder removes the entry, also when a step failed.
//!
//! A security processor that serves somebody else (EBUSY, EWOULDBLOCK) and a race are tried again with
//! a new entry, a bounded number of times.

mod entry;
mod files;
#[cfg(test)]
mod kernel;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use attestation::{Endorsements, PlatformTag, ReportData};

use self::entry::Entry;
use self::files::{Configfs, Files};
use crate::{Access, Attester, AttesterError, Collected, certificate_table, event_log};

/// Where Linux puts the interface.
pub(crate) const ROOT: &str = "/sys/kernel/config/tsm/report";
/// The kernel's own bound of `outblob` is 16 KiB for SNP and one page more for TDX.
const OUTBLOB_BYTES_MAX: usize = 64 * 1024;
const AUXBLOB_BYTES_MAX: usize = 64 * 1024;
/// TSM_PRIVLEVEL_MAX: SNP has the levels 0 to 3.
const PRIVILEGE_LEVEL_MAX: u8 = 3;
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Collects SNP reports and TDX quotes through configfs-tsm.
pub struct Tsm {
    files: Box<dyn Files>,
    root: PathBuf,
    platform: PlatformTag,
    privilege_level: Option<u8>,
    event_log: Option<PathBuf>,
    first_pause: Duration,
}

impl Tsm {
    /// Opens the interface where the kernel puts it, and finds out which platform this is. The event
    /// log of a TDX machine comes along.
    pub fn open() -> Result<Self, AttesterError> {
        let tsm = Self::open_at(Path::new(ROOT))?;
        Ok(match tsm.platform {
            PlatformTag::IntelTdx => tsm.with_event_log(event_log::CCEL),
            _ => tsm,
        })
    }

    /// The same below another folder and without an event log, for tests.
    pub fn open_at(root: &Path) -> Result<Self, AttesterError> {
        if !root.is_dir() {
            return Err(AttesterError::NotAvailable(root.to_owned()));
        }
        Self::open_with(Box::new(Configfs), root)
    }

    fn open_with(files: Box<dyn Files>, root: &Path) -> Result<Self, AttesterError> {
        let platform = Entry::create(&*files, root)?.platform()?;
        Ok(Self {
            files,
            root: root.to_owned(),
            platform,
            privilege_level: None,
            event_log: None,
            first_pause: FIRST_PAUSE,
        })
    }

    /// Sends the log in `file` along, if it is there.
    #[must_use]
    pub fn with_event_log(mut self, file: impl Into<PathBuf>) -> Self {
        self.event_log = Some(file.into());
        self
    }

    /// Asks for reports of this privilege level. Without it, for the most privileged that the kernel
    /// allows, which is the level that the guest runs at.
    #[must_use]
    pub fn with_privilege_level(mut self, level: u8) -> Self {
        self.privilege_level = Some(level);
        self
    }

    fn collect(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        let entry = Entry::create(&*self.files, &self.root)?;
        let before = entry.generation()?;
        let mut writes = 1;
        if let Some(level) = self.level(&entry)? {
            entry.write("privlevel", level.to_string().as_bytes())?;
            writes += 1;
        }
        entry.write("inblob", report_data)?;
        if entry.platform()? != self.platform {
            return Err(entry.malformed("provider", "the provider changed"));
        }
        let evidence = entry.read("outblob", OUTBLOB_BYTES_MAX)?;
        let auxiliary = entry.read_optional("auxblob", AUXBLOB_BYTES_MAX)?;
        let (expected, found) = (before.saturating_add(writes), entry.generation()?);
        if found != expected {
            return Err(AttesterError::Raced { expected, found });
        }
        if evidence.is_empty() {
            return Err(entry.malformed("outblob", "empty"));
        }
        let endorsements = match (self.platform, auxiliary.as_deref()) {
            (PlatformTag::AmdSevSnp, Some(table)) if !table.is_empty() => {
                certificate_table::endorsements(table)
                    .ok_or_else(|| entry.malformed("auxblob", "not a certificate table"))?
            }
            _ => Endorsements::new(),
        };
        let event_log = match &self.event_log {
            Some(file) => event_log::read(file)?,
            None => None,
        };
        Ok(Collected {
            evidence,
            event_log,
            endorsements,
            devices: Vec::new(),
        })
    }

    /// The level to write, if one must be.
    fn level(&self, entry: &Entry<'_>) -> Result<Option<u32>, AttesterError> {
        let floor = entry.privilege_floor()?;
        let refused = |asked| AttesterError::PrivilegeLevel {
            asked,
            floor: floor.unwrap_or_default(),
        };
        match (floor, self.privilege_level) {
            (None, Some(asked)) => Err(refused(asked)),
            (None | Some(0), None) => Ok(None),
            (Some(floor), None) => Ok(Some(floor)),
            (Some(floor), Some(asked)) if u32::from(asked) < floor || asked > PRIVILEGE_LEVEL_MAX => {
                Err(refused(asked))
            }
            (Some(_), Some(asked)) => Ok(Some(u32::from(asked)).filter(|level| *level > 0)),
        }
    }
}

impl Attester for Tsm {
    fn platform(&self) -> PlatformTag {
        self.platform
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        let mut pause = self.first_pause;
        for attempt in 1.. {
            match self.collect(report_data) {
                Err(AttesterError::Raced { .. }) if attempt < ATTEMPTS => {}
                Err(AttesterError::Io { source, .. }) if attempt < ATTEMPTS && is_busy(&source) => {
                    thread::sleep(pause);
                    pause *= 2;
                }
                other => return other,
            }
        }
        unreachable!("the last attempt returns")
    }

    fn access(&self) -> Access {
        Access {
            folders: vec![self.root.clone()],
            files: self.event_log.iter().cloned().collect(),
            ..Access::default()
        }
    }
}

/// Whether the security processor is serving somebody else.
fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ResourceBusy | ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use attestation::{EndorsementKind, PlatformTag};

    use super::Tsm;
    use super::kernel::Kernel;
    use crate::{Attester as _, AttesterError};

    const ROOT: &str = "/fake/tsm/report";

    fn open(kernel: &Kernel) -> Result<Tsm, AttesterError> {
        let mut tsm = Tsm::open_with(Box::new(kernel.clone()), Path::new(ROOT))?;
        tsm.first_pause = Duration::from_micros(1);
        Ok(tsm)
    }

    #[test]
    fn evidence_commits_to_the_report_data_and_nothing_is_left_behind() {
        for (provider, platform) in [
            ("sev_guest\n", PlatformTag::AmdSevSnp),
            ("tdx_guest\n", PlatformTag::IntelTdx),
        ] {
            let kernel = Kernel::new(provider);
            let tsm = open(&kernel).expect("it opens");
            assert_eq!(tsm.platform(), platform);
            for byte in [1, 2] {
                let collected = tsm.evidence(&[byte; 64]).expect("evidence");
                assert_eq!(collected.evidence, Kernel::evidence(&[byte; 64]));
                assert_eq!(collected.event_log, None);
                assert!(collected.endorsements.is_empty());
            }
            assert_eq!(kernel.entries(), 0);
        }
    }

    #[test]
    fn the_hosts_certificates_come_along() {
        let mut table = vec![0; 48];
        table[..16].copy_from_slice(&[
            0x8d, 0x75, 0xda, 0x63, 0x64, 0xe6, 0x64, 0x45, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd,
        ]);
        table[16] = 48;
        table[20] = 4;
        table.extend(b"VCEK");
        let kernel = Kernel::new("sev_guest\n");
        kernel.change(|state| state.auxblob = Some(table));
        let collected = open(&kernel)
            .expect("it opens")
            .evidence(&[1; 64])
            .expect("evidence");
        assert_eq!(
            collected.endorsements.document(EndorsementKind::SnpLeaf),
            Some(&b"VCEK"[..])
        );

        kernel.change(|state| state.auxblob = Some(vec![1; 100]));
        let error = open(&kernel)
            .expect("it opens")
            .evidence(&[1; 64])
            .expect_err("no table");
        assert!(matches!(error, AttesterError::Malformed { path, .. } if path.ends_with("auxblob")));
    }

    #[test]
    fn a_race_is_tried_again_and_then_an_error() {
        let kernel = Kernel::new("sev_guest\n");
        let tsm = open(&kernel).expect("it opens");
        kernel.change(|state| state.races = 3);
        assert_eq!(
            tsm.evidence(&[5; 64]).expect("evidence").evidence,
            Kernel::evidence(&[5; 64])
        );
        kernel.change(|state| state.races = usize::MAX);
        let error = tsm.evidence(&[5; 64]).expect_err("always raced");
        assert!(
            matches!(
                error,
                AttesterError::Raced {
                    expected: 1,
                    found: 2
                }
            ),
            "{error}"
        );
        assert_eq!(kernel.entries(), 0);
    }

    #[test]
    fn what_the_kernel_should_not_do_is_an_error_and_cleaned_up() {
        type Change = fn(&mut super::kernel::State);
        let cases: [(Change, &str); 6] = [
            (|state| state.outblob_bytes = Some(0), "attester-malformed"),
            (
                |state| state.outblob_bytes = Some(super::OUTBLOB_BYTES_MAX + 1),
                "attester-malformed",
            ),
            (
                |state| state.auxblob = Some(vec![0; super::AUXBLOB_BYTES_MAX + 1]),
                "attester-malformed",
            ),
            (|state| state.busy = true, "attester-io"),
            (|state| state.short_write = true, "attester-malformed"),
            (|state| state.provider = "tdx_guest", "attester-malformed"),
        ];
        for (change, code) in cases {
            let kernel = Kernel::new("sev_guest\n");
            let tsm = open(&kernel).expect("it opens");
            kernel.change(change);
            let error = tsm.evidence(&[5; 64]).expect_err("refused");
            assert_eq!(error.code(), code, "{error}");
            assert_eq!(kernel.entries(), 0);
        }
    }

    #[test]
    fn an_unknown_provider_is_named() {
        let kernel = Kernel::new("arm_cca_guest\n");
        assert!(
            matches!(open(&kernel), Err(AttesterError::UnknownProvider(name)) if name == "arm_cca_guest")
        );
        assert_eq!(kernel.entries(), 0);
    }

    #[test]
    fn a_name_that_is_taken_is_not_reused() {
        let kernel = Kernel::new("sev_guest\n");
        kernel.change(|state| state.taken = 2);
        open(&kernel).expect("it opens under another name");
        kernel.change(|state| state.taken = usize::MAX);
        assert!(matches!(open(&kernel), Err(AttesterError::Malformed { .. })));
    }

    #[test]
    fn without_the_interface_there_is_no_attester() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("report");
        assert!(matches!(Tsm::open_at(&missing), Err(AttesterError::NotAvailable(path)) if path == missing));
        // A folder that is not configfs: entries have no files, and none stays.
        assert!(matches!(
            Tsm::open_at(folder.path()),
            Err(AttesterError::Io { .. })
        ));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
