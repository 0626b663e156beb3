//! Azure's confidential VMs, where a paravisor stands between the guest and the security processor.
//!
//! The paravisor runs a vTPM inside the confidential VM and keeps a hardware report over the vTPM's
//! attestation key. What commits to our report data is a quote by that key:
//!
//! 1. Where NV index 0x01400002 exists, the report data go there, and the paravisor renews its report.
//! 2. NV index 0x01400001 holds the HCL report: hardware report and runtime claims, among them the key.
//! 3. The key at 0x81000003 quotes the registers, qualified by
//!    `SHA-256("adyton vtpm v1" || report_data)`.
//! 4. On TDX the HCL report holds a TDREPORT, good on this machine only; the metadata service has it
//!    quoted. On SNP the same service has the chip's certificates.
//! 5. NV index 0x01C101D0 may hold the key's certificate, padded with zeros.
//!
//! Steps 2 and 3 bind the evidence whether or not there is a place for step 1.

mod hcl;
mod metadata;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use attestation::{
    AzureEvidence, EndorsementKind, Endorsements, PlatformTag, ReportData, vtpm_qualifying_data,
};

use self::hcl::{Hardware, Hcl};
pub use self::metadata::MetadataService;
use crate::tpm::{self, Connect, DeviceFile, PcrSelection, Tpm};
use crate::{Access, Attester, AttesterError, Collected, event_log, pem};

const HCL_REPORT: u32 = 0x0140_0001;
const USER_DATA: u32 = 0x0140_0002;
const ATTESTATION_KEY: u32 = 0x8100_0003;
const ATTESTATION_KEY_CERTIFICATE: u32 = 0x01c1_01d0;
/// Bound of an HCL report, as [`AzureEvidence`] takes it.
const HCL_REPORT_BYTES_MAX: usize = 8 * 1024;
const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// How long a paravisor may take to renew its report, and how often it is looked at.
const RENEWAL_MAX: Duration = Duration::from_secs(6);
const RENEWAL_PAUSE: Duration = Duration::from_millis(100);
/// The chip's certificates change with the firmware of the host, which a VM outlives only by migration.
const ENDORSEMENTS_KEPT: Duration = Duration::from_secs(3600);
/// A service that gave none is asked again sooner, but not for every collection.
const ABSENCE_KEPT: Duration = Duration::from_secs(60);

/// Collects evidence of an Azure confidential VM through its vTPM.
pub struct Azure {
    tpm: Box<dyn Connect>,
    metadata: MetadataService,
    selection: PcrSelection,
    event_log: PathBuf,
    hardware: Hardware,
    renewal_max: Duration,
    /// There is one place for report data: a second collection would take it from the first.
    turn: Mutex<()>,
    endorsements: Mutex<Option<(Instant, Endorsements)>>,
}

impl Azure {
    /// Opens the vTPM where Linux puts it.
    pub fn open() -> Result<Self, AttesterError> {
        Self::open_with(Box::new(DeviceFile::new(tpm::DEVICE)), MetadataService::AZURE)
    }

    /// Opens the vTPM behind `tpm`, with another metadata service.
    pub fn open_with(tpm: Box<dyn Connect>, metadata: MetadataService) -> Result<Self, AttesterError> {
        let report = read_report(&mut Tpm::connect(&*tpm)?)?;
        let hardware = parse(&report)?.hardware;
        Ok(Self {
            tpm,
            metadata,
            selection: PcrSelection::ALL,
            event_log: PathBuf::from(event_log::TPM),
            hardware,
            renewal_max: RENEWAL_MAX,
            turn: Mutex::new(()),
            endorsements: Mutex::new(None),
        })
    }

    /// Quotes these registers. The default is all of them, of which a policy can pick.
    #[must_use]
    pub fn with_selection(mut self, selection: PcrSelection) -> Self {
        self.selection = selection;
        self
    }

    /// Whether the TPM holds an HCL report, that is, whether this is such a VM.
    pub(crate) fn is_here(tpm: &dyn Connect) -> Result<bool, AttesterError> {
        Ok(Tpm::connect(tpm)?.nv_index(HCL_REPORT)?.is_some())
    }

    /// Steps 1 and 2. The report is read in pieces, and the paravisor renews it when it likes: what was
    /// read is whole if it is the same twice.
    fn report(&self, tpm: &mut Tpm<'_>, report_data: &ReportData) -> Result<Vec<u8>, AttesterError> {
        let place = tpm.nv_index(USER_DATA)?;
        let place = place.filter(|place| place.bytes() == report_data.len());
        if let Some(place) = place {
            tpm.nv_write(place, report_data)?;
        }
        let started = Instant::now();
        let mut before = Vec::new();
        loop {
            let report = read_report(tpm)?;
            let settled = report == before
                && (place.is_none() || parse(&report)?.carries(report_data).map_err(malformed)?);
            if settled {
                return Ok(report);
            }
            if started.elapsed() >= self.renewal_max {
                return Err(AttesterError::StaleReport);
            }
            // The second look comes at once.
            if !before.is_empty() {
                thread::sleep(RENEWAL_PAUSE);
            }
            before = report;
        }
    }

    /// Step 5.
    fn key_certificate(&self, tpm: &mut Tpm<'_>) -> Result<Option<Vec<u8>>, AttesterError> {
        let Some(content) = tpm.nv_read(ATTESTATION_KEY_CERTIFICATE, CERTIFICATE_BYTES_MAX)? else {
            return Ok(None);
        };
        let certificate = pem::without_zero_padding(&content);
        let certificate = certificate.ok_or_else(|| malformed("the key's certificate is not DER"))?;
        Ok(Some(pem::encode(certificate)))
    }

    /// The chip's certificates, from the service once an hour. A service that is not reachable costs
    /// nothing but them: whoever verifies can have them from elsewhere.
    fn snp_endorsements(&self) -> Endorsements {
        let mut kept = self.endorsements.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, endorsements)) = &*kept {
            let time_max = if endorsements.is_empty() {
                ABSENCE_KEPT
            } else {
                ENDORSEMENTS_KEPT
            };
            if at.elapsed() < time_max {
                return endorsements.clone();
            }
        }
        let endorsements = self.metadata.snp_endorsements().unwrap_or_default();
        *kept = Some((Instant::now(), endorsements.clone()));
        endorsements
    }
}

impl Attester for Azure {
    fn platform(&self) -> PlatformTag {
        match self.hardware {
            Hardware::Snp => PlatformTag::AzureAmdSevSnp,
            Hardware::Tdx => PlatformTag::AzureIntelTdx,
        }
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tpm = Tpm::connect(&*self.tpm)?;
        let report = self.report(&mut tpm, report_data)?;
        let hcl = parse(&report)?;
        if hcl.hardware != self.hardware {
            return Err(malformed("the hardware changed"));
        }
        if tpm.public(ATTESTATION_KEY)?.is_none() {
            return Err(AttesterError::TpmMissing("attestation key at 0x81000003"));
        }
        let qualifying_data = vtpm_qualifying_data(report_data);
        let quoted = tpm.quote(ATTESTATION_KEY, &qualifying_data, self.selection)?;
        let (td_quote, mut endorsements) = match self.hardware {
            Hardware::Snp => (None, self.snp_endorsements()),
            Hardware::Tdx => {
                let td_report = hcl.td_report().ok_or_else(|| malformed("without a TDREPORT"))?;
                (Some(self.metadata.td_quote(td_report)?), Endorsements::new())
            }
        };
        if let Some(certificate) = self.key_certificate(&mut tpm)? {
            endorsements.insert(EndorsementKind::VtpmAkChain, certificate);
        }
        let evidence = AzureEvidence {
            hcl_report: report,
            td_quote,
            quote_message: quoted.message,
            quote_signature: quoted.signature,
            pcr_values: quoted.values,
        };
        Ok(Collected {
            evidence: evidence
                .encode()
                .map_err(|_| malformed("over the bounds of Azure's evidence"))?,
            event_log: event_log::read(&self.event_log)?,
            endorsements,
            devices: Vec::new(),
        })
    }

    fn access(&self) -> Access {
        Access {
            devices: vec![tpm::DEVICE.into()],
            files: vec![self.event_log.clone()],
            tcp_port: Some(self.metadata.port()),
            ..Access::default()
        }
    }
}

fn read_report(tpm: &mut Tpm<'_>) -> Result<Vec<u8>, AttesterError> {
    tpm.nv_read(HCL_REPORT, HCL_REPORT_BYTES_MAX)?
        .ok_or(AttesterError::TpmMissing("HCL report at 0x01400001"))
}

fn parse(report: &[u8]) -> Result<Hcl<'_>, AttesterError> {
    Hcl::parse(report).map_err(malformed)
}

fn malformed(reason: &'static str) -> AttesterError {
    AttesterError::TpmMalformed {
        command: "NV_Read",
        reason,
    }
}
