//! The owner's folder of sealed models: where `pull` puts them, `ls` lists them and `rm` removes one.

use std::env;
use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use sealed_model::{Manifest, UnverifiedManifest};
use serde_json::{Value, json};

use crate::cli::{Ls, Rm};
use crate::error::{Result, SealError};
use crate::output::Output;
use crate::{keys, seal};

/// Folders looked at in one store.
const ENTRIES_MAX: usize = 4096;

/// `$XDG_DATA_HOME/adyton/models`, else `~/.local/share/adyton/models`.
fn folder() -> Result<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("adyton/models"))
        .ok_or(SealError::NoHome)
}

/// Where a pulled model goes if no place is named; its folder is made, for its owner alone.
pub(crate) fn place_for(repository: &str) -> Result<PathBuf> {
    let folder = folder()?;
    fs::create_dir_all(&folder).map_err(|error| SealError::file("create", &folder, error))?;
    Ok(folder.join(format!("{}.sealed", repository.replace('/', "--"))))
}

/// Lists sealed models.
pub(crate) fn ls(arguments: &Ls, output: Output) -> Result<()> {
    let folder = match &arguments.folder {
        Some(folder) => folder.clone(),
        None => folder()?,
    };
    let owner = arguments
        .owner_key
        .as_deref()
        .map(keys::owner_public_key)
        .transpose()?;
    let mut found: Vec<(PathBuf, sealed_model::Result<Manifest>)> = Vec::new();
    for path in sealed_folders(&folder, arguments.folder.is_some())? {
        let manifest = match &owner {
            Some(owner) => {
                sealed_model::SealedModel::open_manifest(&path, owner).map(|model| model.manifest().clone())
            }
            None => UnverifiedManifest::read(&path).map(|unverified| unverified.what_it_claims().clone()),
        };
        found.push((path, manifest));
    }
    let rows: Vec<Vec<String>> = found.iter().map(|(path, manifest)| row(path, manifest)).collect();
    let models: Vec<Value> = found
        .iter()
        .map(|(path, manifest)| match manifest {
            Ok(manifest) => {
                let mut document = seal::document(manifest, path);
                document["signature_verified"] = json!(owner.is_some());
                document
            }
            Err(error) => json!({ "sealed_model": path.display().to_string(), "error": error.code() }),
        })
        .collect();
    let header = ["MODEL", "VERSION", "SIZE", "DIGEST", "FOLDER"];
    if found.is_empty() {
        output.step(&format!("no sealed model in {}", folder.display()));
    }
    output.table(
        &header,
        &rows,
        &json!({ "folder": folder.display().to_string(), "models": models }),
    );
    if owner.is_none() && !found.is_empty() {
        output.step("signatures were not checked: name the owner's key with --owner-key");
    }
    Ok(())
}

fn row(path: &Path, manifest: &sealed_model::Result<Manifest>) -> Vec<String> {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    match manifest {
        Ok(manifest) => vec![
            manifest.model_id().to_owned(),
            manifest.version().to_string(),
            indicatif::BinaryBytes(manifest.sealed_bytes()).to_string(),
            hex::encode(&manifest.digest()[..6]),
            name,
        ],
        Err(error) => vec![
            format!("({})", error.code()),
            String::new(),
            String::new(),
            String::new(),
            name,
        ],
    }
}

/// The folders with a manifest, sorted; a store that was never used is empty.
fn sealed_folders(folder: &Path, must_exist: bool) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(Vec::new()),
        entries => entries.map_err(|error| SealError::file("read", folder, error))?,
    };
    let mut found = Vec::new();
    for entry in entries.take(ENTRIES_MAX) {
        let path = entry
            .map_err(|error| SealError::file("read", folder, error))?
            .path();
        if path.join("manifest.json").is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Removes one sealed model, after asking.
pub(crate) fn rm(arguments: &Rm, output: Output) -> Result<()> {
    let path = match arguments.sealed.components().count() {
        // A plain name is one of the store.
        1 if !arguments.sealed.exists() => folder()?.join(&arguments.sealed),
        _ => arguments.sealed.clone(),
    };
    // What is no sealed model is not this command's to remove.
    let unverified = UnverifiedManifest::read(&path)?;
    let manifest = unverified.what_it_claims();
    if !arguments.yes && !confirmed(&path, manifest, output)? {
        return Err(SealError::NotConfirmed(path));
    }
    fs::remove_dir_all(&path).map_err(|error| SealError::file("remove", &path, error))?;
    let mut document = seal::document(manifest, &path);
    document["removed"] = json!(true);
    output.result(
        &[
            ("removed", path.display().to_string()),
            ("model id", manifest.model_id().to_owned()),
            (
                "its key",
                "is still registered wherever it was: disable the model at the broker to stop releases"
                    .to_owned(),
            ),
        ],
        &document,
    );
    Ok(())
}

fn confirmed(path: &Path, manifest: &Manifest, output: Output) -> Result<bool> {
    if output.json || !io::stdin().is_terminal() {
        return Ok(false);
    }
    output.ask(&format!(
        "Remove {} ({} version {}, {})? [y/N] ",
        path.display(),
        manifest.model_id(),
        manifest.version(),
        indicatif::BinaryBytes(manifest.sealed_bytes())
    ));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| SealError::file("read", "standard input", error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
