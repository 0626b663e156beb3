//! Keys (TCG TPM 2.0 Library, part 3, sections 12.4, 24.1 and 28.4).

use super::Tpm;
use super::marshal::Command;
use crate::AttesterError;

/// TPM_RH_ENDORSEMENT (part 2, table 28).
const ENDORSEMENT: u32 = 0x4000_000b;
const PUBLIC_BYTES_MAX: usize = 1024;
/// TPM_RC_HANDLE with the number of a handle.
const NO_SUCH_HANDLE: u32 = 0x08b;

/// A key that is loaded, and its TPMT_PUBLIC.
pub(crate) struct Key {
    /// Its handle.
    pub(crate) handle: u32,
    /// Its public area.
    pub(crate) public: Vec<u8>,
}

impl Tpm<'_> {
    /// ReadPublic; `None` if no key has this handle.
    pub(crate) fn public(&mut self, handle: u32) -> Result<Option<Vec<u8>>, AttesterError> {
        let command = Command::new("ReadPublic", 0x173).handle(handle);
        let mut answer = match self.run(&command) {
            Err(AttesterError::TpmRefused { code, .. }) if code & 0x0ff == NO_SUCH_HANDLE => return Ok(None),
            other => other?,
        };
        let public = answer.sized(PUBLIC_BYTES_MAX)?;
        let (_name, _qualified_name) = (answer.sized(128)?, answer.sized(128)?);
        answer.finish()?;
        Ok(Some(public))
    }

    /// CreatePrimary in the endorsement hierarchy: the same key each time for the same template.
    pub(crate) fn create_primary(&mut self, template: &[u8]) -> Result<Key, AttesterError> {
        // TPM2B_SENSITIVE_CREATE with an empty password and no data.
        let sensitive = [0; 4];
        let command = Command::new("CreatePrimary", 0x131)
            .handle(ENDORSEMENT)
            .authorized()
            .answer_has_handle()
            .sized(&sensitive)
            .sized(template)
            // No outside information, no creation PCRs.
            .sized(&[])
            .u32(0);
        let mut answer = self.run(&command)?;
        let handle = answer.handle()?;
        let public = answer.sized(PUBLIC_BYTES_MAX)?;
        // Creation data, their hash, the ticket and the name: nobody asks how a primary key came about.
        Ok(Key { handle, public })
    }

    /// FlushContext: unloads a transient key.
    pub(crate) fn flush(&mut self, key: Key) -> Result<(), AttesterError> {
        let command = Command::new("FlushContext", 0x165).handle(key.handle);
        self.run(&command)?.finish()
    }
}
