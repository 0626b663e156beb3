//! AMD's key distribution service (AMD 57230, chapter 4).
//!
//! | document | path | form |
//! |---|---|---|
//! | VCEK | `/vcek/v1/{product}/{hardware id}?blSPL=..&teeSPL=..&snpSPL=..&ucodeSPL=..`, on Turin also `fmcSPL` | DER |
//! | ASK and ARK, ASVK and ARK | `/{vcek or vlek}/v1/{product}/cert_chain` | PEM, in this order |
//! | revocation list of the ARK | `/{vcek or vlek}/v1/{product}/crl` | DER |
//!
//! A VLEK certificate is not published: its provider hands it out with the reports.

use attestation::{
    EndorsementKind, Endorsements, SnpLookup, SnpProduct, SnpSigner, certificates_in_pem, published,
};

use crate::asn1::CertificateNames;
use crate::thim::Thim;
use crate::transport::Question;
use crate::{EndorserError, Service, ServiceUrl, Transport};

/// The service at a base URL.
pub(crate) struct Kds<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) base: &'a ServiceUrl,
    /// Asked instead for leaf and intermediate of the virtual machine that this runs in.
    pub(crate) thim: Option<Thim<'a>>,
}

impl Kds<'_> {
    /// Everything for a report. The certificate of a chip and its versions does not change, so a leaf
    /// among `known` that fits is not asked for again: the service is slow to give many.
    pub(crate) async fn endorsements(
        &self,
        lookup: &SnpLookup,
        known: &Endorsements,
    ) -> Result<Endorsements, EndorserError> {
        let known_leaf = known.document(EndorsementKind::SnpLeaf).and_then(|leaf| {
            let product = lookup
                .products
                .iter()
                .find(|product| product.is_named_by(lookup.signer, leaf))?;
            Some((product, leaf.to_vec()))
        });
        let mut endorsements = Endorsements::new();
        let product = match (known_leaf, lookup.signer) {
            (Some((product, leaf)), _) => {
                endorsements.insert(EndorsementKind::SnpLeaf, leaf);
                product
            }
            (None, SnpSigner::Vcek) => {
                let (product, documents) = self.vcek(lookup).await?;
                endorsements = documents;
                product
            }
            (None, SnpSigner::Vlek) => match &lookup.products[..] {
                [product] => product,
                _ => {
                    return Err(EndorserError::Unidentified(
                        "it is signed by a VLEK, names no processor, and came without the certificate",
                    ));
                }
            },
        };
        if endorsements.document(EndorsementKind::SnpIntermediate).is_none() {
            let intermediate = self.intermediate(lookup.signer, product).await?;
            endorsements.insert(EndorsementKind::SnpIntermediate, intermediate);
        }
        let list = self.revocation_list(lookup.signer, product).await?;
        endorsements.insert(EndorsementKind::SnpCrl, list);
        Ok(endorsements)
    }

    /// The VCEK; a report of version 2 names no processor, so each that it can be of is tried.
    async fn vcek<'p>(&self, lookup: &'p SnpLookup) -> Result<(&'p SnpProduct, Endorsements), EndorserError> {
        let mut refusal = EndorserError::Unidentified("its chip id is masked or its versions are unknown");
        for product in &lookup.products {
            let outcome = match &self.thim {
                Some(thim) => thim.certificates(product).await,
                None => self.leaf(product).await,
            };
            match outcome {
                Ok(documents) => return Ok((product, documents)),
                Err(
                    error @ (EndorserError::NotPublished { .. }
                    | EndorserError::Refused { status: 400, .. }
                    | EndorserError::Content { .. }),
                ) if lookup.products.len() > 1 => refusal = error,
                Err(error) => return Err(error),
            }
        }
        Err(refusal)
    }

    async fn leaf(&self, product: &SnpProduct) -> Result<Endorsements, EndorserError> {
        let question = Question::get(Service::AmdKds, self.base.join(&vcek_path(product)));
        let leaf = self.transport.ask(&question).await?.body;
        if !product.is_named_by(SnpSigner::Vcek, &leaf) {
            return Err(question.wrong("not the certificate of this chip and these versions"));
        }
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::SnpLeaf, leaf.to_vec());
        Ok(endorsements)
    }

    async fn intermediate(&self, signer: SnpSigner, product: &SnpProduct) -> Result<Vec<u8>, EndorserError> {
        let path = format!("/{}/v1/{}/cert_chain", signer_word(signer), product.name);
        let question = Question::get(Service::AmdKds, self.base.join(&path));
        let chain = self.transport.ask(&question).await?.body;
        intermediate_of(&chain, signer, product)
            .ok_or_else(|| question.wrong("not the certificates of this product in PEM"))
    }

    async fn revocation_list(
        &self,
        signer: SnpSigner,
        product: &SnpProduct,
    ) -> Result<Vec<u8>, EndorserError> {
        let path = format!("/{}/v1/{}/crl", signer_word(signer), product.name);
        let question = Question::get(Service::AmdKds, self.base.join(&path));
        let list = self.transport.ask(&question).await?.body;
        match published(EndorsementKind::SnpCrl, &list) {
            Ok(Some(list)) if list.issuer == format!("ARK-{}", product.name) => {}
            _ => return Err(question.wrong("not a revocation list of this product's ARK")),
        }
        Ok(list.to_vec())
    }
}

const fn signer_word(signer: SnpSigner) -> &'static str {
    match signer {
        SnpSigner::Vcek => "vcek",
        SnpSigner::Vlek => "vlek",
    }
}

/// Path and parameters of a VCEK.
fn vcek_path(product: &SnpProduct) -> String {
    let tcb = &product.tcb;
    let fmc = tcb
        .fmc
        .map_or_else(String::new, |fmc| format!("fmcSPL={fmc:02}&"));
    format!(
        "/vcek/v1/{}/{}?{fmc}blSPL={:02}&teeSPL={:02}&snpSPL={:02}&ucodeSPL={:02}",
        product.name,
        hex::encode(&product.hardware_id),
        tcb.boot_loader,
        tcb.tee,
        tcb.snp,
        tcb.microcode
    )
}

/// The first of two certificates, if they are the intermediate and the root of `product`. The root is
/// left out: roots are built in.
pub(crate) fn intermediate_of(chain: &[u8], signer: SnpSigner, product: &SnpProduct) -> Option<Vec<u8>> {
    let chain = certificates_in_pem(chain)?;
    let [intermediate, root] = &chain[..] else {
        return None;
    };
    let prefix = match signer {
        SnpSigner::Vcek => "SEV",
        SnpSigner::Vlek => "SEV-VLEK",
    };
    let named = |certificate: &[u8], prefix: &str| {
        let names = CertificateNames::read(certificate)?;
        (names.common_name()? == format!("{prefix}-{}", product.name)).then_some(())
    };
    named(intermediate, prefix)?;
    named(root, "ARK")?;
    Some(intermediate.clone())
}

#[cfg(test)]
mod tests {
    use attestation::{SnpProduct, SnpTcb};

    use super::vcek_path;

    #[test]
    fn parameters_follow_the_processor() {
        let mut product = SnpProduct {
            name: "Genoa",
            hardware_id: vec![0xab; 64],
            tcb: SnpTcb {
                fmc: None,
                boot_loader: 9,
                tee: 0,
                snp: 23,
                microcode: 72,
            },
        };
        assert_eq!(
            vcek_path(&product),
            format!(
                "/vcek/v1/Genoa/{}?blSPL=09&teeSPL=00&snpSPL=23&ucodeSPL=72",
                "ab".repeat(64)
            )
        );
        product.name = "Turin";
        product.hardware_id = vec![0xcd; 8];
        product.tcb.fmc = Some(1);
        assert_eq!(
            vcek_path(&product),
            "/vcek/v1/Turin/cdcdcdcdcdcdcdcd?fmcSPL=01&blSPL=09&teeSPL=00&snpSPL=23&ucodeSPL=72"
        );
    }
}
