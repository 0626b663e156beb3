//! `inspect`: what a sealed model says of itself, and, with the owner's key, whether the owner said it.

use sealed_model::{SealedModel, UnverifiedManifest};
use serde_json::json;

use crate::cli::Inspect;
use crate::error::Result;
use crate::output::Output;
use crate::{keys, seal};

/// Shows a sealed model.
pub(crate) fn inspect(arguments: &Inspect, output: Output) -> Result<()> {
    let unverified;
    let model;
    let manifest = match &arguments.owner_key {
        Some(path) => {
            model = SealedModel::open_manifest(&arguments.sealed, &keys::owner_public_key(path)?)?;
            if arguments.digests {
                let meter = output.progress("checking");
                model.check_digests(&|progressed| meter.show(progressed))?;
            }
            model.manifest()
        }
        None => {
            unverified = UnverifiedManifest::read(&arguments.sealed)?;
            unverified.what_it_claims()
        }
    };
    let wraps = sealed_model::read_wraps(&arguments.sealed)?;
    let verified = arguments.owner_key.is_some();
    let signature = match (verified, arguments.digests) {
        (false, _) => "NOT CHECKED: name the owner's key with --owner-key",
        (true, false) => "the owner's; digests not checked (--digests)",
        (true, true) => "the owner's; every byte as signed",
    };
    let mut lines = seal::describe(manifest, &arguments.sealed);
    lines.push(("signature", signature.to_owned()));
    for wrap in wraps.wraps() {
        lines.push((
            "wrap",
            format!("{} {} ({})", wrap.kek_id, wrap.version, wrap.algorithm),
        ));
    }
    let mut document = seal::document(manifest, &arguments.sealed);
    document["signature_verified"] = json!(verified);
    document["digests_verified"] = json!(arguments.digests);
    document["wraps"] = wraps
        .wraps()
        .iter()
        .map(|wrap| json!({ "kek_id": wrap.kek_id, "version": wrap.version }))
        .collect();
    document["objects"] = manifest
        .objects()
        .map(|(name, bytes, sha256)| json!({ "name": name, "bytes": bytes, "sha256": hex::encode(sha256) }))
        .collect();
    output.result(&lines, &document);
    Ok(())
}
