//! landlock(7): which files, ports and neighbours are in reach.

use std::path::Path;

use attester::Access;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope,
};

use crate::error::{EnclaveError, Result};

/// The rules of Linux 6.12, the kernel of the image: with ioctl of devices, TCP ports, abstract sockets and signals.
const RULES: ABI = ABI::V6;
/// What key generation may read where getrandom(2) does not answer, and what says how much memory there is for the cache.
const READ: [&str; 3] = ["/dev/random", "/dev/urandom", "/proc/meminfo"];

/// Confines the calling thread, and says whether the kernel knew every rule.
pub(super) fn confine(model: &Path, channel: &Path, access: &Access) -> Result<bool> {
    let status = restrict(model, channel, access).map_err(|_| EnclaveError::Hardening("landlock"))?;
    Ok(status.ruleset == RulesetStatus::FullyEnforced)
}

fn restrict(
    model: &Path,
    channel: &Path,
    access: &Access,
) -> core::result::Result<RestrictionStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let sockets = AccessFs::MakeSock | AccessFs::RemoveFile | AccessFs::ReadDir;
    let entries = read | AccessFs::WriteFile | AccessFs::MakeDir | AccessFs::RemoveDir;
    let devices = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?;
    for path in READ {
        rules = allow(rules, Path::new(path), AccessFs::ReadFile.into())?;
    }
    rules = allow(rules, model, read)?;
    rules = allow(rules, channel, sockets)?;
    for (paths, rights) in [
        (&access.folders, entries),
        (&access.devices, devices),
        (&access.files, read),
    ] {
        for path in paths {
            rules = allow(rules, path, rights)?;
        }
    }
    if let Some(port) = access.tcp_port {
        rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    rules.restrict_self()
}

/// What is not there needs no rule: its user will say that it is not there.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> core::result::Result<RulesetCreated, RulesetError> {
    let Ok(place) = PathFd::new(path) else {
        return Ok(rules);
    };
    let rights = if path.is_dir() {
        rights
    } else {
        rights & AccessFs::from_file(RULES)
    };
    rules.add_rule(PathBeneath::new(place, rights))
}
