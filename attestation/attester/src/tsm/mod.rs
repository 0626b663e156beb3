//! The Linux configfs-tsm interface (Documentation/ABI/testing/configfs-tsm-report, Linux 6.7).
//!
//! 1. A new folder below the root makes an entry with a `generation` counter.
//! 2. `inblob` takes the report data; each write adds one to the generation.
//! 3. `provider` names the security processor, `outblob` holds the evidence, `auxblob` what the host
//!    adds: a certificate table on SNP.
//! 4. If the generation is not what one write of ours makes, somebody else wrote in between, and what
//!    was read may be of their report data.
//! 5. Removing the folder removes the entry, also when a step failed.

mod entry;
mod files;
#[cfg(test)]
mod kernel;

use std::path::{Path, PathBuf};

use attestation::{Endorsements, PlatformTag, ReportData};

use self::entry::Entry;
use self::files::{Configfs, Files};
use crate::certificate_table;
use crate::{Attester, AttesterError, Collected};

const ROOT: &str = "/sys/kernel/config/tsm/report";
/// The kernel's own bound of `outblob` is 16 KiB for SNP and one page more for TDX.
const OUTBLOB_BYTES_MAX: usize = 64 * 1024;
const AUXBLOB_BYTES_MAX: usize = 64 * 1024;
const ATTEMPTS: usize = 8;

/// Collects SNP reports and TDX quotes through configfs-tsm.
pub struct Tsm {
    files: Box<dyn Files>,
    root: PathBuf,
    platform: PlatformTag,
}

impl Tsm {
    /// Opens the interface where the kernel puts it, and finds out which platform this is.
    pub fn open() -> Result<Self, AttesterError> {
        Self::open_at(Path::new(ROOT))
    }

    /// The same below another folder, for tests.
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
        })
    }

    fn collect(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        let entry = Entry::create(&*self.files, &self.root)?;
        let before = entry.generation()?;
        entry.write("inblob", report_data)?;
        if entry.platform()? != self.platform {
            return Err(entry.malformed("provider", "the provider changed"));
        }
        let evidence = entry.read("outblob", OUTBLOB_BYTES_MAX)?;
        let auxiliary = entry.read_optional("auxblob", AUXBLOB_BYTES_MAX)?;
        let (expected, found) = (before + 1, entry.generation()?);
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
        Ok(Collected {
            evidence,
            event_log: None,
            endorsements,
        })
    }
}

impl Attester for Tsm {
    fn platform(&self) -> PlatformTag {
        self.platform
    }

    /// Tries again when another process wrote to the entry, a bounded number of times.
    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        let mut raced = None;
        for _ in 0..ATTEMPTS {
            match self.collect(report_data) {
                Err(error @ AttesterError::Raced { .. }) => raced = Some(error),
                other => return other,
            }
        }
        Err(raced.expect("there was at least one attempt"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use attestation::{EndorsementKind, PlatformTag};

    use super::Tsm;
    use super::kernel::Kernel;
    use crate::{Attester as _, AttesterError};

    const ROOT: &str = "/fake/tsm/report";

    fn open(kernel: &Kernel) -> Result<Tsm, AttesterError> {
        Tsm::open_with(Box::new(kernel.clone()), Path::new(ROOT))
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
