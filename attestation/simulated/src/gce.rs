//! Google's launch endorsements, imitated under a root of its own.

use attestation::UnixTime;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::SimulatedError;
use crate::certificate::{Extension, Subject, Validity};
use crate::der;
use crate::key::Signer;

const ROOT: &str = "SIMULATED-GCE-cc-tcb-root";
const AUTHORITY: &str = "SIMULATED-GCE-uefi-authority";
const SIGNER: &str = "SIMULATED-GCE-uefi-signer";

/// How the signer's certificate hangs from the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Issued by the root, as Google does it.
    Direct,
    /// Issued by an authority below the root.
    Intermediate,
    /// Issued by what is no authority.
    IntermediateIsNoAuthority,
    /// Issued by the root, but as an authority.
    SignerIsAuthority,
}

/// Signs launch endorsements as Google does.
pub struct LaunchEndorser {
    signer: Key,
    certificate: Vec<u8>,
    root_certificate: Vec<u8>,
    authority_certificate: Option<Vec<u8>>,
}

/// The signed part of an endorsement (VMGoldenMeasurement), field by field.
#[derive(Clone, Debug)]
pub struct Golden {
    /// When it was issued, in seconds.
    pub issued: u64,
    /// The signer's certificate.
    pub certificate: Vec<u8>,
    /// Root to last intermediate, PEM.
    pub ca_bundle: Vec<u8>,
    /// SHA-384 of the firmware.
    pub firmware_digest: Vec<u8>,
    /// Google's number for its security.
    pub svn: u64,
    /// Launch digests by number of virtual processors.
    pub of_vcpus: Vec<(u64, Vec<u8>)>,
    /// MRTD by GiB of memory.
    pub of_ram_gib: Vec<(u64, Vec<u8>)>,
    /// Anything after that.
    pub more: Vec<u8>,
}

impl LaunchEndorser {
    /// Makes keys and certificates that are valid for `validity_seconds` from `now`.
    pub fn new(now: UnixTime, validity_seconds: u64, chain: Chain) -> Result<Self, SimulatedError> {
        let validity = Validity::new(now, validity_seconds);
        let subject = |common_name, key: &Key, extensions| Subject {
            serial: &[1],
            common_name,
            validity,
            spki: key.spki(),
            extensions,
        };
        let (root, signer) = (Key::generate()?, Key::generate()?);
        let root_certificate = subject(ROOT, &root, Extension::authority()).issue(ROOT, &root)?;
        let mut authority_certificate = None;
        let certificate = match chain {
            Chain::Direct => subject(SIGNER, &signer, Extension::signer()).issue(ROOT, &root)?,
            Chain::SignerIsAuthority => {
                subject(SIGNER, &signer, Extension::authority()).issue(ROOT, &root)?
            }
            Chain::Intermediate | Chain::IntermediateIsNoAuthority => {
                let authority = Key::generate()?;
                let extensions = if chain == Chain::Intermediate {
                    Extension::authority()
                } else {
                    Extension::signer()
                };
                authority_certificate = Some(subject(AUTHORITY, &authority, extensions).issue(ROOT, &root)?);
                subject(SIGNER, &signer, Extension::signer()).issue(AUTHORITY, &authority)?
            }
        };
        Ok(Self {
            signer,
            certificate,
            root_certificate,
            authority_certificate,
        })
    }

    /// The root in DER.
    pub fn root_certificate(&self) -> &[u8] {
        &self.root_certificate
    }

    /// A golden measurement without measurements, to be filled in.
    pub fn golden(&self, issued: UnixTime) -> Golden {
        let bundle = [Some(&self.root_certificate), self.authority_certificate.as_ref()];
        let pem = |certificate: &Vec<u8>| {
            format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                STANDARD.encode(certificate)
            )
        };
        Golden {
            issued: issued.seconds(),
            certificate: self.certificate.clone(),
            ca_bundle: bundle
                .into_iter()
                .flatten()
                .map(pem)
                .collect::<String>()
                .into_bytes(),
            firmware_digest: vec![9; 48],
            svn: 2,
            of_vcpus: Vec::new(),
            of_ram_gib: Vec::new(),
            more: Vec::new(),
        }
    }

    /// The endorsement of a golden measurement.
    pub fn endorse(&self, golden: &Golden) -> Result<Vec<u8>, SimulatedError> {
        self.endorse_bytes(&golden.encode())
    }

    /// The endorsement of anything.
    pub fn endorse_bytes(&self, golden: &[u8]) -> Result<Vec<u8>, SimulatedError> {
        let signature = self.signer.sign(golden)?;
        Ok([bytes(1, golden), bytes(2, &signature)].concat())
    }
}

impl Golden {
    /// The protocol buffer.
    pub fn encode(&self) -> Vec<u8> {
        let snp = self
            .of_vcpus
            .iter()
            .map(|(vcpus, digest)| bytes(2, &[number(1, *vcpus), bytes(2, digest)].concat()));
        let tdx = self
            .of_ram_gib
            .iter()
            .map(|(ram_gib, mrtd)| bytes(2, &[number(1, *ram_gib), number(2, 1), bytes(3, mrtd)].concat()));
        let of_machines = |measurements: Vec<Vec<u8>>| [number(1, self.svn), measurements.concat()].concat();
        [
            bytes(1, &[number(1, self.issued), number(2, 5)].concat()),
            number(2, 123_456_789),
            bytes(3, &[0xab; 20]),
            bytes(4, &self.certificate),
            bytes(5, &self.firmware_digest),
            bytes(6, &self.ca_bundle),
            bytes(7, &of_machines(snp.collect())),
            bytes(8, &of_machines(tdx.collect())),
            self.more.clone(),
        ]
        .concat()
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut encoded = Vec::new();
    while value >= 0x80 {
        encoded.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    encoded.push(value as u8);
    encoded
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// RSA with PSS and SHA-256. Google's keys have 4096 bits; these are made for each test.
struct Key(RsaKeyPair);

impl Key {
    fn generate() -> Result<Self, SimulatedError> {
        RsaKeyPair::generate(KeySize::Rsa2048)
            .map(Self)
            .map_err(|_| SimulatedError::Crypto("RSA key generation"))
    }
}

impl Signer for Key {
    fn algorithm(&self) -> Vec<u8> {
        // RSASSA-PSS with SHA-256, MGF1 of SHA-256, salt of 32 bytes, default trailer left out.
        let sha256 = der::sequence(&[der::object_identifier("2.16.840.1.101.3.4.2.1"), der::null()]);
        let mgf1 = der::sequence(&[der::object_identifier("1.2.840.113549.1.1.8"), sha256.clone()]);
        der::sequence(&[
            der::object_identifier("1.2.840.113549.1.1.10"),
            der::sequence(&[
                der::explicit(0, &sha256),
                der::explicit(1, &mgf1),
                der::explicit(2, &der::integer(&[32])),
            ]),
        ])
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SimulatedError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| SimulatedError::Crypto("RSA signature"))?;
        Ok(signature)
    }

    fn spki(&self) -> Vec<u8> {
        let algorithm = der::sequence(&[der::object_identifier("1.2.840.113549.1.1.1"), der::null()]);
        der::sequence(&[algorithm, der::bit_string(self.0.public_key().as_ref(), 0)])
    }
}
