//! The path from the quote to the root: PCK chain, signatures, TCB signer, revocation.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use super::examine::Evidence;
use super::quote::Quote;
use super::rules;
use crate::endorsements::EndorsementKind;
use crate::examination::Examination;
use crate::simulated::SignatureDomain;
use crate::x509::{Certificate, PublicKey, RevocationList, TrustAnchor};

const PCK_NAME: &str = "Intel SGX PCK Certificate";
/// Platform CA, processor CA.
pub(crate) const PCK_CA_NAMES: [&str; 2] = ["Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"];
pub(super) const TCB_SIGNER_NAME: &str = "Intel SGX TCB Signing";

/// The chain in the quote. Its last certificate must be the policy's anchor, byte for byte.
pub(super) struct PckChain<'a> {
    pub(super) pck: Certificate<'a>,
    pck_key: PublicKey,
    ca: Certificate<'a>,
    ca_key: PublicKey,
    root: &'a [u8],
}

impl<'a> PckChain<'a> {
    pub(super) fn parse(chain: &'a [Vec<u8>]) -> Option<Self> {
        let [pck, ca, root] = chain else { return None };
        let parse = |bytes: &'a Vec<u8>| Certificate::parse(bytes).ok();
        let (pck, ca) = (parse(pck)?, parse(ca)?);
        let (pck_key, ca_key) = (pck.public_key().ok()?, ca.public_key().ok()?);
        Some(Self {
            pck,
            pck_key,
            ca,
            ca_key,
            root,
        })
    }

    pub(super) fn check(&self, examination: &mut Examination, anchor: &TrustAnchor) {
        let ca_name = self.ca.common_name().unwrap_or_default();
        let named = self.pck.common_name() == Some(PCK_NAME) && PCK_CA_NAMES.contains(&ca_name);
        let shaped = self.ca.is_authority() && self.pck.is_signer();
        let anchored = self.root == anchor.certificate && self.ca.is_issued_by(&anchor.subject, &anchor.key);
        let issued = self.pck.is_issued_by(self.ca.subject, &self.ca_key);
        examination.check(
            &rules::PCK_CHAIN,
            named && shaped && anchored && issued,
            format!("PCK, PCK CA, {}", anchor.common_name),
            match (named && shaped, issued, anchored) {
                (true, true, true) => "such a path",
                (false, ..) => "other certificates",
                (_, false, _) => "a PCK of another CA",
                (.., false) => "a CA of another root",
            },
        );
    }
}

/// The certificate that signs TCB info and QE identity.
pub(crate) struct TcbSigner<'a> {
    certificate: Certificate<'a>,
    pub(crate) key: PublicKey,
    root: &'a [u8],
}

impl<'a> TcbSigner<'a> {
    pub(crate) fn parse(chain: &'a [Vec<u8>]) -> Option<Self> {
        let [certificate, root] = chain else { return None };
        let certificate = Certificate::parse(certificate).ok()?;
        let key = certificate.public_key().ok()?;
        Some(Self {
            certificate,
            key,
            root,
        })
    }

    pub(crate) fn is_anchored(&self, anchor: &TrustAnchor) -> bool {
        self.certificate.common_name() == Some(TCB_SIGNER_NAME)
            && self.certificate.is_signer()
            && self.root == anchor.certificate
            && self.certificate.is_issued_by(&anchor.subject, &anchor.key)
    }
}

pub(super) fn validity(
    examination: &mut Examination,
    chain: &PckChain<'_>,
    signer: Option<&TcbSigner<'_>>,
    anchor: &TrustAnchor,
) {
    let now = examination.now();
    let all: Vec<_> = [&chain.pck, &chain.ca]
        .into_iter()
        .chain(signer.map(|signer| &signer.certificate))
        .collect();
    let not_before = all
        .iter()
        .fold(anchor.not_before, |moment, each| moment.max(each.not_before));
    let not_after = all
        .iter()
        .fold(anchor.not_after, |moment, each| moment.min(each.not_after));
    let valid = all.iter().all(|each| each.is_valid_at(now)) && anchor.is_valid_at(now);
    examination.check(
        &rules::VALIDITY,
        valid,
        format!("{not_before} to {not_after}"),
        now.to_string(),
    );
    examination.relies_until(not_after);
}

/// PCK signs the QE report, the QE report names the attestation key, that key signs the quote.
pub(super) fn signatures(
    examination: &mut Examination,
    quote: &Quote<'_>,
    chain: &PckChain<'_>,
    domain: SignatureDomain,
) {
    let outcome = |holds: bool| if holds { "valid" } else { "not valid" };
    let in_domain = |bytes: &[u8]| {
        Sha256::new_with_prefix(domain.prefix())
            .chain_update(bytes)
            .finalize()
            .into()
    };
    let signed = chain
        .pck_key
        .verifies_p256(&in_domain(quote.qe_report.0), quote.qe_report_signature);
    examination.check(
        &rules::QE_REPORT_SIGNATURE,
        signed,
        "the PCK's signature over the QE report",
        outcome(signed),
    );

    let digest = Sha256::new()
        .chain_update(quote.attestation_key)
        .chain_update(quote.qe_authentication)
        .finalize();
    let (bound, rest) = quote.qe_report.report_data().split_at(32);
    let binds = bound == digest.as_slice() && rest == [0; 32];
    let expected = format!("{} and zeros", hex::encode(digest));
    examination.check(
        &rules::QE_REPORT_BINDING,
        binds,
        expected,
        hex::encode(quote.qe_report.report_data()),
    );

    let mut point = [0x04; 65];
    point[1..].copy_from_slice(quote.attestation_key);
    let key = PublicKey::p256(&point).ok();
    let signed = key.is_some_and(|key| key.verifies_p256(&in_domain(quote.signed), quote.signature));
    examination.check(
        &rules::QUOTE_SIGNATURE,
        signed,
        "the attestation key's signature over header and body",
        outcome(signed),
    );
}

pub(super) fn revocation(
    examination: &mut Examination,
    chain: &PckChain<'_>,
    signer: Option<&TcbSigner<'_>>,
    evidence: &Evidence<'_>,
) {
    let list = |kind, issuer: &[u8], key: &PublicKey| {
        let bytes = evidence.endorsements.document(kind)?;
        RevocationList::parse(bytes)
            .ok()
            .filter(|list| list.is_issued_by(issuer, key))
    };
    let anchor = evidence.anchor;
    let lists = list(EndorsementKind::TdxRootCrl, &anchor.subject, &anchor.key).zip(list(
        EndorsementKind::TdxPckCrl,
        chain.ca.subject,
        &chain.ca_key,
    ));
    let Some((of_root, of_ca)) = examination.require(
        &rules::CRL_SIGNATURES,
        lists,
        "lists of root and PCK CA",
        "missing or not valid",
    ) else {
        return;
    };
    let revoked = [
        ("PCK CA", of_root.lists(chain.ca.serial)),
        (
            "TCB signer",
            signer.is_some_and(|signer| of_root.lists(signer.certificate.serial)),
        ),
        ("PCK", of_ca.lists(chain.pck.serial)),
    ];
    let found = revoked
        .iter()
        .find(|(_, listed)| *listed)
        .map_or("none", |(name, _)| name);
    examination.check(&rules::NOT_REVOKED, found == "none", "none listed", found);
    let now = examination.now();
    let since = of_root.this_update.max(of_ca.this_update);
    let until = of_root.next_update.min(of_ca.next_update);
    let current = of_root.is_current_at(now) && of_ca.is_current_at(now);
    examination.check(
        &rules::CRL_CURRENT,
        current,
        format!("{since} to {until}"),
        now.to_string(),
    );
    examination.relies_until(until);
    // Intel issues the root's list once a year: only its own end counts.
    examination.check_age(
        &rules::COLLATERAL_AGE,
        of_ca.this_update,
        evidence.collateral_age_seconds_max,
    );
}
