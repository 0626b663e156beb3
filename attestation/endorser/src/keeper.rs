//! Takes documents into a cache: the one way in, for what was fetched and for what was imported.
//!
//! 1. Every document must be of its kind.
//! 2. None that is issued anew again and again may be older than the newest one seen of its issuer and
//!    kind, or be issued in the future.
//! 3. They are written; what the publishers' signatures vouch for becomes the newest seen.
//! 4. A newer list or identity that other subjects share replaces their older one, so that no subject
//!    is left behind with what is no longer taken.

use attestation::{EndorsementKind, Endorsements, Published, UnixTime, is_authentic};

use crate::EndorserError;
use crate::cache::Cache;
use crate::condition::dates;
use crate::ledger::{Ledger, Moment};
use crate::place::Place;

/// How far a publisher's clock may be ahead.
const SKEW_SECONDS: u64 = 300;

/// What is to be kept of one subject.
pub(crate) struct Offer<'a> {
    pub(crate) place: Place,
    pub(crate) subject: Option<&'a [u8]>,
    pub(crate) endorsements: Endorsements,
    /// When it came from the publishers, if that is known.
    pub(crate) fetched: Option<UnixTime>,
}

/// Refuses what may not be kept, whatever else is kept with it.
pub(crate) fn refuse_unfit(offer: &Offer<'_>, ledger: &Ledger, now: UnixTime) -> Result<(), EndorserError> {
    for (kind, document) in offer.endorsements.iter() {
        let Some(published) = dates(kind, document)?.filter(|_| kind.is_reissued()) else {
            continue;
        };
        if published.issued > now.plus_seconds(SKEW_SECONDS) {
            return Err(EndorserError::FromTheFuture {
                kind,
                issuer: published.issuer,
                issued: published.issued,
            });
        }
        ledger.refuse_older(&offer.place, kind, &published)?;
    }
    Ok(())
}

/// Keeps an offer that [`refuse_unfit`] let through; the caller holds the lock and writes the ledger.
/// Returns what is now kept: documents of kinds that were not offered stay.
pub(crate) fn keep(
    cache: &Cache,
    ledger: &mut Ledger,
    offer: Offer<'_>,
) -> Result<Endorsements, EndorserError> {
    let Offer {
        place,
        subject,
        mut endorsements,
        fetched,
    } = offer;
    // A broken file gives way.
    if let Ok(Some(kept)) = cache.read(&place) {
        for (kind, document) in kept.iter() {
            let newer = endorsements
                .document(kind)
                .is_some_and(|offered| kind.is_reissued() && is_before(kind, offered, document));
            if newer {
                endorsements.insert(kind, document.to_vec());
            }
        }
        endorsements.fill_from(&kept);
    }
    cache.write(&place, &endorsements)?;
    let authorities = ledger.authorities();
    for (kind, document) in endorsements.iter().filter(|(kind, _)| kind.is_reissued()) {
        let Some(published) = dates(kind, document)? else {
            continue;
        };
        if is_authentic(kind, document, &endorsements, &authorities) {
            ledger.advance(&place, kind, &published);
            spread(cache, &place, kind, document, &published, &endorsements)?;
        }
    }
    if let (Some(subject), Some(fetched)) = (subject, fetched) {
        ledger.note(&place, subject, fetched);
    }
    Ok(endorsements)
}

fn is_before(kind: EndorsementKind, one: &[u8], other: &[u8]) -> bool {
    match (dates(kind, one), dates(kind, other)) {
        (Ok(Some(one)), Ok(Some(other))) => {
            one.issuer == other.issuer && Moment::of(&one).is_before(&Moment::of(&other))
        }
        _ => false,
    }
}

/// Puts an authentic document into the place of older ones of its issuer at other subjects.
fn spread(
    cache: &Cache,
    from: &Place,
    kind: EndorsementKind,
    document: &[u8],
    published: &Published,
    companions: &Endorsements,
) -> Result<(), EndorserError> {
    const CHAIN: EndorsementKind = EndorsementKind::TdxTcbSigningChain;
    if kind == EndorsementKind::TdxTcbInfo {
        return Ok(());
    }
    let others = cache.places()?;
    let others = others
        .iter()
        .filter(|place| place.folder() == from.folder() && *place != from);
    for place in others {
        let Ok(Some(mut endorsements)) = cache.read(place) else {
            continue;
        };
        let same_signer = kind != EndorsementKind::TdxQeIdentity
            || endorsements.document(CHAIN) == companions.document(CHAIN);
        let older = endorsements.document(kind).is_some_and(|kept| {
            let about = dates(kind, kept).ok().flatten();
            about.is_some_and(|about| about.issuer == published.issuer) && is_before(kind, kept, document)
        });
        if older && same_signer {
            endorsements.insert(kind, document.to_vec());
            cache.write(place, &endorsements)?;
        }
    }
    Ok(())
}
