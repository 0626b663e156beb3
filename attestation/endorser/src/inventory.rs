//! What a cache holds, for people and scripts.

use attestation::{EndorsementKind, UnixTime};

use crate::EndorserError;
use crate::cache::Cache;
use crate::condition::{Ages, Condition, dates, judge};
use crate::ledger::Ledger;

/// One subject of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Platform tag, or `nvidia-gpu`.
    pub folder: &'static str,
    /// The subject for people.
    pub subject: String,
    /// SHA-256 of the subject in hexadecimal, the name of its file.
    pub digest: String,
    /// When it last came from the publishers, if that is known.
    pub fetched: Option<UnixTime>,
    /// Whether it may be used.
    pub condition: Condition,
    /// Its documents.
    pub documents: Vec<ListedDocument>,
}

/// One document of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDocument {
    /// The kind.
    pub kind: EndorsementKind,
    /// Its length.
    pub bytes: usize,
    /// Whose or what about, where it says so.
    pub issuer: Option<String>,
    /// When it was issued, where it says so.
    pub issued: Option<UnixTime>,
    /// Until when it counts, where it says so.
    pub until: Option<UnixTime>,
    /// Intel's evaluation number.
    pub number: Option<u32>,
}

/// Lists a cache, in order.
pub fn list(cache: &Cache, ages: Ages, now: UnixTime) -> Result<Vec<Listed>, EndorserError> {
    let ledger = Ledger::read(cache)?;
    let mut listed = Vec::new();
    for place in cache.places()? {
        let seen = ledger.seen(&place);
        let subject = seen.map(|seen| &seen.subject[..]);
        let (condition, documents) = match cache.read(&place) {
            Ok(Some(endorsements)) => {
                let required = place.required(subject);
                let condition = judge(&place, required, &endorsements, &ledger, ages, now);
                (condition, endorsements.iter().map(document).collect())
            }
            Ok(None) => continue,
            Err(error) => (Condition::Expired(error.to_string()), Vec::new()),
        };
        listed.push(Listed {
            folder: place.folder(),
            subject: place.describe(subject),
            digest: place.digits(),
            fetched: seen.map(|seen| seen.fetched),
            condition,
            documents,
        });
    }
    Ok(listed)
}

fn document((kind, bytes): (EndorsementKind, &[u8])) -> ListedDocument {
    let published = dates(kind, bytes).ok().flatten();
    let until = published.as_ref().map(|published| published.until);
    ListedDocument {
        kind,
        bytes: bytes.len(),
        issued: published.as_ref().map(|published| published.issued),
        until: until.filter(|until| *until < UnixTime::MAX),
        number: published.as_ref().and_then(|published| published.number),
        issuer: published.map(|published| published.issuer),
    }
}
