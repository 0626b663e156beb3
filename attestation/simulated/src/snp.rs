//! The simulated AMD: one Genoa machine, its chain ARK, ASK, VCEK, and its revocation list. For tests of the
//! verifier [`adversary`](crate::adversary) turns the machine into one of Turin, or certifies another TCB.

use std::sync::Arc;

use attestation::simulated::SIGNATURE_PREFIX;
use attestation::{EndorsementKind, Endorsements, ReportData, UnixTime};
use sha2::{Digest, Sha384};

use crate::SimulatedError;
use crate::adversary::{Document, Domain, Flaw};
use crate::certificate::{Extension, Subject, Validity, revocation_list};
use crate::der;
use crate::files::Folder;
use crate::key::{P384Key, RsaKey, Signer as _, random};

const ASK_SERIAL: &[u8] = &[0x02, 0x00, 0x02];
const CERTIFICATE_SECONDS: u64 = 10 * 366 * 24 * 3600;
/// Length of a report and of its signed part.
pub(crate) const REPORT_BYTES: usize = 0x4a0;
const SIGNED_BYTES: usize = 0x2a0;

/// What a generation of processors has of its own.
pub(crate) struct Product {
    pub(crate) name: &'static str,
    ark_name: &'static str,
    ask_name: &'static str,
    /// CPUID family, model, stepping.
    pub(crate) processor: [u8; 3],
    /// Of VCEK and CHIP_ID; the rest of CHIP_ID is zero.
    hardware_id_bytes: usize,
    /// TCB version of the machine as it is made.
    pub(crate) tcb: [u8; 8],
    /// The extension of a VCEK for each byte of a TCB version (AMD 57230, section 3).
    tcb_extensions: [&'static str; 8],
}

/// Boot loader, TEE, four reserved, SNP, microcode.
pub(crate) static GENOA: Product = Product {
    name: "Genoa",
    ark_name: "ARK-Genoa",
    ask_name: "SEV-Genoa",
    processor: [0x19, 0x11, 0x01],
    hardware_id_bytes: 64,
    tcb: [10, 0, 0, 0, 0, 0, 23, 84],
    tcb_extensions: ["3.1", "3.2", "3.4", "3.5", "3.6", "3.7", "3.3", "3.8"],
};

/// FMC, boot loader, TEE, SNP, three reserved, microcode.
pub(crate) static TURIN: Product = Product {
    name: "Turin",
    ark_name: "ARK-Turin",
    ask_name: "SEV-Turin",
    processor: [0x1a, 0x02, 0x01],
    hardware_id_bytes: 8,
    tcb: [1, 2, 3, 4, 0, 0, 0, 77],
    tcb_extensions: ["3.9", "3.1", "3.2", "3.3", "3.5", "3.6", "3.7", "3.8"],
};

/// Firmware 1.55.49: build, minor, major, zero.
const FIRMWARE: [u8; 4] = [49, 55, 1, 0];
/// TSME, ECC and the alias check.
const PLATFORM_INFO: u64 = 0x26;
/// ABI 1.55 demanded, no SMT, no debug, no migration; bit 17 is always one.
const GUEST_POLICY: u64 = 1 << 17 | 0x0137;
const MITIGATIONS: u64 = 0x3f;

/// Keys and documents of the manufacturer and the machine. A clone shares the keys.
#[derive(Clone)]
pub(crate) struct Snp {
    ark: Arc<RsaKey>,
    ask: Arc<RsaKey>,
    vcek: Arc<P384Key>,
    hardware_id: [u8; 64],
    pub(crate) product: &'static Product,
    /// Of the certificate that is issued next.
    pub(crate) flaw: Option<(Document, Flaw)>,
    pub(crate) ark_certificate: Vec<u8>,
    ask_certificate: Vec<u8>,
    vcek_certificate: Vec<u8>,
    revocation_list: Vec<u8>,
}

/// What a launch fixes.
pub(crate) struct Launch {
    pub(crate) measurement: [u8; 48],
    pub(crate) host_data: [u8; 32],
    pub(crate) report_id: [u8; 32],
}

impl Snp {
    pub(crate) fn manufacture(now: UnixTime, collateral: Validity) -> Result<Self, SimulatedError> {
        let (ark, ask, vcek) = (RsaKey::generate()?, RsaKey::generate()?, P384Key::generate()?);
        let hardware_id = *random::<64>()?;
        let mut snp = Self {
            ark: Arc::new(ark),
            ask: Arc::new(ask),
            vcek: Arc::new(vcek),
            hardware_id,
            product: &GENOA,
            flaw: None,
            ark_certificate: Vec::new(),
            ask_certificate: Vec::new(),
            vcek_certificate: Vec::new(),
            revocation_list: Vec::new(),
        };
        snp.become_product(&GENOA, now, collateral)?;
        Ok(snp)
    }

    /// The whole chain and the list, under the names of `product`. Not remembered by [`Snp::save`].
    pub(crate) fn become_product(
        &mut self,
        product: &'static Product,
        now: UnixTime,
        collateral: Validity,
    ) -> Result<(), SimulatedError> {
        self.product = product;
        for document in [Document::Ark, Document::Ask, Document::Vcek] {
            self.reissue(document, Validity::new(now, CERTIFICATE_SECONDS))?;
        }
        self.publish(collateral, false)
    }

    /// A new revocation list, with or without the ASK on it.
    pub(crate) fn publish(&mut self, validity: Validity, revoked: bool) -> Result<(), SimulatedError> {
        let serials: &[&[u8]] = if revoked { &[ASK_SERIAL] } else { &[] };
        self.revocation_list = revocation_list(self.product.ark_name, &*self.ark, validity, serials)?;
        Ok(())
    }

    /// One document again, with another validity. Intel's are none of this machine's.
    pub(crate) fn reissue(&mut self, document: Document, validity: Validity) -> Result<(), SimulatedError> {
        let flaw = self.flaw_of(document);
        let (ark_name, ask_name) = (self.product.ark_name, self.product.ask_name);
        let authority = |serial: &'static [u8], common_name: &'static str, key: &RsaKey| {
            Subject {
                serial,
                common_name,
                validity,
                spki: key.spki(),
                extensions: Extension::authority(),
            }
            .with(flaw)
            .issue(ark_name, &*self.ark)
        };
        match document {
            Document::Ark => self.ark_certificate = authority(&[0x02, 0x00, 0x00], ark_name, &self.ark)?,
            Document::Ask => self.ask_certificate = authority(ASK_SERIAL, ask_name, &self.ask)?,
            Document::Vcek => self.certify(&self.product.tcb, validity)?,
            Document::ArkList => self.publish(validity, false)?,
            _ => {}
        }
        Ok(())
    }

    fn flaw_of(&self, document: Document) -> Option<Flaw> {
        let flaw = self.flaw.filter(|(flawed, _)| *flawed == document);
        flaw.map(|(_, flaw)| flaw)
    }

    /// A VCEK of the same machine for a TCB version.
    pub(crate) fn certify(&mut self, tcb: &[u8; 8], validity: Validity) -> Result<(), SimulatedError> {
        self.vcek_certificate = Subject {
            serial: &[],
            common_name: "SEV-VCEK",
            validity,
            spki: self.vcek.spki(),
            extensions: leaf_extensions(self.product, tcb, self.hardware_id()),
        }
        .with(self.flaw_of(Document::Vcek))
        .issue(self.product.ask_name, &*self.ask)?;
        Ok(())
    }

    pub(crate) fn endorsements(&self) -> Endorsements {
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::SnpLeaf, self.vcek_certificate.clone());
        endorsements.insert(EndorsementKind::SnpIntermediate, self.ask_certificate.clone());
        endorsements.insert(EndorsementKind::SnpCrl, self.revocation_list.clone());
        endorsements
    }

    pub(crate) fn hardware_id(&self) -> &[u8] {
        &self.hardware_id[..self.product.hardware_id_bytes]
    }

    /// A version 5 report of a launch.
    pub(crate) fn report(
        &self,
        launch: &Launch,
        report_data: &ReportData,
    ) -> Result<Vec<u8>, SimulatedError> {
        let mut report = vec![0; REPORT_BYTES];
        let mut put =
            |offset: usize, bytes: &[u8]| report[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0x000, &5u32.to_le_bytes());
        put(0x008, &GUEST_POLICY.to_le_bytes());
        put(0x034, &1u32.to_le_bytes());
        put(0x038, &self.product.tcb);
        put(0x040, &PLATFORM_INFO.to_le_bytes());
        put(0x050, report_data);
        put(0x090, &launch.measurement);
        put(0x0c0, &launch.host_data);
        put(0x140, &launch.report_id);
        put(0x160, &[0xff; 32]);
        put(0x180, &self.product.tcb);
        put(0x188, &self.product.processor);
        put(0x1a0, self.hardware_id());
        put(0x1e0, &self.product.tcb);
        put(0x1e8, &FIRMWARE);
        put(0x1ec, &FIRMWARE);
        put(0x1f0, &self.product.tcb);
        put(0x1f8, &MITIGATIONS.to_le_bytes());
        put(0x200, &MITIGATIONS.to_le_bytes());
        self.sign(&mut report, Domain::Simulated)?;
        Ok(report)
    }

    /// Signs whatever the signed part holds.
    pub(crate) fn sign(&self, report: &mut [u8], domain: Domain) -> Result<(), SimulatedError> {
        let prefix = if domain == Domain::Simulated {
            SIGNATURE_PREFIX
        } else {
            b""
        };
        let digest = Sha384::new_with_prefix(prefix)
            .chain_update(&report[..SIGNED_BYTES])
            .finalize();
        let signature = self.vcek.sign_digest(&digest)?;
        let little_endian = |part: &[u8]| part.iter().rev().copied().collect::<Vec<_>>();
        report[SIGNED_BYTES..].fill(0);
        report[0x2a0..0x2d0].copy_from_slice(&little_endian(&signature[..48]));
        report[0x2e8..0x318].copy_from_slice(&little_endian(&signature[48..]));
        Ok(())
    }

    pub(crate) fn save(&self, folder: &Folder) -> Result<(), SimulatedError> {
        folder.write("snp-ark.key", &self.ark.expose_bytes()?)?;
        folder.write("snp-ask.key", &self.ask.expose_bytes()?)?;
        folder.write("snp-vcek.key", &self.vcek.expose_bytes())?;
        folder.write("snp-hardware-id", &self.hardware_id)?;
        folder.write("snp-ark.der", &self.ark_certificate)?;
        folder.write("snp-ask.der", &self.ask_certificate)?;
        folder.write("snp-vcek.der", &self.vcek_certificate)?;
        folder.write("snp-revoked.crl", &self.revocation_list)
    }

    pub(crate) fn load(folder: &Folder) -> Result<Self, SimulatedError> {
        let bytes = |name| folder.parse(name, |bytes| Some(bytes.to_vec()));
        Ok(Self {
            ark: Arc::new(folder.parse("snp-ark.key", RsaKey::from_bytes)?),
            ask: Arc::new(folder.parse("snp-ask.key", RsaKey::from_bytes)?),
            vcek: Arc::new(folder.parse("snp-vcek.key", P384Key::from_bytes)?),
            hardware_id: folder.parse("snp-hardware-id", |bytes| bytes.try_into().ok())?,
            product: &GENOA,
            flaw: None,
            ark_certificate: bytes("snp-ark.der")?,
            ask_certificate: bytes("snp-ask.der")?,
            vcek_certificate: bytes("snp-vcek.der")?,
            revocation_list: bytes("snp-revoked.crl")?,
        })
    }
}

/// AMD 57230, section 3: the extensions of a VCEK.
fn leaf_extensions(product: &Product, tcb: &[u8; 8], hardware_id: &[u8]) -> Vec<Extension> {
    let extension = |arc: &str, value| Extension::new(&format!("1.3.6.1.4.1.3704.1.{arc}"), value);
    let number = |arc: &str, value: u8| extension(arc, der::integer(&[value]));
    let mut extensions = vec![number("1", 1), extension("2", der::ia5_string(product.name))];
    extensions.extend(
        product
            .tcb_extensions
            .iter()
            .zip(tcb)
            .map(|(arc, value)| number(arc, *value)),
    );
    extensions.push(extension("4", hardware_id.to_vec()));
    extensions
}
