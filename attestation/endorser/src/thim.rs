//! Azure's trusted hardware identity management: a virtual machine asks the metadata address for its
//! own certificates (`GET /metadata/THIM/amd/certification`, header `Metadata: true`).
//!
//! The answer is for the processor that the machine runs on now; a report of another one is refused.

use attestation::{EndorsementKind, Endorsements, SnpProduct, SnpSigner, certificates_in_pem};
use serde::Deserialize;

use crate::kds::intermediate_of;
use crate::transport::Question;
use crate::{EndorserError, Service, ServiceUrl, Transport};

/// The service at a base URL.
pub(crate) struct Thim<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) base: &'a ServiceUrl,
}

/// Members that are not used (`tcbm`, `cacheControl`) are left unread.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certification {
    vcek_cert: String,
    certificate_chain: String,
}

impl Thim<'_> {
    /// Leaf and intermediate of `product`.
    pub(crate) async fn certificates(&self, product: &SnpProduct) -> Result<Endorsements, EndorserError> {
        let question = Question {
            headers: &[("metadata", "true")],
            ..Question::get(
                Service::AzureThim,
                self.base.join("/metadata/THIM/amd/certification"),
            )
        };
        let answer = self.transport.ask(&question).await?;
        let certification: Certification = serde_json::from_slice(&answer.body)
            .map_err(|_| question.wrong("not JSON with vcekCert and certificateChain"))?;
        let leaf = certificates_in_pem(certification.vcek_cert.as_bytes())
            .filter(|certificates| certificates.len() == 1)
            .and_then(|mut certificates| certificates.pop())
            .filter(|leaf| product.is_named_by(SnpSigner::Vcek, leaf))
            .ok_or_else(|| question.wrong("not the certificate of this chip and these versions"))?;
        let intermediate = intermediate_of(
            certification.certificate_chain.as_bytes(),
            SnpSigner::Vcek,
            product,
        )
        .ok_or_else(|| question.wrong("not the certificates of this product in PEM"))?;
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::SnpLeaf, leaf);
        endorsements.insert(EndorsementKind::SnpIntermediate, intermediate);
        Ok(endorsements)
    }
}
