//! The commands about what manufacturers publish: `endorsements`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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
