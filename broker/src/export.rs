//! The audit log of a broker that is not running, verified and written out.

use std::io::Write;

use audit::{Report, verify_log};

use crate::{
    config::Config,
    error::{BrokerError, Result},
    service::log_verifier,
    store::Store,
};

/// A log that was read and verified.
pub struct VerifiedLog {
    /// What was verified.
    pub report: Report,
    /// The signed note.
    pub signed_checkpoint: String,
    entries: Vec<Vec<u8>>,
}

/// Reads and verifies the log of `config` with the public key beside the log's key.
///
/// # Errors
/// `already-running` while the broker is; whatever of the log does not verify.
pub async fn read(config: &Config) -> Result<VerifiedLog> {
    let verifier = log_verifier(&config.audit.log_key)?;
    let (_store, reader) = Store::open(&config.store.file, config.store.bytes_max).await?;
    let held = reader.entries(0, u32::MAX).await?;
    if held.signed_checkpoint.is_empty() && held.entries.is_empty() {
        return Err(BrokerError::LogEmpty);
    }
    let report = verify_log(&held.entries, &held.signed_checkpoint, &verifier)?;
    Ok(VerifiedLog {
        report,
        signed_checkpoint: held.signed_checkpoint,
        entries: held.entries,
    })
}

impl VerifiedLog {
    /// Writes each entry's exact bytes and a line end.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn write_entries(&self, out: &mut impl Write) -> std::io::Result<()> {
        for entry in &self.entries {
            out.write_all(entry)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}
