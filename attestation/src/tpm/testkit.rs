//! For tests: a vTPM and its authorities under keys of our own, and where real quotes lie.

use alloc::string::String;
use alloc::vec::Vec;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::clause::{Clause, Outcome};
use crate::event_log::EventKind;
use crate::{Role, StatementFields, UnixTime};

pub(crate) type Failed = std::collections::BTreeSet<&'static str>;

/// The clauses that failed.
pub(crate) fn failed<'a>(clauses: impl IntoIterator<Item = &'a Clause>) -> Failed {
    let clauses = clauses.into_iter();
    let failed = clauses.filter(|clause| clause.outcome == Outcome::Fail);
    failed.map(|clause| clause.id).collect()
}

/// A broker's statement, to be changed.
pub(crate) fn statement_fields() -> StatementFields {
    StatementFields {
        role: Role::Broker,
        key_configs: alloc::vec![1],
        receipt_key: [1; 32],
        tls_spki_sha256: [2; 32],
        wrap_key: alloc::vec![3],
        boot_id: [4; 16],
        model_digests: Vec::new(),
        config_digest: [5; 32],
        policy_digest: [0; 32],
        key_lifetime_seconds: 60,
        software_version: "test".into(),
        device_digests: Vec::new(),
    }
}

/// An RSA-2048 key.
pub(crate) struct RsaKey(KeyPair);

impl RsaKey {
    pub(crate) fn generate() -> Self {
        Self(KeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    pub(crate) fn modulus(&self) -> Vec<u8> {
        let public = self.0.public_key().as_ref();
        let public = rsa_public_key(public).expect("an RSAPublicKey");
        public.strip_prefix(&[0]).unwrap_or(public).to_vec()
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = alloc::vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("a signature");
        signature
    }

    fn spki(&self) -> Vec<u8> {
        let algorithm = tlv(0x30, &[oid("1.2.840.113549.1.1.1"), tlv(0x05, &[])]);
        let bits = [&[0][..], self.0.public_key().as_ref()].concat();
        tlv(0x30, &[algorithm, tlv(0x03, &[bits])])
    }
}

fn rsa_public_key(bytes: &[u8]) -> Result<&[u8], crate::x509::Asn1Fault> {
    crate::x509::Asn1Reader::whole_sequence(bytes)?.integer()
}

/// Keys are slow to make; all tests share these.
pub(crate) fn keys() -> &'static [RsaKey; 3] {
    static KEYS: OnceLock<[RsaKey; 3]> = OnceLock::new();
    KEYS.get_or_init(|| [(); 3].map(|()| RsaKey::generate()))
}

/// The vTPM's key.
pub(crate) fn attestation_key() -> &'static RsaKey {
    &keys()[0]
}

/// The authority's key, root and intermediate at once.
pub(crate) fn authority_key() -> &'static RsaKey {
    &keys()[1]
}

/// Somebody else's key.
pub(crate) fn another_key() -> &'static RsaKey {
    &keys()[2]
}

/// One DER element.
pub(crate) fn tlv(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let contents = parts.concat();
    let mut bytes = alloc::vec![tag];
    match contents.len() {
        length @ ..0x80 => bytes.push(length as u8),
        length => {
            bytes.push(0x82);
            bytes.extend((length as u16).to_be_bytes());
            if length < 0x100 {
                bytes.splice(1..3, [0x81]);
            }
        }
    }
    bytes.extend(contents);
    bytes
}

pub(crate) fn oid(text: &str) -> Vec<u8> {
    let id = der::asn1::ObjectIdentifier::new_unwrap(text);
    tlv(0x06, &[id.as_bytes().to_vec()])
}

pub(crate) fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0c, &[text.as_bytes().to_vec()])
}

/// A certificate to issue under [`authority_key`].
pub(crate) struct Issue<'a> {
    pub(crate) subject: &'a str,
    pub(crate) issuer: &'a str,
    pub(crate) key: &'a RsaKey,
    /// Each a whole Extension.
    pub(crate) extensions: Vec<Vec<u8>>,
    pub(crate) not_after: &'a str,
}

pub(crate) const ROOT: &str = "Test vTPM Root";
pub(crate) const INTERMEDIATE: &str = "Test vTPM CA";
/// Within the validity of everything that is issued here.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);

impl<'a> Issue<'a> {
    pub(crate) fn authority(subject: &'a str, issuer: &'a str) -> Self {
        Self {
            subject,
            issuer,
            key: authority_key(),
            extensions: alloc::vec![basic_constraints(true), key_usage(0x06, 1)],
            not_after: "20990101000000Z",
        }
    }

    /// The certificate of an attestation key.
    pub(crate) fn leaf(key: &'a RsaKey) -> Self {
        Self {
            subject: "vtpm",
            issuer: INTERMEDIATE,
            key,
            extensions: alloc::vec![basic_constraints(false), key_usage(0x80, 7)],
            not_after: "20270101000000Z",
        }
    }

    pub(crate) fn issue(&self) -> Vec<u8> {
        let algorithm = tlv(0x30, &[oid("1.2.840.113549.1.1.11"), tlv(0x05, &[])]);
        let time = |text: &str| tlv(0x18, &[text.as_bytes().to_vec()]);
        let tbs = tlv(
            0x30,
            &[
                tlv(0xa0, &[tlv(0x02, &[alloc::vec![2]])]),
                tlv(0x02, &[alloc::vec![7]]),
                algorithm.clone(),
                name(self.issuer),
                tlv(0x30, &[time("20200101000000Z"), time(self.not_after)]),
                name(self.subject),
                self.key.spki(),
                tlv(0xa3, &[tlv(0x30, &self.extensions)]),
            ],
        );
        let signature = [&[0][..], &authority_key().sign(&tbs)].concat();
        tlv(0x30, &[tbs, algorithm, tlv(0x03, &[signature])])
    }
}

fn name(common_name: &str) -> Vec<u8> {
    let attribute = tlv(0x30, &[oid("2.5.4.3"), utf8(common_name)]);
    tlv(0x30, &[tlv(0x31, &[attribute])])
}

pub(crate) fn extension(id: &str, critical: bool, value: Vec<u8>) -> Vec<u8> {
    let critical = if critical {
        tlv(0x01, &[alloc::vec![0xff]])
    } else {
        Vec::new()
    };
    tlv(0x30, &[oid(id), critical, tlv(0x04, &[value])])
}

fn basic_constraints(is_ca: bool) -> Vec<u8> {
    let parts = if is_ca {
        alloc::vec![tlv(0x01, &[alloc::vec![0xff]])]
    } else {
        Vec::new()
    };
    extension("2.5.29.19", true, tlv(0x30, &parts))
}

fn key_usage(bits: u8, unused: u8) -> Vec<u8> {
    extension("2.5.29.15", true, tlv(0x03, &[alloc::vec![unused, bits]]))
}

/// An extended key usage of these purposes.
pub(crate) fn extended_key_usage(purposes: &[&str]) -> Vec<u8> {
    let purposes: Vec<_> = purposes.iter().map(|purpose| oid(purpose)).collect();
    extension("2.5.29.37", false, tlv(0x30, &purposes))
}

/// tcg-kp-AIKCertificate and tcg-kp-EKCertificate.
pub(crate) const AIK: &str = "2.23.133.8.3";
pub(crate) const EK: &str = "2.23.133.8.1";

pub(crate) fn pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    let blocks = certificates.iter().map(|der| {
        let text = STANDARD.encode(der);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(|line| core::str::from_utf8(line).expect("base64").into())
            .collect::<Vec<String>>();
        std::format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    });
    blocks.collect::<String>().into_bytes()
}

/// The root of [`authority_key`], and the intermediate between it and every leaf.
pub(crate) fn root() -> Vec<u8> {
    Issue::authority(ROOT, ROOT).issue()
}

pub(crate) fn intermediate() -> Vec<u8> {
    Issue::authority(INTERMEDIATE, ROOT).issue()
}

/// A TPMS_ATTEST in the making.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) magic: u32,
    pub(crate) kind: u16,
    pub(crate) extra_data: Vec<u8>,
    pub(crate) safe: u8,
    /// Hash algorithm and bit map.
    pub(crate) selections: Vec<(u16, Vec<u8>)>,
    pub(crate) digest: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

impl Message {
    /// A quote of `pcrs` of the SHA-256 bank with these values.
    pub(crate) fn new(extra_data: &[u8], pcrs: &[u8], values: &[u8]) -> Self {
        Self {
            magic: 0xff54_4347,
            kind: 0x8018,
            extra_data: extra_data.to_vec(),
            safe: 1,
            selections: alloc::vec![(0x000b, bit_map(pcrs))],
            digest: Sha256::digest(values).to_vec(),
            after: Vec::new(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        let mut message = Vec::new();
        message.extend(self.magic.to_be_bytes());
        message.extend(self.kind.to_be_bytes());
        message.extend(sized(&[&[0x00, 0x0b][..], &[9; 32]].concat()));
        message.extend(sized(&self.extra_data));
        message.extend(1_000_u64.to_be_bytes());
        message.extend(3_u32.to_be_bytes());
        message.extend(1_u32.to_be_bytes());
        message.push(self.safe);
        message.extend(0x2020_0312_0012_0003_u64.to_be_bytes());
        message.extend((self.selections.len() as u32).to_be_bytes());
        for (bank, bits) in &self.selections {
            message.extend(bank.to_be_bytes());
            message.push(bits.len() as u8);
            message.extend(bits);
        }
        message.extend(sized(&self.digest));
        message.extend(&self.after);
        message
    }
}

pub(crate) fn bit_map(pcrs: &[u8]) -> Vec<u8> {
    let mut bits = alloc::vec![0; 3];
    for pcr in pcrs {
        bits[usize::from(pcr / 8)] |= 1 << (pcr % 8);
    }
    bits
}

/// A TCG event log of the SHA-256 bank in the making, and the PCRs that it extends.
#[derive(Clone, Default)]
pub(crate) struct Log {
    events: Vec<u8>,
    registers: std::collections::BTreeMap<u32, [u8; 32]>,
}

impl Log {
    /// With an event whose digest is that of its data.
    pub(crate) fn event(self, pcr: u32, kind: EventKind, data: &[u8]) -> Self {
        // GRUB measures what follows the word.
        let measured = data.strip_prefix(b"kernel_cmdline: ").unwrap_or(data);
        self.measuring(pcr, kind, measured, data)
    }

    /// With an event whose digest is that of `measured`.
    pub(crate) fn measuring(mut self, pcr: u32, kind: EventKind, measured: &[u8], data: &[u8]) -> Self {
        let digest = Sha256::digest(measured);
        for word in [pcr, kind.0, 1] {
            self.events.extend(word.to_le_bytes());
        }
        self.events.extend(0x000b_u16.to_le_bytes());
        self.events.extend(&digest[..]);
        self.events.extend((data.len() as u32).to_le_bytes());
        self.events.extend(data);
        let register = self.registers.entry(pcr).or_default();
        *register = Sha256::new_with_prefix(&register[..])
            .chain_update(digest)
            .finalize()
            .into();
        self
    }

    pub(crate) fn value(&self, pcr: u32) -> [u8; 32] {
        self.registers.get(&pcr).copied().unwrap_or_default()
    }

    /// The header (Spec ID Event03) and the events.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut header = b"Spec ID Event03\0".to_vec();
        header.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0]);
        let mut bytes = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20]].concat();
        bytes.extend((header.len() as u32).to_le_bytes());
        bytes.extend(header);
        bytes.extend(&self.events);
        bytes
    }
}

/// TPMT_PUBLIC of an RSASSA SHA-256 key.
pub(crate) fn public_area(key: &RsaKey, attributes: u32) -> Vec<u8> {
    let mut public = Vec::new();
    public.extend([0x00, 0x01, 0x00, 0x0b]);
    public.extend(attributes.to_be_bytes());
    public.extend([0x00, 0x00, 0x00, 0x10, 0x00, 0x14, 0x00, 0x0b, 0x08, 0x00]);
    public.extend([0, 0, 0, 0, 0x01, 0x00]);
    public.extend(key.modulus());
    public
}

/// Of the attestation keys of Google's vTPMs.
pub(crate) const ATTRIBUTES: u32 = 0x0005_0072;

/// The folder of real evidence, or `None` (said plainly) if it is not here. In CI it must be.
#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
pub(crate) fn vectors() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    if folder.join("MANIFEST.toml").is_file() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "no vectors in {}",
        folder.display()
    );
    std::eprintln!(
        "NOT RUN: no vTPM evidence in {} (set ADYTON_VECTORS)",
        folder.display()
    );
    None
}

/// The vectors of a platform, from the manifest.
pub(crate) fn manifest(folder: &Path, platform: &str) -> Vec<toml::Table> {
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.toml")).expect("the manifest");
    let manifest: toml::Table = toml::from_str(&manifest).expect("the manifest is TOML");
    let vectors = manifest["vector"].as_array().expect("vectors").iter();
    let vectors = vectors.filter_map(toml::Value::as_table);
    vectors
        .filter(|vector| vector.get("platform").and_then(toml::Value::as_str) == Some(platform))
        .cloned()
        .collect()
}
