//! The identity statement: what an attested process says of itself, bound to its evidence.
//!
//! Deterministic CBOR map with integer keys, all required:
//!
//! | key | field | type |
//! |---|---|---|
//! | 1 | format version | 1 |
//! | 2 | role | 1 inference, 2 broker |
//! | 3 | key configurations, RFC 9458 `application/ohttp-keys` | bytes, at most 16 KiB |
//! | 4 | receipt key, Ed25519 | 32 bytes |
//! | 5 | SHA-256 of the TLS SubjectPublicKeyInfo | 32 bytes |
//! | 6 | wrap key, one RFC 9458 key configuration | bytes, at most 4 KiB |
//! | 7 | boot id | 16 bytes |
//! | 8 | digests of the sealed models' manifests | array of 32 bytes, at most 64 |
//! | 9 | digest of the measured configuration | 32 bytes |
//! | 10 | digest of the enclave's own policy, zero if it has none | 32 bytes |
//! | 11 | key lifetime in seconds | 1 to 2,592,000 |
//! | 12 | software version | text, 1 to 64 printable ASCII characters |
//! | 13 | SHA-256 of each device's leaf certificate | array of 32 bytes, at most 32 |

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use minicbor::Decoder;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::cbor::{self, CborFault};
use crate::clause::Question::{Expected, Mine};
use crate::device::DEVICES_MAX;
use crate::error::StatementError;
use crate::examination::{Examination, Fault, Rule};
use crate::fields::{Field, Fields};
use crate::{AppraisalPolicy, Nonce, ReportData, Role, report_data};

/// The one format version.
const VERSION: u64 = 1;
const ENTRIES: u64 = 13;
const STATEMENT_BYTES_MAX: usize = 32 * 1024;
const KEY_CONFIGS_BYTES_MAX: usize = 16 * 1024;
const WRAP_KEY_BYTES_MAX: usize = 4 * 1024;
const MODELS_MAX: usize = 64;
const KEY_LIFETIME_SECONDS_MAX: u32 = 30 * 24 * 3600;
const SOFTWARE_VERSION_BYTES_MAX: usize = 64;

/// A parsed statement together with the exact bytes that evidence commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    fields: StatementFields,
    bytes: Vec<u8>,
}

/// The fields of a [`Statement`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementFields {
    /// What the process is for.
    pub role: Role,
    /// RFC 9458 `application/ohttp-keys`: key configurations, each with a two-byte length.
    pub key_configs: Vec<u8>,
    /// Ed25519 public key that signs receipts.
    pub receipt_key: [u8; 32],
    /// SHA-256 of the SubjectPublicKeyInfo of the TLS key.
    pub tls_spki_sha256: [u8; 32],
    /// One RFC 9458 key configuration to which model keys are sealed.
    pub wrap_key: Vec<u8>,
    /// Random at each boot.
    pub boot_id: [u8; 16],
    /// SHA-256 of each sealed model's signed manifest payload.
    pub model_digests: Vec<[u8; 32]>,
    /// SHA-256 of the measured configuration file.
    pub config_digest: [u8; 32],
    /// SHA-256 of the policy that the process itself enforces; zero if none.
    pub policy_digest: [u8; 32],
    /// How long the keys above may be used after appraisal, in seconds.
    pub key_lifetime_seconds: u32,
    /// Version of the software, for people; never decided upon.
    pub software_version: String,
    /// SHA-256 of the leaf certificate of each device (GPUs) that works for this process, in the
    /// order in which the bundle carries their evidence.
    pub device_digests: Vec<[u8; 32]>,
}

impl Statement {
    /// Parses a statement; only the deterministic encoding is accepted.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(StatementError::Bound);
        }
        let fields = decode(bytes)?;
        let statement = fields.encode()?;
        if statement.bytes != bytes {
            return Err(StatementError::NotCanonical);
        }
        Ok(statement)
    }

    /// The exact bytes: hash and send these, never a re-encoding.
    pub fn statement_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The fields.
    pub fn fields(&self) -> &StatementFields {
        &self.fields
    }

    /// SHA-256 of [`Statement::statement_bytes`], as receipts and release records cite it.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    /// The fields for a person.
    pub fn named_fields(&self) -> Vec<Field> {
        let mut fields = Fields::default();
        fields
            .text("role", None, self.role)
            .text("key configurations", None, hex::encode(&self.key_configs))
            .text("receipt key", None, hex::encode(self.receipt_key))
            .text("TLS SPKI SHA-256", None, hex::encode(self.tls_spki_sha256))
            .text("wrap key", None, hex::encode(&self.wrap_key))
            .text("boot id", None, hex::encode(self.boot_id));
        for digest in &self.model_digests {
            fields.text("model digest", None, hex::encode(digest));
        }
        fields
            .text("config digest", None, hex::encode(self.config_digest))
            .text("policy digest", None, hex::encode(self.policy_digest))
            .text("key lifetime, seconds", None, self.key_lifetime_seconds)
            .text("software version", None, &self.software_version);
        for digest in &self.device_digests {
            fields.text("device digest", None, hex::encode(digest));
        }
        fields.text("SHA-256 of the statement", None, hex::encode(self.sha256()));
        fields.into_vec()
    }

    /// [`report_data`] of this statement.
    pub fn report_data(&self, nonce: &Nonce) -> ReportData {
        report_data(self.fields.role, &self.bytes, nonce)
    }
}

impl core::ops::Deref for Statement {
    type Target = StatementFields;

    fn deref(&self) -> &StatementFields {
        &self.fields
    }
}

impl StatementFields {
    /// Checks the bounds and encodes.
    pub fn encode(self) -> Result<Statement, StatementError> {
        self.check()?;
        let bytes = cbor::encode(|writer| {
            writer.map(ENTRIES)?.u8(1)?.u64(VERSION)?;
            writer.u8(2)?.u8(self.role.number())?;
            writer.u8(3)?.bytes(&self.key_configs)?;
            writer.u8(4)?.bytes(&self.receipt_key)?;
            writer.u8(5)?.bytes(&self.tls_spki_sha256)?;
            writer.u8(6)?.bytes(&self.wrap_key)?;
            writer.u8(7)?.bytes(&self.boot_id)?;
            writer.u8(8)?.array(self.model_digests.len() as u64)?;
            for digest in &self.model_digests {
                writer.bytes(digest)?;
            }
            writer.u8(9)?.bytes(&self.config_digest)?;
            writer.u8(10)?.bytes(&self.policy_digest)?;
            writer.u8(11)?.u32(self.key_lifetime_seconds)?;
            writer.u8(12)?.str(&self.software_version)?;
            writer.u8(13)?.array(self.device_digests.len() as u64)?;
            for digest in &self.device_digests {
                writer.bytes(digest)?;
            }
            Ok(())
        });
        Ok(Statement { fields: self, bytes })
    }

    fn check(&self) -> Result<(), StatementError> {
        let version = self.software_version.as_bytes();
        let printable = version.iter().all(|byte| (0x20..0x7f).contains(byte));
        let sizes = self.key_configs.len() <= KEY_CONFIGS_BYTES_MAX
            && self.wrap_key.len() <= WRAP_KEY_BYTES_MAX
            && self.model_digests.len() <= MODELS_MAX
            && self.device_digests.len() <= DEVICES_MAX
            && (1..=KEY_LIFETIME_SECONDS_MAX).contains(&self.key_lifetime_seconds)
            && (1..=SOFTWARE_VERSION_BYTES_MAX).contains(&version.len());
        if sizes && printable {
            Ok(())
        } else {
            Err(StatementError::Bound)
        }
    }
}

fn decode(bytes: &[u8]) -> Result<StatementFields, StatementError> {
    let decoder = &mut Decoder::new(bytes);
    cbor::map_of(decoder, ENTRIES)?;
    cbor::key(decoder, 1)?;
    let version = decoder.u64().map_err(CborFault::from)?;
    if version != VERSION {
        return Err(StatementError::UnknownVersion(version));
    }
    cbor::key(decoder, 2)?;
    let role = decoder.u8().map_err(CborFault::from)?;
    let role = Role::from_number(role).ok_or(StatementError::UnknownRole(role))?;
    cbor::key(decoder, 3)?;
    let key_configs = cbor::bytes(decoder, KEY_CONFIGS_BYTES_MAX)?.to_vec();
    cbor::key(decoder, 4)?;
    let receipt_key = cbor::array(decoder)?;
    cbor::key(decoder, 5)?;
    let tls_spki_sha256 = cbor::array(decoder)?;
    cbor::key(decoder, 6)?;
    let wrap_key = cbor::bytes(decoder, WRAP_KEY_BYTES_MAX)?.to_vec();
    cbor::key(decoder, 7)?;
    let boot_id = cbor::array(decoder)?;
    cbor::key(decoder, 8)?;
    let model_digests = digests(decoder, MODELS_MAX)?;
    cbor::key(decoder, 9)?;
    let config_digest = cbor::array(decoder)?;
    cbor::key(decoder, 10)?;
    let policy_digest = cbor::array(decoder)?;
    cbor::key(decoder, 11)?;
    let key_lifetime_seconds = decoder.u32().map_err(CborFault::from)?;
    cbor::key(decoder, 12)?;
    let software_version = decoder.str().map_err(CborFault::from)?.to_string();
    cbor::key(decoder, 13)?;
    let device_digests = digests(decoder, DEVICES_MAX)?;
    Ok(StatementFields {
        role,
        key_configs,
        receipt_key,
        tls_spki_sha256,
        wrap_key,
        boot_id,
        model_digests,
        config_digest,
        policy_digest,
        key_lifetime_seconds,
        software_version,
        device_digests,
    })
}

fn digests(decoder: &mut Decoder<'_>, digests_max: usize) -> Result<Vec<[u8; 32]>, StatementError> {
    let count = decoder
        .array()
        .map_err(CborFault::from)?
        .ok_or(CborFault::Shape)?;
    if count > digests_max as u64 {
        return Err(StatementError::Bound);
    }
    (0..count).map(|_| Ok(cbor::array(decoder)?)).collect()
}

pub(crate) static REPORT_DATA: Rule = Rule::new(
    "report-data",
    Mine,
    Fault::Mismatch,
    "Adyton evidence v1: SHA-512 over role, statement, nonce",
    "old evidence replayed; keys of somebody else under genuine evidence",
);
static FORMAT: Rule = Rule::new(
    "statement-format",
    Mine,
    Fault::Malformed,
    "Adyton statement v1; RFC 8949 section 4.2.1",
    "a statement that two readers read differently",
);
static ROLE: Rule = Rule::new(
    "statement-role",
    Mine,
    Fault::Mismatch,
    "policy role",
    "a broker's evidence where an inference enclave is asked for, or the other way round",
);
static MODELS: Rule = Rule::new(
    "statement-models",
    Expected,
    Fault::Mismatch,
    "policy model_digests",
    "another model than the one that was agreed on",
);
static CONFIG: Rule = Rule::new(
    "statement-config",
    Expected,
    Fault::Mismatch,
    "policy config_digests",
    "the right code with another configuration",
);

/// The rule that ties evidence to statement and nonce.
pub(crate) static REPORT_DATA_RULES: &[&Rule] = &[&REPORT_DATA];
/// The rules on what the statement says.
pub(crate) static STATEMENT_RULES: &[&Rule] = &[&MODELS, &CONFIG, &FORMAT, &ROLE];

/// Compares the whole 64 bytes in constant time.
pub(crate) fn check_report_data(examination: &mut Examination, expected: &ReportData, found: &ReportData) {
    let same = bool::from(expected.ct_eq(found));
    examination.check(&REPORT_DATA, same, hex::encode(expected), hex::encode(found));
}

/// Records a clause for each of [`STATEMENT_RULES`].
pub(crate) fn examine(
    examination: &mut Examination,
    bytes: &[u8],
    policy: &AppraisalPolicy,
) -> Option<Statement> {
    let parsed = Statement::parse(bytes);
    let fault = parsed.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let statement = examination.require(&FORMAT, parsed.ok(), "a statement", fault)?;
    let role = statement.role;
    examination.check(
        &ROLE,
        role == policy.role,
        policy.role.to_string(),
        role.to_string(),
    );
    let models = &statement.model_digests;
    let known = models.iter().all(|digest| policy.model_digests.contains(digest));
    let serves = models.is_empty() == policy.model_digests.is_empty();
    examination.check(
        &MODELS,
        known && serves,
        list(&policy.model_digests),
        list(models),
    );
    let config = &statement.config_digest;
    let references = &policy.config_digests;
    examination.check(
        &CONFIG,
        references.contains(config),
        references.to_string(),
        hex::encode(config),
    );
    Some(statement)
}

/// Digests in a line, or `none`.
pub(crate) fn list(digests: &[[u8; 32]]) -> String {
    if digests.is_empty() {
        return String::from("none");
    }
    digests.iter().map(hex::encode).collect::<Vec<_>>().join(" ")
}
