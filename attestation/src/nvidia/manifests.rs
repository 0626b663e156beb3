//! The reference manifests that came with a device, and whether they are about it.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::device::{self, DeviceChain};
use super::examine::{DeviceClaims, Evidence};
use super::manifest::Manifest;
use super::version::VbiosVersion;
use super::{appraisal, manifest_rules, rules};
use crate::endorsements::EndorsementKind;
use crate::examination::Examination;
use crate::policy::NvidiaException;

const DRIVER_MANIFEST: &str = "driver manifest";
const VBIOS_MANIFEST: &str = "VBIOS manifest";

/// The manifests that came with a device.
pub(super) struct Manifests {
    driver: Option<Manifest>,
    vbios: Option<Manifest>,
}

impl Manifests {
    /// Records the clauses of each. A switch has no driver; a manifest that is missing fails unless the
    /// policy excepts it.
    pub(super) fn examine(
        examination: &mut Examination,
        claims: Option<&DeviceClaims>,
        evidence: &Evidence<'_>,
    ) -> Self {
        let excepted = evidence.policy.excepts(NvidiaException::AbsentManifest);
        let switch = claims.is_some_and(|claims| claims.architecture.is_switch());
        let mut read = |name, kind| {
            let document = evidence.endorsements.document(kind);
            let mut part = examination.part();
            let manifest = match document {
                None if excepted => {
                    for rule in manifest_rules::RULES {
                        part.check(
                            rule,
                            true,
                            "a manifest, or the exception no-reference-manifest",
                            "the exception",
                        );
                    }
                    None
                }
                document => appraisal::examine(
                    &mut part,
                    document.unwrap_or_default(),
                    &evidence.anchors.manifest,
                ),
            };
            examination.absorb(part, name, &[manifest_rules::RULES]);
            manifest
        };
        let vbios = read(VBIOS_MANIFEST, EndorsementKind::NvidiaVbiosRim);
        let driver = if switch {
            None
        } else {
            read(DRIVER_MANIFEST, EndorsementKind::NvidiaDriverRim)
        };
        Self { driver, vbios }
    }

    pub(super) fn list(&self) -> Vec<(&'static str, &Manifest)> {
        let driver = self.driver.as_ref().map(|manifest| (DRIVER_MANIFEST, manifest));
        let vbios = self.vbios.as_ref().map(|manifest| (VBIOS_MANIFEST, manifest));
        driver.into_iter().chain(vbios).collect()
    }

    /// Whether the manifests are about this chip, this driver and this VBIOS.
    pub(super) fn subjects(
        &self,
        examination: &mut Examination,
        claims: &DeviceClaims,
        chain: &DeviceChain<'_>,
    ) {
        let edition = if claims.architecture.is_switch() {
            "SWITCH"
        } else {
            "GPU"
        };
        let product = device::product_of(chain.chip().unwrap_or_default());
        let about = |manifest: &Manifest| manifest.edition == edition && manifest.product == product;
        let driver = self.driver.as_ref().is_none_or(|manifest| {
            let version = claims.driver.as_ref().map(ToString::to_string);
            about(manifest) && Some(&manifest.version) == version.as_ref()
        });
        let vbios = self.vbios.as_ref().is_none_or(|manifest| {
            about(manifest)
                && claims.vbios.is_some()
                && VbiosVersion::parse(&manifest.version) == claims.vbios
        });
        let text = |version: Option<String>| version.unwrap_or_else(|| "none".to_owned());
        let found: Vec<_> = self
            .list()
            .into_iter()
            .map(|(name, manifest)| {
                format!(
                    "{name} of {} {} {}",
                    manifest.edition, manifest.product, manifest.version
                )
            })
            .collect();
        examination.check(
            &rules::MANIFEST_SUBJECT,
            driver && vbios,
            format!(
                "{edition} {product}, driver {}, VBIOS {}",
                text(claims.driver.as_ref().map(ToString::to_string)),
                text(claims.vbios.as_ref().map(ToString::to_string))
            ),
            if found.is_empty() {
                "no manifest: the exception".to_owned()
            } else {
                found.join(", ")
            },
        );
    }
}
