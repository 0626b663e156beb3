//! Which documents a GPU's report leads to. Unverified: it only chooses what to ask for.

use attestation::{DeviceKind, certificates_in_pem, device_subject, nvidia_manifests};

use super::ocsp::Link;
use crate::EndorserError;

const RIM_ID_BYTES_MAX: usize = 96;

/// A GPU, as NVIDIA's services know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Id of the driver's reference manifest.
    pub driver_rim_id: String,
    /// Id of the VBIOS's reference manifest.
    pub vbios_rim_id: String,
    subject: Vec<u8>,
    /// Certificates, the report's signer first, the root last, DER.
    chain: Vec<Vec<u8>>,
}

impl Gpu {
    /// Reads the evidence (SPDM request and response) and the certificates (PEM, signer first) that came
    /// with it.
    pub fn read(evidence: &[u8], chain: &[u8]) -> Result<Self, EndorserError> {
        let unidentified = EndorserError::Unidentified;
        let certificates = certificates_in_pem(chain)
            .filter(|chain| chain.len() >= 3)
            .ok_or(unidentified("the GPU's certificates are not a chain in PEM"))?;
        let (driver_rim_id, vbios_rim_id) = nvidia_manifests(evidence)
            .filter(|(driver, vbios)| is_path_segment(driver) && is_path_segment(vbios))
            .ok_or(unidentified(
                "it is no report of a GPU with the versions of its driver and VBIOS",
            ))?;
        let subject = device_subject(DeviceKind::NvidiaGpu, evidence, chain)
            .ok_or(unidentified("the GPU's certificates do not name its chip"))?;
        Ok(Self {
            driver_rim_id,
            vbios_rim_id,
            subject,
            chain: certificates,
        })
    }

    /// The name under which its endorsements are cached ([`attestation::device_subject`]).
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// Every link whose state the responder knows: from the chip's certificate up. The signer of the
    /// report is issued inside the GPU.
    pub(crate) fn links(&self) -> Result<Vec<Link>, EndorserError> {
        Link::of_chain(self.chain.get(1..).unwrap_or_default()).ok_or(EndorserError::Unidentified(
            "the GPU's certificates do not form a chain",
        ))
    }
}

/// Whether an id made of what a report says can stand in a URL as it is.
fn is_path_segment(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=RIM_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::is_path_segment;

    #[test]
    fn nothing_of_the_evidence_can_leave_the_path() {
        assert!(is_path_segment("NV_GPU_DRIVER_GH100_550.144.03"));
        for wrong in [
            "",
            "a/b",
            "a?b",
            "a#b",
            "a%2fb",
            "a b",
            "a\\b",
            "é",
            &"a".repeat(97),
        ] {
            assert!(!is_path_segment(wrong), "{wrong}");
        }
    }
}
