//! What can go wrong on the host, each with a stable code and what to do.

use measurement::MeasureError;
use wire::ProblemCode;

/// A fault of the host or of what it launches. Carries no content: the host has none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The configuration file is missing or wrong.
    #[error("configuration: {0}")]
    Config(String),
    /// A listener's address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file, socket or folder could not be used.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The certificate or key of the relay is unusable.
    #[error("TLS certificate: {0}")]
    Tls(String),
    /// The enclave process ended before it served.
    #[error("the enclave ended ({status}) before it served")]
    EnclaveEnded {
        /// Its exit status, in words.
        status: String,
    },
    /// The enclave did not answer in time.
    #[error("the enclave did not answer within {seconds} s")]
    EnclaveSilent {
        /// The bound of the configuration.
        seconds: u64,
    },
    /// The enclave refused a stream.
    #[error("the enclave refused the stream: {0}")]
    Refused(ProblemCode),
    /// The stream between host and enclave broke its framing or ended early.
    #[error("the stream between host and enclave broke")]
    Channel,
    /// This host cannot launch what was asked for.
    #[error("{0}")]
    Unfit(String),
    /// An input cannot be measured.
    #[error("{path}: {source}")]
    Measure {
        /// The file, or the argument.
        path: String,
        /// What is wrong with it.
        source: MeasureError,
    },
    /// Computed digests and reference digests are not the same.
    #[error("{agreed} of {cases} cases agree\n{lines}")]
    Refuted {
        /// One line for each case.
        lines: String,
        /// Cases that agree.
        agreed: usize,
        /// All cases.
        cases: usize,
    },
}

impl HostError {
    /// Stable code for scripts and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::Listen { .. } => "listen",
            Self::Io { .. } => "io",
            Self::Tls(_) => "tls",
            Self::EnclaveEnded { .. } => "enclave-ended",
            Self::EnclaveSilent { .. } => "enclave-silent",
            Self::Refused(_) => "refused",
            Self::Channel => "channel",
            Self::Unfit(_) => "unfit",
            Self::Measure { source, .. } => source.code(),
            Self::Refuted { .. } => "refuted",
        }
    }

    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Config(_) => "compare the file with the keys in `adyton-host launch --help`",
            Self::Listen { .. } => "another process has the port: stop it or choose another address",
            Self::Io { .. } => "check that the path exists and that this user may use it",
            Self::Tls(_) => "certificate and private key must be PEM and belong together",
            Self::EnclaveEnded { .. } => {
                "its last lines are in enclave.stderr in the log folder, a machine's in boot.log in its run directory"
            }
            Self::EnclaveSilent { .. } => {
                "look at enclave.stderr in the log folder, or raise enclave.start_seconds_max"
            }
            Self::Refused(_) => "ask again when /readyz answers 200",
            Self::Channel => "the enclave may have restarted: ask again",
            Self::Unfit(_) => "`adyton-host doctor` lists what is missing and how to mend it",
            Self::Measure { source, .. } => source.hint(),
            Self::Refuted { .. } => {
                "cases that were not run need their files: name the folder in ADYTON_FIRMWARE"
            }
        }
    }

    /// An I/O fault with what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
