//! Event logs as the firmware and the kernel keep them, cut to the events.
//!
//! | source | file |
//! |---|---|
//! | CCEL (TDX) | `/sys/firmware/acpi/tables/data/CCEL`, an area of fixed size, padded |
//! | TPM | `/sys/kernel/security/tpm0/binary_bios_measurements`, events only |
//!
//! The shape is that of the TCG PC Client Platform Firmware Profile: one `TCG_PCClientPCREvent`
//! (section 10.2.1) whose data name the digests' lengths (`TCG_EfiSpecIDEvent`, section 10.4.5.1), then
//! `TCG_PCR_EVENT2` (section 10.2.2). Only lengths are read here, to find the end; what the events say
//! is the Verifier's to judge.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::AttesterError;

/// Where Linux shows the log area of a confidential VM's CCEL table (ACPI 6.5, section 5.2.34).
pub(crate) const CCEL: &str = "/sys/firmware/acpi/tables/data/CCEL";
/// Where Linux shows the log of the first TPM.
pub(crate) const TPM: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";

/// Bound of the file with its padding.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bound of the events: what a bundle takes.
const LOG_BYTES_MAX: usize = 256 * 1024;
const EVENTS_MAX: usize = 4096;
const DIGESTS_MAX: u32 = 16;
const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";

/// The log in `file`; `None` where the platform has none.
pub(crate) fn read(file: &Path) -> Result<Option<Vec<u8>>, AttesterError> {
    let malformed = |reason| AttesterError::Malformed {
        path: file.to_owned(),
        reason,
    };
    let mut bytes = Vec::new();
    let outcome =
        File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    match outcome {
        Ok(_) if bytes.len() > FILE_BYTES_MAX => return Err(malformed("exceeds its bound")),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(AttesterError::Io {
                path: file.to_owned(),
                source,
            });
        }
    }
    let used = used(&bytes).ok_or_else(|| malformed("not an event log"))?;
    if used > LOG_BYTES_MAX {
        return Err(malformed("more events than a bundle takes"));
    }
    bytes.truncate(used);
    Ok(Some(bytes))
}

/// How many bytes the events take; the rest must be padding, all zeros or all ones.
fn used(log: &[u8]) -> Option<usize> {
    let mut cursor = Cursor { log, at: 0 };
    let sizes = cursor.first_event()?;
    // Where the last run of one padding byte begins, found once: a hostile log may be long.
    let last = [0x00, 0xff].map(|padding| log.iter().rposition(|byte| *byte != padding));
    let padding_from = last.into_iter().map(|at| at.map_or(0, |at| at + 1)).min()?;
    for _ in 0..EVENTS_MAX {
        if cursor.at >= padding_from {
            return Some(cursor.at);
        }
        cursor.event(&sizes)?;
    }
    None
}

struct Cursor<'a> {
    log: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let taken = self.log.get(self.at..)?.get(..bytes)?;
        self.at += bytes;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Data behind a length of 32 bits.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let bytes = usize::try_from(self.u32()?).ok()?;
        self.take(bytes)
    }

    /// The digests' lengths that the first event announces.
    fn first_event(&mut self) -> Option<Vec<(u16, usize)>> {
        let _register_type_and_digest = self.take(4 + 4 + 20)?;
        let mut data = Cursor {
            log: self.sized()?,
            at: 0,
        };
        if data.take(16)? != SIGNATURE {
            return None;
        }
        let _class_version_and_word_size = data.take(4 + 4)?;
        let count = data.u32()?;
        if count == 0 || count > DIGESTS_MAX {
            return None;
        }
        (0..count)
            .map(|_| Some((data.u16()?, usize::from(data.u16()?))))
            .collect()
    }

    fn event(&mut self, sizes: &[(u16, usize)]) -> Option<()> {
        let _register_and_type = self.take(4 + 4)?;
        let count = self.u32()?;
        if count > DIGESTS_MAX {
            return None;
        }
        for _ in 0..count {
            let algorithm = self.u16()?;
            let (_, bytes) = sizes.iter().find(|(known, _)| *known == algorithm)?;
            self.take(*bytes)?;
        }
        self.sized().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{DIGESTS_MAX, EVENTS_MAX, FILE_BYTES_MAX, LOG_BYTES_MAX, read, used};
    use crate::AttesterError;

    fn log(events: &[&[u8]]) -> Vec<u8> {
        let mut log = vec![0; 4];
        log.extend(3_u32.to_le_bytes());
        log.extend([0; 20]);
        let mut id = b"Spec ID Event03\0".to_vec();
        id.extend([0; 8]);
        id.extend(1_u32.to_le_bytes());
        id.extend([0x0b, 0, 32, 0, 0]);
        log.extend((id.len() as u32).to_le_bytes());
        log.extend(id);
        for event in events {
            log.extend(1_u32.to_le_bytes());
            log.extend(5_u32.to_le_bytes());
            log.extend(1_u32.to_le_bytes());
            log.extend([0x0b, 0]);
            log.extend([7; 32]);
            log.extend((event.len() as u32).to_le_bytes());
            log.extend(*event);
        }
        log
    }

    #[test]
    fn padding_goes_and_events_stay() {
        let events = log(&[b"one", b"", b"three\0\0\0"]);
        for padding in [0x00, 0xff] {
            let mut padded = events.clone();
            padded.resize(65536, padding);
            assert_eq!(used(&padded), Some(events.len()));
        }
        assert_eq!(used(&events), Some(events.len()));
    }

    #[test]
    fn what_is_not_a_log_is_refused() {
        let events = log(&[b"one", b"two"]);
        let boundary: Vec<usize> = [log(&[]), log(&[b"one"]), events.clone()]
            .iter()
            .map(Vec::len)
            .collect();
        for length in 0..events.len() {
            let found = used(&events[..length]);
            assert_eq!(found.is_some(), boundary.contains(&length), "{length} bytes");
        }
        let mut mixed = events.clone();
        mixed.extend([0; 64]);
        mixed.push(1);
        assert_eq!(used(&mixed), None, "something after the padding");
        let mut other = events.clone();
        other[28 + 4] ^= 1;
        assert_eq!(used(&other), None, "another signature");
        let mut algorithm = events;
        let first = log(&[]).len();
        algorithm[first + 12] ^= 1;
        assert_eq!(
            used(&algorithm),
            None,
            "a digest of a length that nobody announced"
        );
    }

    #[test]
    fn counts_have_bounds() {
        let first = log(&[]).len();
        let mut digests = log(&[b"one"]);
        digests[first + 8..first + 12].copy_from_slice(&(DIGESTS_MAX + 1).to_le_bytes());
        digests.extend(vec![0x0b; 1024]);
        assert_eq!(used(&digests), None);
        for count in [0, DIGESTS_MAX + 1] {
            let mut algorithms = log(&[b"one"]);
            algorithms[56..60].copy_from_slice(&count.to_le_bytes());
            assert_eq!(used(&algorithms), None, "{count} algorithms");
        }
        let many = |events: usize| used(&log(&vec![&b""[..]; events])).is_some();
        assert!(many(EVENTS_MAX - 1) && !many(EVENTS_MAX));
    }

    #[test]
    fn no_byte_makes_it_panic() {
        let good = log(&[b"one", b"two"]);
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = good.clone();
                changed[at] = byte;
                let _ = used(&changed);
            }
        }
    }

    #[test]
    fn files_are_bounded_and_may_be_absent() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("log");
        assert_eq!(read(&file).expect("no log is no error"), None);
        let mut whole = log(&[b"one"]);
        let events = whole.clone();
        whole.resize(FILE_BYTES_MAX, 0xff);
        std::fs::write(&file, &whole).expect("the log is written");
        assert_eq!(read(&file).expect("a log"), Some(events));
        whole.push(0xff);
        std::fs::write(&file, &whole).expect("the log is written");
        assert!(matches!(read(&file), Err(AttesterError::Malformed { .. })));
        let long = log(&[&vec![1; LOG_BYTES_MAX][..]]);
        std::fs::write(&file, long).expect("the log is written");
        assert!(matches!(read(&file), Err(AttesterError::Malformed { .. })));
        assert!(matches!(read(folder.path()), Err(AttesterError::Io { .. })));
    }

    #[test]
    fn real_logs_are_cut_where_their_events_end() {
        let Some(vectors) = crate::vectors::folder() else {
            return;
        };
        for (name, bytes) in [
            ("gcp/logs/gcp-ccel-cos-from-coco.bin", 20349),
            ("tdx/logs/ccel-grub-coco.bin", 15130),
        ] {
            let found = read(&vectors.join(name)).expect("a log").expect("it is there");
            assert_eq!(found.len(), bytes, "{name}");
        }
        for name in [
            "gcp/gcp-tdx-cos113-ccel/ccel.bin",
            "gcp/gcp-vtpm-cos85-nonce9009/eventlog.bin",
            "gcp/logs/gcp-log-sp800155.bin",
            "gcp/logs/gcp-log-ubuntu2404-amd-sevsnp.bin",
        ] {
            let file = vectors.join(name);
            let found = read(Path::new(&file)).expect("a log").expect("it is there");
            assert!(!found.is_empty(), "{name}");
        }
    }
}
