//! All devices of a machine together: none missing, none twice, and what they say of each other.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::examine::{DeviceClaims, Evidence, examine};
use super::set_rules as rules;
use crate::examination::Examination;
use crate::policy::{NvidiaException, NvidiaPolicy};

/// Examines every device, then the set: a clause for each of [`rules::RULES`]. Claims in the order of
/// `devices`, only if each could be read.
pub(crate) fn examine_set(
    examination: &mut Examination,
    devices: &[Evidence<'_>],
    policy: &NvidiaPolicy,
) -> Option<Vec<DeviceClaims>> {
    let claims: Vec<Option<DeviceClaims>> = devices
        .iter()
        .map(|device| examine(examination, device))
        .collect();
    let claims: Vec<DeviceClaims> = claims.into_iter().collect::<Option<_>>()?;
    let (switches, gpus): (Vec<_>, Vec<_>) =
        claims.iter().partition(|device| device.architecture.is_switch());
    let (gpu_count, switch_count) = (policy.gpus as usize, policy.switches as usize);
    examination.check(
        &rules::COUNT,
        gpus.len() == gpu_count && switches.len() == switch_count,
        format!("{gpu_count} GPUs, {switch_count} switches"),
        format!("{} GPUs, {} switches", gpus.len(), switches.len()),
    );
    let twice = |at: usize, device: &DeviceClaims| {
        let mut before = claims.iter().take(at);
        before.any(|other| other.device_id == device.device_id || other.leaf_digest == device.leaf_digest)
    };
    let doubled = claims.iter().enumerate().find(|(at, device)| twice(*at, device));
    examination.check(
        &rules::DISTINCT,
        doubled.is_none(),
        "each device once",
        doubled.map_or_else(
            || "each once".to_owned(),
            |(_, device)| format!("{} twice", hex::encode(&device.device_id)),
        ),
    );
    modes(examination, &gpus);
    topology(
        examination,
        &gpus,
        &switches,
        policy.excepts(NvidiaException::UnattestedSwitches),
    );
    Some(claims)
}

fn modes(examination: &mut Examination, gpus: &[&DeviceClaims]) {
    let mut names: Vec<String> = gpus
        .iter()
        .map(|gpu| {
            gpu.mode
                .map_or_else(|| "none".to_owned(), |mode| mode.to_string())
        })
        .collect();
    names.dedup();
    examination.check(&rules::ONE_MODE, names.len() <= 1, "one mode", names.join(", "));
}

/// Every switch at a GPU's links gives evidence, and every switch here is at the links of every GPU that
/// names switches; every switch names equally many GPUs, as many as there are.
///
/// Which identifier of a switch's list is which GPU is not known outside the machine (a GPU's report does
/// not state its own), so those are counted and compared with each other; where a policy looks at
/// switches alone, there is nothing to count.
fn topology(
    examination: &mut Examination,
    gpus: &[&DeviceClaims],
    switches: &[&DeviceClaims],
    excepted: bool,
) {
    let mut present: Vec<[u8; 8]> = switches
        .iter()
        .filter_map(|switch| switch.device_id.last_chunk().copied())
        .collect();
    present.sort_unstable();
    let linked = gpus.iter().any(|gpu| !gpu.peers.is_empty());
    if linked && switches.is_empty() && excepted {
        examination.check(
            &rules::TOPOLOGY,
            true,
            "switches, or the exception no-switch-evidence",
            "the exception",
        );
        return;
    }
    let to_switches = gpus.iter().all(|gpu| gpu.peers == present);
    let alone = !linked && switches.is_empty();
    let to_gpus = switches.iter().all(|switch| {
        (gpus.is_empty() || switch.peers.len() == gpus.len())
            && switches.iter().all(|other| other.peers == switch.peers)
    });
    examination.check(
        &rules::TOPOLOGY,
        alone || (to_switches && to_gpus),
        "links between the devices that gave evidence",
        match (alone, to_switches, to_gpus) {
            (true, ..) => "no links to switches",
            (_, true, true) => "such links",
            (_, false, _) => "GPUs with links to other switches",
            (_, true, false) => "switches with links to other GPUs",
        },
    );
}
