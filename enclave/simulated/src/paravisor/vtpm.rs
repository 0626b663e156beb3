//! The three NV indexes of Azure's vTPM (TCG TPM 2.0 Library, part 3, section 31). The guest sends what it likes: a command
//! on one of them is either of the one shape that is read here, or refused.
//!
//! | index | bytes | what |
//! |---|---|---|
//! | 0x01400001 | 2600 | the report, renewed when user data are written |
//! | 0x01400002 | 64 | user data, which the guest writes |
//! | 0x01C101D0 | 4096 | the attestation key's certificate, padded |

use sha2::{Digest as _, Sha256};
use simulated::{
    SimulatedError,
    azure::{Paravisor, USER_DATA_BYTES},
};

const REPORT: u32 = 0x0140_0001;
const USER_DATA: u32 = 0x0140_0002;
const CERTIFICATE: u32 = 0x01c1_01d0;

/// TPM_ST_NO_SESSIONS, TPM_ST_SESSIONS (part 2, table 19).
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// TPM_CC (part 2, table 12).
const NV_READ_PUBLIC: u32 = 0x169;
const NV_READ: u32 = 0x14e;
const NV_WRITE: u32 = 0x137;
/// TPM_RH_OWNER.
const OWNER: u32 = 0x4000_0001;
/// Size of the authorization, TPM_RS_PW, no nonce, attributes left open, an empty password.
const AUTHORIZATION_BYTES: u32 = 9;
const PASSWORD: u32 = 0x4000_0009;
/// TPMA_NV (part 2, section 13.4): read by owner and by its own authorization, not subject to lockout, written.
const READABLE: u32 = 1 << 17 | 1 << 18 | 1 << 25 | 1 << 29;
/// The same, and written by both.
const WRITABLE: u32 = READABLE | 1 << 1 | 1 << 2;
/// TPM2_PT_NV_BUFFER_MAX of libtpms.
const CHUNK_BYTES_MAX: usize = 1024;

/// TPM_RC (part 2, section 6.6).
const SIZE: u32 = 0x095;
const AUTHORIZATION: u32 = 0x149;
const RANGE: u32 = 0x146;
const FAILURE: u32 = 0x101;

/// The indexes and what fills them.
pub(super) struct Vtpm {
    paravisor: Paravisor,
    report: Vec<u8>,
    user_data: [u8; USER_DATA_BYTES],
    certificate: Vec<u8>,
}

impl Vtpm {
    /// Indexes of a guest that has written nothing yet.
    pub(super) fn new(paravisor: Paravisor, certificate: Vec<u8>) -> Result<Self, SimulatedError> {
        let user_data = [0; USER_DATA_BYTES];
        Ok(Self {
            report: paravisor.hcl_report(&user_data)?,
            paravisor,
            user_data,
            certificate,
        })
    }

    /// The answer to a command on one of the indexes; `None` for every other.
    pub(super) fn answer(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        let mut reader = Reader(command);
        let (tag, _size, code) = (reader.u16()?, reader.u32()?, reader.u32()?);
        if code == NV_READ_PUBLIC {
            let index = reader.u32().filter(|index| self.content(*index).is_some())?;
            return Some(self.read_public(tag, index, reader));
        }
        if !matches!(code, NV_READ | NV_WRITE) {
            return None;
        }
        let authority = reader.u32()?;
        let index = reader.u32().filter(|index| self.content(*index).is_some())?;
        let outcome = match authorized(tag, authority, index, &mut reader) {
            Some(()) if code == NV_READ => self.read(index, reader),
            Some(()) => self.write(index, reader),
            None => Err(AUTHORIZATION),
        };
        Some(match outcome {
            Ok(parameters) => with_session(&parameters),
            Err(code) => refused(code),
        })
    }

    fn content(&self, index: u32) -> Option<&[u8]> {
        match index {
            REPORT => Some(&self.report),
            USER_DATA => Some(&self.user_data),
            CERTIFICATE => Some(&self.certificate),
            _ => None,
        }
    }

    /// TPM2B_NV_PUBLIC and the index's name: the hash of the public area.
    fn read_public(&self, tag: u16, index: u32, reader: Reader<'_>) -> Vec<u8> {
        if tag != NO_SESSIONS || !reader.0.is_empty() {
            return refused(SIZE);
        }
        let bytes = self.content(index).map_or(0, <[u8]>::len) as u16;
        let attributes = if index == USER_DATA { WRITABLE } else { READABLE };
        let mut public = index.to_be_bytes().to_vec();
        public.extend([0x00, 0x0b]);
        public.extend(attributes.to_be_bytes());
        public.extend([0, 0]);
        public.extend(bytes.to_be_bytes());
        let name = [&[0x00, 0x0b][..], &Sha256::digest(&public)].concat();
        let body = [sized(&public), sized(&name)].concat();
        answer(NO_SESSIONS, 0, &body)
    }

    fn read(&self, index: u32, mut reader: Reader<'_>) -> Result<Vec<u8>, u32> {
        let (bytes, offset) = reader.u16().zip(reader.u16()).ok_or(SIZE)?;
        let (bytes, offset) = (usize::from(bytes), usize::from(offset));
        if !reader.0.is_empty() || bytes > CHUNK_BYTES_MAX {
            return Err(SIZE);
        }
        let content = self.content(index).unwrap_or_default();
        let chunk = content.get(offset..).and_then(|rest| rest.get(..bytes));
        chunk.map(sized).ok_or(RANGE)
    }

    /// Only user data are the guest's to write. The report that carries them is there before the answer is.
    fn write(&mut self, index: u32, mut reader: Reader<'_>) -> Result<Vec<u8>, u32> {
        let bytes = usize::from(reader.u16().ok_or(SIZE)?);
        let data = reader.take(bytes).ok_or(SIZE)?;
        let offset = usize::from(reader.u16().ok_or(SIZE)?);
        if !reader.0.is_empty() {
            return Err(SIZE);
        }
        if index != USER_DATA {
            return Err(AUTHORIZATION);
        }
        let mut user_data = self.user_data;
        let place = user_data.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes));
        place.ok_or(RANGE)?.copy_from_slice(data);
        self.report = self.paravisor.hcl_report(&user_data).map_err(|_| FAILURE)?;
        self.user_data = user_data;
        Ok(Vec::new())
    }
}

/// Whether owner or index authorizes, by an empty password.
fn authorized(tag: u16, authority: u32, index: u32, reader: &mut Reader<'_>) -> Option<()> {
    let (bytes, session) = (reader.u32()?, reader.u32()?);
    let [nonce, _attributes, password] = [reader.take(2)?, reader.take(1)?, reader.take(2)?];
    let by_password = tag == SESSIONS && bytes == AUTHORIZATION_BYTES && session == PASSWORD;
    let empty = nonce == [0, 0] && password == [0, 0];
    (by_password && empty && (authority == OWNER || authority == index)).then_some(())
}

/// Data behind a length of 16 bits (TPM2B). Everything here is far below that.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn answer(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let size = super::provision::HEADER_BYTES + body.len();
    let mut answer = tag.to_be_bytes().to_vec();
    answer.extend((size as u32).to_be_bytes());
    answer.extend(code.to_be_bytes());
    answer.extend(body);
    answer
}

/// Parameters behind their size, and the session of a password: no nonce, continued, no acknowledgement.
fn with_session(parameters: &[u8]) -> Vec<u8> {
    let size = (parameters.len() as u32).to_be_bytes();
    answer(SESSIONS, 0, &[&size, parameters, &[0, 0, 1, 0, 0]].concat())
}

fn refused(code: u32) -> Vec<u8> {
    answer(NO_SESSIONS, code, &[])
}

/// What of a command is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}
