//! Commands and answers as bytes (TCG TPM 2.0 Library, part 1, section 18): big-endian throughout.
//!
//! | command | answer |
//! |---|---|
//! | tag (2), size (4), command code (4) | tag (2), size (4), response code (4) |
//! | handles (4 each) | handles (4 each) |
//! | with authorization: its size (4), handle (4), nonce, attributes (1), password | with authorization: parameters' size (4) |
//! | parameters | parameters, authorization |

use crate::AttesterError;

/// TPM_ST_NO_SESSIONS and TPM_ST_SESSIONS (part 2, table 19).
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// TPM_RS_PW (part 2, table 28).
const PASSWORD: u32 = 0x4000_0009;
/// An empty nonce, no attributes, an empty password: what follows [`PASSWORD`] in an authorization.
const EMPTY: [u8; 5] = [0; 5];

/// A command and what is needed to read its answer.
pub(super) struct Command {
    name: &'static str,
    code: u32,
    handles: Vec<u32>,
    authorized: bool,
    parameters: Vec<u8>,
    answer_has_handle: bool,
}

impl Command {
    pub(super) fn new(name: &'static str, code: u32) -> Self {
        Self {
            name,
            code,
            handles: Vec::new(),
            authorized: false,
            parameters: Vec::new(),
            answer_has_handle: false,
        }
    }

    pub(super) fn handle(mut self, handle: u32) -> Self {
        self.handles.push(handle);
        self
    }

    /// The first handle is authorized with an empty password.
    pub(super) fn authorized(mut self) -> Self {
        self.authorized = true;
        self
    }

    pub(super) fn answer_has_handle(mut self) -> Self {
        self.answer_has_handle = true;
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.parameters.extend(bytes);
        self
    }

    pub(super) fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Data behind a length of 16 bits (TPM2B). Callers pass what they bounded.
    pub(super) fn sized(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).expect("callers bound what they send");
        self.u16(length).bytes(bytes)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for handle in &self.handles {
            body.extend(handle.to_be_bytes());
        }
        if self.authorized {
            let bytes = size_of_val(&PASSWORD) + EMPTY.len();
            body.extend((bytes as u32).to_be_bytes());
            body.extend(PASSWORD.to_be_bytes());
            body.extend(EMPTY);
        }
        body.extend(&self.parameters);
        let mut command = self.tag().to_be_bytes().to_vec();
        command.extend(((super::HEADER_BYTES + body.len()) as u32).to_be_bytes());
        command.extend(self.code.to_be_bytes());
        command.extend(body);
        command
    }

    fn tag(&self) -> u16 {
        if self.authorized { SESSIONS } else { NO_SESSIONS }
    }

    /// Takes apart the answer to this command.
    pub(super) fn answer(&self, response: Vec<u8>) -> Result<Answer, AttesterError> {
        let mut answer = Answer {
            command: self.name,
            bytes: response,
            at: 0,
            handle: None,
        };
        let (tag, _size) = (answer.u16()?, answer.u32()?);
        let code = answer.u32()?;
        if code != 0 {
            return Err(AttesterError::TpmRefused {
                command: self.name,
                code,
            });
        }
        if tag != self.tag() {
            return Err(answer.malformed("another tag than the command's"));
        }
        if self.answer_has_handle {
            answer.handle = Some(answer.u32()?);
        }
        if self.authorized {
            let parameters = usize::try_from(answer.u32()?).unwrap_or(usize::MAX);
            let end = answer.at.saturating_add(parameters);
            // What follows is the session's nonce, attributes and acknowledgement: empty for a password.
            let session = answer.bytes.get(end..);
            if session.is_none_or(|session| session.len() != EMPTY.len()) {
                return Err(answer.malformed("the parameters' size is not that of the answer"));
            }
            answer.bytes.truncate(end);
        }
        Ok(answer)
    }
}

/// The parameters of an answer, read front to back.
pub(super) struct Answer {
    command: &'static str,
    bytes: Vec<u8>,
    at: usize,
    handle: Option<u32>,
}

impl Answer {
    /// Reads a structure that came inside an answer, with the same care.
    pub(super) fn within(command: &'static str, bytes: &[u8]) -> Self {
        Self {
            command,
            bytes: bytes.to_vec(),
            at: 0,
            handle: None,
        }
    }

    pub(super) fn handle(&self) -> Result<u32, AttesterError> {
        self.handle.ok_or_else(|| self.malformed("without a handle"))
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&[u8], AttesterError> {
        let short = self.malformed("shorter than what it should hold");
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..bytes));
        let taken = taken.ok_or(short)?;
        self.at += bytes;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], AttesterError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u16(&mut self) -> Result<u16, AttesterError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, AttesterError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Data behind a length of 16 bits (TPM2B), at most `bytes_max`.
    pub(super) fn sized(&mut self, bytes_max: usize) -> Result<Vec<u8>, AttesterError> {
        let bytes = usize::from(self.u16()?);
        if bytes > bytes_max {
            return Err(self.malformed("exceeds its bound"));
        }
        Ok(self.take(bytes)?.to_vec())
    }

    /// Nothing may follow what was read.
    pub(super) fn finish(self) -> Result<(), AttesterError> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(self.malformed("longer than what it should hold"))
        }
    }

    pub(super) fn malformed(&self, reason: &'static str) -> AttesterError {
        AttesterError::TpmMalformed {
            command: self.command,
            reason,
        }
    }
}
