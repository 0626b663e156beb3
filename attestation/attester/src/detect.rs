//! Finds the one attester of this machine, or says what was looked for and found.
//!
//! | looked for | platform |
//! |---|---|
//! | provider of configfs-tsm | SNP or TDX, by its name |
//! | `/dev/sev-guest` | SNP |
//! | `/dev/tdx_guest` | TDX |
//! | HCL report in the TPM, NV index 0x01400001 | Azure |
//!
//! Several ways to the same platform are one candidate, and the first in the table is taken. Two
//! platforms, or one place of which it cannot be told whether something is there, are an error: an
//! attester that was guessed could be one that somebody put there to be found.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use attestation::PlatformTag;

use crate::azure::{Azure, MetadataService};
use crate::sev_guest::{self, SevGuest, is_device};
use crate::tdx_guest::{self, TdxGuest};
use crate::tpm::{self, Connect, DeviceFile};
use crate::tsm::{self, Tsm};
use crate::{Attester, AttesterError, event_log};

/// A way to evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// configfs-tsm.
    Tsm,
    /// `/dev/sev-guest`.
    SevGuest,
    /// `/dev/tdx_guest`.
    TdxGuest,
    /// The vTPM of Azure's paravisor.
    Azure,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Tsm => "configfs-tsm",
            Source::SevGuest => sev_guest::DEVICE,
            Source::TdxGuest => tdx_guest::DEVICE,
            Source::Azure => "HCL report in the TPM",
        })
    }
}

/// What was found where a source would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    source: Source,
    found: Found,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Platform(Platform),
    Unclear(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    Snp,
    Tdx,
    Azure,
}

impl Finding {
    /// Where was looked.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Whether it is there for certain.
    pub fn is_here(&self) -> bool {
        matches!(self.found, Found::Platform(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        match &self.found {
            Found::Nothing => f.write_str("nothing"),
            Found::Platform(Platform::Snp) => f.write_str("SEV-SNP"),
            Found::Platform(Platform::Tdx) => f.write_str("TDX"),
            Found::Platform(Platform::Azure) => f.write_str("Azure"),
            Found::Unclear(why) => write!(f, "cannot be told ({why})"),
        }
    }
}

/// The attester of this machine.
pub struct Detected {
    /// How it collects.
    pub source: Source,
    /// The attester.
    pub attester: Box<dyn Attester>,
    /// What was looked for and found.
    pub findings: Vec<Finding>,
}

/// Finds the attester of this machine.
pub fn detect() -> Result<Detected, AttesterError> {
    detect_in(Places::default())
}

/// Where to look.
pub(crate) struct Places {
    tsm: PathBuf,
    sev_guest: PathBuf,
    tdx_guest: PathBuf,
    tpm: Box<dyn Connect>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            tsm: tsm::ROOT.into(),
            sev_guest: sev_guest::DEVICE.into(),
            tdx_guest: tdx_guest::DEVICE.into(),
            tpm: Box::new(DeviceFile::new(tpm::DEVICE)),
        }
    }
}

#[cfg(test)]
impl Places {
    /// Only this TPM, and nothing where the rest would be.
    pub(crate) fn only(tpm: Box<dyn Connect>) -> Self {
        let nowhere = || PathBuf::from("/nonexistent");
        Self {
            tsm: nowhere(),
            sev_guest: nowhere(),
            tdx_guest: nowhere(),
            tpm,
        }
    }
}

pub(crate) fn detect_in(places: Places) -> Result<Detected, AttesterError> {
    let findings = vec![
        finding(Source::Tsm, look_for_tsm(&places.tsm)),
        finding(
            Source::SevGuest,
            look_for_device(&places.sev_guest, Platform::Snp),
        ),
        finding(
            Source::TdxGuest,
            look_for_device(&places.tdx_guest, Platform::Tdx),
        ),
        finding(Source::Azure, look_for_azure(&*places.tpm)),
    ];
    let source = decide(&findings)?;
    let attester: Box<dyn Attester> = match source {
        Source::Tsm => {
            let tsm = Tsm::open_at(&places.tsm)?;
            match tsm.platform() {
                PlatformTag::IntelTdx => Box::new(tsm.with_event_log(event_log::CCEL)),
                _ => Box::new(tsm),
            }
        }
        Source::SevGuest => Box::new(SevGuest::open()?),
        Source::TdxGuest => Box::new(TdxGuest::open()?),
        Source::Azure => Box::new(Azure::open_with(places.tpm, MetadataService::AZURE)?),
    };
    Ok(Detected {
        source,
        attester,
        findings,
    })
}

fn finding(source: Source, looked: Result<Option<Platform>, AttesterError>) -> Finding {
    let found = match looked {
        Ok(None) => Found::Nothing,
        Ok(Some(platform)) => Found::Platform(platform),
        Err(error) => Found::Unclear(error.to_string()),
    };
    Finding { source, found }
}

/// The first source of the only platform.
fn decide(findings: &[Finding]) -> Result<Source, AttesterError> {
    let mut candidate: Option<(Source, Platform)> = None;
    for finding in findings {
        match (&finding.found, candidate) {
            (Found::Nothing, _) => {}
            (Found::Unclear(_), _) => return Err(AttesterError::Ambiguous(findings.to_vec())),
            (Found::Platform(platform), None) => candidate = Some((finding.source, *platform)),
            (Found::Platform(platform), Some((_, of))) if *platform == of => {}
            (Found::Platform(_), Some(_)) => return Err(AttesterError::Ambiguous(findings.to_vec())),
        }
    }
    let (source, _) = candidate.ok_or_else(|| AttesterError::NothingFound(findings.to_vec()))?;
    Ok(source)
}

fn look_for_tsm(root: &Path) -> Result<Option<Platform>, AttesterError> {
    match Tsm::open_at(root) {
        Ok(tsm) if tsm.platform() == PlatformTag::AmdSevSnp => Ok(Some(Platform::Snp)),
        Ok(_) => Ok(Some(Platform::Tdx)),
        Err(AttesterError::NotAvailable(_) | AttesterError::NoProvider(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn look_for_device(path: &Path, platform: Platform) -> Result<Option<Platform>, AttesterError> {
    match is_device(path) {
        Ok(here) => Ok(here.then_some(platform)),
        Err(source) => Err(AttesterError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

fn look_for_azure(tpm: &dyn Connect) -> Result<Option<Platform>, AttesterError> {
    match Azure::is_here(tpm) {
        Ok(here) => Ok(here.then_some(Platform::Azure)),
        Err(AttesterError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Finding, Found, Places, Platform, Source, decide, detect_in};
    use crate::AttesterError;
    use crate::tpm::DeviceFile;

    const SOURCES: [Source; 4] = [Source::Tsm, Source::SevGuest, Source::TdxGuest, Source::Azure];

    fn outcome(found: [Found; 4]) -> Result<Source, AttesterError> {
        let findings: Vec<Finding> = SOURCES
            .into_iter()
            .zip(found)
            .map(|(source, found)| Finding { source, found })
            .collect();
        decide(&findings)
    }

    #[test]
    fn one_platform_is_taken_and_its_first_source() {
        let (none, snp, tdx, azure) = (
            || Found::Nothing,
            || Found::Platform(Platform::Snp),
            || Found::Platform(Platform::Tdx),
            || Found::Platform(Platform::Azure),
        );
        for (found, source) in [
            ([snp(), none(), none(), none()], Source::Tsm),
            ([snp(), snp(), none(), none()], Source::Tsm),
            ([tdx(), none(), tdx(), none()], Source::Tsm),
            ([none(), snp(), none(), none()], Source::SevGuest),
            ([none(), none(), tdx(), none()], Source::TdxGuest),
            ([none(), none(), none(), azure()], Source::Azure),
        ] {
            assert_eq!(outcome(found).expect("one platform"), source);
        }
        for found in [
            [snp(), none(), tdx(), none()],
            [tdx(), snp(), none(), none()],
            [none(), snp(), tdx(), none()],
            [snp(), none(), none(), azure()],
            [none(), none(), tdx(), azure()],
            [
                snp(),
                none(),
                none(),
                Found::Unclear("permission denied".to_owned()),
            ],
            [Found::Unclear("provider arm".to_owned()), none(), none(), none()],
        ] {
            let error = outcome(found).expect_err("not one platform");
            assert_eq!(error.code(), "attester-ambiguous", "{error}");
        }
        let error = outcome([none(), none(), none(), none()]).expect_err("nothing");
        assert_eq!(error.code(), "attester-nothing-found");
        let text = error.to_string();
        for place in ["configfs-tsm", "/dev/sev-guest", "/dev/tdx_guest", "TPM"] {
            assert!(text.contains(place), "{text}");
        }
    }

    #[test]
    fn places_are_looked_at_and_a_file_is_no_device() {
        let folder = tempfile::tempdir().expect("a folder");
        let places = |sev_guest: &Path| Places {
            tsm: folder.path().join("tsm"),
            sev_guest: sev_guest.to_owned(),
            tdx_guest: folder.path().join("tdx_guest"),
            tpm: Box::new(DeviceFile::new(folder.path().join("tpmrm0"))),
        };
        let absent = folder.path().join("sev-guest");
        let error = detect_in(places(&absent)).err().expect("nothing is there");
        assert_eq!(error.code(), "attester-nothing-found", "{error}");
        std::fs::write(&absent, b"").expect("a file");
        let error = detect_in(places(&absent)).err().expect("a file in its place");
        assert_eq!(error.code(), "attester-ambiguous", "{error}");
        std::fs::remove_file(&absent).expect("it goes");
        // A folder that is not configfs: somebody put something there.
        std::fs::create_dir(folder.path().join("tsm")).expect("a folder");
        let error = detect_in(places(&absent)).err().expect("not configfs");
        assert_eq!(error.code(), "attester-ambiguous", "{error}");
    }
}
