//! What can go wrong for the person who seals, each with a stable code, a hint and an exit status.

use std::io;
use std::path::PathBuf;

use sealed_model::SealedModelError;

/// The result of a command.
pub(crate) type Result<T> = core::result::Result<T, SealError>;

/// Exit status for anything that is neither rejected, malformed nor unsupported.
pub(crate) const EXIT_OTHER: u8 = 1;
const EXIT_REJECTED: u8 = 10;
const EXIT_MALFORMED: u8 = 20;
const EXIT_UNSUPPORTED: u8 = 30;

/// One variant for each kind of fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// A fault of the container or its keys.
    #[error(transparent)]
    SealedModel(#[from] SealedModelError),
    /// A file that cannot be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A file over its bound.
    #[error("{} is over {bytes_max} bytes", .path.display())]
    TooLarge { path: PathBuf, bytes_max: u64 },
    /// A secret that others could read.
    #[error("{} can be read by others (mode {mode:04o})", .path.display())]
    KeyExposed { path: PathBuf, mode: u32 },
    /// A file that is not what it should be.
    #[error("{} is not {expected}", .path.display())]
    Malformed { path: PathBuf, expected: &'static str },
    /// The policy is for something else.
    #[error("the policy {}: {problem}", .path.display())]
    Policy { path: PathBuf, problem: String },
    /// Certificates or key of the connection.
    #[error("TLS: {0}")]
    Tls(String),
    /// No connection, or it broke.
    #[error("the broker {origin} cannot be reached: {problem}")]
    Unreachable { origin: String, problem: String },
    /// The broker took too long.
    #[error("the broker {origin} did not answer in time")]
    Timeout { origin: String },
    /// The broker said no; the code is the broker's.
    #[error("the broker refused: {title}")]
    Refused {
        code: String,
        title: String,
        hint: String,
        status: u16,
    },
    /// The broker said something else than agreed.
    #[error("the broker's answer is malformed: {0}")]
    Answer(&'static str),
    /// The registration key cannot be used.
    #[error("the model key cannot be sealed to the broker: {0}")]
    Sealing(String),
    /// Registration failed after sealing and the key was not kept.
    #[error("{source}; the sealed model was removed, because nothing can open it without its key")]
    NotRegistered { source: Box<SealError> },
    /// No connection to the hub, or it broke.
    #[error("the hub cannot be reached: {0}")]
    HubUnreachable(String),
    /// The hub has no time.
    #[error("the hub is overloaded, or asks for patience")]
    HubBusy,
    /// The hub said no.
    #[error("the hub refused: {0}")]
    HubRefused(&'static str),
    /// The hub said something else than its API promises.
    #[error("the hub's answer is refused: {0}")]
    HubAnswer(&'static str),
    /// A file was named that is not there.
    #[error("there is no {0} in the repository")]
    NotInRepository(String),
    /// Neither safetensors nor GGUF.
    #[error("the repository holds no weights in safetensors or GGUF")]
    NoWeights,
    /// Several models in one repository.
    #[error("the repository holds several GGUF files: {}", .0.join(", "))]
    SeveralWeights(Vec<String>),
    /// A pull that can go on.
    #[error("{source}; what arrived is kept, sealed")]
    Interrupted { source: Box<SealError> },
    /// Ctrl-C.
    #[error("stopped")]
    Stopped,
    /// Neither XDG_DATA_HOME nor HOME.
    #[error("there is no home folder to keep models in")]
    NoHome,
    /// Nobody was there to confirm.
    #[error("{} is removed only when that is confirmed", .0.display())]
    NotConfirmed(PathBuf),
}

impl SealError {
    /// The stable code.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::SealedModel(error) => error.code(),
            Self::File { .. } => "io",
            Self::TooLarge { .. } => "too-large",
            Self::KeyExposed { .. } => "key-exposed",
            Self::Malformed { .. } => "malformed",
            Self::Policy { .. } => "policy",
            Self::Tls(_) => "tls",
            Self::Unreachable { .. } => "broker-unreachable",
            Self::Timeout { .. } => "broker-timeout",
            Self::Refused { code, .. } => code,
            Self::Answer(_) => "broker-answer",
            Self::Sealing(_) => "sealing",
            Self::NotRegistered { source } | Self::Interrupted { source } => source.code(),
            Self::HubUnreachable(_) => "hub-unreachable",
            Self::HubBusy => "hub-busy",
            Self::HubRefused(_) => "hub-refused",
            Self::HubAnswer(_) => "hub-answer",
            Self::NotInRepository(_) => "not-in-repository",
            Self::NoWeights => "no-weights",
            Self::SeveralWeights(_) => "several-weights",
            Self::Stopped => "stopped",
            Self::NoHome => "no-home",
            Self::NotConfirmed(_) => "not-confirmed",
        }
    }

    /// What a person can do about it.
    pub(crate) fn hint(&self) -> &str {
        match self {
            Self::SealedModel(error) => error.hint(),
            Self::File { .. } => "check that the path exists and may be read and written",
            Self::TooLarge { .. } => "name another file: this one is too large to be what is asked for",
            Self::KeyExposed { .. } => "chmod 600 the file; if others may have read it, make a new key",
            Self::Malformed { .. } => "check which file was named",
            Self::Policy { .. } => "the policy names the model it is for: model_id = \"...\"",
            Self::Tls(_) => "check --ca, --cert and --key: PEM files that belong together",
            Self::Unreachable { .. } => {
                "check that the broker runs, its address, and that its certificate is vouched for by --ca"
            }
            Self::Timeout { .. } => "try again, or raise --broker-timeout-seconds",
            Self::Refused { hint, .. } => hint,
            Self::Answer(_) => {
                "check that --broker is the admin listener of an adyton-broker of this version"
            }
            Self::Sealing(_) => "check that --broker is an adyton-broker of this version",
            Self::NotRegistered { source } => source.hint(),
            Self::HubUnreachable(_) => "check --hub and the network; then run the same command again",
            Self::HubBusy => "wait a while, then run the same command again",
            Self::HubRefused(_) => {
                "check the name; for a private or gated model name your token's file: --hub-token-file"
            }
            Self::HubAnswer(_) => "check that --hub is a model hub and not a page in front of it",
            Self::NotInRepository(_) => "look at the repository's list of files; names are case-sensitive",
            Self::NoWeights => {
                "choose a repository with safetensors or GGUF; pickles (.bin, .pt) are never taken"
            }
            Self::SeveralWeights(_) => "name one: --file NAME",
            Self::Interrupted { .. } => "run the same command again: it goes on where it was",
            Self::Stopped => {
                "run the command again to start over; with --model-key-file it would go on where it was"
            }
            Self::NoHome => "set HOME or XDG_DATA_HOME, or name the folder",
            Self::NotConfirmed(_) => "add --yes",
        }
    }

    /// The exit status.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::SealedModel(error) => match error.code() {
                "malformed" | "malformed-key" | "not-a-sealed-model" => EXIT_MALFORMED,
                "unsupported-signing" => EXIT_UNSUPPORTED,
                "wrong-key" | "owner-signature" | "other-model" | "rolled-back" | "manifest-replaced"
                | "truncated" | "extended" | "swapped" | "bit-flipped" | "reordered" | "not-as-announced" => {
                    EXIT_REJECTED
                }
                _ => EXIT_OTHER,
            },
            Self::Malformed { .. } | Self::Policy { .. } | Self::Answer(_) => EXIT_MALFORMED,
            // A broker that is out of order has not rejected anything.
            Self::Refused { status, .. } if *status < 500 => EXIT_REJECTED,
            Self::NotRegistered { source } | Self::Interrupted { source } => source.exit_code(),
            Self::HubRefused(_) => EXIT_REJECTED,
            Self::HubAnswer(_) => EXIT_MALFORMED,
            Self::NoWeights => EXIT_UNSUPPORTED,
            _ => EXIT_OTHER,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        match SealedModelError::from_io(action, path.into(), source) {
            Ok(full) => Self::SealedModel(full),
            Err((path, source)) => Self::File { action, path, source },
        }
    }
}
