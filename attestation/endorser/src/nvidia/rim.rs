//! NVIDIA's reference integrity manifests: `GET /v1/rim/{id}`, JSON with the manifest in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::ocsp::Link;
use crate::transport::Question;
use crate::{EndorserError, Service, ServiceUrl, Transport};

const CERTIFICATES_MAX: usize = 8;
const OPEN: &str = "X509Certificate>";
const ROOT_ELEMENT: &str = "SoftwareIdentity";

/// The service at a base URL.
pub(crate) struct RimService<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) base: &'a ServiceUrl,
}

/// Members that are not used (`request_id`, `last_updated`, `rim_format`) are left unread.
#[derive(Deserialize)]
struct Manifest {
    id: String,
    rim: String,
    sha256: String,
}

impl RimService<'_> {
    /// The manifest with an id: XML (ISO/IEC 19770-2 SWID with TCG's extensions).
    pub(crate) async fn manifest(&self, id: &str) -> Result<Vec<u8>, EndorserError> {
        let question = Question::get(Service::NvidiaRim, self.base.join(&format!("/v1/rim/{id}")));
        let answer = self.transport.ask(&question).await?;
        let manifest: Manifest = serde_json::from_slice(&answer.body)
            .map_err(|_| question.wrong("not JSON with id, rim and sha256"))?;
        if manifest.id != id {
            return Err(question.wrong("a manifest with another id"));
        }
        let xml = STANDARD
            .decode(&manifest.rim)
            .map_err(|_| question.wrong("a manifest that is not base64"))?;
        // The service documents a digest "of the manifest": of its bytes, or of its text in the answer.
        let digests = [&xml[..], manifest.rim.as_bytes()].map(|bytes| hex::encode(Sha256::digest(bytes)));
        if !digests.contains(&manifest.sha256.to_ascii_lowercase()) {
            return Err(question.wrong("a manifest that is not of its digest"));
        }
        if !is_software_identity(&xml) {
            return Err(question.wrong("a manifest that is no SWID document in XML"));
        }
        Ok(xml)
    }
}

fn is_software_identity(xml: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(xml) else {
        return false;
    };
    let mut text = text.trim_start_matches('\u{feff}').trim_start();
    if let Some(declaration) = text.strip_prefix("<?xml") {
        text = declaration
            .split_once("?>")
            .map_or("", |(_, rest)| rest.trim_start());
    }
    let name = text
        .strip_prefix('<')
        .and_then(|text| text.split([' ', '>', '\t', '\r', '\n']).next())
        .unwrap_or_default();
    name.rsplit(':').next() == Some(ROOT_ELEMENT)
}

/// The links of the certificates in a manifest's signature, signer first.
pub(crate) fn links(xml: &[u8]) -> Result<Vec<Link>, EndorserError> {
    certificates(xml)
        .and_then(|chain| Link::of_chain(&chain))
        .ok_or(EndorserError::Unidentified(
            "the manifest's certificates do not form a chain",
        ))
}

/// The certificates in XML-DSig's `X509Certificate` elements, DER, in the order in which they stand.
fn certificates(xml: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = std::str::from_utf8(xml).ok()?;
    let mut chain = Vec::new();
    while let Some((before, after)) = rest.split_once(OPEN) {
        // The end of the text before is "<", "<ds:" or, at the closing tag, "</" or "</ds:".
        let tag = before.rsplit('<').next()?;
        rest = after;
        if tag.starts_with('/') {
            continue;
        }
        if chain.len() == CERTIFICATES_MAX {
            return None;
        }
        let (text, _) = after.split_once('<')?;
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        chain.push(STANDARD.decode(digits).ok()?);
    }
    Some(chain)
}

#[cfg(test)]
mod tests {
    use super::{certificates, is_software_identity};

    #[test]
    fn the_root_element_tells() {
        for taken in [
            "<SoftwareIdentity xmlns='x'>",
            "<?xml version='1.0'?>\n<ns0:SoftwareIdentity>",
            "\u{feff}<SoftwareIdentity>",
        ] {
            assert!(is_software_identity(taken.as_bytes()), "{taken}");
        }
        for refused in ["", "<html>", "SoftwareIdentity", "<x SoftwareIdentity>", "<?xml"] {
            assert!(!is_software_identity(refused.as_bytes()), "{refused}");
        }
        assert!(!is_software_identity(&[0xff, 0xfe]));
    }

    #[test]
    fn certificates_come_in_order_with_any_prefix() {
        let xml =
            b"<a><ds:X509Certificate>AQ\n==</ds:X509Certificate><X509Certificate>Ag==</X509Certificate></a>";
        assert_eq!(certificates(xml), Some(vec![vec![1], vec![2]]));
        assert_eq!(certificates(b"<a/>"), Some(Vec::new()));
        assert_eq!(certificates(b"<X509Certificate>AQ=="), None);
        let many = "<X509Certificate>AQ==</X509Certificate>".repeat(9);
        assert_eq!(certificates(many.as_bytes()), None);
    }
}
