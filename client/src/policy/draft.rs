//! A policy drafted from evidence: it accepts what the evidence shows, and nothing that is older or other.
//!
//! The draft is a start, written so that a person reads it: each value has a comment that says what trusting it means.

use std::fmt::Write as _;

use attestation::{Field, FieldValue, Kind, inspect, recognise};

use super::{
    draft_events::Events,
    draft_vtpm::{self, AzureGuest, GoogleVtpm},
};
use crate::error::ClientError;

/// What a draft is made from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source<'a> {
    /// The raw SNP report or TDX quote; on Azure's SEV-SNP the HCL report that holds it.
    pub evidence: &'a [u8],
    /// What Azure's paravisor and its vTPM said.
    pub azure: Option<AzureGuest<'a>>,
    /// What Google's vTPM said.
    pub google_vtpm: Option<GoogleVtpm<'a>>,
    /// The events of RTMR 1 and 2, where these are to be judged by them.
    pub events: Option<&'a Events>,
    /// The VCEK, VLEK where one is at hand.
    pub leaf: Option<&'a [u8]>,
    /// Digests of the sealed models that the statement names.
    pub model_digests: &'a [[u8; 32]],
    /// The configuration that the statement names; zero where there is no statement.
    pub config_digest: [u8; 32],
    /// tcbEvaluationDataNumber of the collateral at hand.
    pub evaluation_number: Option<u64>,
}

/// Fields looked up by the name in their specification.
pub(super) struct Named(pub(super) Vec<Field>);

impl Named {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        inspect(bytes).map(Self)
    }

    fn value(&self, name: &str) -> Option<&FieldValue> {
        let field = self.0.iter().find(|field| field.name == name)?;
        Some(&field.value)
    }

    fn hex(&self, name: &str) -> String {
        match self.value(name) {
            Some(FieldValue::Bytes(bytes)) => hex::encode(bytes),
            _ => String::new(),
        }
    }

    fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(FieldValue::Number(number)) => *number,
            _ => 0,
        }
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.value(name).map(ToString::to_string).unwrap_or_default()
    }
}

/// The draft as TOML.
pub fn draft(source: &Source<'_>) -> Result<String, ClientError> {
    let fields = Named::of(source.evidence).ok_or_else(|| ClientError::Malformed {
        what: "the evidence",
        problem: "no SNP report and no TDX quote".to_owned(),
    })?;
    let mut text = head(source);
    if let Some(guest) = &source.azure {
        draft_vtpm::azure(&mut text, guest)?;
    }
    match (recognise(source.evidence), source.azure.is_some()) {
        (Some(Kind::SnpReport), false) => snp(&mut text, "snp", &fields, source),
        (Some(Kind::AzureHclReport), true) => snp(&mut text, "azure.snp", &fields, source),
        (Some(Kind::TdxQuote), false) => tdx(&mut text, "tdx", &fields, source),
        (Some(Kind::TdxQuote), true) => tdx(&mut text, "azure.tdx", &fields, source),
        _ => {
            return Err(ClientError::Usage(
                "a policy is drafted from a bundle, an SNP report or a TDX quote".to_owned(),
            ));
        }
    }
    if let Some(vtpm) = &source.google_vtpm {
        draft_vtpm::google(&mut text, vtpm)?;
    }
    Ok(text)
}

fn head(source: &Source<'_>) -> String {
    let digests = |digests: &[[u8; 32]]| {
        digests
            .iter()
            .map(|digest| format!("\"{}\"", hex::encode(digest)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let models = if source.model_digests.is_empty() {
        digests(&[[0; 32]])
    } else {
        digests(source.model_digests)
    };
    let unknown = if source.model_digests.is_empty() {
        " The evidence has no statement of ours: put yours in place of the zeros."
    } else {
        ""
    };
    format!(
        "# Drafted from evidence. Each value is what this one piece of evidence shows: compare it with the release that\n\
         # you expect before you trust it. `adyton policy check` says what is left open.\n\
         version = 1\n\
         role = \"inference\"\n\
         # How long evidence may be relied upon after its appraisal, in seconds.\n\
         evidence_age_seconds_max = 3600\n\
         # How old revocation lists, TCB info and QE identity may be, in seconds.\n\
         collateral_age_seconds_max = 2592000\n\
         # The sealed models that may be served.{unknown}\n\
         model_digests = [{models}]\n\
         # The measured configurations that may run.\n\
         config_digests = [{}]\n",
        digests(&[source.config_digest])
    )
}

/// Bits of the guest policy that protect, and of PLATFORM_INFO, as policies name them.
const PROTECTIONS: [(u32, &str); 5] = [
    (20, "single-socket"),
    (22, "memory-aes-256-xts"),
    (23, "rapl-disabled"),
    (24, "ciphertext-hiding"),
    (25, "page-swap-disabled"),
];
const ALLOWANCES: [(u32, &str); 2] = [(16, "smt"), (21, "cxl")];
const PLATFORM: [(u32, &str); 5] = [
    (1, "tsme"),
    (2, "ecc"),
    (3, "rapl-disabled"),
    (4, "ciphertext-hiding"),
    (5, "alias-check-complete"),
];

fn words(value: u64, names: &[(u32, &str)]) -> String {
    names
        .iter()
        .filter(|(bit, _)| value >> bit & 1 == 1)
        .map(|(_, name)| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

fn snp(text: &mut String, table: &str, fields: &Named, source: &Source<'_>) {
    let leaf = source.leaf.and_then(Named::of);
    let leaf_text = |name: &str| leaf.as_ref().map(|leaf| leaf.text(name)).unwrap_or_default();
    let list = |name: &str| format!("[\"{}\"]", fields.hex(name));
    let (policy, platform) = (fields.number("POLICY"), fields.number("PLATFORM_INFO"));
    let (abi_minor, abi_major) = (policy & 0xff, policy >> 8 & 0xff);
    let hardware_id = leaf_text("hwID");
    let machines = if hardware_id.is_empty() {
        "\"any\" # no VCEK is at hand: name your machines by the hwID of their VCEK".to_owned()
    } else {
        format!("[\"{hardware_id}\"]")
    };
    let provider = leaf_text("CSP_ID");
    let providers = if provider.is_empty() {
        String::new()
    } else {
        format!("\"{provider}\"")
    };
    let generation = generation(fields, &leaf_text("generation"));
    // A VLEK's seed is not the Milan fuse's.
    let milan = generation == "milan" && provider.is_empty();
    let _ = write!(
        text,
        "\n[{table}]\n\
         # {}\n\
         launch_measurements = {}\n\
         host_data = {}\n\
         family_ids = {}\n\
         image_ids = {}\n\
         id_key_digests = {}\n\
         author_key_digests = {}\n\
         vmpl = {}\n\
         guest_svn_minimum = {}\n\
         guest_abi_minimum = \"{abi_major}.{abi_minor}\"\n\
         # What the guest demands of the platform.\n\
         guest_policy_required = [{}]\n\
         # What it allows although it weakens isolation; empty is strict.\n\
         guest_policy_accepted = [{}]\n\
         # What the platform must show.\n\
         platform_required = [{}]\n\
         # Only machines that you know.\n\
         enrolled_machines = {machines}\n\
         report_versions = [{}]\n\
         vlek_providers = [{providers}]\n\
         # AMD issues its revocation list once a year; it must be within its own time, too.\n\
         revocation_list_age_seconds_max = 34214400\n",
        if table == "snp" {
            "Firmware, kernel, initrd and command line as the launch measured them."
        } else {
            "Microsoft's paravisor, which runs beside the guest and owns its vTPM. It says nothing of your image."
        },
        list("MEASUREMENT"),
        list("HOST_DATA"),
        list("FAMILY_ID"),
        list("IMAGE_ID"),
        list("ID_KEY_DIGEST"),
        list("AUTHOR_KEY_DIGEST"),
        fields.number("VMPL"),
        fields.number("GUEST_SVN"),
        words(policy, &PROTECTIONS),
        words(policy, &ALLOWANCES),
        words(platform, &PLATFORM),
        fields.number("VERSION"),
    );
    let _ = writeln!(
        text,
        "# Named departures; \"milan-vcek\" accepts Milan, whose root seed can be extracted by software (BadFuse).\n\
         exceptions = [{}]",
        if milan { "\"milan-vcek\"" } else { "" }
    );
    minimum_tcb(text, table, fields, generation);
}

fn generation(fields: &Named, by_leaf: &str) -> &'static str {
    let by_processor = fields
        .0
        .iter()
        .find(|field| field.name == "CPUID_FAM_ID")
        .map(|field| field.meaning.as_str());
    match by_processor.unwrap_or(by_leaf) {
        "Milan" => "milan",
        "Turin" => "turin",
        _ => "genoa",
    }
}

/// The least of reported, committed and launch TCB: each of them must have it.
fn minimum_tcb(text: &mut String, table: &str, fields: &Named, generation: &str) {
    let versions =
        ["REPORTED_TCB", "COMMITTED_TCB", "LAUNCH_TCB"].map(|name| fields.number(name).to_le_bytes());
    let least = |byte: usize| versions.iter().map(|bytes| bytes[byte]).min().unwrap_or(0);
    let has_processor = fields.value("CPUID_MOD_ID").is_some();
    let (models, steppings) = if has_processor {
        (
            format!("[{:#x}]", fields.number("CPUID_MOD_ID")),
            format!("[{}]", fields.number("CPUID_STEP")),
        )
    } else {
        // Version 2 names no processor: whatever the entry says, it holds for the generation.
        ("[0]".to_owned(), "[0]".to_owned())
    };
    let (fmc, [boot_loader, tee, snp]) = if generation == "turin" {
        (format!("fmc = {}\n", least(0)), [1, 2, 3])
    } else {
        (String::new(), [0, 1, 6])
    };
    let mitigations = fields.number("LAUNCH_MIT_VECTOR") & fields.number("CURRENT_MIT_VECTOR");
    let _ = write!(
        text,
        "\n# What reported, committed and launch TCB must have at least, for this model and stepping.\n\
         [[{table}.minimum_tcb]]\n\
         generation = \"{generation}\"\n\
         models = {models}\n\
         steppings = {steppings}\n\
         {fmc}boot_loader = {}\n\
         tee = {}\n\
         snp = {}\n\
         microcode = {}\n\
         firmware = \"{}\"\n\
         mitigations = {mitigations:#x}\n",
        least(boot_loader),
        least(tee),
        least(snp),
        least(7),
        fields.text("COMMITTED_VERSION"),
    );
}

/// tcbEvaluationDataNumber of Intel's TCB recovery of 2025, where no collateral says a later one.
const EVALUATION_NUMBER: u64 = 18;
/// SEPT_VE_DISABLE alone: what a strict policy takes.
const STRICT_ATTRIBUTES: u64 = 0x1000_0000;
/// Attributes that no policy can accept: every bit of TUD, and MIGRATABLE.
pub const REFUSED_ATTRIBUTES: u64 = 0x2000_00ff;

fn tdx(text: &mut String, table: &str, fields: &Named, source: &Source<'_>) {
    let list = |name: &str| format!("[\"{}\"]", fields.hex(name));
    let register = |name: &str| match source.events {
        Some(_) => "\"events\"".to_owned(),
        None => list(name),
    };
    let attributes = fields.number("TDATTRIBUTES");
    let attributes = if attributes & REFUSED_ATTRIBUTES == 0 && attributes & STRICT_ATTRIBUTES != 0 {
        attributes
    } else {
        STRICT_ATTRIBUTES
    };
    let ppid = fields.text("PCK PPID");
    let machines = if ppid.is_empty() {
        "\"any\"".to_owned()
    } else {
        format!("[\"{ppid}\"]")
    };
    let _ = write!(
        text,
        "\n[{table}]\n\
         # {}\n\
         mrtd = {}\n\
         rtmr0 = {}\n\
         rtmr1 = {}\n\
         rtmr2 = {}\n\
         rtmr3 = {}\n\
         mrconfigid = {}\n\
         mrowner = {}\n\
         mrownerconfig = {}\n\
         # Whole values; SEPT_VE_DISABLE (0x10000000) alone is strict.\n\
         td_attributes = [{attributes:#x}]\n\
         xfam = [{:#x}]\n\
         # Only machines that you know, by PPID.\n\
         enrolled_machines = {machines}\n\
         # The verifier, not the host, says how new Intel's data must be. Raise it as Intel publishes.\n\
         evaluation_number_minimum = {}\n",
        if table == "tdx" {
            "Firmware; its configuration; boot loader and kernel; command line and initrd; what the run time added."
        } else {
            "Microsoft's paravisor, which runs beside the guest and owns its vTPM. It says nothing of your image."
        },
        list("MRTD"),
        list("RTMR0"),
        register("RTMR1"),
        register("RTMR2"),
        list("RTMR3"),
        list("MRCONFIGID"),
        list("MROWNER"),
        list("MROWNERCONFIG"),
        fields.number("XFAM"),
        source.evaluation_number.unwrap_or(EVALUATION_NUMBER),
    );
    if let Some(events) = source.events {
        events.write(text);
    }
}
