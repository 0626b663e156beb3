//! What the policy asks of a device: versions, mode, engines; and what is at its links.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::examine::DeviceClaims;
use super::opaque::{self, OpaqueData};
use super::version::{DriverVersion, VbiosVersion};
use super::{Mode, mode, rules};
use crate::examination::Examination;
use crate::policy::NvidiaPolicy;

pub(super) fn versions(
    examination: &mut Examination,
    opaque: &OpaqueData<'_>,
    claims: &mut DeviceClaims,
    policy: &NvidiaPolicy,
) {
    let switch = claims.architecture.is_switch();
    if switch {
        claims.vbios = opaque.text(opaque::VBIOS_VERSION).and_then(VbiosVersion::parse);
    } else {
        claims.driver = opaque.text(opaque::DRIVER_VERSION).and_then(DriverVersion::parse);
        claims.vbios = opaque
            .array(opaque::VBIOS_VERSION)
            .and_then(VbiosVersion::from_report);
    }
    let text = |version: Option<String>| version.unwrap_or_else(|| "none".to_owned());
    let driver = text(claims.driver.as_ref().map(ToString::to_string));
    let vbios = text(claims.vbios.as_ref().map(ToString::to_string));
    let known = claims.vbios.is_some() && claims.driver.is_some() != switch;
    examination.check(
        &rules::VERSIONS,
        known,
        if switch {
            "a VBIOS version"
        } else {
            "a driver and a VBIOS version"
        },
        format!("driver {driver}, VBIOS {vbios}"),
    );
    let minimum = policy.minimum(claims.architecture);
    let least_driver = minimum.and_then(|minimum| minimum.driver.as_ref());
    examination.check(
        &rules::MINIMUM_DRIVER,
        switch || (least_driver.is_some() && claims.driver.as_ref() >= least_driver),
        if switch {
            "none on a switch".to_owned()
        } else {
            format!("at least {}", text(least_driver.map(ToString::to_string)))
        },
        driver,
    );
    let least_vbios = minimum.map(|minimum| minimum.vbios);
    examination.check(
        &rules::MINIMUM_VBIOS,
        least_vbios.is_some() && claims.vbios >= least_vbios,
        format!(
            "at least {}",
            text(least_vbios.map(|version| version.to_string()))
        ),
        vbios,
    );
}

pub(super) fn modes(
    examination: &mut Examination,
    opaque: &OpaqueData<'_>,
    claims: &mut DeviceClaims,
    policy: &NvidiaPolicy,
) {
    if claims.architecture.is_switch() {
        let locked = mode::is_locked(opaque);
        let found = if locked { "locked" } else { "not locked" };
        examination.check(&rules::MODE, locked, "a locked switch", found);
        examination.check(&rules::VIDEO_DECODER, true, "none on a switch", "none");
        // Eight identifiers of GPUs, the links of each eighth, then a port number for each.
        let listed = opaque
            .get(opaque::SWITCH_GPU_PDIS)
            .and_then(|bytes| bytes.get(..64));
        claims.peers = peers(listed, false);
        return;
    }
    claims.mode = Mode::of_gpu(opaque);
    claims.peers = peers(opaque.get(opaque::PDI), true);
    let modes: Vec<_> = policy.modes.iter().map(ToString::to_string).collect();
    examination.check(
        &rules::MODE,
        claims.mode.is_some_and(|mode| policy.modes.contains(&mode)),
        modes.join(" or "),
        claims.mode.map_or_else(
            || "none, or two that contradict".to_owned(),
            |mode| mode.to_string(),
        ),
    );
    let decoder = mode::video_decoder(opaque);
    examination.check(
        &rules::VIDEO_DECODER,
        decoder == Some(false) || (decoder == Some(true) && policy.video_decoder),
        if policy.video_decoder { "on or off" } else { "off" },
        decoder.map_or("not known", |on| if on { "on" } else { "off" }),
    );
}

/// The device identifiers at the ends of links, each once; zero where nothing is linked. GPUs write them
/// the other way round than switches do.
fn peers(bytes: Option<&[u8]>, reversed: bool) -> Vec<[u8; 8]> {
    let mut peers = bytes.and_then(OpaqueData::identifiers).unwrap_or_default();
    if reversed {
        peers.iter_mut().for_each(|peer| peer.reverse());
    }
    peers.retain(|peer| *peer != [0; 8]);
    peers.sort_unstable();
    peers.dedup();
    peers
}
