//! What can go wrong outside a request: booting, attesting, provisioning, the channel.
//!
//! Faults of one request are in `api::ApiError`: they go to the client, sealed. These go to the log and, as a
//! code, to the status that the host may read.

/// The result of this crate's operations.
pub type Result<T> = core::result::Result<T, EnclaveError>;

/// One variant for each kind of fault; [`code`](Self::code) is stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnclaveError {
    /// The measured configuration is not acceptable.
    #[error("configuration: {0}")]
    Config(String),
    /// The command line is not acceptable.
    #[error("command line: {0}")]
    CommandLine(&'static str),
    /// The host tried to pass an environment.
    #[error("{refused} environment variables refused")]
    Environment {
        /// How many.
        refused: usize,
    },
    /// The process could not give up what it must.
    #[error("hardening failed: {0}")]
    Hardening(&'static str),
    /// The first process of the machine could not do its part.
    #[error("init: {0}")]
    Init(&'static str),
    /// The sealed model is not the owner's, not the configured one, or damaged.
    #[error("sealed model: {0}")]
    SealedModel(#[from] sealed_model::SealedModelError),
    /// The opened model could not be loaded.
    #[error("model: {code}")]
    Model {
        /// The engine's code.
        code: &'static str,
    },
    /// A key could not be made.
    #[error("key generation: {0}")]
    Keys(&'static str),
    /// No evidence could be collected.
    #[error("evidence: {0}")]
    Evidence(&'static str),
    /// A device that would hold weights and prompts is not what the measured configuration asks for.
    #[error("devices: {clause}")]
    Devices {
        /// The clause that did not pass.
        clause: &'static str,
    },
    /// The host channel could not be used.
    #[error("host channel: {0}")]
    Channel(&'static str),
    /// The broker could not be reached, or cut the conversation.
    #[error("broker unavailable: {0}")]
    BrokerUnavailable(&'static str),
    /// The other end is not the pinned broker, or does not speak the protocol.
    #[error("broker refused by the enclave: {0}")]
    BrokerUntrusted(&'static str),
    /// The broker answered with a refusal.
    #[error("the broker refused: {code}")]
    Refused {
        /// The broker's code, one of those this version knows, else `unknown`.
        code: &'static str,
        /// How long the broker asks to wait.
        retry_after_seconds: Option<u32>,
    },
    /// What was released does not open, or is for another manifest.
    #[error("release: {0}")]
    Release(&'static str),
}

impl EnclaveError {
    /// The stable code of this kind of fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config-invalid",
            Self::CommandLine(_) => "command-line-invalid",
            Self::Environment { .. } => "environment-refused",
            Self::Hardening(_) => "hardening-failed",
            Self::Init(_) => "init-failed",
            Self::SealedModel(error) => error.code(),
            Self::Model { code } => code,
            Self::Keys(_) => "key-generation-failed",
            Self::Evidence(_) => "evidence-unavailable",
            Self::Devices { .. } => "devices-refused",
            Self::Channel(_) => "channel-failed",
            Self::BrokerUnavailable(_) => "broker-unavailable",
            Self::BrokerUntrusted(_) => "broker-untrusted",
            Self::Refused { code, .. } => code,
            Self::Release(_) => "release-invalid",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Config(_) => "correct enclave.toml; every key is documented in enclave/README.md",
            Self::CommandLine(_) => "usage: run --config FILE --channel DIRECTORY",
            Self::Environment { .. } => "start the enclave with an empty environment",
            Self::Hardening(_) => {
                "the kernel must have seccomp and landlock (6.12 or later) and permit prctl and setrlimit"
            }
            Self::Init(_) => {
                "launch the image with its own kernel and command line, and a supply disk as docs/launch.md says"
            }
            Self::SealedModel(error) => error.hint(),
            Self::Model { .. } => "seal a model of a supported architecture",
            Self::Keys(_) => "the system's random generator must work",
            Self::Evidence(_) => "the platform must provide a TEE and its attestation interface",
            Self::Devices { .. } => {
                "compare [devices] in enclave.toml with `adyton inspect` of a GPU's report; fill the host's cache of endorsements"
            }
            Self::Channel(_) => "the channel folder must exist and be writable by the enclave",
            Self::BrokerUnavailable(_) => "start the broker; the enclave keeps asking",
            Self::BrokerUntrusted(_) => "broker.spki_sha256 must be that of the broker's certificate",
            Self::Refused { .. } => "compare the release policy with `adyton verify --explain`",
            Self::Release(_) => "register the sealed model that this enclave is configured for",
        }
    }

    /// Whether asking the broker again later can help, so that the enclave waits, sealed, instead of ending.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::BrokerUnavailable(_)
                | Self::BrokerUntrusted(_)
                | Self::Refused { .. }
                | Self::Release(_)
                | Self::Channel(_)
        )
    }
}
