//! When a document was issued, by whom, and until when it counts: for whoever keeps documents.
//!
//! [`published`] reads without trust. [`is_authentic`] follows the signature to a built-in root, which
//! is what a keeper needs before it lets one document stand in the way of another; whether a document
//! is in force and applies to evidence stays the Verifier's question.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::roots;
use crate::tdx::{PCK_CA_NAMES, QeIdentity, Signed, TcbInfo, TcbSigner};
use crate::x509::{Certificate, PublicKey, RevocationList, pem_certificates};
use crate::{BundleError, EndorsementKind, Endorsements, UnixTime};

/// The dates of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Who or what it is about: the issuer's common name; FMSPC of a TCB info; id of an enclave identity.
    pub issuer: String,
    /// thisUpdate, issueDate or notBefore.
    pub issued: UnixTime,
    /// nextUpdate or notAfter.
    pub until: UnixTime,
    /// tcbEvaluationDataNumber of Intel's documents.
    pub number: Option<u32>,
}

/// Reads the dates of a document; `None` for kinds whose dates this crate does not read. Fails if the
/// document is not of its kind.
pub fn published(kind: EndorsementKind, document: &[u8]) -> Result<Option<Published>, BundleError> {
    let read = match kind {
        EndorsementKind::SnpLeaf | EndorsementKind::SnpIntermediate => certificate(document),
        EndorsementKind::SnpCrl | EndorsementKind::TdxRootCrl | EndorsementKind::TdxPckCrl => list(document),
        EndorsementKind::TdxTcbInfo => tcb_info(document),
        EndorsementKind::TdxQeIdentity => qe_identity(document),
        EndorsementKind::TdxTcbSigningChain => {
            return match pem_certificates(document) {
                Ok(chain) if chain.len() == 2 => Ok(None),
                _ => Err(BundleError::Shape),
            };
        }
        _ => return Ok(None),
    };
    read.map(Some).ok_or(BundleError::Shape)
}

fn certificate(document: &[u8]) -> Option<Published> {
    let certificate = Certificate::parse(document).ok()?;
    Some(Published {
        issuer: certificate.issuer_common_name()?.to_string(),
        issued: certificate.not_before,
        until: certificate.not_after,
        number: None,
    })
}

fn list(document: &[u8]) -> Option<Published> {
    let list = RevocationList::parse(document).ok()?;
    Some(Published {
        issuer: list.issuer_common_name()?.to_string(),
        issued: list.this_update,
        until: list.next_update,
        number: None,
    })
}

fn tcb_info(document: &[u8]) -> Option<Published> {
    let info: TcbInfo = Signed::tcb_info(document)?.peek()?;
    (info.id == "TDX" && info.version == 3).then(|| Published {
        issuer: hex::encode(info.fmspc.0),
        issued: info.issue_date,
        until: info.next_update,
        number: Some(info.tcb_evaluation_data_number),
    })
}

fn qe_identity(document: &[u8]) -> Option<Published> {
    let identity: QeIdentity = Signed::qe_identity(document)?.peek()?;
    (identity.id == "TD_QE" && identity.version == 2).then_some(Published {
        issuer: identity.id,
        issued: identity.issue_date,
        until: identity.next_update,
        number: Some(identity.tcb_evaluation_data_number),
    })
}

/// Whether a reissued document ([`EndorsementKind::is_reissued`]) carries its publisher's signature,
/// followed to a built-in root. TCB info and identity need the signing chain among `companions`, PCK
/// revocation lists a certificate among `authorities` (DER). Other kinds are never authentic here.
pub fn is_authentic(
    kind: EndorsementKind,
    document: &[u8],
    companions: &Endorsements,
    authorities: &[Vec<u8>],
) -> bool {
    match kind {
        EndorsementKind::SnpCrl => roots::amd()
            .iter()
            .any(|(_, anchor)| is_list_of(document, &anchor.subject, &anchor.key)),
        EndorsementKind::TdxRootCrl => {
            let anchor = roots::intel();
            is_list_of(document, &anchor.subject, &anchor.key)
        }
        EndorsementKind::TdxPckCrl => authorities
            .iter()
            .filter(|authority| is_pck_authority(authority))
            .any(|authority| {
                Certificate::parse(authority).is_ok_and(|authority| {
                    authority
                        .public_key()
                        .is_ok_and(|key| is_list_of(document, authority.subject, &key))
                })
            }),
        EndorsementKind::TdxTcbInfo | EndorsementKind::TdxQeIdentity => {
            is_signed_object(kind, document, companions).unwrap_or(false)
        }
        _ => false,
    }
}

fn is_list_of(document: &[u8], issuer: &[u8], key: &PublicKey) -> bool {
    RevocationList::parse(document).is_ok_and(|list| list.is_issued_by(issuer, key))
}

fn is_signed_object(kind: EndorsementKind, document: &[u8], companions: &Endorsements) -> Option<bool> {
    let chain = companions.document(EndorsementKind::TdxTcbSigningChain)?;
    let chain = pem_certificates(chain).ok()?;
    let signer = TcbSigner::parse(&chain).filter(|signer| signer.is_anchored(&roots::intel()))?;
    Some(if kind == EndorsementKind::TdxTcbInfo {
        Signed::tcb_info(document)?.open::<TcbInfo>(&signer.key).is_some()
    } else {
        Signed::qe_identity(document)?
            .open::<QeIdentity>(&signer.key)
            .is_some()
    })
}

/// Whether a certificate (DER) is one of Intel's authorities for PCK certificates, by its signature.
pub fn is_pck_authority(certificate: &[u8]) -> bool {
    let anchor = roots::intel();
    Certificate::parse(certificate).is_ok_and(|certificate| {
        let named = certificate
            .common_name()
            .is_some_and(|name| PCK_CA_NAMES.contains(&name));
        named && certificate.is_authority() && certificate.is_issued_by(&anchor.subject, &anchor.key)
    })
}
