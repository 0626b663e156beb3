//! The 64 bytes by which evidence commits to a statement and a nonce. Attester and Verifier call
//! the same functions.

use sha2::{Digest, Sha256, Sha512};

use crate::{Nonce, Role};

/// `REPORT_DATA` of an SNP report, `REPORTDATA` of a TDX quote.
pub type ReportData = [u8; 64];

const EVIDENCE_DOMAIN: &[u8] = b"adyton evidence v1";
const VTPM_DOMAIN: &[u8] = b"adyton vtpm v1";
const RELEASE_DOMAIN: &[u8] = b"adyton release v1";

/// `SHA-512("adyton evidence v1" || role || SHA-512(statement) || nonce)`.
///
/// `statement` is hashed as received. Every part but the last is of fixed length, and so is the last.
pub fn report_data(role: Role, statement: &[u8], nonce: &Nonce) -> ReportData {
    Sha512::new()
        .chain_update(EVIDENCE_DOMAIN)
        .chain_update([role.number()])
        .chain_update(Sha512::digest(statement))
        .chain_update(nonce.as_bytes())
        .finalize()
        .into()
}

/// `SHA-256("adyton vtpm v1" || report data)`: the qualifying data of a vTPM's quote (`extraData`),
/// where the hardware's own 64 bytes name the vTPM instead. 64 bytes do not fit every TPM2B_DATA.
pub fn vtpm_qualifying_data(report_data: &ReportData) -> [u8; 32] {
    Sha256::new()
        .chain_update(VTPM_DOMAIN)
        .chain_update(report_data)
        .finalize()
        .into()
}

/// What a key release is tied to: this challenge, this TLS connection, these two ends, this key.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseBinding<'a> {
    /// The broker's challenge N.
    pub challenge: &'a Nonce,
    /// `TLS-Exporter("EXPORTER-adyton-attestation", role || N, 32)` (RFC 8446 section 7.5).
    pub exported_keying_material: &'a [u8; 32],
    /// SHA-256 of the enclave's TLS SubjectPublicKeyInfo.
    pub enclave_spki_sha256: &'a [u8; 32],
    /// SHA-256 of the broker's TLS SubjectPublicKeyInfo.
    pub broker_spki_sha256: &'a [u8; 32],
    /// The enclave's wrap key (an RFC 9458 key configuration).
    pub wrap_key: &'a [u8],
}

/// The nonce for evidence in a key release:
/// `SHA-256("adyton release v1" || N || ekm || spki(enclave) || spki(broker) || len64(wrap key) || wrap key)`.
pub fn release_nonce(binding: &ReleaseBinding<'_>) -> Nonce {
    let wrap_key_bytes = (binding.wrap_key.len() as u64).to_be_bytes();
    Nonce::from_bytes(
        Sha256::new()
            .chain_update(RELEASE_DOMAIN)
            .chain_update(binding.challenge.as_bytes())
            .chain_update(binding.exported_keying_material)
            .chain_update(binding.enclave_spki_sha256)
            .chain_update(binding.broker_spki_sha256)
            .chain_update(wrap_key_bytes)
            .chain_update(binding.wrap_key)
            .finalize()
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::{ReleaseBinding, release_nonce, report_data, vtpm_qualifying_data};
    use crate::{Nonce, Role};

    #[test]
    fn report_data_changes_with_each_argument() {
        let nonce = Nonce::from_bytes([7; 32]);
        let base = report_data(Role::Inference, b"statement", &nonce);
        assert_ne!(base, report_data(Role::Broker, b"statement", &nonce));
        assert_ne!(base, report_data(Role::Inference, b"Statement", &nonce));
        assert_ne!(
            base,
            report_data(Role::Inference, b"statement", &Nonce::from_bytes([8; 32]))
        );
    }

    #[test]
    fn report_data_is_the_documented_function() {
        // python3: sha512(b"adyton evidence v1" + b"\1" + sha512(b"statement").digest() + bytes([7])*32)
        let expected = "837d890d38f01cb069419ea063b2e6ff25c45d9dfe053a0c501640c5ea117dd4065e00c40db1fda501b257b4a5f8f083f587110f68da37cfbf670b372c55bdd0";
        assert_eq!(
            hex::encode(report_data(
                Role::Inference,
                b"statement",
                &Nonce::from_bytes([7; 32])
            )),
            expected
        );
    }

    #[test]
    fn vtpm_qualifying_data_is_the_documented_function() {
        // python3: sha256(b"adyton vtpm v1" + bytes([7])*64)
        let expected = "c6b4556548bfae9f813cbf35684c5f52ed53e00933e606ee8e345a55ac7a1e99";
        assert_eq!(hex::encode(vtpm_qualifying_data(&[7; 64])), expected);
    }

    #[test]
    fn release_nonce_changes_with_each_argument() {
        let (n, m) = (Nonce::from_bytes([1; 32]), Nonce::from_bytes([9; 32]));
        let (a, b, c, d) = (&[2; 32], &[3; 32], &[4; 32], &[9; 32]);
        let base = ReleaseBinding {
            challenge: &n,
            exported_keying_material: a,
            enclave_spki_sha256: b,
            broker_spki_sha256: c,
            wrap_key: b"wrap",
        };
        let expected = release_nonce(&base);
        for changed in [
            ReleaseBinding {
                challenge: &m,
                ..base
            },
            ReleaseBinding {
                exported_keying_material: d,
                ..base
            },
            ReleaseBinding {
                enclave_spki_sha256: d,
                ..base
            },
            ReleaseBinding {
                broker_spki_sha256: d,
                ..base
            },
            ReleaseBinding {
                enclave_spki_sha256: c,
                broker_spki_sha256: b,
                ..base
            },
            ReleaseBinding {
                wrap_key: b"wrap2",
                ..base
            },
        ] {
            assert_ne!(expected, release_nonce(&changed));
        }
    }

    #[test]
    fn release_nonce_is_the_documented_function() {
        let expected = "08d4246a1ce0b0dd3fae10cca1813a122cf017af3a0537c67e04ffd1402ebd3e";
        let nonce = release_nonce(&ReleaseBinding {
            challenge: &Nonce::from_bytes([1; 32]),
            exported_keying_material: &[2; 32],
            enclave_spki_sha256: &[3; 32],
            broker_spki_sha256: &[4; 32],
            wrap_key: b"wrap",
        });
        assert_eq!(hex::encode(nonce.as_bytes()), expected);
    }
}
