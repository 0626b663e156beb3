//! In which mode of confidential computing a device works, and what weakens it.

use core::fmt;

use super::opaque::{self, OpaqueData};

const ON: u8 = 0xaa;
const OFF: u8 = 0x55;
const LOCKED: u16 = 1;

/// A mode, as a policy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// One GPU for one guest, everything on its links encrypted.
    SingleGpu,
    /// Several GPUs for one guest, the links between them encrypted.
    MultiGpu,
    /// All GPUs and switches for one guest: PCIe is protected, the links between the devices are not
    /// encrypted.
    ProtectedPcie,
}

impl Mode {
    /// The mode of a GPU: its feature flag, with which the protected PCIe status must agree. Drivers
    /// before the flag know no mode between several GPUs but protected PCIe.
    pub(super) fn of_gpu(opaque: &OpaqueData<'_>) -> Option<Self> {
        let flag = match opaque.get(opaque::FEATURE_FLAG) {
            None => None,
            Some(_) => Some(match opaque.number(opaque::FEATURE_FLAG)? {
                0 => Self::SingleGpu,
                1 => Self::MultiGpu,
                2 => Self::ProtectedPcie,
                _ => return None,
            }),
        };
        let protected = match opaque.get(opaque::PROTECTED_PCIE_STATUS) {
            None => None,
            Some([ON]) => Some(true),
            Some([OFF]) => Some(false),
            Some(_) => return None,
        };
        match (flag, protected) {
            (Some(mode), Some(protected)) if protected != (mode == Self::ProtectedPcie) => None,
            (Some(mode), _) => Some(mode),
            (None, Some(true)) => Some(Self::ProtectedPcie),
            (None, Some(false) | None) => Some(Self::SingleGpu),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::SingleGpu => "single-gpu",
            Self::MultiGpu => "multi-gpu",
            Self::ProtectedPcie => "protected-pcie",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a switch's routing can no longer be changed from outside.
pub(super) fn is_locked(opaque: &OpaqueData<'_>) -> bool {
    opaque.number(opaque::SWITCH_LOCK_STATUS) == Some(LOCKED)
}

/// Whether the first video decoder is on; `None` if the status is not one of the two known ones.
pub(super) fn video_decoder(opaque: &OpaqueData<'_>) -> Option<bool> {
    match opaque.get(opaque::NVDEC0_STATUS)? {
        [ON] => Some(true),
        [OFF] => Some(false),
        _ => None,
    }
}
