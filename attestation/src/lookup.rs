//! What a manufacturer must be asked for, read from evidence that nobody has verified yet.
//!
//! It only chooses which documents to fetch: the Verifier finds out whether they fit.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::azure::HclReport;
use crate::nvidia;
use crate::snp::{Generation, Leaf, Report, SigningKey, TcbVersion};
use crate::tdx::{PCK_CA_NAMES, Pck, Quote};
use crate::x509::{Certificate, pem_certificates};
use crate::{AzureEvidence, BundleError, DeviceKind, PlatformTag};

/// The request that evidence leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// AMD's key distribution service.
    Snp(SnpLookup),
    /// Intel's provisioning certification service.
    Tdx(TdxLookup),
}

/// What an SNP report says of the key that signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnpLookup {
    /// Whose key.
    pub signer: SnpSigner,
    /// The processors that the report can be of. Version 2 names none, so there may be several; there
    /// is none where the chip id is masked or the versions have no processor's layout.
    pub products: Vec<SnpProduct>,
    /// Launch measurement.
    pub measurement: [u8; 48],
}

/// The keys that sign reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnpSigner {
    /// Of a chip: AMD publishes its certificate.
    Vcek,
    /// Of a cloud provider: the provider hands its certificate out with the report.
    Vlek,
}

/// A processor, as AMD's key distribution service names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnpProduct {
    /// `Milan`, `Genoa` or `Turin`.
    pub name: &'static str,
    /// 64 bytes, 8 on Turin.
    pub hardware_id: Vec<u8>,
    /// Reported TCB.
    pub tcb: SnpTcb,
}

/// Security versions (AMD 57230, section 3.1: the SPL parameters).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnpTcb {
    /// Turin only.
    pub fmc: Option<u8>,
    /// Boot loader.
    pub boot_loader: u8,
    /// TEE.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

/// What a TDX quote says of its platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdxLookup {
    /// Family, model, stepping, platform type and custom SKU.
    pub fmspc: [u8; 6],
    /// Who issued the PCK certificate.
    pub authority: PckAuthority,
    /// The authority's certificate as the quote carries it, DER.
    pub authority_certificate: Vec<u8>,
    /// Launch measurement.
    pub mrtd: [u8; 48],
}

/// The authorities below Intel's root that issue PCK certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PckAuthority {
    /// Intel SGX PCK Platform CA.
    Platform,
    /// Intel SGX PCK Processor CA.
    Processor,
}

impl PckAuthority {
    /// The word in requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            PckAuthority::Platform => "platform",
            PckAuthority::Processor => "processor",
        }
    }

    /// The authority's common name.
    pub const fn common_name(self) -> &'static str {
        match self {
            PckAuthority::Platform => PCK_CA_NAMES[0],
            PckAuthority::Processor => PCK_CA_NAMES[1],
        }
    }

    fn of(common_name: &str) -> Option<Self> {
        [PckAuthority::Platform, PckAuthority::Processor]
            .into_iter()
            .find(|authority| authority.common_name() == common_name)
    }
}

impl SnpProduct {
    /// Whether `leaf` (DER) is a certificate of this processor, these versions and this kind of key.
    pub fn is_named_by(&self, signer: SnpSigner, leaf: &[u8]) -> bool {
        let generation = Generation::ALL
            .into_iter()
            .find(|generation| generation.name() == self.name);
        let Some(leaf) = generation.and_then(|generation| {
            let certificate = Certificate::parse(leaf).ok()?;
            Leaf::parse(&certificate, generation).ok()
        }) else {
            return false;
        };
        let of_chip = match signer {
            SnpSigner::Vcek => leaf.kind == SigningKey::Vcek && leaf.hardware_id == self.hardware_id,
            SnpSigner::Vlek => leaf.kind == SigningKey::Vlek,
        };
        of_chip && SnpTcb::from(leaf.tcb) == self.tcb
    }
}

impl From<TcbVersion> for SnpTcb {
    fn from(version: TcbVersion) -> Self {
        Self {
            fmc: version.fmc,
            boot_loader: version.boot_loader,
            tee: version.tee,
            snp: version.snp,
            microcode: version.microcode,
        }
    }
}

/// What to ask for, from the evidence of a platform; on Azure, that of the processor inside.
pub fn endorsement_lookup(platform: PlatformTag, evidence: &[u8]) -> Result<Lookup, BundleError> {
    match platform {
        PlatformTag::AmdSevSnp | PlatformTag::SimulatedAmdSevSnp => of_report(evidence),
        PlatformTag::IntelTdx | PlatformTag::SimulatedIntelTdx => of_quote(evidence),
        PlatformTag::AzureAmdSevSnp | PlatformTag::AzureIntelTdx | PlatformTag::SimulatedAzureAmdSevSnp => {
            let azure = AzureEvidence::decode(evidence)?;
            match &azure.td_quote {
                Some(quote) => of_quote(quote),
                None => HclReport::parse(&azure.hcl_report).and_then(|hcl| of_report(hcl.hardware_report)),
            }
        }
    }
    .ok_or(BundleError::Shape)
}

/// The names under which NVIDIA publishes the reference manifests of a GPU's driver and of its VBIOS,
/// from the GPU's report; `None` if it is no report of a GPU.
pub fn nvidia_manifests(report: &[u8]) -> Option<(String, String)> {
    nvidia::manifests(&nvidia::Report::parse(report)?)
}

/// The name under which the endorsements of a device are cached: the names of its manifests, and the
/// serial number of the certificate that NVIDIA gave the chip. `None` for devices about which nothing
/// is published by name. Unverified: it only chooses what to look up.
pub fn device_subject(kind: DeviceKind, evidence: &[u8], certificates: &[u8]) -> Option<Vec<u8>> {
    if kind != DeviceKind::NvidiaGpu {
        return None;
    }
    let (driver, vbios) = nvidia_manifests(evidence)?;
    let chain = pem_certificates(certificates).ok()?;
    let chip = Certificate::parse(chain.get(1)?).ok()?;
    let subject = format!("{driver} {vbios} {}", hex::encode(chip.serial));
    Some(subject.into_bytes())
}

fn of_report(bytes: &[u8]) -> Option<Lookup> {
    Report::parse(bytes).as_ref().and_then(snp).map(Lookup::Snp)
}

fn of_quote(bytes: &[u8]) -> Option<Lookup> {
    Quote::parse(bytes).as_ref().and_then(tdx).map(Lookup::Tdx)
}

fn snp(report: &Report<'_>) -> Option<SnpLookup> {
    let signer = match report.signing_key()? {
        SigningKey::Vcek => SnpSigner::Vcek,
        SigningKey::Vlek => SnpSigner::Vlek,
    };
    let generations: Vec<Generation> = match report.processor() {
        Some([family, model, _]) => Generation::of_processor(family, model).into_iter().collect(),
        None => Generation::ALL.to_vec(),
    };
    let products = generations
        .into_iter()
        .filter_map(|generation| product(report, generation, signer))
        .collect();
    Some(SnpLookup {
        signer,
        products,
        measurement: *report.measurement(),
    })
}

fn product(report: &Report<'_>, generation: Generation, signer: SnpSigner) -> Option<SnpProduct> {
    let (id, rest) = report.chip_id().split_at(generation.hardware_id_bytes());
    let named = id.iter().any(|byte| *byte != 0) && rest.iter().all(|byte| *byte == 0);
    let tcb = TcbVersion::parse(generation, report.reported_tcb())?;
    (named || signer == SnpSigner::Vlek).then(|| SnpProduct {
        name: generation.name(),
        hardware_id: id.to_vec(),
        tcb: tcb.into(),
    })
}

fn tdx(quote: &Quote<'_>) -> Option<TdxLookup> {
    let chain = pem_certificates(quote.pck_chain).ok()?;
    let pck = Pck::parse(&Certificate::parse(chain.first()?).ok()?).ok()?;
    let authority_certificate = chain.get(1)?.clone();
    let name = Certificate::parse(&authority_certificate).ok()?.common_name()?;
    Some(TdxLookup {
        fmspc: pck.fmspc,
        authority: PckAuthority::of(name)?,
        authority_certificate,
        mrtd: *quote.body.mrtd(),
    })
}
