//! What NVIDIA publishes about a GPU: reference manifests of its driver and its VBIOS, and the state of
//! every certificate behind its report and behind those manifests.
//!
//! 1. [`gpu`] reads from the report which manifests are meant, and takes the certificates apart.
//! 2. [`rim`] fetches the manifests.
//! 3. [`ocsp`] asks for the state of each link of the device's chain and of the manifests' chains.

pub(crate) mod gpu;
pub(crate) mod ocsp;
pub(crate) mod rim;

use attestation::{EndorsementKind, Endorsements};

use crate::{EndorserError, ServiceUrl, Transport};

pub use gpu::Gpu;

/// NVIDIA's services.
pub(crate) struct Nvidia<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) rim: &'a ServiceUrl,
    pub(crate) ocsp: &'a ServiceUrl,
}

impl Nvidia<'_> {
    /// Everything for a GPU.
    pub(crate) async fn endorsements(&self, gpu: &Gpu) -> Result<Endorsements, EndorserError> {
        let rims = rim::RimService {
            transport: self.transport,
            base: self.rim,
        };
        let driver = rims.manifest(&gpu.driver_rim_id).await?;
        let vbios = rims.manifest(&gpu.vbios_rim_id).await?;
        let mut links = gpu.links()?;
        links.extend(rim::links(&driver)?);
        links.extend(rim::links(&vbios)?);
        let responder = ocsp::Responder {
            transport: self.transport,
            base: self.ocsp,
        };
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::NvidiaOcsp, responder.states(&links).await?);
        endorsements.insert(EndorsementKind::NvidiaDriverRim, driver);
        endorsements.insert(EndorsementKind::NvidiaVbiosRim, vbios);
        Ok(endorsements)
    }
}
