//! The sealed model of a local deployment: sealed once, used again while it fits.
//!
//! `models/registered.json` remembers what was sealed and registered. A start that finds the same source, enclave and
//! platform uses the sealed model as it is, after comparing its manifest with what is remembered: one that was changed or
//! rolled back is an error. A new source, enclave or configuration is sealed anew under the next version, which the
//! broker keeps as the floor.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    configs::EnclaveConfig,
    machine::{self, Image},
    pki::Pki,
    policies::{Accepted, DIGEST_PLACEHOLDER},
    releases::AdminAddress,
    state::StateDir,
    tools::{self, SealRequest},
};
use crate::{
    cli::Up,
    error::ClientError,
    private_file::{self, PUBLIC_MODE},
};

/// Where the sample model lies in a source tree.
const SAMPLE_IN_TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/sample");
/// Names the folder of the sample model.
const SAMPLE_VARIABLE: &str = "ADYTON_SAMPLE_MODEL";
/// The sample model's id.
const SAMPLE_ID: &str = "sample";
/// What an embedding model has beside its weights (sentence-transformers).
const MODULES: &str = "modules.json";
/// Longest model id (bytes).
const ID_BYTES_MAX: usize = 128;
/// What is remembered (bytes).
const REGISTERED_BYTES_MAX: u64 = 64 << 10;
/// Signs the manifest; adyton-seal makes and reads it.
const OWNER_KEY: &str = "keys/owner-signing.key";
/// What this module remembers.
const REGISTERED: &str = "models/registered.json";
/// The highest version that a sealing was begun for, in decimal.
const LAST_VERSION: &str = "models/last-version";
/// What clients accept.
const CLIENT_POLICY: &str = "policy/client.toml";
/// To whom the broker releases the key.
const RELEASE_POLICY: &str = "policy/release.toml";

/// A sealed model whose key the broker holds.
pub struct SealedModel {
    /// Its id.
    pub model_id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// It answers with embeddings: what its examples ask for.
    pub embeds: bool,
    version: u64,
    reused: bool,
}

impl SealedModel {
    /// For the progress line.
    pub fn summary(&self) -> String {
        let how = if self.reused {
            "kept"
        } else {
            "sealed, key registered"
        };
        format!("{} version {}, {how}", self.model_id, self.version)
    }
}

/// What an earlier start sealed and registered.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    version: u64,
    manifest_digest: String,
    /// SHA-256 over everything that the sealing and the release policy depended on.
    inputs_sha256: String,
}

/// Seals and registers the model, or uses what is there; writes the measured configuration and both policies.
pub async fn prepare(
    up: &Up,
    state: &StateDir,
    pki: &Pki,
    admin: &AdminAddress,
    issuer: &[u8; 32],
) -> Result<SealedModel, ClientError> {
    let source = source(up.model.as_deref())?;
    let model_id = if up.model.is_some() {
        id_of(&source)?
    } else {
        SAMPLE_ID.to_owned()
    };
    let embeds = source.join(MODULES).is_file();
    let sealed = state
        .path("models")
        .join(format!("{}.sealed", model_id.replace(['/', ':'], "-")));
    let owner_key = owner_key(state).await?;

    let config_path = state.path("config/enclave.toml");
    let image = up.vm.as_deref().map(Image::of).transpose()?;
    let config = EnclaveConfig {
        model_id: &model_id,
        sealed_model: if image.is_some() {
            Path::new(machine::MODEL)
        } else {
            &sealed
        },
        owner_key: &owner_key,
        broker_spki_sha256: &pki.broker.spki_sha256,
    };
    let config = config.text()?;
    private_file::write(&config_path, config.as_bytes(), PUBLIC_MODE)?;
    let platform = state.path("platform");
    let fragment = match &image {
        Some(image) => {
            let disk = match up.azure_like {
                true => Some(image.disk(state).await?),
                false => None,
            };
            image.policy_fragment(&platform, disk.as_deref()).await?
        }
        None => tools::policy_fragment(&platform, up.flavor, &config_path).await?,
    };
    let policies = Policies {
        state,
        fragment: &fragment,
        config: config.as_bytes(),
        model_id: &model_id,
        issuer,
    };
    let inputs_sha256 = hex::encode(inputs_digest(&source, &fragment, &config, issuer)?);
    let earlier = registered(state)?;
    if let Some(earlier) = earlier
        .as_ref()
        .filter(|earlier| earlier.inputs_sha256 == inputs_sha256)
    {
        let found = tools::manifest_digest(&sealed, &state.path(OWNER_KEY)).await?;
        if found != earlier.manifest_digest {
            return Err(ClientError::State(format!(
                "{} is not the sealed model that was registered: it was changed or rolled back",
                sealed.display()
            )));
        }
        policies.write(&found)?;
        return Ok(SealedModel {
            model_id,
            folder: sealed,
            embeds,
            version: earlier.version,
            reused: true,
        });
    }

    let version = next_version(state)?;
    policies.write(DIGEST_PLACEHOLDER)?;
    let new = sealed.with_extension("new");
    remove_folder(&new)?;
    let request = SealRequest {
        source: &source,
        model_id: &model_id,
        version,
        out: &new,
        owner_key: &state.path(OWNER_KEY),
    };
    let manifest_digest = tools::seal(&request, admin, &state.path(RELEASE_POLICY)).await?;
    remove_folder(&sealed)?;
    let renamed = std::fs::rename(&new, &sealed);
    renamed.map_err(|source| ClientError::Write {
        path: sealed.clone(),
        source,
    })?;
    policies.write(&manifest_digest)?;
    remember(
        state,
        &Registered {
            version,
            manifest_digest,
            inputs_sha256,
        },
    )?;
    Ok(SealedModel {
        model_id,
        folder: sealed,
        embeds,
        version,
        reused: false,
    })
}

struct Policies<'a> {
    state: &'a StateDir,
    fragment: &'a str,
    config: &'a [u8],
    model_id: &'a str,
    issuer: &'a [u8; 32],
}

impl Policies<'_> {
    /// `policy/client.toml` and `policy/release.toml` for a sealed model.
    fn write(&self, manifest_digest: &str) -> Result<(), ClientError> {
        let accepted = Accepted {
            platform_fragment: self.fragment,
            enclave_config: self.config,
            model_digest: manifest_digest,
        };
        let write = |path: &str, text: String| {
            private_file::write(&self.state.path(path), text.as_bytes(), PUBLIC_MODE)
        };
        write(CLIENT_POLICY, accepted.client_policy()?)?;
        write(
            RELEASE_POLICY,
            accepted.release_policy(self.model_id, self.issuer)?,
        )
    }
}

/// `--model`, else the sample model: named by the environment, installed beside the binaries, or in the source tree.
fn source(named: Option<&Path>) -> Result<PathBuf, ClientError> {
    let installed = || {
        Some(
            std::env::current_exe()
                .ok()?
                .parent()?
                .join("../share/adyton/sample"),
        )
    };
    let candidates = match named {
        Some(path) => vec![path.to_owned()],
        None => [
            std::env::var_os(SAMPLE_VARIABLE).map(PathBuf::from),
            installed(),
            Some(SAMPLE_IN_TREE.into()),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    let found = candidates.iter().find(|path| holds_a_model(path));
    let found = found.and_then(|path| path.canonicalize().ok());
    found.ok_or_else(|| {
        let listed: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        ClientError::Usage(format!(
            "no model (config.json, or a GGUF file) in {}",
            listed.join(" or ")
        ))
    })
}

/// Enough to tell a mistaken folder; what is in it is for the engine to refuse.
fn holds_a_model(folder: &Path) -> bool {
    let gguf = |entry: std::fs::DirEntry| {
        entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "gguf")
    };
    let files = || std::fs::read_dir(folder).into_iter().flatten().flatten();
    folder.join("config.json").is_file() || files().any(gguf)
}

/// The folder's name, as far as a model id allows.
fn id_of(source: &Path) -> Result<String, ClientError> {
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let id: String = name.chars().map(plain).take(ID_BYTES_MAX).collect();
    if id.is_empty() {
        Err(ClientError::Usage("the model's folder has no name".to_owned()))
    } else {
        Ok(id)
    }
}

/// The public half of the manifest-signing key, which is made once.
async fn owner_key(state: &StateDir) -> Result<String, ClientError> {
    let path = state.path(OWNER_KEY);
    if path.exists() {
        tools::owner_public_key(&path).await
    } else {
        tools::owner_keygen(&path).await
    }
}

/// Everything that decides whether an earlier sealing still fits. Of the source, names, sizes and times: reading a large
/// checkpoint at every start would take longer than the start.
fn inputs_digest(
    source: &Path,
    fragment: &str,
    config: &str,
    issuer: &[u8; 32],
) -> Result<[u8; 32], ClientError> {
    let failed = |error| ClientError::Read {
        path: source.to_owned(),
        source: error,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(source).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        files.push((
            entry.file_name(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        ));
    }
    files.sort();
    let mut hash = Sha256::new();
    for part in [
        format!("{}{files:?}", source.display()).as_bytes(),
        fragment.as_bytes(),
        config.as_bytes(),
        issuer,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Ok(hash.finalize().into())
}

fn registered(state: &StateDir) -> Result<Option<Registered>, ClientError> {
    let path = state.path(REGISTERED);
    if !path.exists() {
        return Ok(None);
    }
    let text = private_file::read_text(&path, REGISTERED_BYTES_MAX)?;
    let read = serde_json::from_str(&text);
    read.map(Some)
        .map_err(|error| ClientError::State(format!("{}: {error}", path.display())))
}

/// One above every version that a sealing was ever begun for: the broker may have taken one that a crash kept from being
/// remembered.
fn next_version(state: &StateDir) -> Result<u64, ClientError> {
    let path = state.path(LAST_VERSION);
    let text = if path.exists() {
        private_file::read_text(&path, REGISTERED_BYTES_MAX)?
    } else {
        "0".to_owned()
    };
    let last: u64 = text
        .trim()
        .parse()
        .map_err(|_| ClientError::State(format!("{}: no number", path.display())))?;
    let next = last.saturating_add(1);
    private_file::write(&path, format!("{next}\n").as_bytes(), PUBLIC_MODE)?;
    Ok(next)
}

fn remove_folder(path: &Path) -> Result<(), ClientError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ClientError::Write {
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

fn remember(state: &StateDir, registered: &Registered) -> Result<(), ClientError> {
    let text = serde_json::to_string_pretty(registered).expect("strings and numbers are always JSON");
    private_file::write(&state.path(REGISTERED), text.as_bytes(), PUBLIC_MODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_from_folder_names() {
        assert_eq!(id_of(Path::new("/x/my model:7b")).expect("an id"), "my-model-7b");
        assert!(id_of(Path::new("/")).is_err());
        assert_eq!(
            id_of(Path::new(&format!("/{}", "a".repeat(300))))
                .expect("an id")
                .len(),
            ID_BYTES_MAX
        );
    }

    #[test]
    fn a_changed_source_enclave_or_configuration_is_noticed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let digest =
            |fragment, config| inputs_digest(dir.path(), fragment, config, &[1; 32]).expect("readable");
        std::fs::write(dir.path().join("config.json"), "{}").expect("writable");
        let first = digest("f", "c");
        assert_eq!(first, digest("f", "c"));
        assert_ne!(first, digest("fc", ""));
        assert_ne!(first, digest("f", "d"));
        std::fs::write(dir.path().join("model.safetensors"), "x").expect("writable");
        assert_ne!(first, digest("f", "c"));
    }

    #[test]
    fn a_folder_without_a_model_is_named_in_the_error() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let error = source(Some(dir.path())).expect_err("no config.json");
        assert!(error.to_string().contains(&dir.path().display().to_string()));
        std::fs::write(dir.path().join("weights.gguf"), "x").expect("writable");
        source(Some(dir.path())).expect("a GGUF file has all that a model needs");
    }
}
