//! The certificates of an attestation key, from the key up to the cloud's root.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use der::asn1::ObjectIdentifier;

use crate::examination::{Examination, Rule};
use crate::x509::{Asn1Fault, Asn1Reader, Certificate, Path, PathFault, TrustAnchor, pem_certificates};

/// RFC 5280 section 4.2.1.12.
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// tcg-kp-AIKCertificate (TCG EK Credential Profile section 3.2.16).
const AIK_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.3");

/// The rules that a cloud has for the certificates of its vTPMs' keys.
pub(crate) struct Rules {
    /// The chain can be read.
    pub(crate) certificates: &'static Rule,
    /// It leads to the root, and its leaf certifies an attestation key.
    pub(crate) chain: &'static Rule,
    /// All of it is valid now.
    pub(crate) validity: &'static Rule,
    /// The leaf's key is the quote's.
    pub(crate) key: &'static Rule,
}

impl Rules {
    /// Records that the policy does without the certificates, and that there are none.
    pub(crate) fn pass_without(&self, examination: &mut Examination, exception: &str) {
        for rule in [self.certificates, self.chain, self.validity, self.key] {
            let expected = format!("certificates, or the exception {exception}");
            examination.check(rule, true, expected, "the exception");
        }
    }
}

/// The DER of each certificate, leaf first, without the zeros with which a cloud fills up the NV index.
pub(crate) fn certificates(document: &[u8]) -> Option<Vec<Vec<u8>>> {
    let chain = pem_certificates(document).ok()?;
    if chain.is_empty() {
        return None;
    }
    chain
        .iter()
        .map(|der| without_padding(der).map(<[u8]>::to_vec))
        .collect()
}

/// The one DER SEQUENCE at the front, if only zeros follow it.
fn without_padding(bytes: &[u8]) -> Option<&[u8]> {
    // X.690 section 8.1.3: tag, then a short length, or how many bytes the length has.
    let (header_bytes, contents_bytes) = match *bytes {
        [0x30, length @ ..=0x7f, ..] => (2, usize::from(length)),
        [0x30, 0x81, length, ..] => (3, usize::from(length)),
        [0x30, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return None,
    };
    let (certificate, padding) = bytes.split_at_checked(header_bytes + contents_bytes)?;
    padding.iter().all(|byte| *byte == 0).then_some(certificate)
}

/// Records a clause for each of `rules`. `modulus` is the key under which the quote is examined.
pub(crate) fn examine(
    examination: &mut Examination,
    chain: &[Certificate<'_>],
    anchor: &TrustAnchor,
    modulus: Option<&[u8]>,
    rules: &Rules,
) {
    let path = Path::walk(chain, anchor);
    let leaf = chain.first();
    let certifies = leaf.is_some_and(|leaf| leaf.is_signer() && certifies_attestation_key(leaf) == Ok(true));
    let found = match &path {
        Ok(_) if certifies => String::from("valid"),
        Ok(_) => String::from("not that of an attestation key"),
        Err(PathFault::Length) => String::from("a chain of another length"),
        Err(PathFault::NotAuthority(at)) => format!("certificate {at} may not issue"),
        Err(PathFault::UnknownCritical(at)) => format!("certificate {at}: unknown critical extension"),
        Err(PathFault::NotIssued(at)) => format!("certificate {at}: not issued by the next"),
    };
    let expected = format!("an attestation key, up to {}", anchor.common_name);
    examination.check(rules.chain, path.is_ok() && certifies, expected, found);
    if let Ok(path) = &path {
        let now = examination.now();
        examination.check(
            rules.validity,
            path.is_valid_at(now),
            format!("{} to {}", path.not_before, path.not_after),
            format!("{now}"),
        );
        examination.relies_until(path.not_after);
    }
    if let Some(modulus) = modulus {
        let key = leaf.and_then(|leaf| leaf.public_key().ok());
        let same = key.is_some_and(|key| key.is_rsa_with(modulus));
        examination.check(
            rules.key,
            same,
            "the key of the quote",
            if same { "the same" } else { "another" },
        );
    }
}

/// An extended key usage, where there is one, must name attestation keys: the same authorities
/// certify endorsement keys, which are of another kind.
fn certifies_attestation_key(leaf: &Certificate<'_>) -> Result<bool, Asn1Fault> {
    let Some(value) = leaf.extension(EXTENDED_KEY_USAGE) else {
        return Ok(true);
    };
    let mut reader = Asn1Reader::whole_sequence(value)?;
    let mut found = false;
    while !reader.is_at_end() {
        found |= reader.object_identifier()? == AIK_CERTIFICATE;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::without_padding;

    #[test]
    fn only_zeros_may_follow_a_certificate() {
        let short = [0x30, 0x02, 0x05, 0x00];
        for padding in 0..3 {
            let padded = [&short[..], &[0, 0, 0][..padding]].concat();
            assert_eq!(without_padding(&padded), Some(&short[..]));
        }
        assert_eq!(without_padding(&[0x30, 0x02, 0x05, 0x00, 0x01]), None);
        assert_eq!(without_padding(&[0x30, 0x02, 0x05]), None);
        assert_eq!(without_padding(&[0x30, 0x83, 0x00, 0x00, 0x01]), None);
        assert_eq!(without_padding(&[0x30, 0x80, 0x00, 0x00]), None);
        assert_eq!(without_padding(&[0x30, 0x82, 0xff]), None);
        assert_eq!(without_padding(&[0x31, 0x00]), None);
        assert_eq!(without_padding(&[]), None);
        let long = [&[0x30, 0x82, 0x01, 0x00][..], &[9; 256], &[0; 40]].concat();
        assert_eq!(without_padding(&long).map(<[u8]>::len), Some(260));
    }
}
