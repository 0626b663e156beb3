//! The command line: one type per command. No flag takes a secret; keys are named by file.

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::hub::{HubUrl, Repository};
use crate::output;

const STYLES: Styles = Styles::styled()
    .header(output::STRONG)
    .usage(output::STRONG)
    .literal(anstyle::AnsiColor::Cyan.on_default())
    .placeholder(output::FAINT)
    .error(output::BAD)
    .valid(output::GOOD);

const NOTES: &str = "\
Every flag can also be set by an environment variable (--owner-key: ADYTON_OWNER_KEY); the command line wins.

Exit status: 0 done, 10 rejected, 20 malformed, 30 unsupported, 1 anything else.";

/// The `adyton-seal` command.
#[derive(Debug, Parser)]
#[command(
    name = "adyton-seal",
    version,
    about = "Seal a model, so that only a verified enclave can open it",
    after_help = NOTES,
    styles = STYLES,
    max_term_width = 110,
    propagate_version = true,
    args_override_self = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "General")]
pub(crate) struct Global {
    /// Print one JSON document on standard output instead of text
    #[arg(long, global = true, env = "ADYTON_JSON", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
    /// Print no progress
    #[arg(long, global = true, env = "ADYTON_QUIET", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub(crate) quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Encrypt a model folder and register its key with the broker
    Seal(Seal),
    /// Seal a model from a hub as it arrives, without a plain byte on disk
    Pull(Pull),
    /// Register the kept key of a sealed model again, under a new policy
    Register(Register),
    /// Make the key that signs manifests
    Keygen(Keygen),
    /// Print the public half of a manifest-signing key
    PublicKey(PublicKey),
    /// Show what a sealed model says of itself, and check it
    Inspect(Inspect),
    /// List sealed models
    Ls(Ls),
    /// Remove a sealed model
    Rm(Rm),
}

/// `seal`.
#[derive(Debug, Args)]
pub(crate) struct Seal {
    /// Folder with config.json, tokenizer and weights, or with GGUF files; hidden files are left out
    #[arg(value_name = "DIR")]
    pub(crate) source: PathBuf,
    /// The new folder; must not exist
    #[arg(long, env = "ADYTON_OUT", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Name under which clients will ask for the model
    #[arg(long, env = "ADYTON_MODEL_ID", value_name = "ID")]
    pub(crate) model_id: String,
    /// Higher than every version registered before; older ones are refused from then on
    #[arg(long, env = "ADYTON_MODEL_VERSION", value_name = "N", default_value_t = 1)]
    pub(crate) model_version: u64,
    /// Signs the manifest: private key of keygen, PKCS#8 PEM, mode 0600
    #[arg(long, env = "ADYTON_OWNER_KEY", value_name = "FILE")]
    pub(crate) owner_key: PathBuf,
    /// Also keep the model key in a new file, mode 0600: for an offline store, or to register later
    #[arg(
        long,
        env = "ADYTON_MODEL_KEY_FILE",
        value_name = "FILE",
        required_unless_present = "broker"
    )]
    pub(crate) model_key_file: Option<PathBuf>,
    /// Threads that encrypt [default: all cores]
    #[arg(long, env = "ADYTON_THREADS", value_name = "N")]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) broker: Option<Broker>,
}

/// `pull`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  adyton pull hf:Qwen/Qwen3-0.6B --owner-key owner.key --model-key-file qwen.key
  adyton pull hf:unsloth/Qwen3-0.6B-GGUF --file Qwen3-0.6B-Q4_K_M.gguf --owner-key owner.key --model-key-file qwen.key
  adyton pull hf:acme/support-7b@v2 --hub-token-file token --owner-key owner.key --model-version 2 \
      --broker https://broker.example:8443 --ca ca.pem --cert owner.pem --key owner-tls.key --policy release.toml

Every file is compared with the digest that the hub announces, at one commit. After an interruption the same command \
goes on where it was, if --model-key-file keeps the key.")]
pub(crate) struct Pull {
    /// What to pull: hf:ORG/NAME or hf:ORG/NAME@REVISION
    #[arg(value_name = "REPOSITORY")]
    pub(crate) repository: Repository,
    /// Take this file, too; of several models in GGUF, this one. Can be repeated
    #[arg(long = "file", value_name = "NAME")]
    pub(crate) files: Vec<String>,
    /// The new folder; must not exist [default: ORG--NAME.sealed in $XDG_DATA_HOME/adyton/models]
    #[arg(long, env = "ADYTON_OUT", value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Name under which clients will ask for the model [default: ORG/NAME]
    #[arg(long, env = "ADYTON_MODEL_ID", value_name = "ID")]
    pub(crate) model_id: Option<String>,
    /// Higher than every version registered before; older ones are refused from then on
    #[arg(long, env = "ADYTON_MODEL_VERSION", value_name = "N", default_value_t = 1)]
    pub(crate) model_version: u64,
    /// Signs the manifest: private key of keygen, PKCS#8 PEM, mode 0600
    #[arg(long, env = "ADYTON_OWNER_KEY", value_name = "FILE")]
    pub(crate) owner_key: PathBuf,
    /// Keep the model key in a new file, mode 0600: to go on after an interruption, or to register later
    #[arg(
        long,
        env = "ADYTON_MODEL_KEY_FILE",
        value_name = "FILE",
        required_unless_present = "broker"
    )]
    pub(crate) model_key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) broker: Option<Broker>,
    /// The hub
    #[arg(
        long,
        env = "HF_ENDPOINT",
        value_name = "URL",
        default_value = "https://huggingface.co",
        help_heading = "Hub"
    )]
    pub(crate) hub: HubUrl,
    /// File with the token that the hub gave you, mode 0600
    #[arg(long, env = "HF_TOKEN_PATH", value_name = "FILE", help_heading = "Hub")]
    pub(crate) hub_token_file: Option<PathBuf>,
    /// Certificates (PEM) that vouch for the hub instead of the public ones
    #[arg(long, env = "ADYTON_HUB_CA", value_name = "FILE", help_heading = "Hub")]
    pub(crate) hub_ca: Option<PathBuf>,
}

/// `register`.
#[derive(Debug, Args)]
pub(crate) struct Register {
    /// A sealed model
    #[arg(value_name = "SEALED")]
    pub(crate) sealed: PathBuf,
    /// Signed the manifest: private key of keygen, or its public half in hexadecimal or PEM
    #[arg(long, env = "ADYTON_OWNER_KEY", value_name = "FILE")]
    pub(crate) owner_key: PathBuf,
    /// The model key that seal kept
    #[arg(long, env = "ADYTON_MODEL_KEY_FILE", value_name = "FILE")]
    pub(crate) model_key_file: PathBuf,
    #[command(flatten)]
    pub(crate) broker: Broker,
}

/// Where and how to register.
#[derive(Debug, Args)]
#[group(requires_all = ["broker", "ca", "cert", "key", "policy"])]
#[command(next_help_heading = "Broker")]
pub(crate) struct Broker {
    /// Admin listener of the broker
    #[arg(long, env = "ADYTON_BROKER", value_name = "https://HOST:PORT", value_parser = broker_url, required = false)]
    pub(crate) broker: BrokerUrl,
    /// Certificates (PEM) that vouch for the broker; no others are trusted
    #[arg(long, env = "ADYTON_CA", value_name = "FILE", required = false)]
    pub(crate) ca: PathBuf,
    /// The owner's certificate (PEM) with the name urn:adyton:role:owner
    #[arg(long, env = "ADYTON_CERT", value_name = "FILE", required = false)]
    pub(crate) cert: PathBuf,
    /// Its private key (PEM), mode 0600
    #[arg(long, env = "ADYTON_KEY", value_name = "FILE", required = false)]
    pub(crate) key: PathBuf,
    /// Release policy (TOML). Every @MANIFEST_DIGEST@ in it becomes the digest of this sealed model
    #[arg(long, env = "ADYTON_POLICY", value_name = "FILE", required = false)]
    pub(crate) policy: PathBuf,
    /// Seconds to wait for the broker
    #[arg(
        long,
        env = "ADYTON_BROKER_TIMEOUT_SECONDS",
        value_name = "N",
        default_value_t = 30
    )]
    pub(crate) broker_timeout_seconds: u64,
}

/// `keygen`.
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// New file for the private key, mode 0600; the public half goes beside it as FILE.pub
    #[arg(long, env = "ADYTON_OUT", value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// ecdsa-p384 is what tools for OpenSSF Model Signing verify
    #[arg(long, env = "ADYTON_ALGORITHM", value_enum, default_value_t = Algorithm::EcdsaP384)]
    pub(crate) algorithm: Algorithm,
}

/// Which manifest-signing key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Algorithm {
    /// ECDSA on P-384 with SHA-384
    EcdsaP384,
    /// Ed25519
    Ed25519,
}

/// `public-key`.
#[derive(Debug, Args)]
pub(crate) struct PublicKey {
    /// Private key of keygen, mode 0600
    #[arg(long, env = "ADYTON_OWNER_KEY", value_name = "FILE")]
    pub(crate) owner_key: PathBuf,
}

/// `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A sealed model
    #[arg(value_name = "SEALED")]
    pub(crate) sealed: PathBuf,
    /// Check the signature with this key: private key of keygen, or its public half in hexadecimal or PEM
    #[arg(long, env = "ADYTON_OWNER_KEY", value_name = "FILE")]
    pub(crate) owner_key: Option<PathBuf>,
    /// Also check every byte at rest against the signed digests
    #[arg(long, env = "ADYTON_DIGESTS", requires = "owner_key", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub(crate) digests: bool,
}

/// `ls`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  adyton model ls\n  adyton model ls /srv/models --owner-key owner.key.pub --json"
)]
pub(crate) struct Ls {
    /// Folder that holds sealed models [default: $XDG_DATA_HOME/adyton/models]
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Check each signature with this key: private key of keygen, or its public half in hexadecimal or PEM
    #[arg(long, env = "ADYTON_OWNER_KEY", value_name = "FILE")]
    pub(crate) owner_key: Option<PathBuf>,
}

/// `rm`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  adyton model rm Qwen--Qwen3-0.6B.sealed\n  adyton model rm /srv/models/old.sealed --yes"
)]
pub(crate) struct Rm {
    /// A sealed model: a folder, or the name of one in $XDG_DATA_HOME/adyton/models
    #[arg(value_name = "SEALED")]
    pub(crate) sealed: PathBuf,
    /// Do not ask
    #[arg(long, env = "ADYTON_YES", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub(crate) yes: bool,
}

/// `https://HOST:PORT`, nothing after it.
#[derive(Debug, Clone)]
pub(crate) struct BrokerUrl {
    /// What stands before a path.
    pub(crate) origin: String,
}

fn broker_url(text: &str) -> Result<BrokerUrl, String> {
    let refused = || "must be https://HOST:PORT".to_owned();
    let uri: http::Uri = text.parse().map_err(|_| refused())?;
    let authority = uri
        .authority()
        .filter(|_| uri.scheme_str() == Some("https"))
        .ok_or_else(refused)?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.as_str().contains('@') {
        return Err(refused());
    }
    Ok(BrokerUrl {
        origin: format!("https://{authority}"),
    })
}
