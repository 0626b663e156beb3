//! The examination of a TDX quote: genuine, up to date, expected.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use super::collateral::{QeIdentity, Signed, TcbInfo};
use super::level::{self, Level, Module};
use super::pck::Pck;
use super::quote::{self, Quote, TUD_MASK};
use super::rules;
use super::status::TcbStatus;
use crate::claims::Claims;
use crate::endorsements::{EndorsementKind, Endorsements};
use crate::examination::Examination;
use crate::policy::TdxPolicy;
use crate::simulated::SignatureDomain;
use crate::x509::{Certificate, PublicKey, RevocationList, TrustAnchor, pem_certificates};
use crate::{PlatformTag, statement};

/// What is examined, and against what.
pub(crate) struct Evidence<'a> {
    pub(crate) platform: PlatformTag,
    pub(crate) domain: SignatureDomain,
    pub(crate) quote: &'a [u8],
    pub(crate) endorsements: &'a Endorsements,
    pub(crate) policy: &'a TdxPolicy,
    pub(crate) anchor: &'a TrustAnchor,
    pub(crate) collateral_age_seconds_max: u64,
    /// `None` if the statement could not be read.
    pub(crate) report_data: Option<&'a [u8; 64]>,
}

const ECDSA_P256: u16 = 2;
const TEE_TDX: u32 = 0x81;
const INTEL: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
const PCK_NAME: &str = "Intel SGX PCK Certificate";
const PCK_CA_NAMES: [&str; 2] = ["Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"];
const TCB_SIGNER_NAME: &str = "Intel SGX TCB Signing";

/// Records a clause for each of [`rules::RULES`]; claims only if the structure could be read.
pub(crate) fn examine(examination: &mut Examination, evidence: &Evidence<'_>) -> Option<Claims> {
    let version = quote::version(evidence.quote);
    let known = matches!(version, Some(4 | 5));
    let found = version.map_or(String::from("none"), |version| version.to_string());
    if !examination.check(&rules::QUOTE_VERSION, known, "4 or 5", found) {
        return None;
    }
    let found = format!("{} bytes of another shape", evidence.quote.len());
    let quote = Quote::parse(evidence.quote);
    let quote = examination.require(&rules::QUOTE_FORMAT, quote, "a quote with its PCK chain", found)?;
    structure(examination, &quote);
    expected(examination, &quote, evidence);
    let pck = genuine(examination, &quote, evidence)?;
    Some(Claims {
        platform: evidence.platform,
        launch_measurement: *quote.body.mrtd(),
        hardware_id: pck.ppid.to_vec(),
    })
}

fn structure(examination: &mut Examination, quote: &Quote<'_>) {
    let header = quote.header;
    let (key_type, tee_type) = (header.attestation_key_type(), header.tee_type());
    examination.check(
        &rules::QUOTE_HEADER,
        key_type == ECDSA_P256 && tee_type == TEE_TDX && header.qe_vendor() == INTEL,
        format!("key type {ECDSA_P256}, TEE type {TEE_TDX:#x}, QE vendor {}", hex::encode(INTEL)),
        format!("key type {key_type}, TEE type {tee_type:#x}, QE vendor {}", hex::encode(header.qe_vendor())),
    );
    let zero = header.reserved().iter().chain(quote.trailing).all(|byte| *byte == 0);
    examination.check(&rules::RESERVED_ZERO, zero, "zero", if zero { "zero" } else { "not zero" });
}

fn genuine(examination: &mut Examination, quote: &Quote<'_>, evidence: &Evidence<'_>) -> Option<Pck> {
    let document = |kind| evidence.endorsements.document(kind).unwrap_or_default();
    let pck_chain = pem_certificates(quote.pck_chain).unwrap_or_default();
    let chain = PckChain::parse(&pck_chain);
    let chain = examination.require(&rules::CERTIFICATES, chain, "PCK, PCK CA, root", "missing or malformed")?;
    chain.check(examination, evidence.anchor);
    signatures(examination, quote, &chain, evidence.domain);
    let pck = Pck::parse(&chain.pck).ok();
    let pck = examination.require(&rules::PCK_PROFILE, pck, "the SGX extensions of a PCK", "missing or malformed")?;
    let machines = &evidence.policy.enrolled_machines;
    let found = hex::encode(pck.ppid);
    examination.check(&rules::ENROLLED, machines.contains(&pck.ppid), machines.to_string(), found);

    let signing_chain = pem_certificates(document(EndorsementKind::TdxTcbSigningChain)).unwrap_or_default();
    let signer = TcbSigner::parse(&signing_chain);
    let signs = signer.as_ref().is_some_and(|signer| signer.is_anchored(evidence.anchor));
    examination.check(
        &rules::TCB_SIGNER,
        signs,
        format!("{TCB_SIGNER_NAME}, {}", evidence.anchor.common_name),
        if signs { TCB_SIGNER_NAME } else { "missing, or no such path" },
    );
    validity(examination, &chain, signer.as_ref(), evidence.anchor);
    revocation(examination, &chain, signer.as_ref(), evidence);

    let key = signer.map(|signer| signer.key);
    let tcb_info = Signed::tcb_info(document(EndorsementKind::TdxTcbInfo))
        .zip(key.as_ref())
        .and_then(|(signed, key)| signed.open::<TcbInfo>(key));
    let tcb_info = examination.require(&rules::TCB_INFO, tcb_info, "signed by the TCB signer", "missing or not valid");
    let qe_identity = Signed::qe_identity(document(EndorsementKind::TdxQeIdentity))
        .zip(key.as_ref())
        .and_then(|(signed, key)| signed.open::<QeIdentity>(key));
    let qe_identity =
        examination.require(&rules::QE_IDENTITY, qe_identity, "signed by the TCB signer", "missing or not valid");
    let (tcb_info, qe_identity) = tcb_info.zip(qe_identity)?;
    collateral(examination, &tcb_info, &qe_identity, &pck, evidence);
    levels(examination, quote, &tcb_info, &qe_identity, &pck, evidence);
    Some(pck)
}

/// The chain in the quote. Its last certificate must be the policy's anchor, byte for byte.
struct PckChain<'a> {
    pck: Certificate<'a>,
    pck_key: PublicKey,
    ca: Certificate<'a>,
    ca_key: PublicKey,
    root: &'a [u8],
}

impl<'a> PckChain<'a> {
    fn parse(chain: &'a [Vec<u8>]) -> Option<Self> {
        let [pck, ca, root] = chain else { return None };
        let parse = |bytes: &'a Vec<u8>| Certificate::parse(bytes).ok();
        let (pck, ca) = (parse(pck)?, parse(ca)?);
        let (pck_key, ca_key) = (pck.public_key().ok()?, ca.public_key().ok()?);
        Some(Self { pck, pck_key, ca, ca_key, root })
    }

    fn check(&self, examination: &mut Examination, anchor: &TrustAnchor) {
        let ca_name = self.ca.common_name().unwrap_or_default();
        let named = self.pck.common_name() == Some(PCK_NAME) && PCK_CA_NAMES.contains(&ca_name);
        let shaped = self.ca.is_authority() && self.pck.is_signer();
        let anchored = self.root == anchor.certificate && self.ca.is_issued_by(&anchor.subject, &anchor.key);
        let issued = self.pck.is_issued_by(self.ca.subject, &self.ca_key);
        examination.check(
            &rules::PCK_CHAIN,
            named && shaped && anchored && issued,
            format!("PCK, PCK CA, {}", anchor.common_name),
            match (named && shaped, issued, anchored) {
                (true, true, true) => "such a path",
                (false, ..) => "other certificates",
                (_, false, _) => "a PCK of another CA",
                (.., false) => "a CA of another root",
            },
        );
    }
}

/// The certificate that signs TCB info and QE identity.
struct TcbSigner<'a> {
    certificate: Certificate<'a>,
    key: PublicKey,
    root: &'a [u8],
}

impl<'a> TcbSigner<'a> {
    fn parse(chain: &'a [Vec<u8>]) -> Option<Self> {
        let [certificate, root] = chain else { return None };
        let certificate = Certificate::parse(certificate).ok()?;
        let key = certificate.public_key().ok()?;
        Some(Self { certificate, key, root })
    }

    fn is_anchored(&self, anchor: &TrustAnchor) -> bool {
        self.certificate.common_name() == Some(TCB_SIGNER_NAME)
            && self.certificate.is_signer()
            && self.root == anchor.certificate
            && self.certificate.is_issued_by(&anchor.subject, &anchor.key)
    }
}

fn validity(
    examination: &mut Examination,
    chain: &PckChain<'_>,
    signer: Option<&TcbSigner<'_>>,
    anchor: &TrustAnchor,
) {
    let now = examination.now();
    let all: Vec<_> = [&chain.pck, &chain.ca].into_iter().chain(signer.map(|signer| &signer.certificate)).collect();
    let not_before = all.iter().fold(anchor.not_before, |moment, each| moment.max(each.not_before));
    let not_after = all.iter().fold(anchor.not_after, |moment, each| moment.min(each.not_after));
    let valid = all.iter().all(|each| each.is_valid_at(now)) && anchor.is_valid_at(now);
    examination.check(&rules::VALIDITY, valid, format!("{not_before} to {not_after}"), now.to_string());
    examination.relies_until(not_after);
}

/// PCK signs the QE report, the QE report names the attestation key, that key signs the quote.
fn signatures(examination: &mut Examination, quote: &Quote<'_>, chain: &PckChain<'_>, domain: SignatureDomain) {
    let outcome = |holds: bool| if holds { "valid" } else { "not valid" };
    let in_domain = |bytes: &[u8]| Sha256::new_with_prefix(domain.prefix()).chain_update(bytes).finalize().into();
    let signed = chain.pck_key.verifies_p256(&in_domain(quote.qe_report.0), quote.qe_report_signature);
    examination.check(&rules::QE_REPORT_SIGNATURE, signed, "the PCK's signature over the QE report", outcome(signed));

    let digest = Sha256::new().chain_update(quote.attestation_key).chain_update(quote.qe_authentication).finalize();
    let (bound, rest) = quote.qe_report.report_data().split_at(32);
    let binds = bound == digest.as_slice() && rest == [0; 32];
    let expected = format!("{} and zeros", hex::encode(digest));
    examination.check(&rules::QE_REPORT_BINDING, binds, expected, hex::encode(quote.qe_report.report_data()));

    let mut point = [0x04; 65];
    point[1..].copy_from_slice(quote.attestation_key);
    let key = PublicKey::p256(&point).ok();
    let signed = key.is_some_and(|key| key.verifies_p256(&in_domain(quote.signed), quote.signature));
    examination.check(
        &rules::QUOTE_SIGNATURE,
        signed,
        "the attestation key's signature over header and body",
        outcome(signed),
    );
}

fn revocation(
    examination: &mut Examination,
    chain: &PckChain<'_>,
    signer: Option<&TcbSigner<'_>>,
    evidence: &Evidence<'_>,
) {
    let list = |kind, issuer: &[u8], key: &PublicKey| {
        let bytes = evidence.endorsements.document(kind)?;
        RevocationList::parse(bytes).ok().filter(|list| list.is_issued_by(issuer, key))
    };
    let anchor = evidence.anchor;
    let lists = list(EndorsementKind::TdxRootCrl, &anchor.subject, &anchor.key)
        .zip(list(EndorsementKind::TdxPckCrl, chain.ca.subject, &chain.ca_key));
    let Some((of_root, of_ca)) =
        examination.require(&rules::CRL_SIGNATURES, lists, "lists of root and PCK CA", "missing or not valid")
    else {
        return;
    };
    let revoked = [
        ("PCK CA", of_root.lists(chain.ca.serial)),
        ("TCB signer", signer.is_some_and(|signer| of_root.lists(signer.certificate.serial))),
        ("PCK", of_ca.lists(chain.pck.serial)),
    ];
    let found = revoked.iter().find(|(_, listed)| *listed).map_or("none", |(name, _)| name);
    examination.check(&rules::NOT_REVOKED, found == "none", "none listed", found);
    let now = examination.now();
    let since = of_root.this_update.max(of_ca.this_update);
    let until = of_root.next_update.min(of_ca.next_update);
    let current = of_root.is_current_at(now) && of_ca.is_current_at(now);
    examination.check(&rules::CRL_CURRENT, current, format!("{since} to {until}"), now.to_string());
    examination.relies_until(until);
}

/// Whether the signed documents are about this platform, of this time, and new enough.
fn collateral(
    examination: &mut Examination,
    tcb_info: &TcbInfo,
    qe_identity: &QeIdentity,
    pck: &Pck,
    evidence: &Evidence<'_>,
) {
    let same = tcb_info.id == "TDX"
        && tcb_info.version == 3
        && tcb_info.tcb_type == 0
        && tcb_info.fmspc.0 == pck.fmspc
        && tcb_info.pce_id.0 == pck.pceid;
    let name = |id: &str, version, fmspc: &[u8; 6], pceid: &[u8; 2]| {
        format!("{id} version {version}, FMSPC {}, PCEID {}", hex::encode(fmspc), hex::encode(pceid))
    };
    examination.check(
        &rules::TCB_INFO_SUBJECT,
        same,
        name("TDX", 3, &pck.fmspc, &pck.pceid),
        name(&tcb_info.id, tcb_info.version, &tcb_info.fmspc.0, &tcb_info.pce_id.0),
    );
    examination.check(
        &rules::QE_IDENTITY_SUBJECT,
        qe_identity.id == "TD_QE" && qe_identity.version == 2,
        "TD_QE version 2",
        format!("{} version {}", qe_identity.id, qe_identity.version),
    );
    let now = examination.now();
    let oldest = tcb_info.issue_date.min(qe_identity.issue_date);
    let since = tcb_info.issue_date.max(qe_identity.issue_date);
    let until = tcb_info.next_update.min(qe_identity.next_update);
    let current = since <= now && now <= until;
    examination.check(&rules::COLLATERAL_CURRENT, current, format!("{since} to {until}"), now.to_string());
    examination.relies_until(until);
    let age = now.seconds_since(oldest);
    let age_max = evidence.collateral_age_seconds_max;
    examination.check(
        &rules::COLLATERAL_AGE,
        age.is_some_and(|age| age <= age_max),
        format!("at most {age_max} s"),
        age.map_or(String::from("issued after now"), |age| format!("{age} s")),
    );
    examination.relies_until(oldest.plus_seconds(age_max));
    let number = tcb_info.tcb_evaluation_data_number.min(qe_identity.tcb_evaluation_data_number);
    let floor = evidence.policy.evaluation_number_minimum;
    examination.check(&rules::EVALUATION_NUMBER, number >= floor, format!("at least {floor}"), number.to_string());
}

/// Platform, module and quoting enclave each have a level; together they are as bad as the worst.
fn levels(
    examination: &mut Examination,
    quote: &Quote<'_>,
    tcb_info: &TcbInfo,
    qe_identity: &QeIdentity,
    pck: &Pck,
    evidence: &Evidence<'_>,
) {
    let tee_tcb_svn = quote.body.tee_tcb_svn();
    let is_qe = level::is_quoting_enclave(qe_identity, &quote.qe_report);
    let expected = format!("MRSIGNER {}, not under debug", hex::encode(qe_identity.mrsigner.0));
    let found = format!("MRSIGNER {}", hex::encode(quote.qe_report.mrsigner()));
    examination.check(&rules::QUOTING_ENCLAVE, is_qe, expected, found);
    let module = Module::find(tcb_info, tee_tcb_svn).filter(|module| module.matches(&quote.body));
    let expected = format!("a listed TDX module {:02X}", tee_tcb_svn[1]);
    let found = format!("MRSIGNERSEAM {}", hex::encode(quote.body.mrsignerseam()));
    let module = examination.require(&rules::MODULE, module, &expected, found);

    let mut reached = |rule, level: Option<Level<'_>>| {
        let found = level.map_or(String::from("no level"), |level| level.status.to_string());
        let holds = level.is_some_and(|level| level.status != TcbStatus::Revoked);
        examination.check(rule, holds, "a level that is not revoked", found);
    };
    let platform = level::platform(tcb_info, pck, tee_tcb_svn);
    let quoting_enclave = level::quoting_enclave(qe_identity, &quote.qe_report);
    let module = module.map(|module| module.level(tee_tcb_svn));
    reached(&rules::PLATFORM_LEVEL, platform);
    reached(&rules::QE_LEVEL, quoting_enclave);
    let Some(module) = module else { return };
    reached(&rules::MODULE_LEVEL, module);
    let (Some(platform), Some(module), Some(quoting_enclave)) = (platform, module, quoting_enclave) else { return };
    status(examination, &[platform, module, quoting_enclave], evidence.policy);
}

fn status(examination: &mut Examination, levels: &[Level<'_>], policy: &TdxPolicy) {
    let status = levels.iter().fold(TcbStatus::UpToDate, |status, level| status.converge(level.status));
    let mut advisories = levels.iter().flat_map(|level| level.advisories);
    let exception = policy.tcb_exceptions.iter().find(|exception| exception.status == status);
    let now = examination.now();
    let accepted = status == TcbStatus::UpToDate
        || exception.is_some_and(|exception| {
            now <= exception.until.0 && advisories.all(|advisory| exception.advisories.contains(advisory))
        });
    let expected = match exception {
        Some(exception) if status != TcbStatus::UpToDate => {
            examination.relies_until(exception.until.0);
            format!("UpToDate, or {status} with {} until {}", exception.advisories.join(" "), exception.until.0)
        }
        _ => String::from("UpToDate"),
    };
    let listed: Vec<&str> = levels.iter().flat_map(|level| level.advisories).map(String::as_str).collect();
    let found = if listed.is_empty() { status.to_string() } else { format!("{status} ({})", listed.join(" ")) };
    examination.check(&rules::TCB_STATUS, accepted, expected, found);
}

fn expected(examination: &mut Examination, quote: &Quote<'_>, evidence: &Evidence<'_>) {
    let (policy, body) = (evidence.policy, &quote.body);
    if let Some(report_data) = evidence.report_data {
        statement::check_report_data(examination, report_data, body.report_data());
    }
    for (rule, references, value) in [
        (&rules::MRTD, &policy.mrtd, body.mrtd()),
        (&rules::RTMR0, &policy.rtmr0, body.rtmr(0)),
        (&rules::RTMR1, &policy.rtmr1, body.rtmr(1)),
        (&rules::RTMR2, &policy.rtmr2, body.rtmr(2)),
        (&rules::RTMR3, &policy.rtmr3, body.rtmr(3)),
        (&rules::MRCONFIGID, &policy.mrconfigid, body.mrconfigid()),
        (&rules::MROWNER, &policy.mrowner, body.mrowner()),
        (&rules::MROWNERCONFIG, &policy.mrownerconfig, body.mrownerconfig()),
    ] {
        examination.check(rule, references.contains(value), references.to_string(), hex::encode(value));
    }
    let attributes = body.td_attributes();
    let tud = attributes & TUD_MASK;
    examination.check(&rules::DEBUG, tud == 0, "0", format!("{tud:#x}"));
    examination.check(
        &rules::ATTRIBUTES,
        policy.td_attributes.contains(attributes),
        policy.td_attributes.to_string(),
        format!("{attributes:#x}"),
    );
    let xfam = body.xfam();
    examination.check(&rules::XFAM, policy.xfam.contains(xfam), policy.xfam.to_string(), format!("{xfam:#x}"));
    let service = body.mrservicetd().unwrap_or(&[0; 48]);
    let none = service.iter().all(|byte| *byte == 0);
    examination.check(&rules::SERVICE_TD, none, "none", if none { String::from("none") } else { hex::encode(service) });
}
