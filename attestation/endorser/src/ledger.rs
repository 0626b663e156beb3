//! What a cache has seen: the newest document of each issuer and kind, and when each subject was
//! fetched.
//!
//! The newest of each issuer and kind is kept so that nobody can put an older document in its place: a
//! revocation list from before the revocation, a TCB info from before the advisory. Order is by issue
//! time and, for Intel's documents, evaluation number; the number in a revocation list and its length
//! do not order (Intel issues constant numbers, and shorter lists after longer ones).
//!
//! `FOLDER/ledger.cbor`, deterministic CBOR:
//!
//! | key | field | type |
//! |---|---|---|
//! | 1 | format version | 1 |
//! | 2 | subjects | list of `[folder, digest, subject, fetched]` |
//! | 3 | newest | list of `[folder, kind, issuer, issued, number or null]` |
//! | 4 | authorities | list of Intel's PCK CA certificates, DER |

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use attestation::{BundleError, EndorsementKind, Published, UnixTime, is_pck_authority};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::EndorserError;
use crate::cache::{Cache, bound, read_bounded, write_whole};
use crate::place::{Place, SUBJECT_BYTES_MAX};

const FILE: &str = "ledger.cbor";
const VERSION: u64 = 1;
const BYTES_MAX: usize = 8 * 1024 * 1024;
const SUBJECTS_MAX: usize = 8192;
const NEWEST_MAX: usize = 4096;
const ISSUER_CHARS_MAX: usize = 128;
pub(crate) const AUTHORITIES_MAX: usize = 8;
pub(crate) const AUTHORITY_BYTES_MAX: usize = 16 * 1024;

/// The ledger of one cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    subjects: BTreeMap<Place, Seen>,
    newest: BTreeMap<Key, Moment>,
    authorities: BTreeSet<Vec<u8>>,
}

/// Folder, kind and issuer.
type Key = (String, &'static str, String);

fn key(place: &Place, kind: EndorsementKind, published: &Published) -> Key {
    let issuer = published.issuer.chars().take(ISSUER_CHARS_MAX).collect();
    (place.folder().to_owned(), kind.as_str(), issuer)
}

/// A subject, and when its endorsements last came from their publishers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) subject: Vec<u8>,
    pub(crate) fetched: UnixTime,
}

/// What orders documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    issued: UnixTime,
    number: Option<u32>,
}

impl Moment {
    pub(crate) fn of(published: &Published) -> Self {
        Self {
            issued: published.issued,
            number: published.number,
        }
    }

    /// Whether a document of this moment may not stand in the place of one of `other`.
    pub(crate) fn is_before(&self, other: &Moment) -> bool {
        self.issued < other.issued || self.number < other.number
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.issued)?;
        match self.number {
            Some(number) => write!(f, " (evaluation {number})"),
            None => Ok(()),
        }
    }
}

impl Ledger {
    /// Reads the ledger of a cache; an empty one if there is none yet.
    pub(crate) fn read(cache: &Cache) -> Result<Self, EndorserError> {
        let path = cache.folder().join(FILE);
        match read_bounded(&path, BYTES_MAX)? {
            Some(bytes) => Self::decode(&bytes).map_err(|source| EndorserError::Malformed { path, source }),
            None => Ok(Self::default()),
        }
    }

    /// Writes the ledger, without the subjects that the cache no longer holds.
    pub(crate) fn write(&mut self, cache: &Cache) -> Result<(), EndorserError> {
        self.subjects.retain(|place, _| cache.holds(place));
        bound("a ledger's subjects", self.subjects.len(), SUBJECTS_MAX)?;
        bound("a ledger's issuers", self.newest.len(), NEWEST_MAX)?;
        write_whole(&cache.folder().join(FILE), &self.encode())
    }

    pub(crate) fn seen(&self, place: &Place) -> Option<&Seen> {
        self.subjects.get(place)
    }

    pub(crate) fn note(&mut self, place: &Place, subject: &[u8], fetched: UnixTime) {
        let subject = subject.to_vec();
        self.subjects.insert(place.clone(), Seen { subject, fetched });
    }

    pub(crate) fn authorities(&self) -> Vec<Vec<u8>> {
        self.authorities.iter().cloned().collect()
    }

    /// Keeps the certificate of an authority, if it is one.
    pub(crate) fn know(&mut self, authority: &[u8]) {
        if self.authorities.len() < AUTHORITIES_MAX && is_pck_authority(authority) {
            self.authorities.insert(authority.to_vec());
        }
    }

    /// Refuses a document older than the newest one seen of its issuer and kind.
    pub(crate) fn refuse_older(
        &self,
        place: &Place,
        kind: EndorsementKind,
        published: &Published,
    ) -> Result<(), EndorserError> {
        let offered = Moment::of(published);
        match self.newest.get(&key(place, kind, published)) {
            Some(seen) if offered.is_before(seen) => Err(EndorserError::Rollback {
                kind,
                issuer: published.issuer.clone(),
                offered: offered.to_string(),
                seen: seen.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Remembers a document whose signature was followed to a built-in root: one that anybody could
    /// have made must not stand in the way of the real ones.
    pub(crate) fn advance(&mut self, place: &Place, kind: EndorsementKind, published: &Published) {
        let moment = Moment::of(published);
        let newest = self.newest.entry(key(place, kind, published)).or_insert(moment);
        if newest.is_before(&moment) && !moment.is_before(newest) {
            *newest = moment;
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Encoder::new(Vec::new());
        match self.write_cbor(&mut writer) {
            Ok(()) => writer.into_writer(),
            Err(_) => unreachable!("a Vec takes every write"),
        }
    }

    fn write_cbor(&self, writer: &mut Encoder<Vec<u8>>) -> Result<(), minicbor::encode::Error<Infallible>> {
        writer.map(4)?.u8(1)?.u64(VERSION)?;
        writer.u8(2)?.array(self.subjects.len() as u64)?;
        for (place, seen) in &self.subjects {
            writer.array(4)?.str(place.folder())?.bytes(place.digest())?;
            writer.bytes(&seen.subject)?.u64(seen.fetched.seconds())?;
        }
        writer.u8(3)?.array(self.newest.len() as u64)?;
        for ((folder, kind, issuer), moment) in &self.newest {
            writer.array(5)?.str(folder)?.str(kind)?.str(issuer)?;
            writer.u64(moment.issued.seconds())?;
            match moment.number {
                Some(number) => writer.u32(number)?,
                None => writer.null()?,
            };
        }
        writer.u8(4)?.array(self.authorities.len() as u64)?;
        for authority in &self.authorities {
            writer.bytes(authority)?;
        }
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        let ledger = Self::read_cbor(&mut Decoder::new(bytes)).map_err(|_| BundleError::Shape)??;
        if ledger.encode() != bytes {
            return Err(BundleError::NotCanonical);
        }
        Ok(ledger)
    }

    fn read_cbor(decoder: &mut Decoder<'_>) -> Result<Result<Self, BundleError>, minicbor::decode::Error> {
        let mut ledger = Self::default();
        if decoder.map()? != Some(4) || decoder.u64()? != 1 {
            return Ok(Err(BundleError::Shape));
        }
        let version = decoder.u64()?;
        if version != VERSION {
            return Ok(Err(BundleError::UnknownVersion(version)));
        }
        decoder.u64()?;
        for _ in 0..decoder.array()?.unwrap_or(u64::MAX) {
            decoder.array()?;
            let folder = decoder.str()?;
            let place = Place::at(folder, &hex::encode(decoder.bytes()?));
            let subject = decoder.bytes()?;
            let fetched = UnixTime::from_seconds(decoder.u64()?);
            let Some(place) = place.filter(|_| subject.len() <= SUBJECT_BYTES_MAX) else {
                return Ok(Err(BundleError::Shape));
            };
            ledger.note(&place, subject, fetched);
        }
        decoder.u64()?;
        for _ in 0..decoder.array()?.unwrap_or(u64::MAX) {
            decoder.array()?;
            let folder = decoder.str()?.to_owned();
            let Some(kind) = EndorsementKind::from_text(decoder.str()?) else {
                return Ok(Err(BundleError::UnknownEndorsement));
            };
            let issuer = decoder.str()?.to_owned();
            let issued = UnixTime::from_seconds(decoder.u64()?);
            let number = match decoder.datatype()? {
                Type::Null => {
                    decoder.null()?;
                    None
                }
                _ => Some(decoder.u32()?),
            };
            let moment = Moment { issued, number };
            ledger.newest.insert((folder, kind.as_str(), issuer), moment);
        }
        decoder.u64()?;
        for _ in 0..decoder.array()?.unwrap_or(u64::MAX) {
            ledger.authorities.insert(decoder.bytes()?.to_vec());
        }
        Ok(Ok(ledger))
    }
}

#[cfg(test)]
mod tests {
    use attestation::{EndorsementKind, PlatformTag, Published, UnixTime};

    use super::{Ledger, Place};
    use crate::{Cache, EndorserError};

    const LIST: EndorsementKind = EndorsementKind::SnpCrl;

    fn published(issuer: &str, issued: u64, number: Option<u32>) -> Published {
        Published {
            issuer: issuer.to_owned(),
            issued: UnixTime::from_seconds(issued),
            until: UnixTime::MAX,
            number,
        }
    }

    fn place() -> Place {
        Place::of(PlatformTag::AmdSevSnp, b"one").expect("a place")
    }

    #[test]
    fn an_older_document_of_the_same_issuer_and_kind_is_refused_by_name() {
        let mut ledger = Ledger::default();
        ledger.advance(&place(), LIST, &published("ARK-Genoa", 100, None));
        let check = |kind, issuer: &str, issued| {
            ledger.refuse_older(&place(), kind, &published(issuer, issued, None))
        };
        assert!(check(LIST, "ARK-Genoa", 100).is_ok());
        assert!(check(LIST, "ARK-Genoa", 101).is_ok());
        assert!(check(LIST, "ARK-Milan", 1).is_ok());
        assert!(check(EndorsementKind::TdxRootCrl, "ARK-Genoa", 1).is_ok());
        let error = check(LIST, "ARK-Genoa", 99).expect_err("older");
        assert!(matches!(&error, EndorserError::Rollback { issuer, .. } if issuer == "ARK-Genoa"));
        assert_eq!(error.code(), "endorser-rollback");
        assert!(error.to_string().contains("snp-crl of ARK-Genoa"), "{error}");
    }

    #[test]
    fn neither_issue_time_nor_evaluation_number_may_go_back() {
        let mut ledger = Ledger::default();
        let kind = EndorsementKind::TdxTcbInfo;
        ledger.advance(&place(), kind, &published("f", 100, Some(17)));
        for (issued, number, taken) in [
            (100, 17, true),
            (200, 18, true),
            (200, 16, false),
            (99, 18, false),
            (99, 17, false),
        ] {
            let check = ledger.refuse_older(&place(), kind, &published("f", issued, Some(number)));
            assert_eq!(check.is_ok(), taken, "{issued} {number}");
        }
    }

    #[test]
    fn memory_only_moves_forward() {
        let mut ledger = Ledger::default();
        ledger.advance(&place(), LIST, &published("a", 100, None));
        ledger.advance(&place(), LIST, &published("a", 50, None));
        assert!(
            ledger
                .refuse_older(&place(), LIST, &published("a", 99, None))
                .is_err()
        );
    }

    #[test]
    fn it_survives_the_disk_and_forgets_subjects_that_are_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("it opens");
        let mut ledger = Ledger::default();
        assert_eq!(Ledger::read(&cache).expect("none yet"), ledger);
        let gone = Place::of(PlatformTag::AmdSevSnp, b"gone").expect("a place");
        let now = UnixTime::from_seconds(1_800_000_000);
        ledger.note(&place(), b"one", now);
        ledger.note(&gone, b"gone", now);
        ledger.advance(&place(), LIST, &published("a", 100, None));
        ledger.advance(
            &place(),
            EndorsementKind::TdxTcbInfo,
            &published("f", 100, Some(3)),
        );
        cache
            .write(&place(), &attestation::Endorsements::new())
            .expect("kept");
        ledger.write(&cache).expect("written");
        let again = Ledger::read(&cache).expect("read");
        assert_eq!(again, ledger);
        assert!(again.seen(&place()).is_some_and(|seen| seen.subject == b"one"));
        assert!(again.seen(&gone).is_none());
    }

    #[test]
    fn a_broken_ledger_is_an_error_not_an_empty_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("it opens");
        let mut ledger = Ledger::default();
        ledger.advance(&place(), LIST, &published("a", 100, None));
        ledger.write(&cache).expect("written");
        let path = folder.path().join(super::FILE);
        let bytes = std::fs::read(&path).expect("it is there");
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).expect("written");
            assert_eq!(
                Ledger::read(&cache).expect_err("cut").code(),
                "endorser-malformed",
                "{length}"
            );
        }
        std::fs::write(&path, [&bytes[..], &[0]].concat()).expect("written");
        assert!(Ledger::read(&cache).is_err());
    }
}
