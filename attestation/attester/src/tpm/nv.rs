//! NV indexes (TCG TPM 2.0 Library, part 3, section 31).

use super::Tpm;
use super::marshal::{Answer, Command};
use crate::AttesterError;

/// TPM_RH_OWNER (part 2, table 28).
const OWNER: u32 = 0x4000_0001;
/// The chunk that every TPM takes: the least that the PC Client profile allows for
/// TPM2_PT_NV_BUFFER_MAX.
const CHUNK_BYTES: u16 = 512;
/// TPMA_NV bits (part 2, section 13.4).
const OWNER_WRITE: u32 = 1 << 1;
const AUTH_WRITE: u32 = 1 << 2;
const OWNER_READ: u32 = 1 << 17;
const AUTH_READ: u32 = 1 << 18;
const WRITTEN: u32 = 1 << 29;
/// TPM_RC_HANDLE with the number of a handle: the index does not exist.
const NO_SUCH_HANDLE: u32 = 0x08b;

/// What an index is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NvIndex {
    index: u32,
    attributes: u32,
    bytes: u16,
}

impl NvIndex {
    /// How many bytes it holds.
    pub(crate) fn bytes(self) -> usize {
        usize::from(self.bytes)
    }

    fn authority(self, by_owner: u32, by_itself: u32) -> Option<u32> {
        if self.attributes & by_owner != 0 {
            Some(OWNER)
        } else if self.attributes & by_itself != 0 {
            Some(self.index)
        } else {
            None
        }
    }
}

impl Tpm<'_> {
    /// NV_ReadPublic; `None` if there is no such index.
    pub(crate) fn nv_index(&mut self, index: u32) -> Result<Option<NvIndex>, AttesterError> {
        const NAME: &str = "NV_ReadPublic";
        let command = Command::new(NAME, 0x169).handle(index);
        let mut answer = match self.run(&command) {
            Err(AttesterError::TpmRefused { code, .. }) if code & 0x0ff == NO_SUCH_HANDLE => return Ok(None),
            other => other?,
        };
        let public = answer.sized(256)?;
        let _name = answer.sized(128)?;
        answer.finish()?;
        let mut public = Answer::within(NAME, &public);
        let (found, _name_algorithm, attributes) = (public.u32()?, public.u16()?, public.u32()?);
        let _policy = public.sized(64)?;
        let bytes = public.u16()?;
        if found != index {
            return Err(public.malformed("of another index"));
        }
        public.finish()?;
        Ok(Some(NvIndex {
            index,
            attributes,
            bytes,
        }))
    }

    /// The whole content of an index; `None` if it does not exist or was never written.
    pub(crate) fn nv_read(&mut self, index: u32, bytes_max: usize) -> Result<Option<Vec<u8>>, AttesterError> {
        const NAME: &str = "NV_Read";
        let Some(public) = self.nv_index(index)? else {
            return Ok(None);
        };
        if public.attributes & WRITTEN == 0 {
            return Ok(None);
        }
        let malformed = |reason| AttesterError::TpmMalformed {
            command: NAME,
            reason,
        };
        if public.bytes() > bytes_max {
            return Err(malformed("the index exceeds its bound"));
        }
        let authority = public
            .authority(OWNER_READ, AUTH_READ)
            .ok_or_else(|| malformed("neither owner nor index may read it"))?;
        let mut content = Vec::with_capacity(public.bytes());
        for offset in (0..public.bytes).step_by(usize::from(CHUNK_BYTES)) {
            let size = CHUNK_BYTES.min(public.bytes - offset);
            let command = Command::new(NAME, 0x14e)
                .handle(authority)
                .handle(index)
                .authorized()
                .u16(size)
                .u16(offset);
            let mut answer = self.run(&command)?;
            let chunk = answer.sized(usize::from(size))?;
            if chunk.len() != usize::from(size) {
                return Err(malformed("fewer bytes than the index has"));
            }
            answer.finish()?;
            content.extend(chunk);
        }
        Ok(Some(content))
    }

    /// Writes the whole of an index in one command; `content` is as long as the index.
    pub(crate) fn nv_write(&mut self, index: NvIndex, content: &[u8]) -> Result<(), AttesterError> {
        const NAME: &str = "NV_Write";
        let malformed = |reason| AttesterError::TpmMalformed {
            command: NAME,
            reason,
        };
        if content.len() != index.bytes() || index.bytes > CHUNK_BYTES {
            return Err(malformed("the index is of another size"));
        }
        let authority = index
            .authority(OWNER_WRITE, AUTH_WRITE)
            .ok_or_else(|| malformed("neither owner nor index may write it"))?;
        let command = Command::new(NAME, 0x137)
            .handle(authority)
            .handle(index.index)
            .authorized()
            .sized(content)
            .u16(0);
        self.run(&command)?.finish()
    }
}
