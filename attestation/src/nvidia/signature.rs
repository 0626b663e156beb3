//! The XML signature of a reference manifest (W3C XML Signature Syntax and Processing 1.1), in the one
//! form in which NVIDIA signs: enveloped, over the whole document, canonical XML 1.1, SHA-384, ECDSA
//! P-384.
//!
//! Signature wrapping needs freedom: a reference by id, a second reference, a second signature, an
//! object inside the signature. None of these is read here. What is signed is the document without its
//! one signature, and what is used is the same root element.

use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha384};

use super::canonical::canonical;
use super::report::DIGEST_BYTES;
use super::xml::{Element, Node};
use crate::x509::PublicKey;

const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const C14N_1_1: &str = "http://www.w3.org/2006/12/xml-c14n11";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
const SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";
const CERTIFICATES_MAX: usize = 8;

/// The signature of a document, taken apart.
#[derive(Debug)]
pub(super) struct XmlSignature {
    /// SHA-384 of the document without its signature.
    document_digest: [u8; DIGEST_BYTES],
    /// The digest that was signed.
    signed_digest: [u8; DIGEST_BYTES],
    /// SHA-384 of the canonical SignedInfo.
    signed_info_digest: [u8; DIGEST_BYTES],
    /// `r || s`.
    value: [u8; 96],
    /// DER, leaf first.
    pub(super) certificates: Vec<Vec<u8>>,
}

impl XmlSignature {
    /// Finds the one signature, a child of the root.
    pub(super) fn parse(root: &Element) -> Option<Self> {
        let mut places = root
            .children
            .iter()
            .enumerate()
            .filter_map(|(at, node)| match node {
                Node::Element(element) if element.is(DSIG, "Signature") => Some((at, element)),
                _ => None,
            });
        let (place, signature) = places.next()?;
        if places.next().is_some() || mentions_signatures_elsewhere(root, place) {
            return None;
        }
        let [info, value, key] = children(signature, ["SignedInfo", "SignatureValue", "KeyInfo"])?;
        let signed_digest = signed_digest(info)?;
        plain(value)?;
        plain(key)?;
        let [data] = children(key, ["X509Data"])?;
        plain(data)?;
        let certificates = certificates(data)?;
        Some(Self {
            document_digest: Sha384::digest(canonical(root, &[], Some(place))).into(),
            signed_digest,
            signed_info_digest: Sha384::digest(canonical(info, &[root, signature], None)).into(),
            value: base64(value.text()?)?.try_into().ok()?,
            certificates,
        })
    }

    /// Whether the document is the one that `key` signed.
    pub(super) fn holds(&self, key: &PublicKey) -> bool {
        self.document_digest == self.signed_digest && key.verifies_p384(&self.signed_info_digest, &self.value)
    }
}

/// SignedInfo: the fixed algorithms, and one reference to the document around it.
fn signed_digest(info: &Element) -> Option<[u8; DIGEST_BYTES]> {
    plain(info)?;
    let [method, signature, reference] =
        children(info, ["CanonicalizationMethod", "SignatureMethod", "Reference"])?;
    algorithm(method, C14N_1_1)?;
    algorithm(signature, ECDSA_SHA384)?;
    if reference.attributes.len() != 1 || reference.attribute("", "URI") != Some("") {
        return None;
    }
    let [transforms, digest_method, digest] =
        children(reference, ["Transforms", "DigestMethod", "DigestValue"])?;
    plain(transforms)?;
    let [enveloped, canonical] = children(transforms, ["Transform", "Transform"])?;
    algorithm(enveloped, ENVELOPED)?;
    algorithm(canonical, C14N_1_1)?;
    algorithm(digest_method, SHA384)?;
    plain(digest)?;
    base64(digest.text()?)?.try_into().ok()
}

/// Whether an element of the signature namespace stands outside the child at `place`.
fn mentions_signatures_elsewhere(root: &Element, place: usize) -> bool {
    fn mentions(element: &Element) -> bool {
        element.namespace == DSIG || element.elements().any(mentions)
    }
    root.children.iter().enumerate().any(|(at, node)| match node {
        Node::Element(element) => at != place && mentions(element),
        Node::Text(_) => false,
    }) || root.namespace == DSIG
}

/// Exactly these child elements, in this order.
fn children<'a, const N: usize>(element: &'a Element, names: [&str; N]) -> Option<[&'a Element; N]> {
    let found: Vec<&Element> = element.elements().collect();
    let found: [&Element; N] = found.try_into().ok()?;
    let named = found.iter().zip(names).all(|(child, name)| child.is(DSIG, name));
    (named && element.has_only_elements()).then_some(found)
}

/// An element without attributes.
fn plain(element: &Element) -> Option<()> {
    element.attributes.is_empty().then_some(())
}

/// An empty element that names this algorithm and nothing else.
fn algorithm(element: &Element, name: &str) -> Option<()> {
    let named = element.attributes.len() == 1 && element.attribute("", "Algorithm") == Some(name);
    (named && element.children.is_empty()).then_some(())
}

fn certificates(data: &Element) -> Option<Vec<Vec<u8>>> {
    let found: Vec<_> = data.elements().collect();
    if found.is_empty() || found.len() > CERTIFICATES_MAX || !data.has_only_elements() {
        return None;
    }
    found
        .into_iter()
        .map(|element| {
            plain(element)?;
            let text = element.is(DSIG, "X509Certificate").then(|| element.text())??;
            base64(text)
        })
        .collect()
}

/// Base64 with line breaks (XML Schema part 2, section 3.2.16).
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
        .collect();
    STANDARD.decode(digits).ok()
}
