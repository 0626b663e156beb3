//! Command lines of the other binaries that a start runs to their end.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{process, releases::AdminAddress};
use crate::{cli::Flavor, error::ClientError};

const ENCLAVE: &str = "adyton-enclave-simulated";
const SEAL: &str = "adyton-seal";

/// The enclave's binary: what is launched and measured.
pub fn enclave_binary() -> Result<PathBuf, ClientError> {
    process::sibling(ENCLAVE)
}

/// Makes the simulated platform's keys, or renews its documents.
pub async fn manufacture(platform: &Path) -> Result<(), ClientError> {
    let arguments = words(&["manufacture", "--platform"], &[platform]);
    process::run_to_end(ENCLAVE, &enclave_binary()?, &arguments)
        .await
        .map(drop)
}

/// The launch measurement of the enclave's binary with this configuration, in hexadecimal.
pub async fn measure(flavor: Flavor, config: &Path) -> Result<String, ClientError> {
    let arguments = words(&["measure", "--flavor", flavor.as_str(), "--config"], &[config]);
    let printed = process::run_to_end(ENCLAVE, &enclave_binary()?, &arguments).await?;
    Ok(printed.trim().to_owned())
}

/// The `[danger.simulated.…]` table of a policy that accepts this platform and this configuration.
pub async fn policy_fragment(platform: &Path, flavor: Flavor, config: &Path) -> Result<String, ClientError> {
    let mut arguments = words(&["anchors", "--platform"], &[platform]);
    arguments.extend(words(&["--flavor", flavor.as_str(), "--config"], &[config]));
    process::run_to_end(ENCLAVE, &enclave_binary()?, &arguments).await
}

/// Makes the manifest-signing key and gives its public half in hexadecimal.
pub async fn owner_keygen(out: &Path) -> Result<String, ClientError> {
    let arguments = words(&["keygen", "--json", "--out"], &[out]);
    let printed = process::run_to_end(SEAL, &process::sibling(SEAL)?, &arguments).await?;
    text_of(&printed, "public_key")
}

/// The public half of an existing manifest-signing key.
pub async fn owner_public_key(key: &Path) -> Result<String, ClientError> {
    let arguments = words(&["public-key", "--json", "--owner-key"], &[key]);
    let printed = process::run_to_end(SEAL, &process::sibling(SEAL)?, &arguments).await?;
    text_of(&printed, "public_key")
}

/// What to seal.
pub struct SealRequest<'a> {
    /// The plain model.
    pub source: &'a Path,
    /// Its id.
    pub model_id: &'a str,
    /// Its version.
    pub version: u64,
    /// The new container.
    pub out: &'a Path,
    /// Signs the manifest.
    pub owner_key: &'a Path,
}

/// TODO
pub async fn seal(_request: &SealRequest<'_>) -> Result<String, ClientError> {
    Ok(String::new())
}

/// TODO
pub async fn register(_sealed: &Path, _admin: &AdminAddress, _policy: &Path) -> Result<(), ClientError> {
    Ok(())
}

/// TODO
pub async fn manifest_digest(_sealed: &Path, _owner_key: &Path) -> Result<String, ClientError> {
    Ok(String::new())
}

fn text_of(printed: &str, key: &str) -> Result<String, ClientError> {
    let document: Value = serde_json::from_str(printed).unwrap_or_default();
    let malformed = || ClientError::Malformed {
        what: "adyton-seal's answer",
        problem: format!("no `{key}`"),
    };
    document[key].as_str().map(str::to_owned).ok_or_else(malformed)
}

fn words(words: &[&str], paths: &[&Path]) -> Vec<OsString> {
    words
        .iter()
        .map(OsString::from)
        .chain(paths.iter().map(|path| path.as_os_str().to_owned()))
        .collect()
}
