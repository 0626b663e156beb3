//! Roots of hardware that are built in. The PEM files beside this one are the manufacturers' own.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::nvidia;
use crate::snp::Generation;
use crate::x509::{TrustAnchor, pem_certificates};

const AMD: [(Generation, &str); 3] = [
    (Generation::Milan, include_str!("amd-ark-milan.pem")),
    (Generation::Genoa, include_str!("amd-ark-genoa.pem")),
    (Generation::Turin, include_str!("amd-ark-turin.pem")),
];
const INTEL: &str = include_str!("intel-sgx-root-ca.pem");
const NVIDIA_DEVICES: &str = include_str!("nvidia-device-identity-ca.pem");
const NVIDIA_MANIFESTS: &str = include_str!("nvidia-corim-signing-root-ca.pem");

const AZURE_VTPM: &str = include_str!("azure-virtual-tpm-root-2023.pem");
const GOOGLE_VTPM: &str = include_str!("google-ek-ak-root.pem");
/// SHA-256 of Google's root for launch endorsements, GCE-cc-tcb-root_1, in DER. A policy that relies on it brings the
/// certificate (pki.goog/cloud_integrity); this says that it is that one.
const GCE_TCB_ROOT_SHA256: [u8; 32] = [
    0xe8, 0x76, 0xbc, 0x69, 0x78, 0xbf, 0x4f, 0x3d, 0xa4, 0x45, 0xf9, 0x8a, 0x0a, 0x82, 0x36, 0x3c, 0x8c,
    0x0b, 0xae, 0x5a, 0x1f, 0xc0, 0x33, 0xc6, 0xdf, 0x65, 0x84, 0x6a, 0x6c, 0xb0, 0xf1, 0x8c,
];

/// Whether these bytes are Google's root for launch endorsements.
pub(crate) fn is_gce_tcb_root(certificate: &[u8]) -> bool {
    Sha256::digest(certificate)[..] == GCE_TCB_ROOT_SHA256
}

/// The ARK of each generation.
pub(crate) fn amd() -> Vec<(Generation, TrustAnchor)> {
    AMD.into_iter()
        .map(|(generation, pem)| (generation, anchor(pem)))
        .collect()
}

/// Intel SGX Root CA.
pub(crate) fn intel() -> TrustAnchor {
    anchor(INTEL)
}

/// Azure Virtual TPM Root Certificate Authority 2023.
pub(crate) fn azure_vtpm() -> TrustAnchor {
    anchor(AZURE_VTPM)
}

/// Google's EK/AK CA Root.
pub(crate) fn google_vtpm() -> TrustAnchor {
    anchor(GOOGLE_VTPM)
}

/// NVIDIA Device Identity CA, and NVIDIA CoRIM signing Root CA.
pub(crate) fn nvidia() -> nvidia::Anchors {
    nvidia::Anchors {
        device: anchor(NVIDIA_DEVICES),
        manifest: anchor(NVIDIA_MANIFESTS),
    }
}

fn anchor(pem: &str) -> TrustAnchor {
    let certificates = pem_certificates(pem.as_bytes()).expect("a test reads every built-in root");
    TrustAnchor::parse(&certificates[0]).expect("a test reads every built-in root")
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{amd, azure_vtpm, google_vtpm, intel, nvidia};
    use crate::x509::Certificate;

    /// SHA-256 of each SubjectPublicKeyInfo, as other verifiers pin them.
    #[test]
    fn built_in_roots_are_the_manufacturers() {
        let spki_sha256 = |certificate: &[u8]| {
            hex::encode(Sha256::digest(
                Certificate::parse(certificate).expect("a certificate").spki,
            ))
        };
        let expected = [
            (
                "ARK-Milan",
                "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
            ),
            (
                "ARK-Genoa",
                "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
            ),
            (
                "ARK-Turin",
                "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
            ),
        ];
        for ((generation, anchor), (name, digest)) in amd().iter().zip(expected) {
            assert_eq!(anchor.common_name, name);
            assert!(name.ends_with(generation.name()));
            assert_eq!(spki_sha256(&anchor.certificate), digest);
        }
        assert_eq!(
            spki_sha256(&intel().certificate),
            "a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e"
        );
        assert_eq!(
            spki_sha256(&azure_vtpm().certificate),
            "5cbc52672ae101263c2976736044a964c1182ce9412c39937183baddcccb8cdf"
        );
        assert_eq!(
            spki_sha256(&google_vtpm().certificate),
            "56a613f57126a385dd6949294e93b0b566f96ab0573be0c2368e6f5ca779831f"
        );
        let nvidia = nvidia();
        for (anchor, name, digest) in [
            (
                nvidia.device,
                "NVIDIA Device Identity CA",
                "a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4",
            ),
            (
                nvidia.manifest,
                "NVIDIA CoRIM signing Root CA",
                "dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3",
            ),
        ] {
            assert_eq!(anchor.common_name, name);
            assert_eq!(spki_sha256(&anchor.certificate), digest);
        }
    }
}
