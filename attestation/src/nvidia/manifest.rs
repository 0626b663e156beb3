//! A reference integrity manifest (RIM) of NVIDIA: a SWID tag (ISO/IEC 19770-2) in the profile of TCG's
//! Reference Integrity Manifest information model, signed as [`super::signature`] describes.
//!
//! | element | what is read of it |
//! |---|---|
//! | `SoftwareIdentity` | the root; nothing outside it |
//! | `Meta` | `colloquialVersion`, `edition`, `product`, `FirmwareManufacturerId` |
//! | `Payload/Resource` | `index` (from 0), `active`, `size`, `alternatives`, `Hash0`... |
//!
//! The manifest does not say for which board (project and SKU) it is: the measurements do.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::report::DIGEST_BYTES;
use super::signature::XmlSignature;
use super::xml::Element;

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const RIM: &str =
    "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/";
const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
/// NVIDIA's Private Enterprise Number.
const NVIDIA: &str = "5703";
const REFERENCES_MAX: usize = 255;
const ALTERNATIVES_MAX: usize = 64;

/// A manifest that was read; nothing of it is believed before its signature holds.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) signature: XmlSignature,
    /// The version of the driver or VBIOS.
    pub(super) version: String,
    /// `GPU` or `SWITCH`.
    pub(super) edition: String,
    /// The chip.
    pub(super) product: String,
    pub(super) references: Vec<Reference>,
}

/// The values that one measurement may have.
#[derive(Debug)]
pub(super) struct Reference {
    /// Counted from 0; block 1 of a report.
    pub(super) index: u8,
    pub(super) active: bool,
    pub(super) alternatives: Vec<[u8; DIGEST_BYTES]>,
}

impl Manifest {
    pub(super) fn parse(document: &[u8]) -> Option<Self> {
        let root = Element::parse(document).ok()?;
        if !root.is(SWID, "SoftwareIdentity") || !root.has_only_elements() {
            return None;
        }
        let signature = XmlSignature::parse(&root)?;
        let meta = only(&root, "Meta")?;
        if meta.attribute(RIM, "FirmwareManufacturerId") != Some(NVIDIA) {
            return None;
        }
        let text = |local| meta.attribute("", local).map(ToString::to_string);
        let references = references(only(&root, "Payload")?)?;
        Some(Self {
            signature,
            version: text("colloquialVersion")?,
            edition: text("edition")?,
            product: text("product")?,
            references,
        })
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Reference> {
        self.references.iter().filter(|reference| reference.active)
    }
}

/// The one child with this name.
fn only<'a>(root: &'a Element, local: &str) -> Option<&'a Element> {
    let mut found = root.elements().filter(|element| element.is(SWID, local));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Measurements only; each index once, and at least one that is active.
fn references(payload: &Element) -> Option<Vec<Reference>> {
    let mut references: Vec<Reference> = Vec::new();
    for resource in payload.elements() {
        let reference = reference(resource)?;
        let doubled = references.iter().any(|other| other.index == reference.index);
        if doubled || references.len() == REFERENCES_MAX {
            return None;
        }
        references.push(reference);
    }
    let any = references.iter().any(|reference| reference.active);
    (any && payload.has_only_elements()).then_some(references)
}

fn reference(resource: &Element) -> Option<Reference> {
    let text = |local| resource.attribute("", local);
    let number = |local| text(local)?.parse::<u8>().ok();
    let index = number("index").filter(|index| *index < u8::MAX)?;
    let count = usize::from(number("alternatives")?);
    // type, index, active, alternatives, name, size, and the digests: what else there is would be a
    // condition that is not understood here.
    let whole = resource.is(SWID, "Resource")
        && resource.children.is_empty()
        && text("type") == Some("Measurement")
        && usize::from(number("size")?) == DIGEST_BYTES
        && text("name").is_some()
        && (1..=ALTERNATIVES_MAX).contains(&count)
        && resource.attributes.len() == 6 + count;
    let active = match text("active")? {
        "True" => true,
        "False" => false,
        _ => return None,
    };
    if !whole {
        return None;
    }
    let alternatives = (0..count)
        .map(|number| {
            let digits = resource.attribute(SHA384, &alloc::format!("Hash{number}"))?;
            let mut digest = [0; DIGEST_BYTES];
            hex::decode_to_slice(digits, &mut digest).ok()?;
            Some(digest)
        })
        .collect::<Option<_>>()?;
    Some(Reference {
        index,
        active,
        alternatives,
    })
}
