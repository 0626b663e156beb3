//! The signed manifest: an in-toto statement in the form of OpenSSF Model Signing v1.0 over the *sealed* objects.
//!
//! The digests are SHA-256 of ciphertext, which is random: they tell nothing about the weights, and any tool for model
//! signatures can check a container at rest without a key. What opening needs besides (FLOE header and length of each
//! object) stands in annotations, which in-toto provides for that. The README has the reasons.

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use wire::ids::ModelId;

use crate::bundle::Bundle;
use crate::floe::{Geometry, HEADER_BYTES, Header};
use crate::key::{ContainerId, ObjectContext};
use crate::{OwnerPublicKey, OwnerSigningKey, Result, SealedModelError, limits};

/// File name of the signed manifest.
pub(crate) const MANIFEST_NAME: &str = "manifest.json";
/// Object that holds the names of the files.
pub(crate) const INDEX_NAME: &str = "index.floe";
/// Versions are JSON integers that every implementation reads exactly.
pub(crate) const VERSION_MAX: u64 = (1 << 53) - 1;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
const FORMAT: u32 = 1;

/// Opaque name of a file's object.
pub(crate) fn object_name(position: usize) -> String {
    format!("{position:04}.floe")
}

/// A manifest whose owner's signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    model_id: String,
    version: u64,
    container: ContainerId,
    /// The files' objects in order, then the index.
    objects: Vec<Object>,
    digest: [u8; 32],
}

/// A manifest whose signature was not checked, for showing; a type of its own, so that it cannot be opened or anchored.
pub struct UnverifiedManifest(Manifest);

impl UnverifiedManifest {
    /// Reads the manifest of a sealed model without the owner's key.
    pub fn read(sealed_model: &std::path::Path) -> Result<Self> {
        let directory = crate::directory::Directory::open(sealed_model)?;
        let bundle = directory.read(MANIFEST_NAME, "manifest", limits::MANIFEST_BYTES_MAX)?;
        Manifest::from_payload(&Bundle::parse(&bundle)?.unverified_payload()?).map(Self)
    }

    /// What it says of itself, which anyone could have written.
    pub fn what_it_claims(&self) -> &Manifest {
        &self.0
    }
}

/// What the owner signed about one sealed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) sha256: [u8; 32],
    pub(crate) header: Header,
    pub(crate) geometry: Geometry,
}

impl Manifest {
    /// The model's identifier.
    pub fn model_id(&self) -> &str {
        &self.model_id
    }

    /// The version the owner gave at sealing.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// SHA-256 of the signed payload: what statements, records and policies name.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Number of files sealed; their names are encrypted.
    pub fn file_count(&self) -> usize {
        self.objects.len() - 1
    }

    /// Bytes of plaintext in all files.
    pub fn plain_bytes(&self) -> u64 {
        self.files()
            .iter()
            .map(|object| object.geometry.plain_bytes())
            .sum()
    }

    /// Bytes of ciphertext in all objects.
    pub fn sealed_bytes(&self) -> u64 {
        self.objects
            .iter()
            .map(|object| object.geometry.sealed_bytes())
            .sum()
    }

    /// Name, length and SHA-256 of each sealed object, for listing and for checking at rest.
    pub fn objects(&self) -> impl Iterator<Item = (&str, u64, &[u8; 32])> {
        self.objects.iter().map(|object| {
            (
                object.name.as_str(),
                object.geometry.sealed_bytes(),
                &object.sha256,
            )
        })
    }

    pub(crate) fn container(&self) -> &ContainerId {
        &self.container
    }

    pub(crate) fn all_objects(&self) -> &[Object] {
        &self.objects
    }

    pub(crate) fn files(&self) -> &[Object] {
        &self.objects[..self.objects.len() - 1]
    }

    /// The associated data of one object.
    pub(crate) fn aad(&self, object: &Object) -> impl AsRef<[u8]> + use<> {
        ObjectContext {
            model_id: &self.model_id,
            version: self.version,
            container: &self.container,
            object: &object.name,
            plain_bytes: object.geometry.plain_bytes(),
        }
        .aad()
    }

    /// Checks the owner's signature, then reads what was signed.
    pub(crate) fn verify(bundle: &[u8], owner: &OwnerPublicKey) -> Result<Self> {
        let payload = Bundle::parse(bundle)?.verify(owner)?;
        Self::from_payload(&payload)
    }

    /// Signs; returns the manifest with its bundle.
    pub(crate) fn sign(
        model_id: &str,
        version: u64,
        container: ContainerId,
        objects: &[Object],
        owner: &OwnerSigningKey,
    ) -> Result<(Self, Vec<u8>)> {
        let statement = Statement::new(model_id, version, &container, objects);
        let payload = serde_json::to_vec(&statement).expect("strings and numbers are expressible as JSON");
        // Read back, so that nothing is ever written that would be refused when opened.
        Ok((Self::from_payload(&payload)?, Bundle::sign(&payload, owner)?))
    }

    fn from_payload(payload: &[u8]) -> Result<Self> {
        const fn malformed(why: &'static str) -> SealedModelError {
            SealedModelError::Malformed {
                what: "manifest",
                why,
            }
        }
        let statement: Statement =
            serde_json::from_slice(payload).map_err(|_| malformed("not a statement"))?;
        if statement.statement_type != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
            return Err(malformed("not a model signature"));
        }
        let [subject] =
            <[Subject; 1]>::try_from(statement.subject).map_err(|_| malformed("not one subject"))?;
        let annotations = subject.annotations.ok_or(SealedModelError::NotSealedModel)?;
        if annotations.format != FORMAT || annotations.segment_bytes != limits::SEGMENT_BYTES {
            return Err(malformed("a format of another version"));
        }
        if annotations.version == 0
            || annotations.version > VERSION_MAX
            || ModelId::new(&subject.name).is_err()
        {
            return Err(malformed("model id or version"));
        }
        let resources = statement.predicate.resources;
        if resources.len() < 2 || resources.len() > limits::FILES_MAX + 1 {
            return Err(malformed("no files, or too many"));
        }
        let last = resources.len() - 1;
        let mut objects = Vec::with_capacity(resources.len());
        let mut root = Context::new(&SHA256);
        for (position, resource) in resources.into_iter().enumerate() {
            // Names are not taken from the manifest but compared with the only ones there can be: no path gets in.
            let name = if position == last {
                INDEX_NAME.to_owned()
            } else {
                object_name(position)
            };
            if resource.name != name || resource.algorithm != "sha256" {
                return Err(malformed("object name or algorithm"));
            }
            let sha256: [u8; 32] = decode_hex(&resource.digest).ok_or(malformed("digest"))?;
            root.update(&sha256);
            let annotations = resource.annotations.ok_or(SealedModelError::NotSealedModel)?;
            let header: [u8; HEADER_BYTES] =
                decode_hex(&annotations.floe_header).ok_or(malformed("header"))?;
            let geometry = Some(annotations.bytes)
                .filter(|&bytes| bytes <= limits::OBJECT_BYTES_MAX)
                .and_then(|bytes| Geometry::of_ciphertext(limits::SEGMENT_BYTES, bytes))
                .ok_or(malformed("object length"))?;
            objects.push(Object {
                name,
                sha256,
                header,
                geometry,
            });
        }
        if objects[last].geometry.plain_bytes() > limits::INDEX_BYTES_MAX {
            return Err(malformed("index length"));
        }
        if root.finish().as_ref() != decode_hex::<32>(&subject.digest.sha256).ok_or(malformed("digest"))? {
            return Err(malformed("root digest"));
        }
        let container = decode_hex(&annotations.container).ok_or(malformed("container"))?;
        let digest = digest(&SHA256, payload)
            .as_ref()
            .try_into()
            .expect("SHA-256 has 32 bytes");
        Ok(Self {
            model_id: subject.name,
            version: annotations.version,
            container,
            objects,
            digest,
        })
    }
}

/// Lower-case hex of exactly `N` bytes: one spelling for one value.
fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}

/// in-toto Statement v1 with the predicate of OpenSSF Model Signing v1.0.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: RootDigest,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<SubjectAnnotations>,
}

/// SHA-256 over the digests of the resources in order, as the reference implementation computes it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootDigest {
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectAnnotations {
    #[serde(rename = "adyton_sealed_model")]
    format: u32,
    version: u64,
    container: String,
    segment_bytes: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predicate {
    resources: Vec<Resource>,
    serialization: Serialization,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    name: String,
    digest: String,
    algorithm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<ResourceAnnotations>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceAnnotations {
    bytes: u64,
    floe_header: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Serialization {
    method: String,
    hash_type: String,
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

impl Statement {
    fn new(model_id: &str, version: u64, container: &ContainerId, objects: &[Object]) -> Self {
        let mut root = Context::new(&SHA256);
        objects.iter().for_each(|object| root.update(&object.sha256));
        let resource = |object: &Object| Resource {
            name: object.name.clone(),
            digest: hex::encode(object.sha256),
            algorithm: "sha256".to_owned(),
            annotations: Some(ResourceAnnotations {
                bytes: object.geometry.sealed_bytes(),
                floe_header: hex::encode(object.header),
            }),
        };
        Self {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject {
                name: model_id.to_owned(),
                digest: RootDigest {
                    sha256: hex::encode(root.finish()),
                },
                annotations: Some(SubjectAnnotations {
                    format: FORMAT,
                    version,
                    container: hex::encode(container),
                    segment_bytes: limits::SEGMENT_BYTES,
                }),
            }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Predicate {
                resources: objects.iter().map(resource).collect(),
                serialization: Serialization {
                    method: "files".to_owned(),
                    hash_type: "sha256".to_owned(),
                    allow_symlinks: false,
                    ignore_paths: vec![MANIFEST_NAME.to_owned(), crate::wrap::WRAPS_NAME.to_owned()],
                },
            },
        }
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
