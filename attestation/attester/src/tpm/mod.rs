//! The few commands of TPM 2.0 that collecting evidence takes, over `/dev/tpmrm0`.
//!
//! Commands and answers are those of the TCG TPM 2.0 Library, part 3; structures are of part 2. There
//! are no sessions but the password session with an empty password, because everything asked for is
//! public and the vTPMs of confidential VMs leave owner and endorsement authorization empty.
//!
//! | file | commands |
//! |---|---|
//! | `nv` | NV_ReadPublic, NV_Read, NV_Write |
//! | `quote` | PCR_Read, Quote |
//! | `key` | ReadPublic, CreatePrimary, FlushContext |
//!
//! The TPM is the other side of a trust boundary: on Google's VMs it is the host. Answers have bounds,
//! and every length in them is checked.

mod key;
mod marshal;
mod nv;
mod quote;
mod selection;
#[cfg(test)]
pub(crate) mod swtpm;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::AttesterError;

use self::marshal::{Answer, Command};
pub use self::selection::PcrSelection;

/// Where Linux offers the TPM with a resource manager, so that transient keys of processes do not meet.
pub const DEVICE: &str = "/dev/tpmrm0";

/// TPM2_PT_MAX_RESPONSE_SIZE of every implementation that is known.
const RESPONSE_BYTES_MAX: usize = 4096;
const HEADER_BYTES: usize = 10;
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// TPM_RC_TESTING, TPM_RC_YIELDED, TPM_RC_RETRY (part 2, table 17): the same command may succeed later.
const WARNINGS_TO_RETRY: [u32; 3] = [0x90a, 0x908, 0x922];

/// What a TPM is reached through.
pub trait Channel: Read + Write + Send {}

impl<T: Read + Write + Send> Channel for T {}

/// Opens a channel for each collection, so that what a collection left in the TPM goes with it.
pub trait Connect: Send + Sync {
    /// A new channel.
    fn connect(&self) -> io::Result<Box<dyn Channel>>;

    /// How errors name the TPM.
    fn path(&self) -> &Path;
}

/// A device file.
#[derive(Clone, Debug)]
pub struct DeviceFile(PathBuf);

impl DeviceFile {
    /// The TPM at `path`, for example [`DEVICE`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Connect for DeviceFile {
    fn connect(&self) -> io::Result<Box<dyn Channel>> {
        let file = File::options().read(true).write(true).open(&self.0)?;
        Ok(Box::new(file))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

/// A TPM during one collection.
pub(crate) struct Tpm<'a> {
    channel: Box<dyn Channel>,
    path: &'a Path,
}

impl<'a> Tpm<'a> {
    pub(crate) fn connect(connect: &'a dyn Connect) -> Result<Self, AttesterError> {
        let path = connect.path();
        let channel = connect.connect().map_err(|source| AttesterError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { channel, path })
    }

    /// Runs a command; one that the TPM asks to repeat is repeated a bounded number of times.
    fn run(&mut self, command: &Command) -> Result<Answer, AttesterError> {
        let bytes = command.encode();
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let response = self.transmit(&bytes)?;
            match command.answer(response) {
                Err(AttesterError::TpmRefused { code, .. })
                    if WARNINGS_TO_RETRY.contains(&code) && attempt < ATTEMPTS => {}
                other => return other,
            }
            thread::sleep(pause);
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, AttesterError> {
        let channel = &mut self.channel;
        exchange(&mut **channel, command).map_err(|source| AttesterError::Io {
            path: self.path.to_owned(),
            source,
        })
    }
}

/// Sends one command and reads one answer. A device gives the answer in one piece, a socket may not.
fn exchange(channel: &mut dyn Channel, command: &[u8]) -> io::Result<Vec<u8>> {
    channel.write_all(command)?;
    channel.flush()?;
    let mut response = vec![0; RESPONSE_BYTES_MAX];
    let mut filled = 0;
    loop {
        let read = match channel.read(response.get_mut(filled..).unwrap_or_default()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        if filled < HEADER_BYTES {
            continue;
        }
        let size = response.get(2..6).and_then(|size| size.try_into().ok());
        let size = size.map_or(0, u32::from_be_bytes) as usize;
        if !(HEADER_BYTES.max(filled)..=RESPONSE_BYTES_MAX).contains(&size) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the size of the answer is not that of its bytes",
            ));
        }
        if filled == size {
            response.truncate(size);
            return Ok(response);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::{self, Read, Write};
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use super::marshal::Command;
    use super::{Channel, Connect, PcrSelection, Tpm};
    use crate::AttesterError;

    /// Answers in pieces, whatever is asked.
    #[derive(Clone)]
    struct Script(Arc<Mutex<VecDeque<Vec<u8>>>>);

    impl Script {
        fn new(pieces: &[&[u8]]) -> Self {
            Self(Arc::new(Mutex::new(
                pieces.iter().map(|piece| piece.to_vec()).collect(),
            )))
        }
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let piece = self.0.lock().expect("no panic").pop_front().unwrap_or_default();
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Connect for Script {
        fn connect(&self) -> io::Result<Box<dyn Channel>> {
            Ok(Box::new(self.clone()))
        }

        fn path(&self) -> &Path {
            Path::new("script")
        }
    }

    fn run(pieces: &[&[u8]]) -> Result<Vec<u8>, AttesterError> {
        let script = Script::new(pieces);
        let mut tpm = Tpm::connect(&script)?;
        let mut answer = tpm.run(&Command::new("Test", 0x17e))?;
        let bytes = answer.take(2)?.to_vec();
        answer.finish()?;
        Ok(bytes)
    }

    const GOOD: &[u8] = &[0x80, 0x01, 0, 0, 0, 12, 0, 0, 0, 0, 7, 8];

    #[test]
    fn an_answer_may_come_in_pieces() {
        assert_eq!(run(&[GOOD]).expect("an answer"), [7, 8]);
        assert_eq!(
            run(&[&GOOD[..3], &GOOD[3..10], &GOOD[10..]]).expect("an answer"),
            [7, 8]
        );
    }

    #[test]
    fn a_warning_to_retry_is_retried_and_an_error_is_not() {
        let retry: &[u8] = &[0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x22];
        assert_eq!(run(&[retry, retry, GOOD]).expect("an answer"), [7, 8]);
        let error = run(&[&[0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x8b], GOOD]).expect_err("refused");
        assert!(matches!(
            error,
            AttesterError::TpmRefused {
                command: "Test",
                code: 0x18b
            }
        ));
        let pieces = [retry; 7];
        let error = run(&pieces).expect_err("retried long enough");
        assert!(matches!(error, AttesterError::TpmRefused { code: 0x922, .. }));
    }

    #[test]
    fn an_answer_of_another_size_or_tag_is_refused() {
        let cases: [(&[&[u8]], &str); 8] = [
            (&[], "attester-io"),
            (&[&GOOD[..9]], "attester-io"),
            // Says less than it is, more than it may, and less than a header.
            (&[&[0x80, 0x01, 0, 0, 0, 11, 0, 0, 0, 0, 7, 8]], "attester-io"),
            (&[&[0x80, 0x01, 0, 0, 0x10, 1, 0, 0, 0, 0, 7, 8]], "attester-io"),
            (&[&[0x80, 0x01, 0, 0, 0, 9, 0, 0, 0, 0]], "attester-io"),
            // Another tag, too little, too much.
            (
                &[&[0x80, 0x02, 0, 0, 0, 12, 0, 0, 0, 0, 7, 8]],
                "attester-tpm-malformed",
            ),
            (
                &[&[0x80, 0x01, 0, 0, 0, 11, 0, 0, 0, 0, 7]],
                "attester-tpm-malformed",
            ),
            (
                &[&[0x80, 0x01, 0, 0, 0, 13, 0, 0, 0, 0, 7, 8, 9]],
                "attester-tpm-malformed",
            ),
        ];
        for (pieces, code) in cases {
            let error = run(pieces).expect_err("refused");
            assert_eq!(error.code(), code, "{pieces:02x?}: {error}");
        }
    }

    /// An answer to a command with an empty password.
    fn authorized(parameters: &[u8]) -> Vec<u8> {
        let mut answer = vec![0x80, 0x02, 0, 0, 0, 0, 0, 0, 0, 0];
        answer.extend((parameters.len() as u32).to_be_bytes());
        answer.extend(parameters);
        answer.extend([0; 5]);
        sized(answer)
    }

    fn plain(parameters: &[u8]) -> Vec<u8> {
        sized([&[0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0], parameters].concat())
    }

    fn sized(mut answer: Vec<u8>) -> Vec<u8> {
        let size = (answer.len() as u32).to_be_bytes();
        answer[2..6].copy_from_slice(&size);
        answer
    }

    fn with<T>(
        answers: &[Vec<u8>],
        ask: impl FnOnce(&mut Tpm<'_>) -> Result<T, AttesterError>,
    ) -> Result<T, String> {
        let pieces: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
        let script = Script::new(&pieces);
        let mut tpm = Tpm::connect(&script).expect("it connects");
        ask(&mut tpm).map_err(|error| error.code().to_owned())
    }

    /// NV_ReadPublic of an index of `bytes` that the owner reads.
    fn public(index: u32, bytes: u16) -> Vec<u8> {
        let mut parameters = vec![0, 14];
        parameters.extend(index.to_be_bytes());
        parameters.extend([0, 0x0b, 0x20, 0x02, 0, 0, 0, 0]);
        parameters.extend(bytes.to_be_bytes());
        parameters.extend([0, 2, 0, 0]);
        plain(&parameters)
    }

    const MALFORMED: &str = "attester-tpm-malformed";

    #[test]
    fn an_index_answers_for_itself_and_in_full() {
        let read = |answers: &[Vec<u8>]| with(answers, |tpm| tpm.nv_read(7, 64));
        assert_eq!(
            read(&[public(7, 2), authorized(&[0, 2, 5, 6])]),
            Ok(Some(vec![5, 6]))
        );
        assert_eq!(
            read(&[public(8, 2), authorized(&[0, 2, 5, 6])]),
            Err(MALFORMED.to_owned())
        );
        assert_eq!(read(&[public(7, 65)]), Err(MALFORMED.to_owned()), "its bound");
        for chunk in [&[0, 1, 5][..], &[0, 3, 5, 6, 7], &[0, 2, 5], &[0, 2, 5, 6, 7]] {
            assert_eq!(
                read(&[public(7, 2), authorized(chunk)]),
                Err(MALFORMED.to_owned()),
                "{chunk:?}"
            );
        }
        let mut neither = public(7, 2);
        neither[19] = 0;
        assert_eq!(read(&[neither]), Err(MALFORMED.to_owned()), "nobody may read it");
        // The parameters' size leaves no room for the session, or too much.
        for size in [3, 5] {
            let mut answer = authorized(&[0, 2, 5, 6]);
            answer[13] = size;
            assert_eq!(read(&[public(7, 2), answer]), Err(MALFORMED.to_owned()), "{size}");
        }
        let mut long = authorized(&[0, 2, 5, 6]);
        long.push(0);
        assert_eq!(
            read(&[public(7, 2), sized(long)]),
            Err(MALFORMED.to_owned()),
            "a longer session"
        );
    }

    #[test]
    fn registers_are_those_that_were_asked_for() {
        let selection = PcrSelection::of(&[1, 2]).expect("a selection");
        let answer = |bitmap: u8, values: u32, bytes: usize| {
            let mut parameters = vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0x0b, 3, bitmap, 0, 0];
            parameters.extend(values.to_be_bytes());
            for _ in 0..values {
                parameters.extend((bytes as u16).to_be_bytes());
                parameters.extend(vec![9; bytes]);
            }
            plain(&parameters)
        };
        // All pass over the registers and fail at the quote, for which there is no answer.
        let quote = |answers: &[Vec<u8>]| with(answers, |tpm| tpm.quote(1, &[0; 32], selection).map(|_| ()));
        let passed = Err("attester-io".to_owned());
        assert_eq!(quote(&[answer(6, 2, 32)]), passed);
        assert_eq!(
            quote(&[answer(2, 1, 32), answer(4, 1, 32)]),
            passed,
            "one at a time"
        );
        for bad in [
            answer(7, 3, 32),
            answer(8, 1, 32),
            answer(0, 0, 0),
            answer(6, 1, 32),
            answer(6, 2, 20),
        ] {
            assert_eq!(quote(&[bad]), Err(MALFORMED.to_owned()));
        }
        // A signature of another scheme.
        let mut signed = vec![0, 1, 9, 0, 0x16, 0, 0x0b, 0, 1, 7];
        assert_eq!(
            quote(&[answer(6, 2, 32), authorized(&signed)]),
            Err(MALFORMED.to_owned())
        );
        signed[4] = 0x14;
        assert_eq!(
            quote(&[answer(6, 2, 32), authorized(&signed)]),
            Err(MALFORMED.to_owned()),
            "no message"
        );
    }
}
