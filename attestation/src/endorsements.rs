//! What the manufacturer published about a platform. Nobody is trusted for supplying it: every
//! document is signed, and the Verifier checks signature, time and subject.
//!
//! Deterministic CBOR: a map from the text of [`EndorsementKind`] to bytes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use minicbor::Decoder;

use crate::cbor::{self, CborFault, Writer};
use crate::error::BundleError;

/// Bound of one document.
pub(crate) const ENDORSEMENT_BYTES_MAX: usize = 256 * 1024;

/// Names one published document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EndorsementKind {
    /// VCEK or VLEK certificate, DER.
    SnpLeaf,
    /// ASK or ASVK certificate, DER.
    SnpIntermediate,
    /// Certificate revocation list of the ARK, DER.
    SnpCrl,
    /// Revocation list of Intel's root CA, DER.
    TdxRootCrl,
    /// Revocation list of the PCK CA, DER.
    TdxPckCrl,
    /// TCB info response, the exact JSON with its signature.
    TdxTcbInfo,
    /// Enclave identity response of the TD quoting enclave, the exact JSON with its signature.
    TdxQeIdentity,
    /// Certificates of the TCB signer up to the root, PEM.
    TdxTcbSigningChain,
    /// Certificates of a vTPM's attestation key, leaf first, PEM.
    VtpmAkChain,
    /// Google's launch endorsement of a firmware (`VMLaunchEndorsement`), protocol buffer.
    GceLaunchEndorsement,
    /// NVIDIA's reference manifest of a driver, XML.
    NvidiaDriverRim,
    /// NVIDIA's reference manifest of a VBIOS, XML.
    NvidiaVbiosRim,
    /// OCSP responses for a device's certificates, DER, one after the other.
    NvidiaOcsp,
}

impl EndorsementKind {
    /// Every kind, in the order of the deterministic encoding (shorter text first, then bytewise).
    pub const ALL: [EndorsementKind; 13] = [
        Self::SnpCrl,
        Self::SnpLeaf,
        Self::NvidiaOcsp,
        Self::TdxPckCrl,
        Self::TdxRootCrl,
        Self::TdxTcbInfo,
        Self::VtpmAkChain,
        Self::TdxQeIdentity,
        Self::NvidiaVbiosRim,
        Self::SnpIntermediate,
        Self::NvidiaDriverRim,
        Self::TdxTcbSigningChain,
        Self::GceLaunchEndorsement,
    ];

    /// The text in encodings.
    pub const fn as_str(self) -> &'static str {
        match self {
            EndorsementKind::SnpLeaf => "snp-leaf",
            EndorsementKind::SnpIntermediate => "snp-intermediate",
            EndorsementKind::SnpCrl => "snp-crl",
            EndorsementKind::TdxRootCrl => "tdx-root-crl",
            EndorsementKind::TdxPckCrl => "tdx-pck-crl",
            EndorsementKind::TdxTcbInfo => "tdx-tcb-info",
            EndorsementKind::TdxQeIdentity => "tdx-qe-identity",
            EndorsementKind::TdxTcbSigningChain => "tdx-tcb-signing-chain",
            EndorsementKind::VtpmAkChain => "vtpm-ak-chain",
            EndorsementKind::GceLaunchEndorsement => "gce-launch-endorsement",
            EndorsementKind::NvidiaDriverRim => "nvidia-driver-rim",
            EndorsementKind::NvidiaVbiosRim => "nvidia-vbios-rim",
            EndorsementKind::NvidiaOcsp => "nvidia-ocsp",
        }
    }

    /// Whether the publisher issues this again and again, each time in place of the last: then an
    /// older one may hide what the newer says.
    pub const fn is_reissued(self) -> bool {
        matches!(
            self,
            EndorsementKind::SnpCrl
                | EndorsementKind::TdxRootCrl
                | EndorsementKind::TdxPckCrl
                | EndorsementKind::TdxTcbInfo
                | EndorsementKind::TdxQeIdentity
        )
    }

    /// The kind with this text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The endorsements that travel with evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endorsements {
    documents: BTreeMap<EndorsementKind, Vec<u8>>,
}

impl Endorsements {
    /// None.
    pub const fn new() -> Self {
        Self {
            documents: BTreeMap::new(),
        }
    }

    /// Puts a document in the place of its kind.
    pub fn insert(&mut self, kind: EndorsementKind, document: Vec<u8>) {
        self.documents.insert(kind, document);
    }

    /// Adds the documents of `other` that are missing here.
    pub fn fill_from(&mut self, other: &Endorsements) {
        for (kind, document) in &other.documents {
            self.documents.entry(*kind).or_insert_with(|| document.clone());
        }
    }

    /// The document of a kind.
    pub fn document(&self, kind: EndorsementKind) -> Option<&[u8]> {
        self.documents.get(&kind).map(Vec::as_slice)
    }

    /// Takes a document away.
    pub fn remove(&mut self, kind: EndorsementKind) -> Option<Vec<u8>> {
        self.documents.remove(&kind)
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The documents and their kinds.
    pub fn iter(&self) -> impl Iterator<Item = (EndorsementKind, &[u8])> {
        self.documents
            .iter()
            .map(|(kind, document)| (*kind, document.as_slice()))
    }

    /// Whether every document is within its bound.
    pub(crate) fn fit(&self) -> bool {
        self.documents
            .values()
            .all(|document| document.len() <= ENDORSEMENT_BYTES_MAX)
    }

    /// Encodes on its own, as endorsement caches keep it.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(|writer| self.write(writer))
    }

    /// Decodes what [`Endorsements::encode`] made; nothing else is accepted.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        let endorsements = Self::read(&mut Decoder::new(bytes))?;
        if endorsements.encode() != bytes {
            return Err(BundleError::NotCanonical);
        }
        Ok(endorsements)
    }

    pub(crate) fn write(
        &self,
        writer: &mut Writer,
    ) -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
        writer.map(self.documents.len() as u64)?;
        for kind in EndorsementKind::ALL {
            if let Some(document) = self.documents.get(&kind) {
                writer.str(kind.as_str())?.bytes(document)?;
            }
        }
        Ok(())
    }

    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, BundleError> {
        let entries = decoder.map().map_err(CborFault::from)?.ok_or(CborFault::Shape)?;
        if entries > EndorsementKind::ALL.len() as u64 {
            return Err(BundleError::Bound);
        }
        let mut endorsements = Endorsements::new();
        for _ in 0..entries {
            let text = decoder.str().map_err(CborFault::from)?;
            let kind = EndorsementKind::from_text(text).ok_or(BundleError::UnknownEndorsement)?;
            let document = cbor::bytes(decoder, ENDORSEMENT_BYTES_MAX)?;
            endorsements.insert(kind, document.to_vec());
        }
        Ok(endorsements)
    }
}
