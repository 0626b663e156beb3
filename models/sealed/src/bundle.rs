//! The envelope of a signed manifest: a Sigstore bundle with a DSSE envelope, signed by a key (OpenSSF Model Signing
//! v1.0, key method). The bytes inside are used only after the signature over them was checked.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{OwnerPublicKey, OwnerSigningKey, Result, SealedModelError};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MEDIA_TYPE_FAMILY: &str = "application/vnd.dev.sigstore.bundle";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Signatures looked at in one envelope; an owner needs one.
const SIGNATURES_MAX: usize = 16;

/// A bundle that was parsed but says nothing yet: see [`Bundle::verify`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Bundle {
    media_type: String,
    verification_material: VerificationMaterial,
    dsse_envelope: Envelope,
}

/// Other methods than a key are recognised, so that they can be refused by name.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerificationMaterial {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<KeyHint>,
    #[serde(default)]
    tlog_entries: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
struct KeyHint {
    /// SHA-256 of the public key's PEM, in hex, as the reference implementation writes it.
    hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    sig: String,
    #[serde(default)]
    keyid: Option<String>,
}

impl Bundle {
    /// Parses; `unsupported-signing` for a bundle that is signed in another way than by a key.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        const fn malformed(why: &'static str) -> SealedModelError {
            SealedModelError::Malformed {
                what: "manifest",
                why,
            }
        }
        let bundle: Self = serde_json::from_slice(bytes).map_err(|_| malformed("not a model signature"))?;
        if !bundle.media_type.starts_with(MEDIA_TYPE_FAMILY) {
            return Err(malformed("not a Sigstore bundle"));
        }
        if bundle.dsse_envelope.payload_type != PAYLOAD_TYPE {
            return Err(malformed("not an in-toto statement"));
        }
        if bundle.dsse_envelope.signatures.is_empty()
            || bundle.dsse_envelope.signatures.len() > SIGNATURES_MAX
        {
            return Err(malformed("no signature, or too many"));
        }
        if bundle.verification_material.public_key.is_none() {
            return Err(SealedModelError::UnsupportedSigning);
        }
        Ok(bundle)
    }

    /// The payload, whoever signed it.
    pub(crate) fn unverified_payload(&self) -> Result<Vec<u8>> {
        let malformed = SealedModelError::Malformed {
            what: "manifest",
            why: "not base64",
        };
        BASE64.decode(&self.dsse_envelope.payload).map_err(|_| malformed)
    }

    /// The payload, if one signature is the owner's.
    pub(crate) fn verify(&self, owner: &OwnerPublicKey) -> Result<Vec<u8>> {
        let hint = self
            .verification_material
            .public_key
            .as_ref()
            .map(|key| key.hint.as_str());
        if hint != Some(key_hint(owner).as_str()) {
            return Err(SealedModelError::OwnerSignature);
        }
        let decode = |text: &str| {
            let malformed = SealedModelError::Malformed {
                what: "manifest",
                why: "not base64",
            };
            BASE64.decode(text).map_err(|_| malformed)
        };
        let payload = self.unverified_payload()?;
        let signed = pre_authentication_encoding(&payload);
        for signature in &self.dsse_envelope.signatures {
            if owner.verify(&signed, &decode(&signature.sig)?).is_ok() {
                return Ok(payload);
            }
        }
        Err(SealedModelError::OwnerSignature)
    }

    /// Signs a payload.
    pub(crate) fn sign(payload: &[u8], owner: &OwnerSigningKey) -> Result<Vec<u8>> {
        let signature = owner.sign(&pre_authentication_encoding(payload))?;
        let bundle = Self {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: VerificationMaterial {
                public_key: Some(KeyHint {
                    hint: key_hint(&owner.public_key()),
                }),
                tlog_entries: Vec::new(),
            },
            dsse_envelope: Envelope {
                payload: BASE64.encode(payload),
                payload_type: PAYLOAD_TYPE.to_owned(),
                signatures: vec![Signature {
                    sig: BASE64.encode(signature),
                    keyid: Some(String::new()),
                }],
            },
        };
        let mut bytes = serde_json::to_vec(&bundle).expect("strings and lists are expressible as JSON");
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// DSSE v1: `"DSSEv1" SP len(type) SP type SP len(payload) SP payload`.
fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

fn key_hint(owner: &OwnerPublicKey) -> String {
    hex::encode(digest(&SHA256, owner.to_pem().as_bytes()))
}
