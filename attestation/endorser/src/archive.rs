//! A cache in one file, for machines that reach no publisher.
//!
//! Deterministic CBOR: the same cache gives the same bytes.
//!
//! | key | field | type |
//! |---|---|---|
//! | 1 | format version | 1 |
//! | 2 | entries, in order of folder and digest | list of maps, at most 4096 |
//! | 3 | certificates of Intel's PCK CAs | list of bytes, at most 8 |
//!
//! An entry:
//!
//! | key | field | type |
//! |---|---|---|
//! | 1 | folder | text |
//! | 2 | SHA-256 of the subject | 32 bytes |
//! | 3 | subject | bytes, or null where the cache does not know it |
//! | 4 | fetched, seconds since 1970 | integer, or null |
//! | 5 | endorsements | bytes, as in the cache |

use std::convert::Infallible;

use attestation::{EndorsementKind, Endorsements, UnixTime};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::EndorserError;
use crate::cache::{Cache, ENDORSEMENTS_BYTES_MAX, bound};
use crate::keeper::{self, Offer};
use crate::ledger::{AUTHORITIES_MAX, AUTHORITY_BYTES_MAX, Ledger};
use crate::place::{Place, SUBJECT_BYTES_MAX};

/// Bound of an archive.
pub const ARCHIVE_BYTES_MAX: usize = 64 * 1024 * 1024;
const VERSION: u64 = 1;
const ENTRIES_MAX: u64 = 4096;

/// What came in with an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Platform tag, or `nvidia-gpu`.
    pub folder: &'static str,
    /// The subject for people.
    pub subject: String,
    /// The kinds that came in.
    pub kinds: Vec<EndorsementKind>,
    /// Whether nothing was kept of this subject before.
    pub new: bool,
}

struct Entry {
    place: Place,
    subject: Option<Vec<u8>>,
    fetched: Option<UnixTime>,
    endorsements: Endorsements,
}

/// The whole cache as an archive, and how many subjects it holds.
pub fn export(cache: &Cache) -> Result<(Vec<u8>, usize), EndorserError> {
    let _lock = cache.lock()?;
    let ledger = Ledger::read(cache)?;
    let mut entries = Vec::new();
    for place in cache.places()? {
        let Some(endorsements) = cache.read(&place)? else {
            continue;
        };
        let seen = ledger.seen(&place);
        entries.push(Entry {
            subject: seen.map(|seen| seen.subject.clone()),
            fetched: seen.map(|seen| seen.fetched),
            place,
            endorsements,
        });
    }
    let archive = encode(&entries, &ledger.authorities());
    bound("an archive", archive.len(), ARCHIVE_BYTES_MAX)?;
    Ok((archive, entries.len()))
}

/// Takes an archive in, all of it or, if anything in it is unfit or older than what was seen, nothing.
pub fn import(cache: &Cache, archive: &[u8], now: UnixTime) -> Result<Vec<Imported>, EndorserError> {
    bound("an archive", archive.len(), ARCHIVE_BYTES_MAX)?;
    let (entries, authorities) = decode(archive)?;
    let _lock = cache.lock()?;
    let mut ledger = Ledger::read(cache)?;
    for authority in &authorities {
        ledger.know(authority);
    }
    let offers: Vec<Offer<'_>> = entries
        .iter()
        .map(|entry| Offer {
            place: entry.place.clone(),
            subject: entry.subject.as_deref(),
            endorsements: entry.endorsements.clone(),
            fetched: fetched(entry, &ledger, now),
        })
        .collect();
    for offer in &offers {
        keeper::refuse_unfit(offer, &ledger, now)?;
    }
    let mut imported = Vec::new();
    for offer in offers {
        imported.push(Imported {
            folder: offer.place.folder(),
            subject: offer.place.describe(offer.subject),
            kinds: offer.endorsements.iter().map(|(kind, _)| kind).collect(),
            new: !cache.holds(&offer.place),
        });
        keeper::keep(cache, &mut ledger, offer)?;
    }
    ledger.write(cache)?;
    Ok(imported)
}

/// When an entry came from the publishers: not later than now, and not earlier than this cache knows.
fn fetched(entry: &Entry, ledger: &Ledger, now: UnixTime) -> Option<UnixTime> {
    let here = ledger.seen(&entry.place).map(|seen| seen.fetched);
    entry.fetched.map(|fetched| fetched.min(now)).max(here)
}

fn encode(entries: &[Entry], authorities: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = Encoder::new(Vec::new());
    match write(&mut writer, entries, authorities) {
        Ok(()) => writer.into_writer(),
        Err(_) => unreachable!("a Vec takes every write"),
    }
}

fn write(
    writer: &mut Encoder<Vec<u8>>,
    entries: &[Entry],
    authorities: &[Vec<u8>],
) -> Result<(), minicbor::encode::Error<Infallible>> {
    writer.map(3)?.u8(1)?.u64(VERSION)?;
    writer.u8(2)?.array(entries.len() as u64)?;
    for entry in entries {
        writer.map(5)?.u8(1)?.str(entry.place.folder())?;
        writer.u8(2)?.bytes(entry.place.digest())?.u8(3)?;
        match &entry.subject {
            Some(subject) => writer.bytes(subject)?,
            None => writer.null()?,
        };
        writer.u8(4)?;
        match entry.fetched {
            Some(fetched) => writer.u64(fetched.seconds())?,
            None => writer.null()?,
        };
        writer.u8(5)?.bytes(&entry.endorsements.encode())?;
    }
    writer.u8(3)?.array(authorities.len() as u64)?;
    for authority in authorities {
        writer.bytes(authority)?;
    }
    Ok(())
}

fn decode(archive: &[u8]) -> Result<(Vec<Entry>, Vec<Vec<u8>>), EndorserError> {
    let (entries, authorities) = read(&mut Decoder::new(archive))
        .map_err(|_| EndorserError::Archive("the encoding has another shape"))??;
    if encode(&entries, &authorities) != archive {
        return Err(EndorserError::Archive("the encoding is not deterministic"));
    }
    if !entries.is_sorted_by(|one, next| one.place < next.place) {
        return Err(EndorserError::Archive("its entries are out of order or doubled"));
    }
    Ok((entries, authorities))
}

type Parts = (Vec<Entry>, Vec<Vec<u8>>);

fn read(decoder: &mut Decoder<'_>) -> Result<Result<Parts, EndorserError>, minicbor::decode::Error> {
    let shape = EndorserError::Archive("the encoding has another shape");
    if decoder.map()? != Some(3) || decoder.u64()? != 1 {
        return Ok(Err(shape));
    }
    let version = decoder.u64()?;
    if version != VERSION {
        return Ok(Err(EndorserError::ArchiveVersion(version)));
    }
    decoder.u64()?;
    let count = decoder.array()?.unwrap_or(u64::MAX);
    if count > ENTRIES_MAX {
        return Ok(Err(EndorserError::Archive("it has more entries than a cache")));
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        match entry(decoder)? {
            Ok(entry) => entries.push(entry),
            Err(error) => return Ok(Err(error)),
        }
    }
    decoder.u64()?;
    let count = decoder.array()?.unwrap_or(u64::MAX);
    if count > AUTHORITIES_MAX as u64 {
        return Ok(Err(EndorserError::Archive(
            "it has more authorities than there are",
        )));
    }
    let mut authorities = Vec::new();
    for _ in 0..count {
        let authority = decoder.bytes()?;
        if authority.len() > AUTHORITY_BYTES_MAX {
            return Ok(Err(EndorserError::Archive("an authority exceeds its bound")));
        }
        authorities.push(authority.to_vec());
    }
    Ok(Ok((entries, authorities)))
}

fn entry(decoder: &mut Decoder<'_>) -> Result<Result<Entry, EndorserError>, minicbor::decode::Error> {
    decoder.map()?;
    decoder.u64()?;
    let folder = decoder.str()?;
    decoder.u64()?;
    let place = Place::at(folder, &hex::encode(decoder.bytes()?));
    decoder.u64()?;
    let subject = match decoder.datatype()? {
        Type::Null => {
            decoder.null()?;
            None
        }
        _ => Some(decoder.bytes()?),
    };
    decoder.u64()?;
    let fetched = match decoder.datatype()? {
        Type::Null => {
            decoder.null()?;
            None
        }
        _ => Some(UnixTime::from_seconds(decoder.u64()?)),
    };
    decoder.u64()?;
    let endorsements = decoder.bytes()?;
    let Some(place) = place else {
        return Ok(Err(EndorserError::Archive("it has a folder that is not known")));
    };
    if subject.is_some_and(|subject| subject.len() > SUBJECT_BYTES_MAX || !place.is_of(subject)) {
        return Ok(Err(EndorserError::Archive("a subject is not that of its digest")));
    }
    if endorsements.len() > ENDORSEMENTS_BYTES_MAX {
        return Ok(Err(EndorserError::Archive("an entry exceeds its bound")));
    }
    let Ok(endorsements) = Endorsements::decode(endorsements) else {
        return Ok(Err(EndorserError::Archive("an entry holds no endorsements")));
    };
    Ok(Ok(Entry {
        place,
        subject: subject.map(<[u8]>::to_vec),
        fetched,
        endorsements,
    }))
}

#[cfg(test)]
mod tests {
    use attestation::{EndorsementKind, Endorsements, PlatformTag, UnixTime};

    use super::{Entry, encode, export, import};
    use crate::place::Place;
    use crate::{Cache, EndorserError};

    fn now() -> UnixTime {
        UnixTime::from_seconds(1_800_000_000)
    }

    fn entry(subject: &[u8]) -> Entry {
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::NvidiaDriverRim, subject.to_vec());
        Entry {
            place: Place::of_gpu(subject).expect("a place"),
            subject: Some(subject.to_vec()),
            fetched: Some(now()),
            endorsements,
        }
    }

    fn refusal(cache: &Cache, archive: &[u8]) -> EndorserError {
        import(cache, archive, now()).expect_err("it is refused")
    }

    #[test]
    fn an_archive_is_deterministic_and_comes_back_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = Cache::open(&folder.path().join("one")).expect("it opens");
        let mut entries = vec![entry(b"a"), entry(b"b")];
        entries.sort_by(|one, next| one.place.cmp(&next.place));
        let archive = encode(&entries, &[]);
        assert!(
            import(&one, &archive, now())
                .expect("taken")
                .iter()
                .all(|entry| entry.new)
        );
        let (exported, count) = export(&one).expect("exported");
        assert_eq!((&exported, count), (&archive, 2));
        let two = Cache::open(&folder.path().join("two")).expect("it opens");
        import(&two, &exported, now()).expect("taken");
        assert_eq!(export(&two).expect("exported").0, archive);
        let again = import(&two, &exported, now()).expect("taken twice");
        assert!(again.iter().all(|entry| !entry.new));
        assert_eq!(export(&two).expect("exported").0, archive);
    }

    #[test]
    fn what_is_not_an_archive_is_refused_and_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("it opens");
        let archive = encode(&[entry(b"a")], &[]);
        for length in 0..archive.len() {
            assert_eq!(
                refusal(&cache, &archive[..length]).code(),
                "endorser-archive",
                "{length}"
            );
        }
        assert_eq!(
            refusal(&cache, &[&archive[..], &[0]].concat()).code(),
            "endorser-archive"
        );
        let mut newer = archive.clone();
        newer[2] = 2;
        assert_eq!(refusal(&cache, &newer).code(), "endorser-archive-version");
        let doubled = encode(&[entry(b"a"), entry(b"a")], &[]);
        assert_eq!(refusal(&cache, &doubled).code(), "endorser-archive");
        let foreign = Entry {
            subject: Some(b"b".to_vec()),
            ..entry(b"a")
        };
        assert_eq!(
            refusal(&cache, &encode(&[foreign], &[])).code(),
            "endorser-archive"
        );
        let many = vec![vec![0u8; 1]; 9];
        assert_eq!(refusal(&cache, &encode(&[], &many)).code(), "endorser-archive");
        assert_eq!(cache.places().expect("a list"), []);
    }

    #[test]
    fn one_unfit_document_refuses_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("it opens");
        let mut bad = entry(b"x");
        bad.place = Place::of(PlatformTag::AmdSevSnp, b"x").expect("a place");
        bad.endorsements.insert(EndorsementKind::SnpCrl, vec![1, 2, 3]);
        let archive = encode(&[bad, entry(b"a")], &[]);
        assert_eq!(refusal(&cache, &archive).code(), "endorser-document");
        assert_eq!(cache.places().expect("a list"), []);
    }

    #[test]
    fn a_fetch_time_in_the_future_becomes_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("it opens");
        let early = Entry {
            fetched: Some(now().plus_seconds(86_400)),
            ..entry(b"a")
        };
        import(&cache, &encode(&[early], &[]), now()).expect("taken");
        assert_eq!(export(&cache).expect("exported").0, encode(&[entry(b"a")], &[]));
    }
}
