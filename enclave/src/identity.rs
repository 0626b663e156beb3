//! The keys of one boot. They exist in this process only and are gone with it.
//!
//! Request keys are not here: they live one epoch each, in `exchange::server::Gateway`.

use std::sync::Arc;

use exchange::receipt::ReceiptSigner;
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use sealing::KeyPair;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    config::Profile,
    error::{EnclaveError, Result},
};

/// Key identifier of the wrap key (RFC 9458 section 3.1); it is alone in its list.
const WRAP_KEY_ID: u8 = 1;

/// What is made at boot.
pub(crate) struct Identity {
    /// Random: tells two boots of the same image apart.
    pub(crate) boot_id: [u8; 16],
    /// The key to which the broker seals the model key.
    pub(crate) wrap: KeyPair,
    /// Signs receipts.
    pub(crate) receipts: ReceiptSigner,
    /// Signs checkpoints of the audit trail, with the receipt key: the one signing key that the statement names, so
    /// that whoever verified the evidence can verify the trail. Both sign under domains of their own.
    pub(crate) checkpoints: audit::LogSigner,
    /// Authenticates the enclave's end of the broker connection.
    pub(crate) tls: TlsIdentity,
}

/// A self-signed certificate. Nobody trusts it for its name: evidence names its key.
pub(crate) struct TlsIdentity {
    /// Certificate and key, as rustls takes them.
    pub(crate) certified: Arc<CertifiedKey>,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
}

impl Identity {
    /// Makes all keys.
    pub(crate) fn generate(profile: Profile) -> Result<Self> {
        let mut boot_id = [0; 16];
        getrandom::fill(&mut boot_id).map_err(|_| EnclaveError::Keys("no randomness"))?;
        let suite = sealing::Profile::from(profile).suites()[0];
        let wrap = KeyPair::generate(suite, WRAP_KEY_ID).map_err(|_| EnclaveError::Keys("wrap key"))?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| EnclaveError::Keys("no randomness"))?;
        let receipts = ReceiptSigner::from_seed(&seed);
        let origin = audit_origin(&boot_id);
        let checkpoints =
            audit::LogSigner::new(&origin, &seed).map_err(|_| EnclaveError::Keys("checkpoint key"))?;
        Ok(Self {
            boot_id,
            wrap,
            receipts,
            checkpoints,
            tls: TlsIdentity::generate()?,
        })
    }
}

/// Name of the audit trail of one boot.
fn audit_origin(boot_id: &[u8; 16]) -> String {
    format!("adyton.enclave/{}", hex::encode(boot_id))
}

impl TlsIdentity {
    fn generate() -> Result<Self> {
        let fault = |_| EnclaveError::Keys("TLS key");
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).map_err(fault)?;
        let parameters =
            rcgen::CertificateParams::new(vec!["enclave.adyton.invalid".to_owned()]).map_err(fault)?;
        let certificate: CertificateDer<'static> = parameters.self_signed(&key).map_err(fault)?.into();
        let mut private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = aws_lc_rs::sign::any_supported_type(&private);
        private.zeroize();
        let signer = signer.map_err(|_| EnclaveError::Keys("TLS key"))?;
        let spki_sha256 = spki_sha256(&certificate).ok_or(EnclaveError::Keys("TLS certificate"))?;
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(vec![certificate], signer)),
            spki_sha256,
        })
    }
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo; `None` if it is not an X.509 version 3 certificate.
pub(crate) fn spki_sha256(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(Sha256::digest(parsed.subject_public_key_info()).into())
}
