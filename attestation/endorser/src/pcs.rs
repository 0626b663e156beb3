//! Intel's provisioning certification service, API v4, and the caching service (PCCS) with the same API.
//!
//! | document | path | signing chain in header |
//! |---|---|---|
//! | TCB info | `/tdx/certification/v4/tcb?fmspc=..&update=..` | `TCB-Info-Issuer-Chain` |
//! | QE identity | `/tdx/certification/v4/qe/identity?update=..` | `SGX-Enclave-Identity-Issuer-Chain` |
//! | revocation list of the PCK CA | `/sgx/certification/v4/pckcrl?ca=..&encoding=der` | `SGX-PCK-CRL-Issuer-Chain` |
//! | revocation list of the root | its distribution point, or `/sgx/certification/v4/rootcacrl` of a PCCS | |
//!
//! Chains are PEM, percent-encoded. The two JSON documents must be of one evaluation: if they are not,
//! both are asked for once more.

use attestation::{
    EndorsementKind, Endorsements, PckAuthority, Published, TdxLookup, certificates_in_pem, published,
};

use crate::service::{RootCrl, Update};
use crate::transport::{Answer, Question};
use crate::{EndorserError, Service, ServiceUrl, Transport};

const TCB_INFO_CHAIN: &str = "tcb-info-issuer-chain";
const QE_IDENTITY_CHAIN: &str = "sgx-enclave-identity-issuer-chain";
const ROOT_NAME: &str = "Intel SGX Root CA";

/// The service at a base URL.
pub(crate) struct Pcs<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) base: &'a ServiceUrl,
    pub(crate) root_crl: &'a RootCrl,
    pub(crate) update: Update,
}

/// A signed JSON document with its dates and the chain of its signer.
struct Document {
    bytes: Vec<u8>,
    published: Published,
    chain: Vec<u8>,
}

impl Document {
    fn number(&self) -> u32 {
        self.published.number.unwrap_or_default()
    }

    fn belongs_to(&self, other: &Document) -> bool {
        self.number() == other.number() && self.chain == other.chain
    }
}

impl Pcs<'_> {
    /// Everything for a quote.
    pub(crate) async fn endorsements(&self, lookup: &TdxLookup) -> Result<Endorsements, EndorserError> {
        let (tcb_info, qe_identity) = self.signed_documents(lookup).await?;
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::TdxTcbSigningChain, tcb_info.chain);
        endorsements.insert(EndorsementKind::TdxTcbInfo, tcb_info.bytes);
        endorsements.insert(EndorsementKind::TdxQeIdentity, qe_identity.bytes);
        let list = self.pck_crl(lookup.authority).await?;
        endorsements.insert(EndorsementKind::TdxPckCrl, list);
        endorsements.insert(EndorsementKind::TdxRootCrl, self.root_crl().await?);
        Ok(endorsements)
    }

    async fn signed_documents(&self, lookup: &TdxLookup) -> Result<(Document, Document), EndorserError> {
        let fmspc = hex::encode(lookup.fmspc);
        let update = self.update.as_str();
        let tcb_path = format!("/tdx/certification/v4/tcb?fmspc={fmspc}&update={update}");
        let qe_path = format!("/tdx/certification/v4/qe/identity?update={update}");
        let mut asked_before = false;
        loop {
            let tcb_info = self
                .document(&tcb_path, EndorsementKind::TdxTcbInfo, &fmspc, TCB_INFO_CHAIN)
                .await?;
            let qe_identity = self
                .document(
                    &qe_path,
                    EndorsementKind::TdxQeIdentity,
                    "TD_QE",
                    QE_IDENTITY_CHAIN,
                )
                .await?;
            if tcb_info.belongs_to(&qe_identity) {
                return Ok((tcb_info, qe_identity));
            }
            let error = EndorserError::Inconsistent {
                tcb_info: tcb_info.number(),
                qe_identity: qe_identity.number(),
            };
            if asked_before {
                return Err(error);
            }
            asked_before = true;
            self.transport.tell(&format!("{error}; asking once more"));
            self.transport.pause().await;
        }
    }

    async fn document(
        &self,
        path: &str,
        kind: EndorsementKind,
        about: &str,
        chain_header: &str,
    ) -> Result<Document, EndorserError> {
        let question = Question::get(Service::IntelPcs, self.base.join(path));
        let answer = self.transport.ask(&question).await?;
        let dates = published(kind, &answer.body).ok().flatten();
        let published = dates
            .filter(|published| published.issuer == about)
            .ok_or_else(|| question.wrong("not the signed document asked for"))?;
        let chain = issuer_chain(&answer, chain_header)
            .ok_or_else(|| question.wrong("no chain of the signer in its header"))?;
        Ok(Document {
            bytes: answer.body.to_vec(),
            published,
            chain,
        })
    }

    async fn pck_crl(&self, authority: PckAuthority) -> Result<Vec<u8>, EndorserError> {
        let path = format!(
            "/sgx/certification/v4/pckcrl?ca={}&encoding=der",
            authority.as_str()
        );
        let question = Question::get(Service::IntelPcs, self.base.join(&path));
        self.list(&question, EndorsementKind::TdxPckCrl, authority.common_name())
            .await
    }

    async fn root_crl(&self) -> Result<Vec<u8>, EndorserError> {
        let question = match self.root_crl {
            RootCrl::DistributionPoint(url) => Question::get(Service::IntelRootCrl, url.join("")),
            RootCrl::CachingService => Question::get(
                Service::IntelPcs,
                self.base.join("/sgx/certification/v4/rootcacrl"),
            ),
        };
        self.list(&question, EndorsementKind::TdxRootCrl, ROOT_NAME).await
    }

    async fn list(
        &self,
        question: &Question,
        kind: EndorsementKind,
        issuer: &str,
    ) -> Result<Vec<u8>, EndorserError> {
        let answer = self.transport.ask(question).await?;
        let list = der_or_hexadecimal(&answer.body);
        match list.as_deref().map(|list| published(kind, list)) {
            Some(Ok(Some(published))) if published.issuer == issuer => {}
            _ => return Err(question.wrong("not a revocation list of the authority asked for")),
        }
        list.ok_or_else(|| question.wrong("neither DER nor hexadecimal"))
    }
}

/// Caching services keep some lists as hexadecimal digits and hand them out so.
fn der_or_hexadecimal(body: &[u8]) -> Option<Vec<u8>> {
    const SEQUENCE: u8 = 0x30;
    match body {
        // "0" is 0x30 too: the digits of a DER SEQUENCE begin "30".
        [SEQUENCE, next, ..] if !next.is_ascii_hexdigit() => Some(body.to_vec()),
        _ => hex::decode(body.trim_ascii()).ok(),
    }
}

/// The chain in a header: signer and root, PEM.
fn issuer_chain(answer: &Answer, header: &str) -> Option<Vec<u8>> {
    let mut values = answer.headers.get_all(header).into_iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let chain = percent_decoded(value.as_bytes())?;
    (certificates_in_pem(&chain)?.len() == 2).then_some(chain)
}

/// RFC 3986 section 2.1. A plus sign is itself: base64 has them.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            decoded.push(*first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).ok()?;
        decoded.push(byte[0]);
        rest = after;
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::{der_or_hexadecimal, percent_decoded};

    #[test]
    fn percent_encoding_is_undone_or_refused() {
        assert_eq!(percent_decoded(b"a%0Ab%2b+"), Some(b"a\nb++".to_vec()));
        assert_eq!(percent_decoded(b""), Some(Vec::new()));
        for wrong in [&b"%"[..], b"%0", b"a%zz", b"%%41"] {
            assert_eq!(percent_decoded(wrong), None);
        }
    }

    #[test]
    fn lists_come_as_der_or_as_digits() {
        let der = [0x30, 0x82, 0x01, 0x02];
        assert_eq!(der_or_hexadecimal(&der), Some(der.to_vec()));
        assert_eq!(der_or_hexadecimal(b"30820102\n"), Some(der.to_vec()));
        assert_eq!(der_or_hexadecimal(b"<html>"), None);
        assert_eq!(der_or_hexadecimal(b"308"), None);
        assert_eq!(der_or_hexadecimal(b""), Some(Vec::new()));
    }
}
