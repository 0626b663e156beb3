//! The SIMULATED security processor of a virtual machine, in two halves.
//!
//! On the host, `processor` holds the platform's keys and the measurement of the machine that the launcher started, and
//! signs what it is asked to. In the guest, [`Processor`] asks it over a port of virtio-serial.
//!
//! | direction | bytes |
//! |---|---|
//! | guest asks | report data (64) |
//! | host answers | length (4, big-endian) and report; length (4) and certificate table |

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::net::UnixListener,
    path::Path,
};

use attestation::EndorsementKind;
use attester::Attester as _;
use simulated::SimulatedAttester;

const REPORT_DATA_BYTES: usize = 64;
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What the processor answers.
pub(crate) struct Evidence {
    /// The report.
    pub(crate) report: Vec<u8>,
    /// The certificate table that comes with it.
    pub(crate) certificates: Vec<u8>,
}

/// The guest's half: the port to the host's.
pub(crate) struct Processor(File);

impl Processor {
    /// Asks over the port of `device`.
    ///
    /// # Errors
    /// What the device says.
    pub(crate) fn open(device: &Path) -> io::Result<Self> {
        File::options().read(true).write(true).open(device).map(Self)
    }

    /// A report over `report_data`.
    ///
    /// # Errors
    /// What the device says, and an answer over its bound.
    pub(crate) fn ask(&mut self, report_data: &[u8; REPORT_DATA_BYTES]) -> io::Result<Evidence> {
        self.0.write_all(report_data)?;
        Ok(Evidence {
            report: answer(&mut self.0)?,
            certificates: answer(&mut self.0)?,
        })
    }
}

fn answer(port: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    port.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > ANSWER_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    port.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The host's half: listens on `socket` for QEMU, and answers one machine until it ends.
///
/// # Errors
/// When the socket cannot be made, or evidence cannot be signed.
pub(crate) fn serve(attester: &SimulatedAttester, socket: &Path) -> anyhow::Result<()> {
    let _ = std::fs::remove_file(socket); // left by a processor that was killed
    let listener = UnixListener::bind(socket)?;
    let (mut machine, _) = listener.accept()?;
    let mut report_data = [0; REPORT_DATA_BYTES];
    while machine.read_exact(&mut report_data).is_ok() {
        let collected = attester.evidence(&report_data)?;
        let documents = [
            (VCEK, EndorsementKind::SnpLeaf),
            (ASK, EndorsementKind::SnpIntermediate),
            (CRL, EndorsementKind::SnpCrl),
        ];
        let documents: Vec<_> = documents
            .into_iter()
            .filter_map(|(guid, kind)| Some((guid, collected.endorsements.document(kind)?)))
            .collect();
        for part in [&collected.evidence, &table(&documents)] {
            let length = u32::try_from(part.len())?;
            machine.write_all(&length.to_be_bytes())?;
            machine.write_all(part)?;
        }
    }
    Ok(())
}

/// GUIDs of the certificate table, in the byte order of a GUID on the wire.
const VCEK: [u8; 16] = *b"\x8d\x75\xda\x63\x64\xe6\x64\x45\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
const ASK: [u8; 16] = *b"\x79\xb3\xb7\x4a\xac\xbb\xe4\x4f\xa0\x2f\x05\xae\xf3\x27\xc7\x82";
const CRL: [u8; 16] = *b"\xc3\x1b\xf8\x92\x11\x58\x3d\x4d\x97\xff\xd1\x9f\x88\xdc\x67\xea";

/// A certificate table (GHCB specification, section 4.1.8.1): entries of GUID, offset, length; the last of zeros.
fn table(documents: &[([u8; 16], &[u8])]) -> Vec<u8> {
    const ENTRY_BYTES: usize = 24;
    let mut table = Vec::new();
    let mut offset = (documents.len() + 1) * ENTRY_BYTES;
    for (guid, document) in documents {
        table.extend_from_slice(guid);
        for number in [offset, document.len()] {
            let number = u32::try_from(number).expect("a few certificates");
            table.extend_from_slice(&number.to_le_bytes());
        }
        offset += document.len();
    }
    table.extend_from_slice(&[0; ENTRY_BYTES]);
    for (_, document) in documents {
        table.extend_from_slice(document);
    }
    table
}
