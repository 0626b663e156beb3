//! Fetches and keeps what AMD, Intel, NVIDIA and Google publish about platforms. It never decides: every
//! document is signed by its publisher, and the Verifier checks it each time.
//!
//! Data flow:
//! 1. [`Endorser`] reads from evidence, unverified, what to ask for.
//! 2. [`Cache`] gives what is kept; its ledger knows how old that is.
//! 3. The clients (`kds`, `thim`, `pcs`, `nvidia`, `gce`) ask over [`Transport`], which bounds size,
//!    time and attempts, and check that the answer is the document asked for.
//! 4. `keeper` takes in what came, refusing what is older than the newest document already seen.
//! 5. [`export`] and [`import`] carry a cache to machines that reach no publisher.
#![forbid(unsafe_code)]

mod archive;
mod asn1;
mod cache;
mod condition;
mod endorser;
mod error;
mod gce;
mod inventory;
mod kds;
mod keeper;
mod ledger;
mod nvidia;
mod pcs;
mod place;
mod service;
mod thim;
mod transport;

pub use archive::{ARCHIVE_BYTES_MAX, Imported, export, import};
pub use cache::Cache;
pub use condition::{Ages, Condition, duration};
pub use endorser::{Endorser, Served, Wanted};
pub use error::EndorserError;
pub use inventory::{Listed, ListedDocument, list};
pub use nvidia::Gpu;
pub use service::{RootCrl, Service, ServiceUrl, Services, Update};
pub use transport::{ANSWER_BYTES_MAX, Limits, Observer, Transport};
