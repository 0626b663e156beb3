//! The simulated Intel: one machine, its PKI from root to PCK, its quoting enclave, its collateral.

use std::sync::Arc;

use attestation::simulated::SIGNATURE_PREFIX;
use attestation::{EndorsementKind, Endorsements, ReportData, UnixTime};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::SimulatedError;
use crate::adversary::{Document, Domain, Flaw, Publication};
use crate::certificate::{Extension, Subject, Validity, revocation_list};
use crate::collateral::{qe_identity, tcb_info};
use crate::der;
use crate::files::Folder;
use crate::key::{P256Key, Signer as _, random};

const ROOT_NAME: &str = "Intel SGX Root CA";
const CA_NAME: &str = "Intel SGX PCK Platform CA";
const CA_SERIAL: &[u8] = &[0x02];
const PCK_SERIAL: &[u8] = &[0x03];
const TCB_SIGNER_SERIAL: &[u8] = &[0x04];
const CERTIFICATE_SECONDS: u64 = 10 * 366 * 24 * 3600;
const VENDOR: &str = "939a7233f79c4ca9940a0db3957f0607";
pub(crate) const FMSPC: [u8; 6] = [0x51, 0x4d, 0x55, 0x4c, 0x00, 0x00];
pub(crate) const PCEID: [u8; 2] = [0, 0];
pub(crate) const COMPONENTS: [u8; 16] = [4, 4, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
pub(crate) const PCESVN: u8 = 13;
/// Module 1.5 at level 11, microcode component 4.
const TEE_TCB_SVN: [u8; 16] = [11, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const SEPT_VE_DISABLE: u64 = 1 << 28;
pub(crate) const XFAM: u64 = 0x602e7;
pub(crate) const QE_SVN: u16 = 4;
pub(crate) const QE_PRODUCT: u16 = 2;
pub(crate) const EVALUATION_NUMBER: u32 = 20;
const SIGNED_BYTES: usize = 48 + 584;
const QE_REPORT_BYTES: usize = 384;
const AUTHENTICATION: [u8; 32] = *b"simulated quoting enclave, v1 \0\0";

/// Keys and documents of the manufacturer and the machine. A clone shares the keys.
#[derive(Clone)]
pub(crate) struct Tdx {
    root: Arc<P256Key>,
    ca: Arc<P256Key>,
    pck: Arc<P256Key>,
    tcb_signer: Arc<P256Key>,
    attestation: Arc<P256Key>,
    ppid: [u8; 16],
    /// Of the certificate that is issued next.
    pub(crate) flaw: Option<(Document, Flaw)>,
    qe_signer: [u8; 32],
    pub(crate) root_certificate: Vec<u8>,
    ca_certificate: Vec<u8>,
    pck_certificate: Vec<u8>,
    tcb_signer_certificate: Vec<u8>,
    root_list: Vec<u8>,
    ca_list: Vec<u8>,
    tcb_info: Vec<u8>,
    qe_identity: Vec<u8>,
}

/// What a launch fixes.
pub(crate) struct Launch {
    pub(crate) mrtd: [u8; 48],
    pub(crate) mrconfigid: [u8; 48],
}

impl Tdx {
    pub(crate) fn manufacture(now: UnixTime, collateral: Validity) -> Result<Self, SimulatedError> {
        let key = P256Key::generate;
        let (root, ca, pck, tcb_signer, attestation) = (key()?, key()?, key()?, key()?, key()?);
        let ppid = *random::<16>()?;
        let mut tdx = Self {
            root: Arc::new(root),
            ca: Arc::new(ca),
            pck: Arc::new(pck),
            tcb_signer: Arc::new(tcb_signer),
            attestation: Arc::new(attestation),
            ppid,
            flaw: None,
            qe_signer: Sha256::digest(b"simulated quoting enclave").into(),
            root_certificate: Vec::new(),
            ca_certificate: Vec::new(),
            pck_certificate: Vec::new(),
            tcb_signer_certificate: Vec::new(),
            root_list: Vec::new(),
            ca_list: Vec::new(),
            tcb_info: Vec::new(),
            qe_identity: Vec::new(),
        };
        for document in [
            Document::Root,
            Document::PckCa,
            Document::Pck,
            Document::TcbSigner,
        ] {
            tdx.reissue(document, Validity::new(now, CERTIFICATE_SECONDS))?;
        }
        tdx.publish(collateral, &Publication::default())?;
        Ok(tdx)
    }

    /// One document again, with another validity. AMD's are none of this machine's.
    pub(crate) fn reissue(&mut self, document: Document, validity: Validity) -> Result<(), SimulatedError> {
        let flaw = self.flaw_of(document);
        let subject = |serial, common_name, key: &P256Key, extensions| {
            Subject {
                serial,
                common_name,
                validity,
                spki: key.spki(),
                extensions,
            }
            .with(flaw)
            .issue(ROOT_NAME, &*self.root)
        };
        let publication = Publication::default();
        match document {
            Document::Root => {
                self.root_certificate = subject(&[0x01], ROOT_NAME, &self.root, Extension::authority())?;
            }
            Document::PckCa => {
                self.ca_certificate = subject(CA_SERIAL, CA_NAME, &self.ca, Extension::authority())?;
            }
            Document::TcbSigner => {
                let extensions = Extension::signer();
                self.tcb_signer_certificate = subject(
                    TCB_SIGNER_SERIAL,
                    "Intel SGX TCB Signing",
                    &self.tcb_signer,
                    extensions,
                )?;
            }
            Document::Pck => self.certify(&COMPONENTS, PCESVN.into(), validity)?,
            Document::RootList => {
                self.root_list = revocation_list(ROOT_NAME, &*self.root, validity, &[])?;
            }
            Document::PckList => self.ca_list = revocation_list(CA_NAME, &*self.ca, validity, &[])?,
            Document::TcbInfo => self.tcb_info = self.signed("tcbInfo", &tcb_info(validity, &publication))?,
            Document::QeIdentity => {
                let identity = qe_identity(validity, &self.qe_signer, &publication);
                self.qe_identity = self.signed("enclaveIdentity", &identity)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn flaw_of(&self, document: Document) -> Option<Flaw> {
        let flaw = self.flaw.filter(|(flawed, _)| *flawed == document);
        flaw.map(|(_, flaw)| flaw)
    }

    /// A PCK of the same machine for SGX components and a PCESVN.
    pub(crate) fn certify(
        &mut self,
        components: &[u8; 16],
        pcesvn: u16,
        validity: Validity,
    ) -> Result<(), SimulatedError> {
        self.pck_certificate = Subject {
            serial: PCK_SERIAL,
            common_name: "Intel SGX PCK Certificate",
            validity,
            spki: self.pck.spki(),
            extensions: pck_extensions(&self.ppid, components, pcesvn),
        }
        .with(self.flaw_of(Document::Pck))
        .issue(CA_NAME, &*self.ca)?;
        Ok(())
    }

    /// New revocation lists, TCB info and QE identity.
    pub(crate) fn publish(
        &mut self,
        validity: Validity,
        publication: &Publication,
    ) -> Result<(), SimulatedError> {
        let serials: &[&[u8]] = if publication.revoked { &[PCK_SERIAL] } else { &[] };
        let by_root = publication
            .revoked_by_root
            .iter()
            .filter_map(|document| match document {
                Document::PckCa => Some(CA_SERIAL),
                Document::TcbSigner => Some(TCB_SIGNER_SERIAL),
                _ => None,
            });
        let by_root: Vec<_> = by_root.collect();
        self.root_list = revocation_list(ROOT_NAME, &*self.root, validity, &by_root)?;
        self.ca_list = revocation_list(CA_NAME, &*self.ca, validity, serials)?;
        let rewritten = |object: String| match publication.rewritten {
            ("", _) => object,
            (from, to) => object.replace(from, to),
        };
        let tcb_info = rewritten(tcb_info(validity, publication));
        self.tcb_info = self.signed("tcbInfo", &tcb_info)?;
        let qe_identity = rewritten(qe_identity(validity, &self.qe_signer, publication));
        self.qe_identity = self.signed("enclaveIdentity", &qe_identity)?;
        Ok(())
    }

    fn signed(&self, name: &str, object: &str) -> Result<Vec<u8>, SimulatedError> {
        let signature = self.tcb_signer.sign_digest(&Sha256::digest(object))?;
        Ok(format!(
            "{{\"{name}\":{object},\"signature\":\"{}\"}}",
            hex::encode(signature)
        )
        .into_bytes())
    }

    pub(crate) fn endorsements(&self) -> Endorsements {
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::TdxRootCrl, self.root_list.clone());
        endorsements.insert(EndorsementKind::TdxPckCrl, self.ca_list.clone());
        endorsements.insert(EndorsementKind::TdxTcbInfo, self.tcb_info.clone());
        endorsements.insert(EndorsementKind::TdxQeIdentity, self.qe_identity.clone());
        let chain = [&self.tcb_signer_certificate, &self.root_certificate]
            .map(pem)
            .concat();
        endorsements.insert(EndorsementKind::TdxTcbSigningChain, chain.into_bytes());
        endorsements
    }

    pub(crate) fn ppid(&self) -> &[u8] {
        &self.ppid
    }

    /// A version 4 quote of a launch.
    pub(crate) fn quote(&self, launch: &Launch, report_data: &ReportData) -> Result<Vec<u8>, SimulatedError> {
        let mut quote = vec![0; SIGNED_BYTES];
        let mut put =
            |offset: usize, bytes: &[u8]| quote[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0, &4u16.to_le_bytes());
        put(2, &2u16.to_le_bytes());
        put(4, &0x81u32.to_le_bytes());
        put(12, &hex::decode(VENDOR).expect("the vendor id is hexadecimal"));
        let body = 48;
        put(body, &TEE_TCB_SVN);
        put(body + 120, &SEPT_VE_DISABLE.to_le_bytes());
        put(body + 128, &XFAM.to_le_bytes());
        put(body + 136, &launch.mrtd);
        put(body + 184, &launch.mrconfigid);
        put(body + 520, report_data);

        let chain = [
            &self.pck_certificate,
            &self.ca_certificate,
            &self.root_certificate,
        ]
        .map(pem)
        .concat();
        let mut certification = vec![0; QE_REPORT_BYTES + 64];
        certification.extend((AUTHENTICATION.len() as u16).to_le_bytes());
        certification.extend(AUTHENTICATION);
        certification.extend(5u16.to_le_bytes());
        certification.extend((chain.len() as u32).to_le_bytes());
        certification.extend(chain.as_bytes());
        let mut data = vec![0; 64 + 64];
        data.extend(6u16.to_le_bytes());
        data.extend((certification.len() as u32).to_le_bytes());
        data.extend(certification);
        quote.extend((data.len() as u32).to_le_bytes());
        quote.extend(data);

        let qe_report = &mut quote[QE_REPORT_AT..QE_REPORT_AT + QE_REPORT_BYTES];
        qe_report[48] = 0x11;
        qe_report[128..160].copy_from_slice(&self.qe_signer);
        qe_report[256..258].copy_from_slice(&QE_PRODUCT.to_le_bytes());
        qe_report[258..260].copy_from_slice(&QE_SVN.to_le_bytes());
        self.sign(&mut quote, Domain::Simulated)?;
        Ok(quote)
    }

    /// Signs whatever header, body and QE report of a version 4 or 5 quote hold.
    pub(crate) fn sign(&self, quote: &mut [u8], domain: Domain) -> Result<(), SimulatedError> {
        let prefix = if domain == Domain::Simulated {
            SIGNATURE_PREFIX
        } else {
            b""
        };
        let digest = |bytes: &[u8]| Sha256::new_with_prefix(prefix).chain_update(bytes).finalize();
        // Version 5 puts type and size before the body.
        let signed = if quote[0] == 5 {
            48 + 6 + usize::from(u16::from_le_bytes([quote[50], quote[51]]))
        } else {
            SIGNED_BYTES
        };
        let point = self.attestation.point();
        let key = signed + 4 + 64;
        quote[key..key + 64].copy_from_slice(&point);
        let binding = Sha256::new()
            .chain_update(&point)
            .chain_update(AUTHENTICATION)
            .finalize();
        let qe_report = key + 64 + 6;
        quote[qe_report + 320..qe_report + 352].copy_from_slice(&binding);
        let signature = self.attestation.sign_digest(&digest(&quote[..signed]))?;
        quote[signed + 4..key].copy_from_slice(&signature);
        let qe_end = qe_report + QE_REPORT_BYTES;
        let signature = self.pck.sign_digest(&digest(&quote[qe_report..qe_end]))?;
        quote[qe_end..qe_end + 64].copy_from_slice(&signature);
        Ok(())
    }

    pub(crate) fn save(&self, folder: &Folder) -> Result<(), SimulatedError> {
        for (name, key) in self.keys() {
            folder.write(name, &key.expose_bytes())?;
        }
        for (name, bytes) in [
            ("tdx-ppid", &self.ppid[..]),
            ("tdx-qe-signer", &self.qe_signer),
            ("tdx-root.der", &self.root_certificate),
            ("tdx-ca.der", &self.ca_certificate),
            ("tdx-pck.der", &self.pck_certificate),
            ("tdx-tcb-signer.der", &self.tcb_signer_certificate),
            ("tdx-root.crl", &self.root_list),
            ("tdx-ca.crl", &self.ca_list),
            ("tdx-tcb-info.json", &self.tcb_info),
            ("tdx-qe-identity.json", &self.qe_identity),
        ] {
            folder.write(name, bytes)?;
        }
        Ok(())
    }

    fn keys(&self) -> [(&'static str, &P256Key); 5] {
        [
            ("tdx-root.key", &self.root),
            ("tdx-ca.key", &self.ca),
            ("tdx-pck.key", &self.pck),
            ("tdx-tcb-signer.key", &self.tcb_signer),
            ("tdx-attestation.key", &self.attestation),
        ]
    }

    pub(crate) fn load(folder: &Folder) -> Result<Self, SimulatedError> {
        let key = |name| folder.parse(name, P256Key::from_bytes).map(Arc::new);
        let bytes = |name| folder.parse(name, |bytes| Some(bytes.to_vec()));
        Ok(Self {
            root: key("tdx-root.key")?,
            ca: key("tdx-ca.key")?,
            pck: key("tdx-pck.key")?,
            tcb_signer: key("tdx-tcb-signer.key")?,
            attestation: key("tdx-attestation.key")?,
            ppid: folder.parse("tdx-ppid", |bytes| bytes.try_into().ok())?,
            flaw: None,
            qe_signer: folder.parse("tdx-qe-signer", |bytes| bytes.try_into().ok())?,
            root_certificate: bytes("tdx-root.der")?,
            ca_certificate: bytes("tdx-ca.der")?,
            pck_certificate: bytes("tdx-pck.der")?,
            tcb_signer_certificate: bytes("tdx-tcb-signer.der")?,
            root_list: bytes("tdx-root.crl")?,
            ca_list: bytes("tdx-ca.crl")?,
            tcb_info: bytes("tdx-tcb-info.json")?,
            qe_identity: bytes("tdx-qe-identity.json")?,
        })
    }
}

/// After the length, the signature, the attestation key and the head of the certification data.
pub(crate) const QE_REPORT_AT: usize = SIGNED_BYTES + 4 + 64 + 64 + 6;

fn pem(certificate: &Vec<u8>) -> String {
    let digits = STANDARD.encode(certificate);
    let lines: Vec<&str> = digits
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).expect("base64"))
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// Intel SGX PCK Certificate and CRL Profile, section 1.3.5.
fn pck_extensions(ppid: &[u8], components: &[u8; 16], pcesvn: u16) -> Vec<Extension> {
    const ARC: &str = "1.2.840.113741.1.13.1";
    let entry =
        |arc: &str, value: Vec<u8>| der::sequence(&[der::object_identifier(&format!("{ARC}.{arc}")), value]);
    let mut tcb: Vec<_> = (1..)
        .zip(components)
        .map(|(n, svn)| entry(&format!("2.{n}"), der::integer(&[*svn])))
        .collect();
    tcb.push(entry("2.17", der::integer(&pcesvn.to_be_bytes())));
    tcb.push(entry("2.18", der::octets(components)));
    let sgx = der::sequence(&[
        entry("1", der::octets(ppid)),
        entry("2", der::sequence(&tcb)),
        entry("3", der::octets(&PCEID)),
        entry("4", der::octets(&FMSPC)),
    ]);
    let mut extensions = Extension::signer();
    extensions.push(Extension::new(ARC, sgx));
    extensions
}
