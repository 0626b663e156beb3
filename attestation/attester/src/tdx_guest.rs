//! TDX quotes through `/dev/tdx_guest`, for kernels whose driver answers quote requests by ioctl
//! (Intel's and the distributions' before configfs-tsm).
//!
//! The crate `tdx_attest` speaks to the driver. It panics where it finds no device, or a length that it
//! did not expect, and it trusts the host's length of the quote. So it runs
//!
//! 1. only when the device is there, and the one of TDX 1.0, which it prefers, is not;
//! 2. on a thread of its own, where a panic ends that thread and a host that never answers is left
//!    behind after a time; no second one starts before the first has ended;
//! 3. and what it returns is taken only if it is no longer than the buffer that it is from, and is a
//!    quote of our report data.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use attestation::{Endorsements, PlatformTag, ReportData};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::sev_guest::is_device;
use crate::{Access, Attester, AttesterError, Collected, event_log};

/// Where the driver puts itself.
pub const DEVICE: &str = "/dev/tdx_guest";

/// The devices of drivers before the one that is spoken to here.
const OLDER_DEVICES: [&str; 2] = ["/dev/tdx-guest", "/dev/tdx-attest"];
/// The crate's buffer without the head of the quoting service's answer. A longer quote would hold
/// memory from behind the buffer.
const QUOTE_BYTES_MAX: usize = 4 * 4096 - 24;
/// The driver itself waits 30 seconds for the host.
const SECONDS_MAX: Duration = Duration::from_secs(40);

/// REPORTDATA in a quote (Intel TDX DCAP Quoting Library API, appendix 3): header 48, body 520; in
/// version 5 the body's type and size, 6 bytes, stand in between.
const REPORT_DATA_VERSION_4: usize = 48 + 520;
const REPORT_DATA_VERSION_5: usize = 48 + 6 + 520;

/// Whether a call has not come back yet. There is one device, so there is one flag.
static UNDER_WAY: AtomicBool = AtomicBool::new(false);

/// Collects TDX quotes through `/dev/tdx_guest`.
pub struct TdxGuest(());

impl TdxGuest {
    /// Finds the device.
    pub fn open() -> Result<Self, AttesterError> {
        let look = |path: &str| {
            is_device(Path::new(path)).map_err(|source| AttesterError::Io {
                path: path.into(),
                source,
            })
        };
        for older in OLDER_DEVICES {
            if look(older)? {
                return Err(AttesterError::Device {
                    path: older.into(),
                    reason: "the driver of TDX 1.0, which is not supported".to_owned(),
                });
            }
        }
        if look(DEVICE)? {
            Ok(Self(()))
        } else {
            Err(AttesterError::NotAvailable(DEVICE.into()))
        }
    }
}

impl Attester for TdxGuest {
    fn platform(&self) -> PlatformTag {
        PlatformTag::IntelTdx
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        // The device may have gone since.
        Self::open()?;
        let text = STANDARD.encode(report_data);
        let quote = guarded(&UNDER_WAY, SECONDS_MAX, move || {
            tdx_attest::get_tdx_quote(text).map_err(|error| error.to_string())
        })?;
        if quote.len() > QUOTE_BYTES_MAX || !commits_to(&quote, report_data) {
            return Err(AttesterError::Malformed {
                path: DEVICE.into(),
                reason: "not a quote of our report data within its bound",
            });
        }
        Ok(Collected {
            evidence: quote,
            event_log: event_log::read(Path::new(event_log::CCEL))?,
            endorsements: Endorsements::new(),
            devices: Vec::new(),
        })
    }

    fn access(&self) -> Access {
        Access {
            devices: vec![DEVICE.into()],
            files: vec![event_log::CCEL.into()],
            ..Access::default()
        }
    }
}

fn commits_to(quote: &[u8], report_data: &ReportData) -> bool {
    let at = match quote.get(..2) {
        Some([4, 0]) => REPORT_DATA_VERSION_4,
        Some([5, 0]) => REPORT_DATA_VERSION_5,
        _ => return false,
    };
    quote.get(at..).is_some_and(|rest| rest.starts_with(report_data))
}

/// Runs `call` on a thread, one at a time, and waits for it no longer than `time_max`.
fn guarded(
    under_way: &'static AtomicBool,
    time_max: Duration,
    call: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
) -> Result<Vec<u8>, AttesterError> {
    if under_way.swap(true, Ordering::AcqRel) {
        return Err(AttesterError::Busy("the TDX driver"));
    }
    let failed = |reason: &str| AttesterError::Device {
        path: DEVICE.into(),
        reason: reason.to_owned(),
    };
    let (sender, receiver) = mpsc::channel();
    let ended = Ended(under_way);
    let thread = thread::Builder::new()
        .name("tdx-quote".to_owned())
        .spawn(move || {
            // The flag is down before the outcome is out, also when a panic drops them in reverse order.
            let sender = sender;
            let ended = ended;
            let outcome = call();
            drop(ended);
            // Nobody receives when the time was over.
            let _ = sender.send(outcome);
        });
    thread.map_err(|_| failed("no thread for the call"))?;
    match receiver.recv_timeout(time_max) {
        Ok(outcome) => outcome.map_err(|reason| failed(&reason)),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(failed("no answer in time")),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(failed("the answer is not what the driver's should be"))
        }
    }
}

/// Says that a call came back, also when it panicked.
struct Ended(&'static AtomicBool);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::{commits_to, guarded};

    const SECONDS: Duration = Duration::from_secs(20);

    fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(done) = attempt() {
                return done;
            }
            assert!(started.elapsed() < SECONDS, "never");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_panic_is_an_error_and_the_next_call_runs() {
        static FLAG: AtomicBool = AtomicBool::new(false);
        let error =
            guarded(&FLAG, SECONDS, || panic!("a test panics here on purpose")).expect_err("it panicked");
        assert_eq!(error.code(), "attester-device");
        for byte in [1, 2, 3] {
            let quote = guarded(&FLAG, SECONDS, move || Ok(vec![byte])).expect("the flag is down");
            assert_eq!(quote, [byte]);
        }
    }

    #[test]
    fn a_call_that_hangs_is_left_and_is_the_only_one() {
        static FLAG: AtomicBool = AtomicBool::new(false);
        let (release, held) = mpsc::channel::<()>();
        let error = guarded(&FLAG, Duration::from_millis(20), move || {
            let _ = held.recv();
            Ok(vec![1])
        });
        assert_eq!(error.expect_err("it hangs").code(), "attester-device");
        let error = guarded(&FLAG, SECONDS, || Ok(vec![2])).expect_err("the first is still under way");
        assert_eq!(error.code(), "attester-busy");
        drop(release);
        assert_eq!(eventually(|| guarded(&FLAG, SECONDS, || Ok(vec![3])).ok()), [3]);
    }

    #[test]
    fn real_quotes_commit_to_their_report_data_only() {
        let Some(vectors) = crate::vectors::folder() else {
            return;
        };
        let quote = std::fs::read(vectors.join("gcp/gcp-tdx-cos113-ccel/quote.bin")).expect("a quote");
        let report_data = quote[568..632].try_into().expect("64 bytes");
        assert!(commits_to(&quote, report_data));
        assert!(!commits_to(&quote, &[9; 64]));
        assert!(!commits_to(&quote[..600], report_data));
        let mut version = quote.clone();
        version[0] = 3;
        assert!(!commits_to(&version, report_data));
        version[0] = 5;
        assert!(
            !commits_to(&version, report_data),
            "version 5 has it six bytes later"
        );
    }
}
