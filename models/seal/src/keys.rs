//! The owner's keys as files: `keygen`, `public-key`, and reading them for the other commands.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealed_model::{ModelKey, OwnerPublicKey, OwnerSignatureAlgorithm, OwnerSigningKey};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::{Algorithm, Keygen, PublicKey};
use crate::error::{Result, SealError};
use crate::output::Output;
use crate::secret_file::{read_public, read_secret, write_public, write_secret};

/// First word of a model key file, so that another secret is never taken for one.
const MODEL_KEY_TAG: &str = "adyton-model-key-v1";
const PUBLIC_KEY_BYTES_MAX: u64 = 16 << 10;

/// Makes a manifest-signing key.
pub(crate) fn keygen(arguments: &Keygen, output: Output) -> Result<()> {
    let algorithm = match arguments.algorithm {
        Algorithm::EcdsaP384 => OwnerSignatureAlgorithm::EcdsaP384,
        Algorithm::Ed25519 => OwnerSignatureAlgorithm::Ed25519,
    };
    let key = OwnerSigningKey::generate(algorithm)?;
    write_secret(&arguments.out, &key.expose_pem()?)?;
    let public_file = with_suffix(&arguments.out, ".pub");
    write_public(&public_file, &key.public_key().to_pem())?;
    let public_key = key.public_key().to_hex();
    output.result(
        &[
            (
                "private key",
                format!(
                    "{} (keep it: it signs every version of your models)",
                    arguments.out.display()
                ),
            ),
            ("public key", public_file.display().to_string()),
            ("in configuration", public_key.clone()),
        ],
        &json!({
            "private_key_file": arguments.out.display().to_string(),
            "public_key_file": public_file.display().to_string(),
            "public_key": public_key,
        }),
    );
    Ok(())
}

/// Prints the public half.
pub(crate) fn public_key(arguments: &PublicKey, output: Output) -> Result<()> {
    let public_key = signing_key(&arguments.owner_key)?.public_key().to_hex();
    output.result(
        &[("public key", public_key.clone())],
        &json!({ "public_key": public_key }),
    );
    Ok(())
}

/// Reads a manifest-signing key.
pub(crate) fn signing_key(path: &Path) -> Result<OwnerSigningKey> {
    Ok(OwnerSigningKey::from_pem(&read_secret(path)?)?)
}

/// Reads a public key from a file that holds it in hexadecimal or PEM, or that holds the private key.
pub(crate) fn owner_public_key(path: &Path) -> Result<OwnerPublicKey> {
    let text = read_public(path, PUBLIC_KEY_BYTES_MAX)?;
    if text.contains("PRIVATE KEY") {
        return Ok(signing_key(path)?.public_key());
    }
    if text.contains("PUBLIC KEY") {
        return Ok(OwnerPublicKey::from_pem(&text)?);
    }
    Ok(OwnerPublicKey::from_hex(text.trim())?)
}

/// Keeps a model key.
pub(crate) fn write_model_key(path: &Path, key: &ModelKey) -> Result<()> {
    let encoded = Zeroizing::new(BASE64.encode(key.expose_bytes()));
    write_secret(
        path,
        &Zeroizing::new(format!("{MODEL_KEY_TAG} {}\n", encoded.as_str())),
    )
}

/// Reads a model key that was kept.
pub(crate) fn read_model_key(path: &Path) -> Result<ModelKey> {
    let text = read_secret(path)?;
    let decoded = text
        .strip_prefix(MODEL_KEY_TAG)
        .and_then(|rest| BASE64.decode(rest.trim()).ok())
        .map(Zeroizing::new)
        .filter(|bytes| bytes.len() == 32)
        .ok_or_else(|| SealError::Malformed {
            path: path.to_owned(),
            expected: "a model key that adyton-seal kept",
        })?;
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(&decoded);
    Ok(ModelKey::from_bytes(bytes))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
