//! `seal`: the broker is asked for its registration key first, so that a wrong address or certificate is found before
//! hours of encryption; then the folder is sealed, its key registered, and the wrap put beside the manifest.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sealed_model::{
    Manifest, ModelKey, OpenOptions, OwnerPublicKey, OwnerSigningKey, SealRequest, SealedModel,
};
use serde_json::{Value, json};

use crate::broker::{BrokerClient, Registered};
use crate::cli::{Broker, Register, Seal};
use crate::error::{Result, SealError};
use crate::keys;
use crate::output::Output;
use crate::policy::PolicyTemplate;

/// Seals, and registers if a broker was named.
pub(crate) async fn seal(arguments: Seal, output: Output) -> Result<()> {
    let owner = keys::signing_key(&arguments.owner_key)?;
    let owner_key = owner.public_key();
    let registration = match &arguments.broker {
        Some(broker) => Some(Registration::prepare(broker, &arguments.model_id).await?),
        None => None,
    };
    let key = ModelKey::generate()?;
    if let Some(path) = &arguments.model_key_file {
        keys::write_model_key(path, &key)?;
    }
    let (manifest, key) = match encrypt(&arguments, owner, key, output).await {
        Ok(sealed) => sealed,
        Err(error) => {
            // A key for nothing only invites mistakes.
            if let Some(path) = &arguments.model_key_file {
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
    };
    let kept = arguments.model_key_file.is_some();
    complete(
        &manifest,
        &owner_key,
        &key,
        registration,
        &arguments.out,
        kept,
        output,
    )
    .await
}

/// Registers what was sealed, if a broker was named, and reports. Without its key nothing can open it: unless the key was
/// kept, a failed registration removes it.
pub(crate) async fn complete(
    manifest: &Manifest,
    owner_key: &OwnerPublicKey,
    key: &ModelKey,
    registration: Option<Registration>,
    out: &Path,
    kept: bool,
    output: Output,
) -> Result<()> {
    let mut lines = describe(manifest, out);
    let mut document = document(manifest, out);
    if let Some(registration) = registration {
        match registration.register(manifest, owner_key, key, out, output).await {
            Ok(registered) => report(&registered, &mut lines, &mut document),
            Err(error) if kept => return Err(error),
            Err(error) => {
                let _ = std::fs::remove_dir_all(out);
                return Err(SealError::NotRegistered {
                    source: Box::new(error),
                });
            }
        }
    }
    output.result(&lines, &document);
    Ok(())
}

/// Registers a kept key again: a new policy, or a broker that lost its store.
pub(crate) async fn register(arguments: Register, output: Output) -> Result<()> {
    let owner_key = keys::owner_public_key(&arguments.owner_key)?;
    let key = keys::read_model_key(&arguments.model_key_file)?;
    let model = SealedModel::open_manifest(&arguments.sealed, &owner_key)?;
    model.check_key(&key)?;
    let manifest = model.manifest();
    let registration = Registration::prepare(&arguments.broker, manifest.model_id()).await?;
    let registered = registration
        .register(manifest, &owner_key, &key, &arguments.sealed, output)
        .await?;
    let mut lines = describe(manifest, &arguments.sealed);
    let mut document = document(manifest, &arguments.sealed);
    report(&registered, &mut lines, &mut document);
    output.result(&lines, &document);
    Ok(())
}

/// Seals on a thread of its own; the first Ctrl-C stops it and leaves nothing behind.
async fn encrypt(
    arguments: &Seal,
    owner: OwnerSigningKey,
    key: ModelKey,
    output: Output,
) -> Result<(Manifest, ModelKey)> {
    let stop = Arc::new(AtomicBool::new(false));
    let (source, out) = (arguments.source.clone(), arguments.out.clone());
    let (model_id, version) = (arguments.model_id.clone(), arguments.model_version);
    let threads = arguments
        .threads
        .unwrap_or_else(|| OpenOptions::default().threads);
    let sealing = tokio::task::spawn_blocking({
        let stop = stop.clone();
        move || {
            let meter = output.progress("sealing");
            let request = SealRequest {
                model_id: &model_id,
                version,
                key: &key,
                owner: &owner,
                threads,
                stop: &stop,
            };
            let manifest = sealed_model::seal(&source, &out, &request, &|progressed| meter.show(progressed))?;
            Ok::<_, SealError>((manifest, key))
        }
    });
    tokio::pin!(sealing);
    loop {
        tokio::select! {
            sealed = &mut sealing => return sealed.expect("sealing does not panic"),
            Ok(()) = tokio::signal::ctrl_c() => stop.store(true, Ordering::Relaxed),
        }
    }
}

/// A broker that answered, and the policy to register under.
pub(crate) struct Registration {
    broker: BrokerClient,
    policy: PolicyTemplate,
}

impl Registration {
    /// Reads the policy and asks the broker for its registration key.
    pub(crate) async fn prepare(arguments: &Broker, model_id: &str) -> Result<Self> {
        let policy = PolicyTemplate::read(&arguments.policy, model_id)?;
        let broker = BrokerClient::connect(arguments)?;
        broker.registration_key().await?;
        Ok(Self { broker, policy })
    }

    async fn register(
        &self,
        manifest: &Manifest,
        owner_key: &OwnerPublicKey,
        key: &ModelKey,
        sealed: &Path,
        output: Output,
    ) -> Result<Registered> {
        output.step("registering the key with the broker");
        let policy = self.policy.for_manifest(manifest.digest());
        let registered = self.broker.register(manifest, owner_key, key, &policy).await?;
        let mut wraps = SealedModel::open_manifest(sealed, owner_key)?.wraps()?;
        wraps.put(registered.wrap.clone());
        wraps.save(sealed)?;
        Ok(registered)
    }
}

pub(crate) fn describe(manifest: &Manifest, sealed: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("sealed model", sealed.display().to_string()),
        ("model id", manifest.model_id().to_owned()),
        ("version", manifest.version().to_string()),
        ("manifest digest", hex::encode(manifest.digest())),
        (
            "files",
            format!("{}, {} bytes", manifest.file_count(), manifest.plain_bytes()),
        ),
    ]
}

pub(crate) fn document(manifest: &Manifest, sealed: &Path) -> Value {
    json!({
        "sealed_model": sealed.display().to_string(),
        "model_id": manifest.model_id(),
        "version": manifest.version(),
        "manifest_digest": hex::encode(manifest.digest()),
        "files": manifest.file_count(),
        "plain_bytes": manifest.plain_bytes(),
        "sealed_bytes": manifest.sealed_bytes(),
    })
}

fn report(registered: &Registered, lines: &mut Vec<(&'static str, String)>, document: &mut Value) {
    let Registered { wrap, audit_index } = registered;
    lines.push((
        "registered",
        format!(
            "audit entry {audit_index}, wrapped under {} {}",
            wrap.kek_id, wrap.version
        ),
    ));
    document["audit_index"] = json!(audit_index);
    document["kek_id"] = json!(wrap.kek_id);
    document["kek_version"] = json!(wrap.version);
}
