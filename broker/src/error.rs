//! What can go wrong with the broker itself, each with a stable code and what to do. What an enclave is told is a
//! [`RefusalCode`](crate::refusal::RefusalCode).

/// The result of this crate's operations.
pub type Result<T> = core::result::Result<T, BrokerError>;

/// A fault of the broker's files, store or listeners. Carries no key material and no text of a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The configuration file is missing or wrong.
    #[error("configuration: {0}")]
    Config(String),
    /// A listener's address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A certificate or its private key is unusable.
    #[error("TLS: {0}")]
    Tls(String),
    /// A key file is missing although the store already depends on it.
    #[error("{0} is missing, but the store was made with it")]
    KeyMissing(std::path::PathBuf),
    /// A key file can be read by others.
    #[error("{0} can be read by other users")]
    KeyExposed(std::path::PathBuf),
    /// A key file does not hold a key.
    #[error("{0} is not a key file of this kind")]
    KeyMalformed(std::path::PathBuf),
    /// A key file could not be read or written.
    #[error("{path}: {source}")]
    KeyFile {
        /// Which file.
        path: std::path::PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The store could not be opened, read or written.
    #[error("store: {0}")]
    Store(#[from] sqlx::Error),
    /// Another broker has the store open.
    #[error("another broker has {0} open")]
    StoreInUse(std::path::PathBuf),
    /// The store is of another version of this program.
    #[error("store: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The audit log in the store is not the log that the checkpoint signed.
    #[error("the audit log does not verify: {0}")]
    LogDamaged(&'static str),
    /// A registered model differs from what the audit log says was registered.
    #[error("the registration of model {model_id} differs from the audit log: {difference}")]
    RegistrationDamaged {
        /// Which model.
        model_id: String,
        /// What differs.
        difference: &'static str,
    },
    /// The system gave no random bytes.
    #[error("no random bytes from the system")]
    Random,
    /// The audit record could not be made durable.
    #[error("the audit record could not be written")]
    AuditUnavailable,
    /// The audit log cannot be taken up.
    #[error("audit log: {0}")]
    Audit(#[from] audit::AuditError),
    /// There is no log to verify yet.
    #[error("nothing was recorded yet")]
    LogEmpty,
    /// A model policy that is no policy.
    #[error("policy: {0}")]
    Policy(String),
    /// A registration that the broker does not take.
    #[error("registration refused: {detail}")]
    Registration {
        /// Stable code.
        code: &'static str,
        /// What was wrong.
        detail: &'static str,
    },
    /// A model that nobody registered.
    #[error("no such model")]
    UnknownModel,
}

impl BrokerError {
    /// Stable code for scripts and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::Listen { .. } => "listen",
            Self::Tls(_) => "tls",
            Self::KeyMissing(_) => "key-missing",
            Self::KeyExposed(_) => "key-exposed",
            Self::KeyMalformed(_) => "key-malformed",
            Self::KeyFile { .. } => "key-file",
            Self::Store(_) => "store",
            Self::StoreInUse(_) => "already-running",
            Self::Migration(_) => "store-version",
            Self::LogDamaged(_) => "log-damaged",
            Self::RegistrationDamaged { .. } => "registration-damaged",
            Self::Random => "random",
            Self::AuditUnavailable => "audit-unavailable",
            Self::Audit(error) => error.code(),
            Self::LogEmpty => "log-empty",
            Self::Policy(_) => "policy",
            Self::Registration { code, .. } => code,
            Self::UnknownModel => "unknown-model",
        }
    }

    /// What the operator or owner can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Config(_) => "compare the file with broker.example.toml",
            Self::Listen { .. } => "another process has the port: stop it or choose another address",
            Self::Tls(_) => "certificate and private key must be PEM and belong together",
            Self::KeyMissing(_) => {
                "restore the key file from its backup; a new key would open nothing that is stored"
            }
            Self::KeyExposed(_) => "chmod 600 the file, and consider its key known to those users",
            Self::KeyMalformed(_) => "restore the key file from its backup",
            Self::KeyFile { .. } => "check that the folder exists and that this user may use it",
            Self::Store(_) => "check space and permissions of the store",
            Self::StoreInUse(_) => "stop the other broker, or give this one another store",
            Self::Migration(_) => "run the version of adyton-broker that made this store, or a later one",
            Self::LogDamaged(_) => "keep the file as evidence, find who wrote to it, restore from a backup",
            Self::RegistrationDamaged { .. } => {
                "keep the file as evidence, restore from a backup, register again"
            }
            Self::Random => "the system is not ready: try again",
            Self::AuditUnavailable => {
                "free space for the store; nothing is released until records can be written"
            }
            Self::Audit(error) => error.hint(),
            Self::LogEmpty => {
                "if this broker has recorded before, its store was replaced: compare with a copy of the log"
            }
            Self::Policy(_) => "correct the policy file: every key is required and unknown ones are refused",
            Self::Registration { code, .. } => match *code {
                "rolled-back" => "register a version above the registered one",
                "registration-key" => {
                    "fetch the registration key again: the broker makes a new one at every start"
                }
                _ => "compare the request with the admin API in the README of broker",
            },
            Self::UnknownModel => "register the model first, or correct its name",
        }
    }
}
