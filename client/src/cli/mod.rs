//! The command line: one type per command, its help, and its examples.
//!
//! Every long flag is also an environment variable and a TOML key ([`crate::layers`]). No flag takes a secret: tokens and
//! keys are named by file, prompts may come from standard input.

mod endorsements;
mod evidence;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::Styles};

use crate::{
    error::ClientError,
    layers::FileLayer,
    output::{self, Color},
};

pub use self::{
    endorsements::{
        EndorsementCache, EndorsementServices, Endorsements, EndorsementsExport, EndorsementsFetch,
        EndorsementsImport, EndorsementsList, Evaluation,
    },
    evidence::{Inspect, Policy, PolicyNew, RawParts, Verify},
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
    Seal(Passed),
    /// Seal a model from a hub as it arrives (runs adyton-seal)
    #[command(
        disable_help_flag = true,
        disable_version_flag = true,
        after_help = "Examples:\n  adyton pull hf:Qwen/Qwen3-0.6B --owner-key owner.key --model-key-file qwen.key\n  adyton pull --help"
    )]
    Pull(Passed),
    /// List, inspect and remove sealed models (runs adyton-seal)
    #[command(subcommand)]
    Model(Model),
    /// Measure the engine on this machine (runs adyton-bench)
    #[command(
        disable_help_flag = true,
        disable_version_flag = true,
        after_help = "Examples:\n  adyton bench\n  adyton bench ./my-model --streams 1,4,16"
    )]
    Bench(Passed),
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

/// `adyton model`.
#[derive(Debug, Subcommand)]
pub enum Model {
    /// List sealed models
    #[command(
        disable_help_flag = true,
        after_help = "Examples:\n  adyton model ls\n  adyton model ls /srv/models --owner-key owner.key.pub"
    )]
    Ls(Passed),
    /// Show what a sealed model says of itself, and check it
    #[command(
        disable_help_flag = true,
        after_help = "Examples:\n  adyton model inspect support.sealed --owner-key owner.key.pub --digests"
    )]
    Inspect(Passed),
    /// Remove a sealed model
    #[command(
        disable_help_flag = true,
        after_help = "Examples:\n  adyton model rm Qwen--Qwen3-0.6B.sealed"
    )]
    Rm(Passed),
}

/// Everything goes to a binary of its own.
#[derive(Debug, Args)]
pub struct Passed {
    /// Arguments of that binary
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
  adyton up --vm target/image/simulated       (in an emulated machine; scripts/build-image --simulated makes the image)
  adyton up --vm target/image/simulated --azure-like

Runs broker, host, a SIMULATED enclave and a verifying proxy, with the sample model sealed. State is kept in one \
directory that only you can enter; a second start there uses the same keys and the same sealed model. Nothing \
protects prompts from this machine: simulated evidence proves plumbing, never security.")]
pub struct Up {
    /// State directory [default: $XDG_STATE_HOME/adyton, else ~/.local/state/adyton]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Folder of the model to seal: safetensors with config.json and tokenizer.json, or a GGUF file [default: the sample model]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Which vendor's evidence the simulated platform speaks: snp or tdx
    #[arg(hide_possible_values = true, long, value_enum, default_value_t)]
    pub flavor: Flavor,
    /// Boot the simulated image in this folder in an emulated machine, instead of starting a process (QEMU is needed)
    #[arg(long, value_name = "DIR", conflicts_with = "flavor")]
    pub vm: Option<PathBuf>,
    /// Give the machine a network card in place of its serial channel, as a cloud's has
    #[arg(long, requires = "vm")]
    pub network: bool,
    /// Make the machine like one of Azure's: it boots from a disk, and firmware measures what it boots into a vTPM (swtpm
    /// is needed)
    #[arg(long, requires = "vm")]
    pub azure_like: bool,
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
