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

/// The `[danger.simulated.…]` table of a policy that accepts this platform and this configuration.
pub async fn policy_fragment(platform: &Path, flavor: Flavor, config: &Path) -> Result<String, ClientError> {
    let mut arguments = words(&["anchors", "--platform"], &[platform]);
    arguments.extend(words(&["--flavor", flavor.as_str(), "--config"], &[config]));
    process::run_to_end(ENCLAVE, &enclave_binary()?, &arguments).await
}

/// The `[danger.simulated.snp]` table of a policy that accepts this platform and a machine of this measurement.
pub async fn machine_fragment(platform: &Path, measurement: &str) -> Result<String, ClientError> {
    let arguments = words(
        &["machine-anchors", "--measurement", measurement, "--platform"],
        &[platform],
    );
    process::run_to_end(ENCLAVE, &enclave_binary()?, &arguments).await
}

/// The `[danger.simulated.azure]` tables of a policy that accepts this platform behind a paravisor of this measurement.
pub async fn azure_fragment(platform: &Path, measurement: &str) -> Result<String, ClientError> {
    let arguments = words(
        &["azure-anchors", "--measurement", measurement, "--platform"],
        &[platform],
    );
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

/// Seals a model and registers its key with the broker; gives the manifest's digest in hexadecimal.
pub async fn seal(
    request: &SealRequest<'_>,
    admin: &AdminAddress,
    policy: &Path,
) -> Result<String, ClientError> {
    let version = request.version.to_string();
    let words = [
        "seal",
        "--json",
        "--quiet",
        "--model-id",
        request.model_id,
        "--model-version",
        &version,
    ];
    let mut arguments: Vec<OsString> = words.map(OsString::from).to_vec();
    for (flag, value) in [
        ("--out", request.out),
        ("--owner-key", request.owner_key),
        ("--ca", &admin.ca),
        ("--cert", &admin.certificate),
        ("--key", &admin.private_key),
        ("--policy", policy),
    ] {
        arguments.extend([flag.into(), value.as_os_str().to_owned()]);
    }
    arguments.extend([
        "--broker".into(),
        OsString::from(&admin.url),
        "--".into(),
        request.source.into(),
    ]);
    let printed = process::run_to_end(SEAL, &process::sibling(SEAL)?, &arguments).await?;
    text_of(&printed, "manifest_digest")
}

/// The digest of a sealed model's manifest, whose signature is checked.
pub async fn manifest_digest(sealed: &Path, owner_key: &Path) -> Result<String, ClientError> {
    let arguments = words(&["inspect", "--json", "--owner-key"], &[owner_key, sealed]);
    let printed = process::run_to_end(SEAL, &process::sibling(SEAL)?, &arguments).await?;
    text_of(&printed, "manifest_digest")
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
