//! What can go wrong for the person at the command, each with a stable code and a hint.
//!
//! Codes are kebab-case and never change their meaning: scripts match on them. Nothing of a prompt, an answer or a token
//! is ever in an error.

use std::{io, path::PathBuf, sync::Arc};

use attestation::{AppraisalError, BundleError, PolicyError};
use audit::AuditError;
use endorser::EndorserError;
use thiserror::Error;

/// Exit status of a command that was refused by appraisal.
pub const EXIT_REJECTED: u8 = 10;
/// Exit status when evidence is not the structure it claims to be.
pub const EXIT_MALFORMED: u8 = 20;
/// Exit status when evidence is of a kind this build does not know.
pub const EXIT_UNSUPPORTED: u8 = 30;
/// Exit status of everything else.
pub const EXIT_OTHER: u8 = 1;

/// A command's failure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A configuration or policy file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The appraisal policy cannot be used.
    #[error("{}: {source}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PolicyError,
    },
    /// No policy was named and none is at the default place.
    #[error("no appraisal policy: nothing says which evidence to accept")]
    PolicyMissing,
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file above its bound.
    #[error("{} is larger than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound in bytes.
        bytes_max: u64,
    },
    /// Bytes from a file or peer are not the structure they claim to be.
    #[error("{what} is malformed: {problem}")]
    Malformed {
        /// Which structure.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The evidence was appraised and not accepted.
    #[error("{0}")]
    Appraisal(#[from] AppraisalError),
    /// What should be a bundle of evidence is none.
    #[error("{0}")]
    Bundle(#[from] BundleError),
    /// Endorsements could not be fetched, kept or taken in.
    #[error("{0}")]
    Endorser(#[from] EndorserError),
    /// Accepted evidence names a key that cannot be bound, or the policy's age has run out.
    #[error("the attested key cannot be used: {0}")]
    Key(String),
    /// Nobody answers.
    #[error("cannot reach {url}: {problem}")]
    Unreachable {
        /// Where.
        url: String,
        /// What the system said.
        problem: String,
    },
    /// The peer took too long.
    #[error("{url} did not answer within {seconds} seconds")]
    TimedOut {
        /// Where.
        url: String,
        /// The bound.
        seconds: u64,
    },
    /// The host answered with a problem document.
    #[error("the host refused: {title} ({code})")]
    Host {
        /// Its stable code.
        code: String,
        /// Its title.
        title: String,
        /// Its hint.
        hint: Option<String>,
        /// The HTTP status.
        status: u16,
    },
    /// The host answered with something that is not the protocol.
    #[error("the host does not speak the protocol: {0}")]
    Protocol(String),
    /// The answer's ciphertext was cut, reordered, repeated or changed.
    #[error("the answer was cut or changed on its way: {0}")]
    Broken(String),
    /// The answer came without a receipt that verifies under the attested receipt key.
    #[error("the answer's receipt does not verify: {0}")]
    Receipt(String),
    /// The enclave answered the request with an error of its own.
    #[error("the service refused: {message} ({code})")]
    Service {
        /// Its stable code.
        code: String,
        /// Its message, about the request and never quoting it.
        message: String,
        /// The HTTP status inside the seal.
        status: u16,
    },
    /// An API token is missing or not usable.
    #[error("API token: {0}")]
    Token(String),
    /// An audit log does not verify.
    #[error("the audit log {origin} does not verify: {source}")]
    Audit {
        /// The log's name.
        origin: String,
        /// Why.
        source: AuditError,
    },
    /// Nobody said whose signature an audit log should carry.
    #[error("no key is known for the audit log {origin}")]
    AuditKeyMissing {
        /// The log's name.
        origin: String,
    },
    /// Another `adyton up` holds the state directory.
    #[error("adyton is already running in {} (process {pid})", dir.display())]
    AlreadyRunning {
        /// The state directory.
        dir: PathBuf,
        /// Who holds it.
        pid: String,
    },
    /// A port is taken.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A binary that belongs beside this one is missing.
    #[error("{name} was not found beside {}", beside.display())]
    BinaryMissing {
        /// The binary.
        name: String,
        /// Where it was looked for.
        beside: PathBuf,
    },
    /// A process that `up` supervises failed.
    #[error("{name} {problem}")]
    Child {
        /// Which process.
        name: String,
        /// What happened, with its last words.
        problem: String,
    },
    /// A machine shows something else than what its image was measured as.
    #[error("{key}: measured {measured}, but the machine shows {shown}")]
    NotMeasured {
        /// The key of the policy.
        key: String,
        /// What `adyton-host measure` wrote.
        measured: String,
        /// What the evidence shows.
        shown: String,
    },
    /// A sibling binary said why it failed.
    #[error("{name}: {message}")]
    Tool {
        /// Which binary.
        name: String,
        /// Its own stable code.
        code: String,
        /// Its own message.
        message: String,
        /// Its own hint.
        hint: Option<String>,
    },
    /// State that `up` finds does not fit together.
    #[error("{0}")]
    State(String),
    /// The same failure, told to more than one who waited for it.
    #[error(transparent)]
    Shared(#[from] Arc<ClientError>),
    /// A signal asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl ClientError {
    /// Stable, kebab-case.
    pub fn code(&self) -> &str {
        match self {
            Self::Usage(_) => "usage",
            Self::Config { .. } => "config-invalid",
            Self::Policy { source, .. } => source.code(),
            Self::PolicyMissing => "policy-missing",
            Self::Read { .. } => "file-unreadable",
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => "disk-full",
            Self::Write { .. } => "file-unwritable",
            Self::TooLarge { .. } => "file-too-large",
            Self::Malformed { .. } => "malformed",
            Self::Appraisal(error) => error.code(),
            Self::Bundle(error) => error.code(),
            Self::Endorser(error) => error.code(),
            Self::Key(_) => "key-unusable",
            Self::Unreachable { .. } => "host-unreachable",
            Self::TimedOut { .. } => "host-timeout",
            Self::Host { code, .. } | Self::Service { code, .. } | Self::Tool { code, .. } => code,
            Self::Protocol(_) => "protocol",
            Self::Broken(_) => "answer-broken",
            Self::Receipt(_) => "receipt-invalid",
            Self::Token(_) => "token-unusable",
            Self::Audit { source, .. } => source.code(),
            Self::AuditKeyMissing { .. } => "audit-key-missing",
            Self::AlreadyRunning { .. } => "already-running",
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => "port-taken",
            Self::Listen { .. } => "listen-failed",
            Self::BinaryMissing { .. } => "binary-missing",
            Self::Child { .. } => "process-failed",
            Self::NotMeasured { .. } => "measurement-mismatch",
            Self::State(_) => "state-inconsistent",
            Self::Shared(error) => error.code(),
            Self::Interrupted => "interrupted",
        }
    }

    /// What to do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Usage(_) => "see `adyton help`",
            Self::Config { .. } => {
                "each key is the name of a flag with `_` for `-`; see `adyton help COMMAND`"
            }
            Self::Policy { source, .. } => source.hint(),
            Self::PolicyMissing => {
                "name a policy file with --policy; `adyton up` writes one for its simulated deployment to DIR/policy/client.toml"
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space and try again"
            }
            Self::Appraisal(error) => error.hint(),
            Self::Bundle(error) => error.hint(),
            Self::Endorser(error) => error.hint(),
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                "check the URL, and that the host is running and its port is open"
            }
            Self::Host { hint, .. } | Self::Tool { hint, .. } => return hint.clone(),
            Self::Shared(error) => return error.hint(),
            Self::Protocol(_) => "check that the URL is that of an adyton host",
            Self::Broken(_) => {
                "nothing of an incomplete answer counts; ask again, and look at the host if it keeps happening"
            }
            Self::Receipt(_) => "do not rely on this answer; verify the deployment and tell its operator",
            Self::Token(_) => "name a token file with --token-file; `adyton token new` makes tokens",
            Self::Audit { source, .. } => source.hint(),
            Self::AuditKeyMissing { .. } => {
                "name it with --key or --keys-file; for a request log, --url and --policy attest the enclave and take its key"
            }
            Self::AlreadyRunning { .. } => {
                "use it (run.json in that directory has the URL), stop it, or name another --dir"
            }
            Self::Listen { .. } => "choose another port, or 0 for any free one",
            Self::BinaryMissing { .. } => "install all adyton binaries into one folder",
            Self::NotMeasured { .. } => {
                "the machine runs another image than the file that you measured, or reached it in another way: find out which before you rely on it"
            }
            Self::Child { .. } => "its log is in the state directory under log/",
            Self::State(_) => "name another --dir, or remove this one to start afresh",
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// The process's exit status: 10 rejected, 20 malformed, 30 unsupported, 1 other.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Appraisal(error) => error.exit_code(),
            Self::Shared(error) => error.exit_code(),
            Self::Bundle(error) => error.exit_code(),
            Self::Endorser(EndorserError::Rollback { .. }) => EXIT_REJECTED,
            Self::Endorser(EndorserError::ArchiveVersion(_)) => EXIT_UNSUPPORTED,
            Self::Endorser(
                EndorserError::Archive(_) | EndorserError::Document { .. } | EndorserError::Evidence(_),
            ) => EXIT_MALFORMED,
            Self::Audit { .. } | Self::Receipt(_) | Self::NotMeasured { .. } => EXIT_REJECTED,
            Self::Malformed { .. } => EXIT_MALFORMED,
            _ => EXIT_OTHER,
        }
    }
    /// Whether this says that a peer is away, and nothing about what it is.
    pub fn is_about_reachability(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Protocol(_) | Self::Host { .. } => true,
            Self::Shared(error) => error.is_about_reachability(),
            _ => false,
        }
    }

    /// The appraisal that failed, if that is what this is.
    pub fn appraisal(&self) -> Option<&AppraisalError> {
        match self {
            Self::Appraisal(error) => Some(error),
            Self::Shared(error) => error.appraisal(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_exit_codes_fixed() {
        let errors = [
            (ClientError::Usage(String::new()), 1),
            (ClientError::PolicyMissing, 1),
            (ClientError::Bundle(BundleError::Shape), 20),
            (ClientError::Bundle(BundleError::UnknownVersion(9)), 30),
            (
                ClientError::Malformed {
                    what: "x",
                    problem: String::new(),
                },
                20,
            ),
            (ClientError::Receipt(String::new()), 10),
            (
                ClientError::Audit {
                    origin: String::new(),
                    source: AuditError::Malformed("x"),
                },
                10,
            ),
            (
                ClientError::Shared(Arc::new(ClientError::Bundle(BundleError::Shape))),
                20,
            ),
            (
                ClientError::AlreadyRunning {
                    dir: "d".into(),
                    pid: "1".into(),
                },
                1,
            ),
            (
                ClientError::Write {
                    path: "p".into(),
                    source: io::ErrorKind::StorageFull.into(),
                },
                1,
            ),
            (
                ClientError::Listen {
                    address: "a".into(),
                    source: io::ErrorKind::AddrInUse.into(),
                },
                1,
            ),
        ];
        for (error, exit_code) in errors {
            assert!(
                error
                    .code()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{error:?}"
            );
            assert_eq!(error.exit_code(), exit_code, "{error:?}");
        }
    }
}
