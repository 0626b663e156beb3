//! X.509 certificates and revocation lists (RFC 5280), as far as the manufacturers use them.
//!
//! Zero-copy over the received bytes: a signature is checked over the exact TBS bytes. What the
//! manufacturers do not use (unique identifiers, unknown critical extensions, indirect or partial
//! revocation lists) is refused.

mod anchor;
mod asn1;
mod certificate;
mod crl;
mod key;
mod ocsp;
mod path;
mod pem;

pub(crate) use anchor::TrustAnchor;
pub(crate) use asn1::{Asn1Fault, Asn1Reader};
pub(crate) use certificate::Certificate;
pub(crate) use crl::RevocationList;
pub(crate) use key::{PublicKey, SignatureAlgorithm};
pub(crate) use ocsp::{Answer, CertStatus, OcspResponse};
pub(crate) use path::{Path, PathFault};
pub(crate) use pem::certificates as pem_certificates;

/// Bound of one certificate.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::vec::Vec;

    use super::{Certificate, RevocationList};

    #[test]
    #[allow(clippy::print_stderr, reason = "tests say what they did not run")]
    fn real_revocation_lists_verify_and_name_what_they_name() {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
        let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
        if !folder.is_dir() {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "no vectors in {}",
                folder.display()
            );
            std::eprintln!(
                "NOT RUN: no revocation lists in {} (set ADYTON_VECTORS)",
                folder.display()
            );
            return;
        }
        let read =
            |name: &str| -> Vec<u8> { std::fs::read(folder.join(name)).expect("the file of a vector") };
        for (list, issuer, entries, listed) in [
            (
                "crl/amd-genoa-one-revoked-ask.crl",
                "trust-roots/amd-ark-genoa.der",
                1,
                Some([2, 0, 1]),
            ),
            (
                "crl/amd-milan-empty.crl",
                "trust-roots/amd-ark-milan.der",
                0,
                None,
            ),
            (
                "crl/intel-pck-platform-129-entries-20260716.crl",
                "trust-roots/intel-pck-platform-ca.der",
                129,
                None,
            ),
            (
                "crl/intel-pck-platform-57-entries-20260716.crl",
                "trust-roots/intel-pck-platform-ca.der",
                57,
                None,
            ),
        ] {
            let (list_bytes, issuer) = (read(list), read(issuer));
            let issuer = Certificate::parse(&issuer).expect("a certificate");
            let key = issuer.public_key().expect("a key");
            let parsed = RevocationList::parse(&list_bytes).expect("a list");
            assert!(parsed.is_issued_by(issuer.subject, &key), "{list}");
            assert_eq!(parsed.len(), entries, "{list}");
            assert!(listed.is_none_or(|serial| parsed.lists(&serial)), "{list}");
            assert!(!parsed.lists(&[2, 0, 2]), "{list}");
            for at in 0..list_bytes.len() {
                let mut changed = list_bytes.clone();
                changed[at] ^= 1 << (at % 8);
                let accepted =
                    RevocationList::parse(&changed).is_ok_and(|list| list.is_issued_by(issuer.subject, &key));
                assert!(!accepted, "{list} byte {at}");
            }
        }
    }
}
