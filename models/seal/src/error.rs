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
            Self::NotRegistered { source } => source.code(),
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
        }
    }

    /// The exit status.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::SealedModel(error) => match error.code() {
                "malformed" | "malformed-key" | "not-a-sealed-model" => EXIT_MALFORMED,
                "unsupported-signing" => EXIT_UNSUPPORTED,
                "wrong-key" | "owner-signature" | "other-model" | "rolled-back" | "manifest-replaced"
                | "truncated" | "extended" | "swapped" | "bit-flipped" | "reordered" => EXIT_REJECTED,
                _ => EXIT_OTHER,
            },
            Self::Malformed { .. } | Self::Policy { .. } | Self::Answer(_) => EXIT_MALFORMED,
            // A broker that is out of order has not rejected anything.
            Self::Refused { status, .. } if *status < 500 => EXIT_REJECTED,
            Self::NotRegistered { source } => source.exit_code(),
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
