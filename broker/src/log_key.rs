//! The key that signs checkpoints: PKCS#8 PEM of mode 0600, and beside it (`.pub`) the public half as other tools for
//! C2SP signed notes read it.

use std::path::{Path, PathBuf};

use audit::{LogSigner, LogVerifier};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding},
};
use zeroize::Zeroizing;

use crate::{
    error::{BrokerError, Result},
    key_store::{FirstStart, read_secret, write_new, write_public},
};

/// Reads the key, or makes it on the first start, and writes its public half.
pub(crate) fn load(path: &Path, origin: &str, first_start: FirstStart) -> Result<LogSigner> {
    let malformed = || BrokerError::KeyMalformed(path.to_owned());
    if !path.exists() {
        if first_start == FirstStart::No {
            return Err(BrokerError::KeyMissing(path.to_owned()));
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| BrokerError::Random)?;
        let pem = SigningKey::from_bytes(&seed)
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| malformed())?;
        write_new(path, pem.as_bytes())?;
    }
    let pem = read_secret(path)?;
    let key = SigningKey::from_pkcs8_pem(&pem).map_err(|_| malformed())?;
    let signer = LogSigner::new(origin, key.as_bytes())?;
    write_public(
        &public_path(path),
        format!("{}\n", signer.verifier().to_vkey()).as_bytes(),
    )?;
    Ok(signer)
}

/// Reads the public half.
pub(crate) fn load_public(path: &Path) -> Result<LogVerifier> {
    let path = public_path(path);
    let text = std::fs::read_to_string(&path).map_err(|source| BrokerError::KeyFile {
        path: path.clone(),
        source,
    })?;
    LogVerifier::from_vkey(&text).map_err(|_| BrokerError::KeyMalformed(path))
}

fn public_path(path: &Path) -> PathBuf {
    path.with_extension("pub")
}
