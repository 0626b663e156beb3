//! What verified evidence says, in types.

use alloc::vec::Vec;
use core::fmt;

use crate::{Field, PlatformTag};

/// What the acceptance rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assurance {
    /// A hardware root of trust.
    Hardware,
    /// Software that imitates the hardware: development only, protects nothing.
    Simulated,
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Assurance::Hardware => "hardware",
            Assurance::Simulated => "SIMULATED",
        })
    }
}

/// What verified evidence says of platform and launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub(crate) platform: PlatformTag,
    pub(crate) launch_measurement: [u8; 48],
    pub(crate) hardware_id: Vec<u8>,
    pub(crate) vtpm: Option<VtpmClaims>,
    pub(crate) boot: Vec<Field>,
}

/// What a vTPM says of itself in a quote. The verifier has no memory: whoever appraises the same
/// machine again can see that it was reset, resumed or rolled back by counters that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VtpmClaims {
    /// Milliseconds for which the vTPM was on.
    pub clock_milliseconds: u64,
    /// How often it was reset.
    pub reset_count: u32,
    /// How often it was resumed since the last reset.
    pub restart_count: u32,
    /// The vendor's number of its firmware.
    pub firmware_version: u64,
}

impl Claims {
    /// The kind of evidence.
    pub fn platform(&self) -> PlatformTag {
        self.platform
    }

    /// SNP launch digest or TDX MRTD.
    pub fn launch_measurement(&self) -> &[u8; 48] {
        &self.launch_measurement
    }

    /// Identity of the processor, taken from the manufacturer's certificate: SNP hwID, TDX PPID.
    pub fn hardware_id(&self) -> &[u8] {
        &self.hardware_id
    }

    /// What the vTPM says of itself, on platforms that have one inside the boundary (Azure).
    pub fn vtpm(&self) -> Option<&VtpmClaims> {
        self.vtpm.as_ref()
    }

    /// What the event log says of the boot: secure boot, boot loaders, command line, runtime events. Empty if
    /// there was none; the log replays to the registers of the evidence.
    pub fn boot(&self) -> &[Field] {
        &self.boot
    }
}
