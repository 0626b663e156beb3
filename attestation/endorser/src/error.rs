//! Why no endorsements could be given, kept or taken in.

use std::path::PathBuf;

use attestation::{BundleError, EndorsementKind, PlatformTag, UnixTime};
use thiserror::Error;

use crate::service::Service;

/// What went wrong, from the caller's side.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EndorserError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file in the cache is not what the cache writes.
    #[error("{}: not cached endorsements: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BundleError,
    },
    /// The subject or the endorsements are larger than the cache keeps.
    #[error("{what} of {bytes} bytes exceeds the bound of {bytes_max}")]
    Bound {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The evidence cannot be read, so that nobody knows what to ask for.
    #[error("the evidence cannot be read: {0}")]
    Evidence(BundleError),
    /// The evidence does not say whom it is of.
    #[error("nothing can be looked up for this evidence: {0}")]
    Unidentified(&'static str),
    /// Nobody publishes endorsements of this platform.
    #[error("nobody publishes endorsements of the platform {0}")]
    Unpublished(PlatformTag),
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// Nobody answers.
    #[error("{service}: cannot reach {url}: {problem}")]
    Unreachable {
        /// Which service.
        service: Service,
        /// What was asked for.
        url: String,
        /// What the system said.
        problem: String,
    },
    /// The server's certificate is not vouched for.
    #[error("{service}: {url}: the server's certificate is not accepted: {problem}")]
    UntrustedServer {
        /// Which service.
        service: Service,
        /// What was asked for.
        url: String,
        /// What TLS said.
        problem: String,
    },
    /// No whole answer in time.
    #[error("{service}: {url} did not answer within {seconds} seconds")]
    TimedOut {
        /// Which service.
        service: Service,
        /// What was asked for.
        url: String,
        /// The bound of one attempt.
        seconds: u64,
    },
    /// The server cannot serve now.
    #[error("{service}: {url} answered {status}{}", retry_after(*retry_after_seconds))]
    Busy {
        /// Which service.
        service: Service,
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
        /// When it wants to be asked again.
        retry_after_seconds: Option<u64>,
    },
    /// The service has no such document.
    #[error("{service}: {url} is not published (status {status})")]
    NotPublished {
        /// Which service.
        service: Service,
        /// What was asked for.
        url: String,
        /// HTTP status, 404 or 410.
        status: u16,
    },
    /// The service does not take the request.
    #[error("{service}: {url} answered {status}")]
    Refused {
        /// Which service.
        service: Service,
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The server sends elsewhere.
    #[error("{service}: {url} redirects to {to}, which is not followed")]
    Redirected {
        /// Which service.
        service: Service,
        /// What was asked for.
        url: String,
        /// Where it wants to send.
        to: String,
    },
    /// The answer is longer than any document.
    #[error("{service}: the answer of {url} exceeds {bytes_max} bytes")]
    TooLarge {
        /// Which service.
        service: Service,
        /// What was asked for.
        url: String,
        /// The bound.
        bytes_max: usize,
    },
    /// The answer is not the document asked for.
    #[error("{service}: {url} answered with something else: {problem}")]
    Content {
        /// Which service.
        service: Service,
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Intel's two documents belong to different evaluations, twice in a row.
    #[error(
        "Intel's TCB info (evaluation {tcb_info}) and QE identity (evaluation {qe_identity}) do not belong together"
    )]
    Inconsistent {
        /// tcbEvaluationDataNumber of the TCB info.
        tcb_info: u32,
        /// tcbEvaluationDataNumber of the QE identity.
        qe_identity: u32,
    },
    /// A document is older than one already seen.
    #[error("rollback: {} of {issuer}, {offered}, is older than one already seen, {seen}", kind.as_str())]
    Rollback {
        /// The kind of document.
        kind: EndorsementKind,
        /// Its issuer or subject.
        issuer: String,
        /// Issue time, and evaluation number where there is one.
        offered: String,
        /// The same of the newest one seen.
        seen: String,
    },
    /// A document claims to be issued later than now.
    #[error("{} of {issuer} is issued in the future, at {issued}", kind.as_str())]
    FromTheFuture {
        /// The kind of document.
        kind: EndorsementKind,
        /// Its issuer or subject.
        issuer: String,
        /// Its issue time.
        issued: UnixTime,
    },
    /// A document is not of the kind that it is kept or offered as.
    #[error("the document offered as {} is none", kind.as_str())]
    Document {
        /// The kind.
        kind: EndorsementKind,
    },
    /// What is kept may not be used any more, and nothing newer could be had.
    #[error("no usable endorsements of {subject}: {problem}{}", because(cause.as_deref()))]
    Unusable {
        /// The platform's subject, for people.
        subject: String,
        /// Which document is missing or too old.
        problem: String,
        /// Why nothing newer came.
        cause: Option<Box<EndorserError>>,
    },
    /// A file is not an archive of endorsements.
    #[error("not an archive of endorsements: {0}")]
    Archive(&'static str),
    /// An archive of a newer format.
    #[error("archive format version {0} is not known")]
    ArchiveVersion(u64),
}

fn retry_after(seconds: Option<u64>) -> String {
    seconds.map_or_else(String::new, |seconds| {
        format!(" and wants to be asked again in {seconds} seconds")
    })
}

fn because(cause: Option<&EndorserError>) -> String {
    cause.map_or_else(String::new, |cause| format!("; {cause}"))
}

impl EndorserError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            EndorserError::Io { .. } => "endorser-io",
            EndorserError::Malformed { .. } => "endorser-malformed",
            EndorserError::Bound { .. } => "endorser-bound",
            EndorserError::Evidence(_) => "endorser-evidence",
            EndorserError::Unidentified(_) => "endorser-unidentified",
            EndorserError::Unpublished(_) => "endorser-unpublished",
            EndorserError::Config(_) => "endorser-config",
            EndorserError::Unreachable { .. } => "endorser-unreachable",
            EndorserError::UntrustedServer { .. } => "endorser-untrusted-server",
            EndorserError::TimedOut { .. } => "endorser-timeout",
            EndorserError::Busy { .. } => "endorser-busy",
            EndorserError::NotPublished { .. } => "endorser-not-published",
            EndorserError::Refused { .. } => "endorser-refused",
            EndorserError::Redirected { .. } => "endorser-redirected",
            EndorserError::TooLarge { .. } => "endorser-too-large",
            EndorserError::Content { .. } => "endorser-content",
            EndorserError::Inconsistent { .. } => "endorser-inconsistent",
            EndorserError::Rollback { .. } => "endorser-rollback",
            EndorserError::FromTheFuture { .. } => "endorser-from-the-future",
            EndorserError::Document { .. } => "endorser-document",
            EndorserError::Unusable { .. } => "endorser-unusable",
            EndorserError::Archive(_) => "endorser-archive",
            EndorserError::ArchiveVersion(_) => "endorser-archive-version",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            EndorserError::Io { .. } => "check that the cache folder exists and may be written",
            EndorserError::Malformed { .. } | EndorserError::Document { .. } => {
                "delete the file; endorsements are fetched or imported again, but without its ledger a cache forgets which documents it has seen"
            }
            EndorserError::Bound { .. } => "the endorsements are not what the manufacturer publishes",
            EndorserError::Evidence(_) => "name a raw report, a quote or a bundle",
            EndorserError::Unidentified(_) => {
                "have the host hand the certificate out with its reports, or unmask the chip id"
            }
            EndorserError::Unpublished(_) => {
                "a simulated platform hands its endorsements over with the evidence"
            }
            EndorserError::Config(_) => "correct the URL or the file of CA certificates",
            EndorserError::Unreachable { .. } | EndorserError::TimedOut { .. } => {
                "check name resolution and outgoing connections, or import an archive from another machine"
            }
            EndorserError::UntrustedServer { .. } => {
                "name the CA of your own caching service, or find out who intercepts the connection"
            }
            EndorserError::Busy { .. } => "wait and try again; fetch for many machines through one cache",
            EndorserError::NotPublished { .. } => {
                "check that the evidence is of this manufacturer's production hardware and the URL is right"
            }
            EndorserError::Refused { .. } => "check the URL of the service and its version",
            EndorserError::Redirected { .. } => "configure the URL where the service is now, if you trust it",
            EndorserError::TooLarge { .. } | EndorserError::Content { .. } => {
                "check that the URL is that of the service, not of a proxy's page"
            }
            EndorserError::Inconsistent { .. } => {
                "the publisher is in the middle of an update; try again in some minutes"
            }
            EndorserError::Rollback { .. } => {
                "take newer documents; a mirror that serves old ones hides what was revoked since"
            }
            EndorserError::FromTheFuture { .. } => "check the clock of this machine",
            EndorserError::Unusable { .. } => {
                "run `adyton endorsements fetch` with access to the services, or import a newer archive"
            }
            EndorserError::Archive(_) => "name a file that `adyton endorsements export` wrote",
            EndorserError::ArchiveVersion(_) => "use a newer adyton",
        }
    }
}
