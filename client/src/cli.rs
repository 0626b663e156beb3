//! The command line: one type per command, its help, and its examples.
//!
//! Every long flag is also an environment variable and a TOML key ([`crate::layers`]). No flag takes a secret: tokens and
//! keys are named by file, prompts may come from standard input.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::Styles};

use crate::{
    error::ClientError,
    layers::FileLayer,
    output::{self, Color},
};

const STYLES: Styles = Styles::styled()
    .header(output::STRONG)
    .usage(output::STRONG)
    .literal(anstyle::AnsiColor::Cyan.on_default())
    .placeholder(output::FAINT)
    .error(output::BAD)
    .valid(output::GOOD)
    .invalid(output::NOTICE);

const LAYERS: &str = "\
Every flag can also be set by an environment variable (--token-file: ADYTON_TOKEN_FILE) or by a key of the configuration \
file (token_file, at the top or in the command's own table). The command line wins over the environment, the \
environment over the file.

Exit status: 0 accepted or done, 10 rejected, 20 malformed, 30 unsupported, 1 anything else.";

/// The `adyton` command.
#[derive(Debug, Parser)]
#[command(
    name = "adyton",
    version,
    about = "Talk to a language model inside a verified enclave",
    after_help = LAYERS,
    styles = STYLES,
    max_term_width = 110,
    propagate_version = true,
    disable_help_subcommand = false,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "General")]
pub struct Global {
    /// Configuration file [default: $XDG_CONFIG_HOME/adyton/config.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document on standard output instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress
    #[arg(long, global = true)]
    pub quiet: bool,
    /// When to colour: auto, always or never; NO_COLOR is honoured
    #[arg(
        hide_possible_values = true,
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t
    )]
    pub color: Color,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Appraise the evidence of a host, or of a bundle in a file
    Verify(Verify),
    /// List every field of a report, a quote, a certificate or a bundle, unchecked
    Inspect(Inspect),
    /// Draft, check and compare appraisal policies
    #[command(subcommand)]
    Policy(Policy),
    /// Send one prompt to a verified enclave and stream its answer
    Chat(Chat),
    /// Serve an OpenAI endpoint on loopback whose every request is sealed to a verified enclave
    Proxy(Proxy),
    /// Check audit logs offline
    #[command(subcommand)]
    Audit(Audit),
    /// Fetch, carry and list what manufacturers publish about platforms
    #[command(subcommand)]
    Endorsements(Endorsements),
    /// Make API tokens
    #[command(subcommand)]
    Token(Token),
    /// Seal a model and register its key (runs adyton-seal)
    #[command(
        disable_help_flag = true,
        disable_version_flag = true,
        after_help = "Examples:\n  adyton seal ./my-model --help"
    )]
    Seal(Seal),
    /// Run a whole SIMULATED deployment on this machine
    Up(Up),
    /// Print shell completions
    #[command(
        after_help = "Examples:\n  adyton completions bash > ~/.local/share/bash-completion/completions/adyton"
    )]
    Completions {
        /// bash, elvish, fish, powershell or zsh
        #[arg(hide_possible_values = true)]
        shell: clap_complete::Shell,
    },
    /// Become a child that ends with its parent (internal)
    #[command(name = "tethered-exec", hide = true)]
    TetheredExec(TetheredExec),
}

/// Where the enclave is and what is accepted of it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Deployment")]
pub struct Deployment {
    /// Base URL of the host
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Appraisal policy (TOML) [default: policy.toml beside the default configuration file]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// PEM certificates that may vouch for the host's TLS; the security of prompts does not rest on them
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Seconds to wait for a connection and for evidence
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub timeout_seconds: u64,
}

/// How requests are shaped.
#[derive(Clone, Copy, Debug, Args)]
pub struct Shape {
    /// Padding of requests: off shows their length, sized rounds it up, constant hides it
    #[arg(
        hide_possible_values = true,
        long,
        value_name = "PROFILE",
        value_enum,
        default_value_t
    )]
    pub padding: Padding,
}

/// Padding profiles; see `exchange::padding` for what each costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Padding {
    /// None.
    Off,
    /// To the next bucket.
    #[default]
    Sized,
    /// To one size.
    Constant,
}

/// `adyton verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adyton verify https://inference.example.com:8443 --ca ca.pem --policy policy.toml
  adyton verify --explain                     (URL and policy from the configuration file)
  adyton verify bundle.cbor --policy policy.toml --nonce 5f1d… --at 2026-11-24T03:09:00Z --json
  adyton verify report.bin --endorsements ./certificates --policy policy.toml --report-data 00ff…
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
    /// File or folder with certificates, revocation lists, collateral; can be repeated
    #[arg(long, value_name = "PATH")]
    pub endorsements: Vec<PathBuf>,
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
  adyton verify https://inference.example.com:8443 --save bundle.cbor …
  adyton policy new bundle.cbor --out policy.toml
  adyton policy new report.bin --endorsements vcek.der
  adyton policy check policy.toml

The draft accepts exactly what this evidence shows. Whether that is the release you expect is for you to compare.")]
pub struct PolicyNew {
    /// A bundle, an SNP report or a TDX quote
    #[arg(value_name = "FILE")]
    pub evidence: PathBuf,
    /// File or folder with the manufacturer's documents (VCEK, TCB info); can be repeated
    #[arg(long, value_name = "PATH")]
    pub endorsements: Vec<PathBuf>,
    /// Write the policy to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `adyton chat`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adyton chat \"What does remote attestation prove?\"
  echo \"Summarise: …\" | adyton chat -          (the prompt stays out of the process list)
  adyton chat --receipt --max-tokens 200 < question.txt")]
pub struct Chat {
    /// The prompt; `-` or nothing reads it from standard input
    #[arg(value_name = "PROMPT")]
    pub prompt: Option<String>,
    /// File with the API token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shape: Shape,
    /// The model's id [default: the enclave's only model]
    #[arg(long, value_name = "ID")]
    pub model: Option<String>,
    /// Most tokens of the answer
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,
    /// Sampling temperature; 0 is greedy
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// Seed that makes sampling repeatable
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print a summary of the answer's receipt
    #[arg(long)]
    pub receipt: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub deployment: Deployment,
}

/// `adyton proxy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adyton proxy --listen 127.0.0.1:8080 --url https://inference.example.com:8443 \\
               --ca ca.pem --policy policy.toml --token-file my.token
  curl http://127.0.0.1:8080/v1/models

Any OpenAI client works with base URL http://127.0.0.1:8080/v1. The proxy verifies on start, at every key epoch and \
whenever evidence grows older than the policy allows; when verification fails it refuses (503) and never sends a \
prompt unsealed.")]
pub struct Proxy {
    /// Loopback address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// File with the API token for requests that bring none of their own
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shape: Shape,
    /// Accept a listen address that other machines can reach, where prompts travel in the clear
    #[arg(long)]
    pub danger_listen_beyond_loopback: bool,
    /// Write a JSON file with the base URL once requests are accepted
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub deployment: Deployment,
}

/// `adyton audit`.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Check an audit log against its signed checkpoint
    Verify(AuditVerify),
}

/// `adyton audit verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adyton audit verify requests.jsonl --key 8f3c…
  adyton audit verify requests.jsonl --url https://inference.example.com:8443 --ca ca.pem --policy policy.toml
  adyton audit verify releases.jsonl --checkpoint releases.checkpoint --keys-file log-keys.txt
  adyton audit verify https://broker.example.com:9443 --broker-ca ca.pem --cert owner.pem --cert-key owner.key --key 1d40…

A request log is signed by the receipt key of each boot of the enclave. Where --key and --keys-file do not name it, \
the enclave at --url is verified under --policy and its attested receipt key taken.")]
pub struct AuditVerify {
    /// The log's entries, one JSON document a line, or the URL of a broker's admin listener
    #[arg(value_name = "FILE|URL")]
    pub log: String,
    /// An Ed25519 public key that may sign the log: 64 hex digits or name+id+base64; can be repeated
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// File with one such key a line
    #[arg(long, value_name = "FILE")]
    pub keys_file: Option<PathBuf>,
    /// The signed checkpoint, where it is not part of the log
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// PEM certificates that vouch for the broker's TLS
    #[arg(long, value_name = "FILE")]
    pub broker_ca: Option<PathBuf>,
    /// PEM certificate that the broker's admin listener asks for
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// PEM private key of --cert
    #[arg(long, value_name = "FILE")]
    pub cert_key: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub deployment: Deployment,
}

/// `adyton endorsements`.
#[derive(Debug, Subcommand)]
pub enum Endorsements {
    /// Fill the cache for evidence, from AMD, Intel, NVIDIA and Google
    Fetch(Box<EndorsementsFetch>),
    /// Write the whole cache into one file
    #[command(after_help = "\
Examples:
  adyton endorsements export endorsements.cbor
  adyton endorsements export --cache /var/lib/adyton/endorsements endorsements.cbor

The same cache gives the same bytes.")]
    Export(EndorsementsExport),
    /// Take such a file into the cache, all of it or nothing
    #[command(after_help = "\
Examples:
  adyton endorsements import endorsements.cbor

Every document must be of its kind, and none may be older than one already seen of its issuer. Signatures are checked \
at every appraisal; what nobody signed can only make one fail.")]
    Import(EndorsementsImport),
    /// List the cache
    #[command(after_help = "\
Examples:
  adyton endorsements list
  adyton endorsements list --collateral-age 7d --json

fresh: used as it is. stale: to be fetched again, used if that fails. expired: not used.")]
    List(EndorsementsList),
}

/// The cache, and how old what is in it may be.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cache")]
pub struct EndorsementCache {
    /// Folder of the cache [default: $XDG_CACHE_HOME/adyton/endorsements, else ~/.cache/adyton/endorsements]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Age at which publishers are asked again
    #[arg(long, value_name = "DURATION", default_value = "12h")]
    pub refresh_age: String,
    /// Age beyond which endorsements are not used; the policy's collateral_age_seconds_max
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    pub collateral_age: String,
}

/// `adyton endorsements fetch`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adyton endorsements fetch report.bin
  adyton endorsements fetch bundle.cbor other.cbor --cache /var/lib/adyton/endorsements
  adyton endorsements fetch quote.bin --pccs-url https://pccs.example.com:8081 --service-ca pccs.pem
  adyton endorsements fetch --gpu-evidence gpu.bin --gpu-chain gpu.pem

`adyton verify URL --save bundle.cbor` saves a bundle. What is kept and fresh is not fetched again. What is kept and \
stale is used, with a warning, while it is younger than --collateral-age.")]
pub struct EndorsementsFetch {
    /// Bundles, raw SNP reports or raw TDX quotes
    #[arg(value_name = "EVIDENCE_FILE", required_unless_present = "gpu_evidence")]
    pub evidence: Vec<PathBuf>,
    /// Platform of raw evidence: amd-sev-snp or intel-tdx [default: seen from its form]
    #[arg(long, value_name = "TAG")]
    pub platform: Option<String>,
    /// SPDM measurement of an NVIDIA GPU
    #[arg(long, value_name = "FILE", requires = "gpu_chain")]
    pub gpu_evidence: Option<PathBuf>,
    /// PEM certificates of the GPU, the signer first
    #[arg(long, value_name = "FILE", requires = "gpu_evidence")]
    pub gpu_chain: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub cache: EndorsementCache,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub services: EndorsementServices,
}

/// Where the publishers are.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Services")]
pub struct EndorsementServices {
    /// AMD's key distribution service
    #[arg(long, value_name = "URL", default_value = endorser::Services::AMD_KDS)]
    pub kds_url: String,
    /// Ask Azure's metadata address for the certificates of the machine that this runs in
    #[arg(long)]
    pub thim: bool,
    /// Azure's metadata address
    #[arg(long, value_name = "URL", default_value = endorser::Services::AZURE_THIM)]
    pub thim_url: String,
    /// Intel's provisioning certification service
    #[arg(long, value_name = "URL", default_value = endorser::Services::INTEL_PCS)]
    pub pcs_url: String,
    /// Where Intel's root publishes its revocation list
    #[arg(long, value_name = "URL", default_value = endorser::Services::INTEL_ROOT_CRL)]
    pub root_crl_url: String,
    /// A caching service (PCCS) to ask instead of both
    #[arg(long, value_name = "URL")]
    pub pccs_url: Option<String>,
    /// Which evaluation of Intel's: standard, or early, before operators had time to update
    #[arg(
        hide_possible_values = true,
        long,
        value_name = "WHICH",
        value_enum,
        default_value_t
    )]
    pub update: Evaluation,
    /// NVIDIA's reference manifests
    #[arg(long, value_name = "URL", default_value = endorser::Services::NVIDIA_RIM)]
    pub rim_url: String,
    /// NVIDIA's OCSP responder
    #[arg(long, value_name = "URL", default_value = endorser::Services::NVIDIA_OCSP)]
    pub ocsp_url: String,
    /// Fetch Google's launch endorsement too
    #[arg(long)]
    pub gce: bool,
    /// Google's bucket of launch endorsements
    #[arg(long, value_name = "URL", default_value = endorser::Services::GCE_TCB)]
    pub gce_url: String,
    /// PEM certificates that vouch for the services' TLS instead of the public roots; what services say is signed
    #[arg(long, value_name = "FILE")]
    pub service_ca: Option<PathBuf>,
    /// Attempts before a service counts as unreachable
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub attempts: u32,
    /// Seconds of one attempt
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub attempt_seconds: u64,
}

/// Intel's evaluations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Evaluation {
    /// As soon as it is published.
    Early,
    /// After the time given to operators.
    #[default]
    Standard,
}

/// `adyton endorsements export`.
#[derive(Debug, Args)]
pub struct EndorsementsExport {
    /// The file to write
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub cache: EndorsementCache,
}

/// `adyton endorsements import`.
#[derive(Debug, Args)]
pub struct EndorsementsImport {
    /// The file to take in
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub cache: EndorsementCache,
}

/// `adyton endorsements list`.
#[derive(Debug, Args)]
pub struct EndorsementsList {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub cache: EndorsementCache,
}

/// `adyton token`.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make an issuer key; its public half goes into the model's release policy
    #[command(after_help = "Examples:\n  adyton token keygen --out issuer.key")]
    Keygen {
        /// New file for the private key (mode 0600)
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Issue an API token
    #[command(after_help = "\
Examples:
  adyton token new --issuer-key issuer.key --tenant acme --expires 30d --out acme.token")]
    New(TokenNew),
}

/// `adyton token new`.
#[derive(Debug, Args)]
pub struct TokenNew {
    /// The issuer's private key
    #[arg(long, value_name = "FILE")]
    pub issuer_key: PathBuf,
    /// Whose requests these are
    #[arg(long, value_name = "NAME")]
    pub tenant: String,
    /// How long the token is good for: 90s, 15m, 12h, 30d
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    pub expires: String,
    /// Models that the token is good for [default: all]
    #[arg(long, value_name = "ID")]
    pub models: Vec<String>,
    /// New file for the token (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `adyton seal`: everything goes to adyton-seal.
#[derive(Debug, Args)]
pub struct Seal {
    /// Arguments of adyton-seal
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<std::ffi::OsString>,
}

/// `adyton up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adyton up                                   (Ctrl-C stops everything)
  adyton up --dir /tmp/try --port 8080
  adyton up --flavor tdx --ready-file /tmp/ready.json &

Runs broker, host, a SIMULATED enclave and a verifying proxy, with the sample model sealed. State is kept in one \
directory that only you can enter; a second start there uses the same keys and the same sealed model. Nothing \
protects prompts from this machine: simulated evidence proves plumbing, never security.")]
pub struct Up {
    /// State directory [default: $XDG_STATE_HOME/adyton, else ~/.local/state/adyton]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Model to seal: safetensors with config.json and tokenizer.json [default: the sample model]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Which vendor's evidence the simulated platform speaks: snp or tdx
    #[arg(hide_possible_values = true, long, value_enum, default_value_t)]
    pub flavor: Flavor,
    /// Port of the OpenAI endpoint on 127.0.0.1; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shape: Shape,
    /// Write run.json's content to this file too, once requests are accepted
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Vendor format of simulated evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Flavor {
    /// AMD SEV-SNP reports.
    #[default]
    Snp,
    /// Intel TDX quotes.
    Tdx,
}

impl Flavor {
    /// The word on command lines and in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snp => "snp",
            Self::Tdx => "tdx",
        }
    }
}

/// `adyton tethered-exec`.
#[derive(Debug, Args)]
pub struct TetheredExec {
    /// Process id of the parent
    #[arg(value_name = "PID")]
    pub parent: u32,
    /// What to become
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<std::ffi::OsString>,
}

/// Why a command line did not parse.
#[derive(Debug)]
pub enum ParseFailure {
    /// Clap's own words: an error, or help and version that were asked for.
    Clap(clap::Error),
    /// The configuration file.
    Client(ClientError),
}

impl Cli {
    /// Parses `arguments` (the first is the program) over environment and file.
    pub fn layered(arguments: &[std::ffi::OsString]) -> Result<Self, ParseFailure> {
        let command = <Self as CommandFactory>::command();
        let file = FileLayer::locate(&command, arguments).map_err(ParseFailure::Client)?;
        Self::with_file(&file, arguments)
    }

    /// Parses `arguments` over the environment and `file`.
    pub fn with_file(file: &FileLayer, arguments: &[std::ffi::OsString]) -> Result<Self, ParseFailure> {
        let command = file
            .apply(<Self as CommandFactory>::command())
            .map_err(ParseFailure::Client)?;
        let matches = command
            .try_get_matches_from(arguments)
            .map_err(ParseFailure::Clap)?;
        Self::from_arg_matches(&matches).map_err(ParseFailure::Clap)
    }
}
