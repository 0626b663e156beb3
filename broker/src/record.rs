//! What one entry of the audit log says: an OCSF API Activity event, content-free.
//!
//! The outer members are those of OCSF 1.4 class 6003, so that a SIEM takes entries as they are; what is ours stands in
//! `unmapped.adyton`. Every value is a number, a digest, a word of this program or the name of a registered model: no
//! text that a peer chose.

use attestation::UnixTime;
use audit::Entry;
use serde::{Deserialize, Serialize};

/// The version of OCSF whose names the entries use.
const OCSF_VERSION: &str = "1.4.0";
/// OCSF category Application Activity, class API Activity.
const CATEGORY: u32 = 6;
const CLASS: u32 = 6003;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Detail {
    /// A model key is about to be released: the record is durable before the key leaves.
    KeyRelease(KeyRelease),
    /// A request got no key.
    KeyRefusal(KeyRefusal),
    /// An owner registered a model, or a new version of it.
    ModelRegistration(ModelRegistration),
    /// An owner stopped releases of a model.
    ModelDisablement {
        /// The model.
        model_id: String,
    },
    /// A model key was wrapped again under a new version of the tenant's key.
    ModelRewrap {
        /// The model.
        model_id: String,
        /// SHA-256 of the new wrap.
        wrap_sha256: String,
    },
    /// The tenant's key was disabled: nothing is released any more.
    KekDisablement {
        /// The key.
        kek_id: String,
    },
    /// The tenant's key was enabled again.
    KekEnablement {
        /// The key.
        kek_id: String,
    },
    /// The tenant's key has a new version.
    KekRotation {
        /// The key.
        kek_id: String,
        /// Its newest version.
        kek_version: u32,
    },
}

/// To whom and on what grounds a key was released. Digests are hexadecimal SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRelease {
    /// The model.
    pub model_id: String,
    /// Its registered version.
    pub model_version: u64,
    /// Its manifest.
    pub manifest_digest: String,
    /// The release policy.
    pub policy_digest: String,
    /// The enclave's identity statement.
    pub statement_sha256: String,
    /// The raw evidence.
    pub evidence_sha256: String,
    /// The platform's tag; a simulated one says so.
    pub platform: String,
    /// `hardware` or `SIMULATED`.
    pub assurance: String,
    /// Launch digest or MRTD.
    pub launch_measurement: String,
    /// The enclave's end of the TLS connection.
    pub enclave_spki_sha256: String,
    /// How long the key may be used.
    pub lease_seconds: u32,
}

/// Why a request got no key. What was not reached is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRefusal {
    /// [`RefusalCode`](crate::refusal::RefusalCode).
    pub code: String,
    /// The appraisal clause that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clause: Option<String>,
    /// The model, if it is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// The release policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_digest: Option<String>,
    /// The statement as it was presented, verified or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_sha256: Option<String>,
    /// The evidence as it was presented, verified or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_sha256: Option<String>,
    /// The platform's tag as it was presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The other end of the TLS connection.
    pub enclave_spki_sha256: String,
}

/// What an owner registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRegistration {
    /// The model.
    pub model_id: String,
    /// The version: the floor from now on.
    pub model_version: u64,
    /// SHA-256 of the signed manifest payload.
    pub manifest_digest: String,
    /// SHA-256 of the release policy.
    pub policy_digest: String,
    /// SHA-256 of the owner's manifest-signing key in hexadecimal form.
    pub owner_key_sha256: String,
    /// SHA-256 of the wrap.
    pub wrap_sha256: String,
    /// The owner's end of the TLS connection.
    pub registrar_spki_sha256: String,
}

impl Detail {
    fn operation(&self) -> &'static str {
        match self {
            Self::KeyRelease(_) | Self::KeyRefusal(_) => "release-model-key",
            Self::ModelRegistration(_) => "register-model",
            Self::ModelDisablement { .. } => "disable-model",
            Self::ModelRewrap { .. } => "rewrap-model-key",
            Self::KekDisablement { .. } => "disable-tenant-kek",
            Self::KekEnablement { .. } => "enable-tenant-kek",
            Self::KekRotation { .. } => "rotate-tenant-kek",
        }
    }

    /// OCSF `activity_id` of API Activity: 1 create, 2 read, 3 update, 4 delete.
    fn activity(&self) -> u32 {
        match self {
            Self::ModelRegistration(_) => 1,
            Self::KeyRelease(_) | Self::KeyRefusal(_) => 2,
            Self::ModelRewrap { .. } | Self::KekEnablement { .. } | Self::KekRotation { .. } => 3,
            Self::ModelDisablement { .. } | Self::KekDisablement { .. } => 4,
        }
    }

    fn endpoint(&self) -> Option<&str> {
        match self {
            Self::KeyRelease(release) => Some(&release.enclave_spki_sha256),
            Self::KeyRefusal(refusal) => Some(&refusal.enclave_spki_sha256),
            Self::ModelRegistration(registration) => Some(&registration.registrar_spki_sha256),
            _ => None,
        }
    }

    fn failure(&self) -> Option<&str> {
        match self {
            Self::KeyRefusal(refusal) => Some(&refusal.code),
            _ => None,
        }
    }

    /// The entry that says this.
    pub fn entry(&self, now: UnixTime) -> Entry {
        let activity_id = self.activity();
        let failure = self.failure();
        let record = Record {
            activity_id,
            actor: Actor {
                app_name: if self.operation() == "release-model-key" {
                    "enclave"
                } else {
                    "owner"
                },
            },
            api: Api {
                operation: self.operation(),
            },
            category_uid: CATEGORY,
            class_uid: CLASS,
            metadata: Metadata {
                product: Product {
                    name: "adyton-broker",
                    vendor_name: "Adyton",
                    version: env!("CARGO_PKG_VERSION"),
                },
                version: OCSF_VERSION,
            },
            severity_id: if failure.is_some() { 3 } else { 1 },
            src_endpoint: Endpoint { uid: self.endpoint() },
            status: if failure.is_some() { "Failure" } else { "Success" },
            status_code: failure.unwrap_or("success"),
            status_id: if failure.is_some() { 2 } else { 1 },
            time: now.seconds().saturating_mul(1000),
            type_uid: CLASS * 100 + activity_id,
            unmapped: Unmapped { adyton: self },
        };
        Entry::new(&record).expect("a record is bounded text and integers below 2^53")
    }

    /// What an entry says; `None` when this program did not write it.
    pub fn of_entry(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Outer {
            unmapped: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            adyton: Detail,
        }
        serde_json::from_slice::<Outer>(bytes)
            .ok()
            .map(|outer| outer.unmapped.adyton)
    }
}

#[derive(Serialize)]
struct Record<'a> {
    activity_id: u32,
    actor: Actor,
    api: Api,
    category_uid: u32,
    class_uid: u32,
    metadata: Metadata,
    severity_id: u32,
    src_endpoint: Endpoint<'a>,
    status: &'static str,
    status_code: &'a str,
    status_id: u32,
    /// Milliseconds since 1970-01-01.
    time: u64,
    type_uid: u32,
    unmapped: Unmapped<'a>,
}

#[derive(Serialize)]
struct Actor {
    app_name: &'static str,
}

#[derive(Serialize)]
struct Api {
    operation: &'static str,
}

#[derive(Serialize)]
struct Metadata {
    product: Product,
    version: &'static str,
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Endpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

#[derive(Serialize)]
struct Unmapped<'a> {
    adyton: &'a Detail,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_canonical_and_says_what_was_done() {
        let refusal = Detail::KeyRefusal(KeyRefusal {
            code: "evidence-rejected".to_owned(),
            clause: Some("snp-measurement".to_owned()),
            model_id: Some("sample".to_owned()),
            policy_digest: None,
            statement_sha256: None,
            evidence_sha256: None,
            platform: Some("simulated-amd-sev-snp".to_owned()),
            enclave_spki_sha256: "00".repeat(32),
        });
        let entry = refusal.entry(UnixTime::from_seconds(1_795_489_740));
        assert_eq!(Entry::parse(entry.as_bytes()).expect("canonical"), entry);
        assert_eq!(Detail::of_entry(entry.as_bytes()), Some(refusal));
        let value: serde_json::Value = serde_json::from_slice(entry.as_bytes()).expect("JSON");
        assert_eq!(value["status_code"], "evidence-rejected");
        assert_eq!(value["type_uid"], 600_302);
        assert_eq!(value["time"], 1_795_489_740_000u64);
        assert_eq!(value["unmapped"]["adyton"]["event"], "key-refusal");
        assert!(value["unmapped"]["adyton"].get("policy_digest").is_none());
    }

    #[test]
    fn what_this_program_did_not_write_is_not_read() {
        for text in [
            "",
            "{}",
            "{\"unmapped\":{}}",
            "{\"unmapped\":{\"adyton\":{\"event\":\"other\"}}}",
        ] {
            assert_eq!(Detail::of_entry(text.as_bytes()), None);
        }
    }
}
