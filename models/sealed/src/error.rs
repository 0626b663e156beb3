//! What can go wrong with a sealed model, from the caller's side.

use std::io;
use std::path::PathBuf;

/// The result of this crate's operations.
pub type Result<T> = core::result::Result<T, SealedModelError>;

/// One variant for each kind of fault; [`code`](Self::code) is stable. Nothing in it is plaintext: objects are named by
/// their opaque names, and names of the owner's files occur only where the owner seals.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedModelError {
    /// The system refused.
    #[error("cannot {action} {name}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No space, over quota, or over the file size limit.
    #[error("no space left to {action} {name}")]
    DiskFull {
        /// What was tried.
        action: &'static str,
        /// On what.
        name: String,
    },
    /// Sealing never overwrites.
    #[error("{} exists already", .0.display())]
    OutputExists(PathBuf),
    /// Sealing was asked to stop.
    #[error("stopped; nothing was left behind")]
    Stopped,

    /// The directory holds no file to seal.
    #[error("{} holds no file to seal", .0.display())]
    NothingToSeal(PathBuf),
    /// A symbolic link among the files; it is not followed.
    #[error("{0} is a symbolic link")]
    Symlink(String),
    /// Neither file nor folder.
    #[error("{0} is not a regular file")]
    NotAFile(String),
    /// A file name that cannot be a name inside a sealed model.
    #[error("the file name {name:?} is refused: {why}")]
    NameRefused {
        /// The name.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// What arrived is not what was announced.
    #[error("{name} is not the file that was announced: {why}")]
    NotAsAnnounced {
        /// The file.
        name: String,
        /// Where it differs.
        why: &'static str,
    },
    /// A kept arrival is of something else.
    #[error("{} was begun with {what}", .folder.display())]
    OtherArrival {
        /// The folder that was kept.
        folder: PathBuf,
        /// What differs from now.
        what: &'static str,
    },
    /// Another process works on the same arrival.
    #[error("another process is writing {}", .0.display())]
    ArrivalBusy(PathBuf),
    /// A file changed its length while it was read.
    #[error("{0} changed while it was being sealed")]
    SourceChanged(String),
    /// An input over its bound.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The bound, in bytes or pieces.
        limit: u64,
    },
    /// The model id or version cannot be used.
    #[error("the {0} cannot be used")]
    Unusable(&'static str),

    /// Not a key of a kind that is known here.
    #[error("not a usable {0}")]
    MalformedKey(&'static str),
    /// The system's random generator failed.
    #[error("the random generator failed")]
    Random,

    /// The bytes are not the structure they claim to be.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// Which structure.
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// A manifest signed by a method that is not taken here (certificate, keyless).
    #[error("the manifest is not signed by a key")]
    UnsupportedSigning,
    /// The manifest does not carry the owner's signature.
    #[error("the manifest is not signed by this owner, or was changed since")]
    OwnerSignature,
    /// A valid model signature, but not of a sealed model.
    #[error("the signed statement is not the manifest of a sealed model")]
    NotSealedModel,

    /// Another model than expected.
    #[error("this is the model {found:?}, not {expected:?}")]
    OtherModel {
        /// The id expected.
        expected: String,
        /// The id found.
        found: String,
    },
    /// Older than the version anchored.
    #[error("version {found} is older than the anchored version {anchored}")]
    RolledBack {
        /// The version the broker anchors.
        anchored: u64,
        /// The version found.
        found: u64,
    },
    /// Newer than the version anchored.
    #[error("version {found} is not registered; version {anchored} is")]
    NotRegistered {
        /// The version the broker anchors.
        anchored: u64,
        /// The version found.
        found: u64,
    },
    /// Another manifest than the one registered under this version.
    #[error("this is not the manifest that was registered")]
    ManifestReplaced,

    /// The model key does not open this container.
    #[error("the model key does not open this sealed model")]
    WrongKey,
    /// An object ends early.
    #[error("{object} is cut off: {found} of {expected} bytes")]
    Truncated {
        /// The object.
        object: String,
        /// Bytes that the manifest says.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// An object goes on after its end.
    #[error("{object} has {found} bytes instead of {expected}: something was added")]
    Extended {
        /// The object.
        object: String,
        /// Bytes that the manifest says.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// An object stands under the name of another object of the same container.
    #[error("{object} holds the bytes of {found}")]
    Swapped {
        /// The object.
        object: String,
        /// The object whose bytes it has.
        found: String,
    },
    /// A segment stands where another belongs.
    #[error("segment {segment} of {object} holds the bytes of segment {found}")]
    Reordered {
        /// The object.
        object: String,
        /// The position.
        segment: u64,
        /// The position it was sealed for.
        found: u64,
    },
    /// Bytes were changed.
    #[error("{object} was changed{}", .segment.map_or_else(|| " in its header".to_owned(), |s| format!(" in segment {s}")))]
    BitFlipped {
        /// The object.
        object: String,
        /// The segment; the header if there is none.
        segment: Option<u64>,
    },
    /// An object of another model or of another sealing of this one.
    #[error("{object} belongs to another sealed model")]
    ForeignObject {
        /// The object.
        object: String,
    },
    /// An object is not there.
    #[error("{object} is missing")]
    ObjectMissing {
        /// The object.
        object: String,
    },
    /// The memory for the opened model is not to be had.
    #[error("no memory for {bytes} bytes")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },

    /// A wrap made under another key-encryption key.
    #[error("the wrap is under {found:?}, not under {expected:?}")]
    WrongKek {
        /// The key at hand, as `id/version`.
        expected: String,
        /// The key of the wrap.
        found: String,
    },
    /// A wrap that its key does not open, or not for this model.
    #[error("the wrap does not open: changed, or made for another model")]
    WrapDamaged,
}

impl SealedModelError {
    /// The stable code of this kind of fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::DiskFull { .. } => "disk-full",
            Self::OutputExists(_) => "output-exists",
            Self::Stopped => "stopped",
            Self::NothingToSeal(_) => "nothing-to-seal",
            Self::Symlink(_) => "symlink",
            Self::NotAFile(_) => "not-a-file",
            Self::NameRefused { .. } => "name-refused",
            Self::SourceChanged(_) => "source-changed",
            Self::NotAsAnnounced { .. } => "not-as-announced",
            Self::OtherArrival { .. } => "other-arrival",
            Self::ArrivalBusy(_) => "arrival-busy",
            Self::TooLarge { .. } => "too-large",
            Self::Unusable(_) => "unusable",
            Self::MalformedKey(_) => "malformed-key",
            Self::Random => "random",
            Self::Malformed { .. } => "malformed",
            Self::UnsupportedSigning => "unsupported-signing",
            Self::OwnerSignature => "owner-signature",
            Self::NotSealedModel => "not-a-sealed-model",
            Self::OtherModel { .. } | Self::ForeignObject { .. } => "other-model",
            Self::RolledBack { .. } => "rolled-back",
            Self::NotRegistered { .. } => "not-registered",
            Self::ManifestReplaced => "manifest-replaced",
            Self::WrongKey => "wrong-key",
            Self::Truncated { .. } => "truncated",
            Self::Extended { .. } => "extended",
            Self::Swapped { .. } => "swapped",
            Self::Reordered { .. } => "reordered",
            Self::BitFlipped { .. } => "bit-flipped",
            Self::ObjectMissing { .. } => "object-missing",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::WrongKek { .. } => "wrong-kek",
            Self::WrapDamaged => "wrap-damaged",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check that the path exists and may be read and written",
            Self::DiskFull { .. } => {
                "free some space, or choose another place for the output; nothing was left behind"
            }
            Self::OutputExists(_) => {
                "choose another output, or move the old one away; sealing never overwrites"
            }
            Self::Stopped => "run the command again to start over",
            Self::NothingToSeal(_) => {
                "name the folder with config.json, the tokenizer and the weights; hidden files are left out"
            }
            Self::Symlink(_) => "copy the model with links resolved (cp -rL) and seal the copy",
            Self::NotAFile(_) => "keep only regular files and folders in the model",
            Self::NameRefused { .. } => "rename the file",
            Self::NotAsAnnounced { .. } => {
                "run the command again; if it happens again, the source is damaged or somebody changes what it sends"
            }
            Self::OtherArrival { .. } => {
                "run the command as it was begun, or remove that folder and the key file to start over"
            }
            Self::ArrivalBusy(_) => "wait for the other process, or choose another output",
            Self::SourceChanged(_) => "wait until the model is written completely, then seal again",
            Self::TooLarge { .. } => "split the model, or seal fewer files",
            Self::Unusable(_) => {
                "model ids are 1 to 128 of a-z A-Z 0-9 . _ - / : beginning with a letter or digit; versions are 1 to 2^53 - 1"
            }
            Self::MalformedKey(_) => "make one with adyton-seal keygen (ECDSA P-384 or Ed25519, PKCS#8 PEM)",
            Self::Random => "this machine cannot make keys; do not use it for secrets",
            Self::Malformed { .. } => "copy the sealed model again, whole and unchanged",
            Self::UnsupportedSigning => "sign with the owner's key: seal the model again with adyton-seal",
            Self::OwnerSignature => {
                "check the owner key in the configuration; if it is right, the manifest is not the owner's"
            }
            Self::NotSealedModel => "this is the signature of a plain model: seal it with adyton-seal",
            Self::OtherModel { .. } => "check which sealed model is configured under this name",
            Self::RolledBack { .. } => "use the newest sealed version; an older one was put in its place",
            Self::NotRegistered { .. } => "register this version with the broker, or use the registered one",
            Self::ManifestReplaced => {
                "use exactly the sealed model that was registered, or register this one as a new version"
            }
            Self::WrongKey => "check which model this key was registered for",
            Self::Truncated { .. } => "copy the sealed model again; the transfer was cut off",
            Self::Extended { .. }
            | Self::Swapped { .. }
            | Self::Reordered { .. }
            | Self::BitFlipped { .. } => {
                "copy the sealed model again from its owner; if it happens again, someone changes it"
            }
            Self::ForeignObject { .. } => {
                "copy the sealed model again from its owner; files of two models were mixed"
            }
            Self::ObjectMissing { .. } => "copy the sealed model again, with all its files",
            Self::OutOfMemory { .. } => "give the enclave more memory, or use a smaller model",
            Self::WrongKek { .. } => "use the wrap that names this key, or re-wrap the model key",
            Self::WrapDamaged => "fetch the wrap again from the broker",
        }
    }

    /// The fault of a full disk, for callers that write beside a sealed model; anything else is given back.
    pub fn from_io(
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    ) -> core::result::Result<Self, (PathBuf, io::Error)> {
        match Self::io(action, path.display().to_string(), source) {
            Self::Io { source, .. } => Err((path, source)),
            full => Ok(full),
        }
    }

    /// Names the failed action; lack of space is a fault of its own, because there is something to do about it.
    pub(crate) fn io(action: &'static str, name: impl Into<String>, source: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::DiskFull {
                action,
                name: name.into(),
            },
            _ => Self::Io {
                action,
                name: name.into(),
                source,
            },
        }
    }
}
