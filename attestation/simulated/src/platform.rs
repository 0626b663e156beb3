//! A manufacturer and one machine of each flavor.

use std::path::Path;

use attestation::{Endorsements, PlatformTag, UnixTime};

use crate::attester::{Machine, SimulatedAttester};
use crate::azure::VtpmAuthority;
use crate::certificate::Validity;
use crate::files::Folder;
use crate::key::random;
use crate::snp::{self, Snp};
use crate::tdx::{self, Tdx};
use crate::{SimulatedError, policy};

/// Which security processor is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

impl Flavor {
    /// `snp` or `tdx`, as commands write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Flavor::Snp => "snp",
            Flavor::Tdx => "tdx",
        }
    }

    /// The flavor with this text.
    pub fn from_text(text: &str) -> Option<Self> {
        [Flavor::Snp, Flavor::Tdx]
            .into_iter()
            .find(|flavor| flavor.as_str() == text)
    }

    /// The tag of this flavor's evidence.
    pub const fn platform(self) -> PlatformTag {
        match self {
            Flavor::Snp => PlatformTag::SimulatedAmdSevSnp,
            Flavor::Tdx => PlatformTag::SimulatedIntelTdx,
        }
    }
}

/// A manufacturer and one machine of each flavor. Holds private keys: not Debug, not Clone.
pub struct Platform {
    pub(crate) snp: Snp,
    pub(crate) tdx: Tdx,
}

impl Platform {
    /// Makes new keys and certificates, and collateral that is valid for `validity_seconds` from `now`.
    /// Two RSA-4096 keys are made: seconds, not milliseconds. Save the platform and load it again.
    pub fn manufacture(now: UnixTime, validity_seconds: u64) -> Result<Self, SimulatedError> {
        let collateral = Validity::new(now, validity_seconds);
        Ok(Self {
            snp: Snp::manufacture(now, collateral)?,
            tdx: Tdx::manufacture(now, collateral)?,
        })
    }

    /// Saves to `folder`; every file is readable by its owner only (mode 0600).
    pub fn save(&self, folder: &Path) -> Result<(), SimulatedError> {
        let folder = Folder::create(folder)?;
        self.snp.save(&folder)?;
        self.tdx.save(&folder)
    }

    /// Loads what [`Platform::save`] wrote.
    pub fn load(folder: &Path) -> Result<Self, SimulatedError> {
        let folder = Folder::open(folder);
        Ok(Self {
            snp: Snp::load(&folder)?,
            tdx: Tdx::load(&folder)?,
        })
    }

    /// Publishes revocation lists and collateral anew, as a manufacturer does every month. Attesters
    /// that were made before keep handing over the old ones.
    pub fn renew(&mut self, now: UnixTime, validity_seconds: u64) -> Result<(), SimulatedError> {
        crate::adversary::publish(
            self,
            now,
            validity_seconds,
            &crate::adversary::Publication::default(),
        )
    }

    /// What the manufacturer publishes about the machine of this flavor.
    pub fn endorsements(&self, flavor: Flavor) -> Endorsements {
        match flavor {
            Flavor::Snp => self.snp.endorsements(),
            Flavor::Tdx => self.tdx.endorsements(),
        }
    }

    /// A security processor that has launched what `launch_measurement` says. `host_data` is
    /// HOST_DATA of a report, and the first 32 bytes of a quote's MRCONFIGID.
    pub fn attester(
        &self,
        flavor: Flavor,
        launch_measurement: [u8; 48],
        host_data: [u8; 32],
    ) -> SimulatedAttester {
        let machine = match flavor {
            Flavor::Snp => {
                // Only for people: nothing relies on the report id of a simulated launch.
                let report_id = random::<32>().map(|id| *id).unwrap_or_default();
                let launch = snp::Launch {
                    measurement: launch_measurement,
                    host_data,
                    report_id,
                };
                Machine::Snp(self.snp.clone(), launch)
            }
            Flavor::Tdx => {
                let mut mrconfigid = [0; 48];
                mrconfigid[..32].copy_from_slice(&host_data);
                Machine::Tdx(
                    self.tdx.clone(),
                    tdx::Launch {
                        mrtd: launch_measurement,
                        mrconfigid,
                    },
                )
            }
        };
        SimulatedAttester::new(machine)
    }

    /// The part of an appraisal policy that accepts this platform's root, this machine and this
    /// measurement: one table, `[danger.simulated.snp]` or `[danger.simulated.tdx]`.
    pub fn policy_fragment(&self, flavor: Flavor, launch_measurement: &[u8; 48]) -> String {
        policy::fragment(self, flavor, launch_measurement)
    }

    /// The part of an appraisal policy that accepts this machine behind a paravisor of this measurement, and vTPM keys
    /// that `authority` certified: `[danger.simulated.azure]`. Whoever knows the guest adds
    /// `[danger.simulated.azure.pcrs]`.
    pub fn azure_policy_fragment(&self, authority: &VtpmAuthority, launch_measurement: &[u8; 48]) -> String {
        policy::azure_fragment(self, authority, launch_measurement)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use attestation::{EndorsementKind, UnixTime};
    use static_assertions::assert_not_impl_any;

    use super::{Flavor, Platform};
    use crate::SimulatedError;

    assert_not_impl_any!(Platform: Clone, core::fmt::Debug);

    #[test]
    fn a_saved_simulated_platform_is_private_and_loads_as_it_was() {
        let now = UnixTime::from_seconds(1_795_000_000);
        let mut platform = Platform::manufacture(now, 3600).expect("it is made");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("platform");
        platform.save(&path).expect("it is saved");
        for entry in std::fs::read_dir(&path).expect("a folder") {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", entry.path().display());
        }
        let loaded = Platform::load(&path).expect("it loads");
        for flavor in [Flavor::Snp, Flavor::Tdx] {
            assert_eq!(loaded.endorsements(flavor), platform.endorsements(flavor));
            let measurement = [7; 48];
            assert_eq!(
                loaded.policy_fragment(flavor, &measurement),
                platform.policy_fragment(flavor, &measurement)
            );
        }

        let before = platform.endorsements(Flavor::Snp);
        platform.renew(now.plus_seconds(60), 3600).expect("it is renewed");
        let after = platform.endorsements(Flavor::Snp);
        let [leaf, list] = [EndorsementKind::SnpLeaf, EndorsementKind::SnpCrl];
        assert_eq!(before.document(leaf), after.document(leaf));
        assert_ne!(before.document(list), after.document(list));

        std::fs::write(path.join("snp-vcek.key"), [0; 48]).expect("it is written");
        assert!(
            matches!(Platform::load(&path), Err(SimulatedError::Malformed(file)) if file.ends_with("snp-vcek.key"))
        );
        std::fs::remove_file(path.join("tdx-root.der")).expect("it is removed");
        std::fs::write(path.join("snp-vcek.key"), [1; 48]).expect("it is written");
        assert!(matches!(Platform::load(&path), Err(SimulatedError::Io { .. })));
    }
}
