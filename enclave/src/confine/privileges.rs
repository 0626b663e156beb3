//! capabilities(7): none, now and after whatever would give them back.
//!
//! In the image the engine stays user 0, because the kernel gives attestation's files to that user; without
//! capabilities that user is the owner of some files and nothing more.

use rustix::{
    io::Errno,
    thread::{
        CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
    },
};

use crate::error::{EnclaveError, Result};

/// Gives up every capability of the calling thread and of what it starts.
pub(super) fn drop_all() -> Result<()> {
    let held = capabilities(None).map_err(|_| EnclaveError::Hardening("capabilities"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    if held == none {
        return Ok(()); // an ordinary user: there is nothing to give up, and no right to say so
    }
    let steps = || {
        clear_ambient_capability_set()?;
        // What cannot set them has no use for the bounds either: a program it started would be refused by seccomp.
        if held.effective.contains(CapabilitySet::SETPCAP) {
            for capability in CapabilitySet::all().iter() {
                match remove_capability_from_bounding_set(capability) {
                    Ok(()) | Err(Errno::INVAL) => {} // an older kernel does not know it, so nobody has it
                    Err(error) => return Err(error),
                }
            }
            set_capabilities_secure_bits(
                CapabilitiesSecureBits::NO_ROOT
                    | CapabilitiesSecureBits::NO_ROOT_LOCKED
                    | CapabilitiesSecureBits::NO_SETUID_FIXUP
                    | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
                    | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
                    | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
            )?;
        }
        set_capabilities(None, none)
    };
    steps().map_err(|_: Errno| EnclaveError::Hardening("capabilities"))
}
