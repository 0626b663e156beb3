//! Registers from digests: each extend is `register = H(register || digest)` (TPM 2.0 part 1, section 17.2; TDX
//! module, TDG.MR.RTMR.EXTEND).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use sha2::{Digest, Sha256, Sha384};

use super::event::{Event, EventKind};
use super::{EventLog, RegisterLayout};

/// TCG_EfiStartupLocalityEvent (Platform Firmware Profile, section 10.4.5.3): the signature, then one byte.
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";
/// Register 1 is RTMR0 (UEFI section 38.4.1).
const RTMR0: u32 = 1;

/// A bank that is replayed. Digests of other banks are stepped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bank {
    /// TPM_ALG_SHA256.
    Sha256,
    /// TPM_ALG_SHA384.
    Sha384,
}

impl EventLog {
    /// The value of a register in the SHA-256 bank; `None` where the log lacks a digest for that.
    pub fn replay_sha256(&self, register: u32) -> Option<[u8; 32]> {
        let digest = |event: &Event| event.sha256.map(Vec::from);
        let value = self.replay::<Sha256>(Bank::Sha256, register, digest)?;
        value.try_into().ok()
    }

    /// The value of a register in the SHA-384 bank; `None` where the log lacks a digest for that.
    pub fn replay_sha384(&self, register: u32) -> Option<[u8; 48]> {
        let digest = |event: &Event| event.sha384.map(Vec::from);
        let value = self.replay::<Sha384>(Bank::Sha384, register, digest)?;
        value.try_into().ok()
    }

    /// The value of RTMR0 to RTMR3.
    pub fn replay_rtmr(&self, number: u32) -> Option<[u8; 48]> {
        self.replay_sha384(RTMR0.checked_add(number)?)
    }

    /// The registers that the log extends.
    pub fn registers(&self) -> Vec<u32> {
        let extended = self.events.iter().filter(|event| event.is_extended());
        let registers: BTreeSet<u32> = extended.map(Event::register).collect();
        registers.into_iter().collect()
    }

    fn replay<H: Digest>(
        &self,
        bank: Bank,
        register: u32,
        digest: impl Fn(&Event) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        if !self.banks.contains(&bank) {
            return None;
        }
        let mut value = alloc::vec![0; <H as Digest>::output_size()];
        if register == 0 && self.layout == RegisterLayout::Pcr {
            *value.last_mut()? = self.startup_locality()?;
        }
        for (_, event) in self.extended(register) {
            value = H::new_with_prefix(&value)
                .chain_update(digest(event)?)
                .finalize()
                .to_vec();
        }
        Some(value)
    }

    /// The locality that PCR0 began with; 0 unless told. `None` if it is told twice, after PCR0 was extended, or
    /// as one that TPM2_Startup and the H-CRTM do not know.
    fn startup_locality(&self) -> Option<u8> {
        let mut told = None;
        let mut extended = false;
        for event in self.events.iter().filter(|event| event.register == 0) {
            match event.data.strip_prefix(STARTUP_LOCALITY) {
                Some(rest) if event.kind == EventKind::NO_ACTION => match rest {
                    [locality @ (0 | 3 | 4)] if told.is_none() && !extended => told = Some(*locality),
                    _ => return None,
                },
                _ => extended |= event.is_extended(),
            }
        }
        Some(told.unwrap_or(0))
    }
}
