//! The SIMULATED paravisor of an Azure-like machine: it stands between QEMU and a software TPM, as Azure's stands between
//! the guest and its vTPM. It runs on the host, which holds all of it: it proves plumbing, never security.
//!
//! ```text
//!  guest ── /dev/tpmrm0 ── QEMU ══ control, commands ══ paravisor ══ control, commands ══ swtpm
//!                                                          │
//!                                            indexes 0x01400001, 0x01400002, 0x01C101D0
//! ```
//!
//! 1. [`swtpm`]: a TPM without a past, in a process of its own.
//! 2. [`provision`]: one bank of PCRs, the attestation key at 0x81000003, an endorsement key.
//! 3. `simulated::azure`: the key is certified, and a report vouches for it under the paravisor's own measurement.
//! 4. [`control`]: QEMU connects, and hands over the socket on which the guest's commands come.
//! 5. [`vtpm`]: commands on the three indexes are answered here, because a TPM of software has no room for them and
//!    the report must be renewed when the guest writes; everything else is the TPM's.

mod control;
mod provision;
mod swtpm;
#[cfg(test)]
mod tests;
mod vtpm;

use std::{
    fs,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use attestation::{PlatformTag, UnixTime, endorsement_subject};
use sha2::{Digest as _, Sha256};
use simulated::{
    Platform,
    azure::{HARDWARE_REPORT, Paravisor, USER_DATA_BYTES, VtpmAuthority},
};

use self::{swtpm::Swtpm, vtpm::Vtpm};

/// What a paravisor is started with.
pub(crate) struct Arguments<'a> {
    /// Folder of the platform's keys.
    pub(crate) platform: &'a Path,
    /// What the paravisor was measured as.
    pub(crate) measurement: [u8; 48],
    /// The software TPM.
    pub(crate) swtpm: &'a Path,
    /// Folder of the TPM's state and sockets. A state that is there is left behind.
    pub(crate) state: &'a Path,
    /// The host's folder of published documents, to which the machine's are added.
    pub(crate) endorsements: Option<&'a Path>,
}

/// Serves one machine on `socket` until it ends.
///
/// # Errors
/// When the platform cannot be read, the TPM not be started, or the socket not be made.
pub(crate) fn serve(arguments: &Arguments<'_>, socket: &Path, now: UnixTime) -> anyhow::Result<()> {
    let (tpm, vtpm) = launch(arguments, now)?;
    let _ = fs::remove_file(socket); // left by one that was killed
    let listener = UnixListener::bind(socket).with_context(|| format!("{}", socket.display()))?;
    control::serve(&listener, &tpm, vtpm)
}

/// Steps 1 to 3.
fn launch(arguments: &Arguments<'_>, now: UnixTime) -> anyhow::Result<(Swtpm, Vtpm)> {
    let platform = Platform::load(arguments.platform)?;
    let authority = VtpmAuthority::load(arguments.platform)?;
    let mut tpm = Swtpm::start(arguments.swtpm, arguments.state)?;
    let keys = provision::provision(&mut tpm.data).context("the software TPM")?;
    let certificate = authority.certify(&keys.attestation, now)?;
    let paravisor = Paravisor::new(&platform, arguments.measurement, keys)?;
    if let Some(folder) = arguments.endorsements {
        publish(&paravisor, folder)?;
    }
    Ok((tpm, Vtpm::new(paravisor, certificate)?))
}

/// Puts what the manufacturer publishes where the host keeps such documents, by the name under which the enclave asks
/// for them: on Azure they come from the metadata service and from the host's cache. Nobody trusts them for that.
fn publish(paravisor: &Paravisor, folder: &Path) -> anyhow::Result<()> {
    let report = paravisor.hcl_report(&[0; USER_DATA_BYTES])?;
    let hardware_report = report.get(HARDWARE_REPORT).unwrap_or_default();
    let subject = endorsement_subject(PlatformTag::SimulatedAmdSevSnp, hardware_report)?;
    let name = format!("{}.endorsements", hex::encode(Sha256::digest(subject)));
    let folder: PathBuf = folder.join(PlatformTag::SimulatedAzureAmdSevSnp.as_str());
    let part = folder.join(format!(".{name}.part"));
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&part, paravisor.endorsements().encode()))
        .and_then(|()| fs::rename(&part, folder.join(name)))
        .with_context(|| format!("{}", folder.display()))
}
