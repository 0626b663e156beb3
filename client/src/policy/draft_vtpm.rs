//! The parts of a draft that a vTPM speaks for: Azure's, which the paravisor runs inside the TEE, and Google's, which the
//! host runs outside of it.

use std::fmt::Write as _;

use attestation::{Kind, inspect, recognise, vtpm_qualifying_data};

use super::draft::Named;
use crate::error::ClientError;

/// What an Azure guest says beside its processor.
#[derive(Clone, Copy, Debug)]
pub struct AzureGuest<'a> {
    /// The paravisor's report.
    pub hcl_report: &'a [u8],
    /// TPMS_ATTEST of the quote.
    pub quote_message: &'a [u8],
    /// The quoted values.
    pub pcr_values: &'a [u8],
    /// Whether certificates of the vTPM's key came along.
    pub has_certificates: bool,
}

/// What Google's vTPM says.
#[derive(Clone, Copy, Debug)]
pub struct GoogleVtpm<'a> {
    /// TPMS_ATTEST of the quote.
    pub quote_message: &'a [u8],
    /// The quoted values.
    pub pcr_values: &'a [u8],
}

/// Settings of the paravisor on which the Verifier decides by clauses of their own.
const DECIDED: [&str; 12] = [
    "secure-boot",
    "tpm-enabled",
    "tpm-persisted",
    "console-enabled",
    "interactive-console-enabled",
    "ipmi-enabled",
    "filtered-vpci-devices-allowed",
    "root-cert-thumbprint",
    "vmUniqueId",
    "current-time",
    "tpm-version",
    "user-data",
];

/// The tables `[azure]` and `[azure.pcrs]`.
pub(super) fn azure(text: &mut String, guest: &AzureGuest<'_>) -> Result<(), ClientError> {
    let malformed = |problem: &str| ClientError::Malformed {
        what: "Azure's evidence",
        problem: problem.to_owned(),
    };
    if recognise(guest.hcl_report) != Some(Kind::AzureHclReport) {
        return Err(malformed("no HCL report"));
    }
    let fields = inspect(guest.hcl_report).ok_or_else(|| malformed("the HCL report cannot be read"))?;
    let from = fields.iter().position(|field| field.name == "keys");
    let others: Vec<String> = fields[from.map_or(fields.len(), |at| at + 1)..]
        .iter()
        .map(|field| field.name.as_ref())
        .filter(|name| *name != "HCLAkPub" && !DECIDED.contains(name))
        .map(|name| format!("{name:?}"))
        .collect();
    let fields = Named(fields);
    let says = |name: &str| fields.text(name) == "true";
    let user_data = fields.text("user-data");
    let exceptions: Vec<String> = [
        ("absent-ak-certificate", !guest.has_certificates),
        ("secure-boot-disabled", !says("secure-boot")),
        // Paravisors that do not write it keep the state.
        ("persisted-vtpm", fields.text("tpm-persisted") != "false"),
        ("console-enabled", says("console-enabled")),
        ("interactive-console", says("interactive-console-enabled")),
        ("ipmi-enabled", says("ipmi-enabled")),
        ("filtered-devices", says("filtered-vpci-devices-allowed")),
        ("absent-user-data", user_data == "none"),
    ]
    .iter()
    .filter(|(_, needed)| *needed)
    .map(|(name, _)| format!("{name:?}"))
    .collect();
    // Report data are of one appraisal: the Verifier knows them without the policy.
    let user_data = if user_data == "none" || is_quoted(&user_data, guest.quote_message) {
        "00".repeat(64)
    } else {
        user_data.to_lowercase()
    };
    let _ = write!(
        text,
        "\n[azure]\n\
         # Only virtual machines that you know, by vmUniqueId.\n\
         vm_ids = [{:?}]\n\
         user_data = [{user_data:?}]\n\
         root_certificate_thumbprints = [{:?}]\n\
         # Settings of the paravisor that mean nothing to the Verifier; know what they do before you accept them.\n\
         other_settings_accepted = [{}]\n\
         # Departures from the strict checks that this machine needs; attestation/examples/azure-policy.toml explains each.\n\
         exceptions = [{}]\n",
        fields.text("vmUniqueId"),
        fields.text("root-cert-thumbprint"),
        others.join(", "),
        exceptions.join(", "),
    );
    pcrs(text, "azure.pcrs", guest.quote_message, guest.pcr_values)
}

/// Whether the vTPM signed the digest of these user data, that is, whether they are the report data.
fn is_quoted(user_data: &str, quote_message: &[u8]) -> bool {
    let mut data = [0; 64];
    let quoted = inspect(quote_message).unwrap_or_default();
    let extra_data = quoted.iter().find(|field| field.name == "extraData");
    let extra_data = extra_data.and_then(|field| field.value.to_bytes());
    hex::decode_to_slice(user_data, &mut data).is_ok()
        && extra_data.as_deref() == Some(&vtpm_qualifying_data(&data)[..])
}

/// The tables `[gce_vtpm]` and `[gce_vtpm.pcrs]`.
pub(super) fn google(text: &mut String, vtpm: &GoogleVtpm<'_>) -> Result<(), ClientError> {
    text.push_str(
        "\n# Google's host runs this vTPM: it is outside the TEE, and its registers say what booted as far as that host is\n\
         # believed. Name your project, zone and instance.\n\
         [gce_vtpm]\n\
         project_ids = \"any\"\n\
         project_numbers = \"any\"\n\
         zones = \"any\"\n\
         instance_ids = \"any\"\n",
    );
    pcrs(text, "gce_vtpm.pcrs", vtpm.quote_message, vtpm.pcr_values)
}

/// What a PCR stands for where it pins the guest; the others are the machine's, or nobody's.
const GUEST: [(u8, &str); 9] = [
    (4, "the image and the kernel in it"),
    (7, "secure boot: whether it is on, and its keys"),
    (
        8,
        "what a boot loader measures; an image without one leaves it zero",
    ),
    (9, "command line and initrd"),
    (11, "the image, section by section"),
    (
        12,
        "command lines and add-ons from outside the image: zero without any",
    ),
    (13, "extension images: zero without any"),
    (14, "a boot loader's own keys: zero without one"),
    (15, "what the system measured of itself: zero unless it does"),
];

fn pcrs(text: &mut String, table: &str, message: &[u8], values: &[u8]) -> Result<(), ClientError> {
    let quoted = quoted(message).ok_or_else(|| ClientError::Malformed {
        what: "the vTPM's quote",
        problem: "no quote over one selection of the SHA-256 bank".to_owned(),
    })?;
    let _ = write!(
        text,
        "\n# The PCRs that the quote covers. \"any\" is quoted and not looked at: what differs from machine to machine.\n\
         [{table}]\n"
    );
    for (pcr, value) in quoted.iter().zip(values.chunks(32)) {
        let _ = match GUEST.iter().find(|(guest, _)| guest == pcr) {
            Some((_, what)) => writeln!(text, "{pcr} = [\"{}\"] # {what}", hex::encode(value)),
            None => writeln!(text, "{pcr} = \"any\""),
        };
    }
    Ok(())
}

/// The PCRs of a quote's one selection, from its text: `SHA-256: 0-7, 9`.
fn quoted(message: &[u8]) -> Option<Vec<u8>> {
    let fields = inspect(message)?;
    let mut selections = fields.iter().filter(|field| field.name == "pcrSelect");
    let text = selections.next()?.value.to_string();
    if selections.next().is_some() {
        return None;
    }
    let mut pcrs = Vec::new();
    for part in text.strip_prefix("SHA-256: ")?.split(", ") {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u8, u8) = (first.parse().ok()?, last.parse().ok()?);
        pcrs.extend(first..=last);
    }
    Some(pcrs)
}
