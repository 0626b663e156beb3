//! A machine with devices, manifests and OCSP responses under test keys. Every part of it can be
//! changed before it is signed, so that one rule fails and no other.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha384};

use super::authority::{Certificate, NOW, Response, chain_der, pem, sign, spki};
use super::der::{bits, element, explicit, integer, octets, oid, sequence, utf8};
use crate::examination::Examination;
use crate::nvidia::canonical::canonical;
use crate::nvidia::xml::Element;
use crate::nvidia::{Anchors, Evidence, MANIFEST_RULES, RULES, SET_RULES, examine_set};
use crate::x509::TrustAnchor;
use crate::{
    AppraisalPolicy, Assurance, DeviceEvidence, DeviceKind, EndorsementKind, Endorsements, Explanation,
    Verdict,
};

pub(super) const NONCE: [u8; 32] = [0x5e; 32];
const FWID: [u8; 48] = [0xf1; 48];

/// One device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) kind: DeviceKind,
    pub(super) request: [u8; 4],
    pub(super) nonce: [u8; 32],
    pub(super) slot: u8,
    pub(super) response: [u8; 4],
    pub(super) measurements: Vec<[u8; 48]>,
    pub(super) opaque: Vec<(u16, Vec<u8>)>,
    pub(super) trailing: Vec<u8>,
    /// Leaf first, root last.
    pub(super) chain: Vec<Certificate>,
}

/// One reference manifest.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) version: String,
    pub(super) edition: String,
    pub(super) product: String,
    /// Index, whether it is active, alternatives.
    pub(super) references: Vec<(u8, bool, Vec<[u8; 48]>)>,
    pub(super) chain: Vec<Certificate>,
}

/// Everything.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) devices: Vec<Device>,
    pub(super) driver: Option<Manifest>,
    pub(super) vbios: Option<Manifest>,
    pub(super) responses: Option<Vec<Response>>,
    pub(super) policy: String,
}

pub(super) const STRICT: &str = "[nvidia]\ngpus = 1\nmodes = [\"single-gpu\"]\nenrolled_devices = \"any\"\n\
    [[nvidia.minimum_versions]]\narchitecture = \"hopper\"\ndriver = \"570.86.10\"\nvbios = \"96.00.5E.00.01\"\n";

fn root(name: &str, key: u8) -> Certificate {
    Certificate::authority(name, key)
}

/// CompositeDeviceID: version, key of the device, FWID.
pub(super) fn composite_device_id(device_key: u8, fwid: &[u8]) -> Vec<u8> {
    let fwid = sequence(&[oid("2.16.840.1.101.3.4.2.2"), octets(fwid)]);
    sequence(&[integer(1), spki(device_key), fwid])
}

/// DiceTcbInfo with two FWIDs and flags.
pub(super) fn tcb_info(fwid: &[u8], flags: u8) -> Vec<u8> {
    let entry = |digest: &[u8]| sequence(&[oid("2.16.840.1.101.3.4.2.2"), octets(digest)]);
    let flags = bits(&[flags, 0, 0, 1], 0);
    sequence(&[
        element(0x80, b"NVIDIA"),
        explicit(6, &[entry(fwid), entry(&[0; 48])].concat()),
        element(0x87, &flags[2..]),
    ])
}

pub(super) fn spdm_name(product: &str) -> Vec<u8> {
    let name = explicit(0, &utf8(&format!("NVIDIA:{product}:48B02D0000000001")));
    sequence(&[explicit(0, &[oid("1.3.6.1.4.1.412.274.1"), name].concat())])
}

impl Device {
    /// A GPU; `number` tells it from others.
    pub(super) fn hopper(number: u8) -> Self {
        let mut leaf = Certificate::signer("GH100 A01 GSP FMC LF", 10 + number);
        leaf.extensions = vec![
            ("2.5.29.17", false, spdm_name("GH100")),
            ("2.23.133.5.4.1", false, composite_device_id(20 + number, &FWID)),
        ];
        let mut device = Certificate::authority("GH100 A01 GSP BROM", 20 + number);
        device.device = Some(format!("41000000000000{number:04X}"));
        Self {
            kind: DeviceKind::NvidiaGpu,
            request: [0x11, 0xe0, 0x01, 0xff],
            nonce: NONCE,
            slot: 0,
            response: [0x11, 0x60, 0, 0],
            measurements: (1..=8).map(|index| [index; 48]).collect(),
            opaque: vec![
                (6, vec![0x00, 0xaf, 0x00, 0x96, 0x01, 0, 0, 0]),
                (3, b"590.12\0".to_vec()),
                (4, vec![0x80, 0x01, 0, 0, 0, 0, 0, 0]),
                (11, vec![0x55]),
                (20, FWID.to_vec()),
                (21, vec![0x55]),
                (34, vec![1, 0]),
                (36, vec![0, 0]),
            ],
            trailing: Vec::new(),
            chain: vec![
                leaf,
                device,
                Certificate::authority("NVIDIA GH100 Provisioner ICA 1", 30),
                Certificate::authority("NVIDIA GH100 Identity", 31),
                root("NVIDIA Device Identity CA", 32),
            ],
        }
    }

    /// A switch between `gpus` GPUs.
    pub(super) fn ls10(number: u8, gpus: u8) -> Self {
        let gpu = Self::hopper(number + 5);
        let mut chain = gpu.chain;
        chain[0].name = "LS_10 A01 FSP FMC LF".to_string();
        chain[0].extensions[0].2 = spdm_name("LS_10");
        chain[1].name = "LS_10 A01 FSP BROM".to_string();
        chain[1].device = Some(format!("5000000000000051{number:02X}"));
        let mut peers = [[0; 8]; 8];
        (0..gpus).for_each(|gpu| peers[usize::from(gpu)][7] = gpu + 1);
        Self {
            kind: DeviceKind::NvidiaSwitch,
            opaque: vec![
                (6, b"96.10.55.00.01".to_vec()),
                (22, Self::pdi(number).to_vec()),
                (26, [peers.concat(), vec![0; 64]].concat()),
                (25, vec![1, 0]),
            ],
            chain,
            ..gpu
        }
    }

    fn pdi(switch: u8) -> [u8; 8] {
        [0, 0, 0, 0, 0, 0, 0x51, switch]
    }

    /// Protected PCIe, with links to these switches.
    pub(super) fn behind(mut self, switches: &[u8]) -> Self {
        self.set(36, &[2, 0]);
        self.set(21, &[0xaa]);
        let links = switches.iter().flat_map(|switch| {
            let mut pdi = Self::pdi(*switch);
            pdi.reverse();
            pdi
        });
        let links: Vec<u8> = links.chain([0; 8]).collect();
        self.opaque.push((22, links));
        self
    }

    pub(super) fn set(&mut self, kind: u16, value: &[u8]) {
        self.opaque.retain(|(other, _)| *other != kind);
        self.opaque.push((kind, value.to_vec()));
    }

    pub(super) fn remove(&mut self, kind: u16) {
        self.opaque.retain(|(other, _)| *other != kind);
    }

    pub(super) fn evidence(&self) -> Vec<u8> {
        let mut record = Vec::new();
        for (index, digest) in (1..).zip(&self.measurements) {
            record.extend([index, 1, 51, 0, 1, 48, 0]);
            record.extend(digest);
        }
        let opaque: Vec<u8> = self
            .opaque
            .iter()
            .flat_map(|(kind, value)| {
                let size = value.len() as u16;
                [&kind.to_le_bytes()[..], &size.to_le_bytes(), value].concat()
            })
            .collect();
        let record_bytes = record.len() as u32;
        let signed = [
            &self.request[..],
            &self.nonce,
            &[self.slot],
            &self.response,
            &[self.measurements.len() as u8],
            &record_bytes.to_le_bytes()[..3],
            &record,
            &[7; 32],
            &(opaque.len() as u16).to_le_bytes(),
            &opaque,
        ]
        .concat();
        let signature = sign(self.chain[0].key, &signed);
        [&signed, signature.to_bytes().as_slice(), &self.trailing].concat()
    }
}

impl Manifest {
    fn new(version: &str, references: Vec<(u8, bool, Vec<[u8; 48]>)>) -> Self {
        Self {
            version: version.to_string(),
            edition: "GPU".to_string(),
            product: "GH100".to_string(),
            references,
            chain: vec![
                Certificate::signer("RIM L4 Signer", 40),
                Certificate::authority("NVIDIA Reference Value L3 GH100", 41),
                Certificate::authority("NVIDIA Reference Value GH100 CA", 42),
                root("NVIDIA CoRIM signing Root CA", 43),
            ],
        }
    }

    /// The document without its signature; `{signature}` stands where that goes.
    pub(super) fn content(&self) -> String {
        let resources: String = self
            .references
            .iter()
            .map(|(index, active, digests)| {
                let hashes: String = digests
                    .iter()
                    .enumerate()
                    .map(|(at, digest)| format!(" n2:Hash{at}=\"{}\"", hex::encode(digest)))
                    .collect();
                format!(
                    "  <n0:Resource type=\"Measurement\" index=\"{index}\" active=\"{}\" alternatives=\"{}\"{hashes} \
                     name=\"Measurement_{index}\" size=\"48\"/>\n",
                    if *active { "True" } else { "False" },
                    digests.len()
                )
            })
            .collect();
        format!(
            "<SoftwareIdentity xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\" \
             xmlns:n0=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\" \
             xmlns:n2=\"http://www.w3.org/2001/04/xmlenc#sha384\" name=\"GH100\" tagId=\"1\">\n \
             <n0:Meta xmlns:n1=\"https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/\" \
             colloquialVersion=\"{}\" edition=\"{}\" product=\"{}\" n1:FirmwareManufacturerId=\"5703\"/>\n \
             <n0:Payload>\n{resources} </n0:Payload>\n{{signature}}</SoftwareIdentity>\n",
            self.version, self.edition, self.product
        )
    }

    pub(super) fn document(&self) -> String {
        self.sign(&self.content(), &signed_info)
    }

    /// Signs `content`, whose SignedInfo is made by `info` from the digest.
    pub(super) fn sign(&self, content: &str, info: &dyn Fn(&str) -> String) -> String {
        let parsed = |text: &str| Element::parse(text.as_bytes()).expect("XML");
        let bare = parsed(&content.replace("{signature}", ""));
        let digest = STANDARD.encode(Sha384::digest(canonical(&bare, &[], None)));
        let certificates: String = chain_der(&self.chain)
            .iter()
            .map(|bytes| {
                let text = STANDARD.encode(bytes);
                format!("<ds:X509Certificate>{text}\n</ds:X509Certificate>")
            })
            .collect();
        let signature = format!(
            "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">{}\
             <ds:SignatureValue>{{value}}</ds:SignatureValue><ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data>\
             </ds:KeyInfo></ds:Signature>",
            info(&digest)
        );
        let document = content.replace("{signature}", &signature);
        let root = parsed(&document);
        let signature = root.elements().last().expect("the signature");
        let info = signature.elements().next().expect("SignedInfo");
        let value = sign(self.chain[0].key, &canonical(info, &[&root, signature], None));
        document.replace("{value}", &STANDARD.encode(value.to_bytes()))
    }
}

pub(super) fn signed_info(digest: &str) -> String {
    format!(
        "<ds:SignedInfo><ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"/>\
         <ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384\"/>\
         <ds:Reference URI=\"\"><ds:Transforms>\
         <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/>\
         <ds:Transform Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"/></ds:Transforms>\
         <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#sha384\"/>\
         <ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
    )
}

impl Machine {
    /// One GPU with everything that a strict policy asks for.
    pub(super) fn new() -> Self {
        let mut machine = Self {
            devices: vec![Device::hopper(1)],
            driver: Some(Manifest::new(
                "590.12",
                vec![
                    (0, false, vec![[0; 48]]),
                    (2, true, vec![[9; 48], [3; 48]]),
                    (3, true, vec![[4; 48]]),
                ],
            )),
            vbios: Some(Manifest::new(
                "96.00.AF.00.01",
                vec![(0, true, vec![[1; 48]]), (1, true, vec![[2; 48]])],
            )),
            responses: None,
            policy: STRICT.to_string(),
        };
        machine.answer();
        machine
    }

    /// GPUs and switches whose links lead to each other. Their VBIOSes differ, so no manifests.
    pub(super) fn with_switches(gpus: u8, switches: u8) -> Self {
        let mut machine = Self::new();
        let numbers: Vec<u8> = (1..=switches).collect();
        machine.devices = (1..=gpus)
            .map(|gpu| Device::hopper(gpu).behind(&numbers))
            .chain(numbers.iter().map(|switch| Device::ls10(*switch, gpus)))
            .collect();
        (machine.driver, machine.vbios) = (None, None);
        machine.policy = format!(
            "{}[[nvidia.minimum_versions]]\narchitecture = \"ls10\"\nvbios = \"96.10.55.00.01\"\n\
             [[nvidia.exceptions]]\nname = \"no-reference-manifest\"\nreason = \"test\"\n",
            STRICT
                .replace("gpus = 1", &format!("gpus = {gpus}\nswitches = {switches}"))
                .replace("single-gpu", "protected-pcie")
        );
        machine.answer();
        machine
    }

    /// A good answer for every link.
    pub(super) fn answer(&mut self) {
        let manifests = self
            .driver
            .iter()
            .chain(&self.vbios)
            .map(|manifest| &manifest.chain[..]);
        let chains = self
            .devices
            .iter()
            .map(|device| &device.chain[1..])
            .chain(manifests);
        let links = chains.flat_map(|chain| chain.iter().zip(chain.iter().skip(1)));
        let mut responses: Vec<Response> = Vec::new();
        for (subject, issuer) in links {
            let known =
                |response: &Response| response.serial == subject.serial && response.issuer.key == issuer.key;
            if !responses.iter().any(known) {
                responses.push(Response::good(subject.serial, issuer));
            }
        }
        self.responses = Some(responses);
    }

    /// The roots of devices and manifests, whatever the chains say.
    pub(super) fn anchors(&self) -> Anchors {
        let anchor =
            |certificate: Certificate| TrustAnchor::parse(&certificate.der(&certificate)).expect("a root");
        Anchors {
            device: anchor(root("NVIDIA Device Identity CA", 32)),
            manifest: anchor(root("NVIDIA CoRIM signing Root CA", 43)),
        }
    }

    /// What the machine sends of its devices, without manifests.
    pub(super) fn devices(&self) -> Vec<DeviceEvidence> {
        let responses = self.responses.iter().flatten().flat_map(Response::der).collect();
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::NvidiaOcsp, responses);
        let device = |device: &Device| DeviceEvidence {
            kind: device.kind,
            evidence: device.evidence(),
            certificates: pem(&chain_der(&device.chain)).into_bytes(),
            endorsements: endorsements.clone(),
        };
        self.devices.iter().map(device).collect()
    }

    pub(super) fn explain(&self) -> Explanation {
        let documents = [&self.driver, &self.vbios].map(|manifest| manifest.as_ref().map(Manifest::document));
        let [driver, vbios] = documents.map(|text| text.map(String::into_bytes));
        self.explain_with(driver, vbios)
    }

    pub(super) fn explain_with(&self, driver: Option<Vec<u8>>, vbios: Option<Vec<u8>>) -> Explanation {
        let evidence: Vec<_> = self.devices.iter().map(Device::evidence).collect();
        let chains: Vec<_> = self
            .devices
            .iter()
            .map(|device| pem(&chain_der(&device.chain)))
            .collect();
        self.explain_bytes(&evidence, &chains, driver, vbios)
    }

    pub(super) fn explain_bytes(
        &self,
        evidence: &[Vec<u8>],
        chains: &[String],
        driver: Option<Vec<u8>>,
        vbios: Option<Vec<u8>>,
    ) -> Explanation {
        let responses = self.responses.as_ref().map(|responses| {
            let documents: Vec<_> = responses.iter().map(Response::der).collect();
            documents.concat()
        });
        let mut endorsements = Endorsements::new();
        for (kind, document) in [
            (EndorsementKind::NvidiaDriverRim, driver),
            (EndorsementKind::NvidiaVbiosRim, vbios),
            (EndorsementKind::NvidiaOcsp, responses),
        ] {
            if let Some(document) = document {
                endorsements.insert(kind, document);
            }
        }
        let policy = policy(&self.policy);
        let policy = policy.nvidia.as_ref().expect("the table");
        let anchors = self.anchors();
        let names: Vec<_> = (0..evidence.len())
            .map(|number| format!("device {number}"))
            .collect();
        let devices: Vec<_> = (0..evidence.len())
            .map(|number| Evidence {
                name: &names[number],
                kind: self.devices[number].kind,
                evidence: &evidence[number],
                chain: chains[number].as_bytes(),
                endorsements: &endorsements,
                policy,
                anchors: &anchors,
                nonce: &NONCE,
                collateral_age_seconds_max: 86_400,
            })
            .collect();
        let mut examination = Examination::new(NOW);
        examine_set(&mut examination, &devices, policy);
        let conclusion = examination.conclude(&[RULES, MANIFEST_RULES, SET_RULES]);
        let verdict = conclusion
            .error
            .map_or(Verdict::Accepted(Assurance::Hardware), Verdict::Refused);
        Explanation {
            clauses: conclusion.clauses,
            verdict,
        }
    }
}

/// A policy with this table for devices.
pub(super) fn policy(table: &str) -> AppraisalPolicy {
    AppraisalPolicy::from_toml(&super::policy_text(table)).expect("the policy reads")
}
