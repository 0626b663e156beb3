//! The commands about evidence: `verify`, `inspect`, `policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Deployment;

/// `adyton verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adyton verify https://inference.example.com:8443 --ca ca.pem --policy policy.toml
  adyton verify --explain                     (URL and policy from the configuration file)
  adyton verify bundle.cbor --policy policy.toml --nonce 5f1d… --at 2026-11-24T03:09:00Z --json
  adyton verify report.bin --endorsements ./certificates --policy policy.toml --report-data 00ff…
  adyton endorsements fetch report.bin && adyton verify report.bin --policy policy.toml --report-data 00ff…
  adyton verify quote.bin --endorsements collateral.json --event-log ccel.bin --policy policy.toml --unbound
  adyton verify hcl-report.bin --td-quote quote.bin --tpm-quote quote.msg --tpm-signature quote.sig --pcrs pcrs.bin \\
                --endorsements ./collateral --policy policy.toml --report-data 00ff…
  adyton verify --manifest corpus/MANIFEST.toml     (every vector of a corpus, with the verdict that it must get)
  adyton verify --conformance < case.json           (one case for an outside test suite)

The first line is the verdict. --explain adds every clause, grouped by the question that it answers.")]
pub struct Verify {
    /// URL of a host, or a file: a bundle, an SNP report, a TDX quote or an Azure HCL report [default: --url]
    #[arg(value_name = "URL|FILE")]
    pub target: Option<String>,
    /// Print every clause with what was expected and found
    #[arg(long)]
    pub explain: bool,
    /// Appraise as of this moment: RFC 3339 in UTC or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// The nonce that the bundle in a file answers (64 hex digits)
    #[arg(long, value_name = "HEX")]
    pub nonce: Option<String>,
    /// Keep the fetched bundle in this file, for later or for others to verify
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub raw: RawParts,
    /// Appraise every vector of a corpus and compare with what it expects
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    pub manifest: Option<PathBuf>,
    /// Appraise one JSON case from standard input (docs/conformance.schema.json)
    #[arg(long, conflicts_with_all = ["target", "manifest"])]
    pub conformance: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub deployment: Deployment,
}

/// What belongs to raw evidence in a file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Raw evidence")]
pub struct RawParts {
    /// File or folder with certificates, revocation lists, collateral; can be repeated [default: the evidence's folder]
    #[arg(long, value_name = "PATH")]
    pub endorsements: Vec<PathBuf>,
    /// Cache that `adyton endorsements fetch` fills: kinds that no file brings are taken from it [default: as there]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// The 64 bytes that the evidence must carry (128 hex digits)
    #[arg(long, value_name = "HEX", conflicts_with = "unbound")]
    pub report_data: Option<String>,
    /// Take whatever report data the evidence carries: nothing then ties it to you
    #[arg(long)]
    pub unbound: bool,
    /// Event log that came with a quote
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<PathBuf>,
    /// Azure on TDX: the TD quote
    #[arg(long, value_name = "FILE")]
    pub td_quote: Option<PathBuf>,
    /// Azure: the vTPM's quote (TPMS_ATTEST)
    #[arg(long, value_name = "FILE")]
    pub tpm_quote: Option<PathBuf>,
    /// Azure: the signature over it (RSASSA, or TPMT_SIGNATURE)
    #[arg(long, value_name = "FILE")]
    pub tpm_signature: Option<PathBuf>,
    /// Azure: the quoted SHA-256 PCR values, one after the other
    #[arg(long, value_name = "FILE")]
    pub pcrs: Option<PathBuf>,
}

/// `adyton inspect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adyton inspect report.bin
  adyton inspect quote.bin --json
  adyton inspect bundle.cbor                  (evidence, statement and endorsements)

Names are those of the manufacturer's specification, offsets those of the structure. Nothing is checked.")]
pub struct Inspect {
    /// A bundle, an SNP report, a TDX quote, an Azure HCL report, a GPU report, an event log or a certificate
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `adyton policy`.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Write a commented policy that accepts what a piece of evidence shows
    New(PolicyNew),
    /// Read a policy as the Verifier does, and say what it leaves open
    #[command(after_help = "\
Examples:
  adyton policy check policy.toml
  adyton policy check policy.toml --strict    (exit status 1 on a danger or a warning, for CI)")]
    Check {
        /// The policy
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Fail on a danger or a warning
        #[arg(long)]
        strict: bool,
    },
    /// Show what a change of a policy would newly accept or refuse
    #[command(after_help = "Examples:\n  adyton policy diff policy.toml policy.new.toml")]
    Diff {
        /// The policy in force
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The policy that would replace it
        #[arg(value_name = "NEW")]
        new: PathBuf,
    },
}

/// `adyton policy new`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adyton policy new https://inference.example.com:8443 --ca ca.pem --measured image.toml --out policy.toml
  adyton policy new bundle.cbor --out policy.toml
  adyton policy new report.bin --endorsements vcek.der
  adyton policy check policy.toml

The draft accepts exactly what this evidence shows. Whether that is the release you expect is for you to compare: the
part that --measured has (from `adyton-host measure`) is compared here, and a machine that shows anything else is refused.
Evidence from a URL answers a fresh nonce and must hold under its own draft.")]
pub struct PolicyNew {
    /// URL of a host, or a file: a bundle, an SNP report or a TDX quote
    #[arg(value_name = "URL|FILE")]
    pub evidence: String,
    /// Part of a policy that `adyton-host measure` wrote: the evidence must show what it says
    #[arg(long, value_name = "FILE")]
    pub measured: Option<PathBuf>,
    /// PEM certificates that may vouch for the host's TLS; evidence does not rest on them
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Seconds to wait for a connection and for evidence
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub timeout_seconds: u64,
    /// File or folder with the manufacturer's documents (VCEK, TCB info); can be repeated
    #[arg(long, value_name = "PATH")]
    pub endorsements: Vec<PathBuf>,
    /// Write the policy to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
