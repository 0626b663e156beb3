//! Which TCB level a platform, its TDX module and its quoting enclave are at.

use alloc::format;
use alloc::string::String;

use super::collateral::{IsvLevel, ModuleIdentity, NamedModuleIdentity, QeIdentity, TcbInfo};
use super::pck::Pck;
use super::quote::{Body, QeReport};
use super::status::TcbStatus;

/// A status and the advisories that come with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level<'a> {
    pub(crate) status: TcbStatus,
    pub(crate) advisories: &'a [String],
}

/// The first level, highest first, that the platform reaches in every component.
pub(crate) fn platform<'a>(info: &'a TcbInfo, pck: &Pck, tee_tcb_svn: &[u8; 16]) -> Option<Level<'a>> {
    // From TDX 1.5 on, components 0 and 1 are the module's own, judged by its identity.
    let from = if tee_tcb_svn[1] > 0 { 2 } else { 0 };
    info.tcb_levels
        .iter()
        .find(|level| {
            let reaches = |have: &[u8], need: &[super::collateral::Component]| {
                have.iter().zip(need).all(|(have, need)| *have >= need.svn)
            };
            reaches(&pck.components, &level.tcb.sgxtcbcomponents)
                && pck.pcesvn >= level.tcb.pcesvn
                && reaches(&tee_tcb_svn[from..], &level.tcb.tdxtcbcomponents[from..])
        })
        .map(|level| Level {
            status: level.tcb_status,
            advisories: &level.advisories,
        })
}

/// What the module must be, by the major version that the quote shows.
pub(crate) enum Module<'a> {
    /// TDX 1.0: one identity, no levels of its own.
    Unversioned(&'a ModuleIdentity),
    /// TDX 1.5 and later.
    Versioned(&'a NamedModuleIdentity),
}

impl<'a> Module<'a> {
    pub(crate) fn find(info: &'a TcbInfo, tee_tcb_svn: &[u8; 16]) -> Option<Self> {
        let major = tee_tcb_svn[1];
        if major == 0 {
            return Some(Module::Unversioned(&info.tdx_module));
        }
        let id = format!("TDX_{major:02X}");
        info.tdx_module_identities
            .iter()
            .find(|identity| identity.id == id)
            .map(Module::Versioned)
    }

    /// Whether the module that the quote shows was signed as it must be.
    pub(crate) fn matches(&self, body: &Body<'_>) -> bool {
        let identity = match self {
            Module::Unversioned(identity) => identity,
            Module::Versioned(named) => &named.identity,
        };
        identity.mrsigner.0 == *body.mrsignerseam()
            && masked(body.seam_attributes(), &identity.attributes_mask.0)
                .eq(masked(&identity.attributes.0, &identity.attributes_mask.0))
    }

    pub(crate) fn level(&self, tee_tcb_svn: &[u8; 16]) -> Option<Level<'a>> {
        match self {
            Module::Unversioned(_) => Some(Level {
                status: TcbStatus::UpToDate,
                advisories: &[],
            }),
            Module::Versioned(named) => isv(&named.tcb_levels, u16::from(tee_tcb_svn[0])),
        }
    }
}

/// The quoting enclave's level.
pub(crate) fn quoting_enclave<'a>(identity: &'a QeIdentity, report: &QeReport<'_>) -> Option<Level<'a>> {
    isv(&identity.tcb_levels, report.isvsvn())
}

/// Whether the quoting enclave is the one that Intel names, and not under debug.
pub(crate) fn is_quoting_enclave(identity: &QeIdentity, report: &QeReport<'_>) -> bool {
    const DEBUG: u8 = 2;
    report.mrsigner() == &identity.mrsigner.0
        && report.isvprodid() == identity.isvprodid
        && masked(report.miscselect(), &identity.miscselect_mask.0)
            .eq(masked(&identity.miscselect.0, &identity.miscselect_mask.0))
        && masked(report.attributes(), &identity.attributes_mask.0)
            .eq(masked(&identity.attributes.0, &identity.attributes_mask.0))
        && report.attributes()[0] & DEBUG == 0
}

fn isv(levels: &[IsvLevel], isvsvn: u16) -> Option<Level<'_>> {
    levels
        .iter()
        .find(|level| isvsvn >= level.tcb.isvsvn)
        .map(|level| Level {
            status: level.tcb_status,
            advisories: &level.advisories,
        })
}

fn masked<'a>(value: &'a [u8], mask: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
    value.iter().zip(mask).map(|(value, mask)| value & mask)
}
