//! Whether what is kept may be used as it is, should be renewed, or may not be used.
//!
//! A document that its publisher issues anew every day is as old as its issue time, the time that the
//! Verifier counts. A list that is issued once a year (a root's) or a manifest that is issued once is as
//! old as the last time that its publisher was asked: until then nothing newer existed.

use attestation::{EndorsementKind, Endorsements, Published, UnixTime, published};

use crate::EndorserError;
use crate::ledger::Ledger;
use crate::nvidia::ocsp;
use crate::place::Place;

/// How old endorsements may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Seconds after which the publishers are asked again.
    pub refresh_seconds: u64,
    /// Seconds after which endorsements are of no use: the policy's `collateral_age_seconds_max`.
    pub collateral_seconds: u64,
}

/// The condition of a subject's endorsements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// To be used.
    Fresh,
    /// To be renewed; to be used if that fails.
    Stale(String),
    /// Not to be used.
    Expired(String),
}

impl Condition {
    /// The word in output.
    pub fn as_str(&self) -> &'static str {
        match self {
            Condition::Fresh => "fresh",
            Condition::Stale(_) => "stale",
            Condition::Expired(_) => "expired",
        }
    }

    /// Why it is not fresh.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Condition::Fresh => None,
            Condition::Stale(reason) | Condition::Expired(reason) => Some(reason),
        }
    }
}

/// Whether the publisher issues this anew so often that its issue time tells its age.
const fn ages_from_issue(kind: EndorsementKind) -> bool {
    matches!(
        kind,
        EndorsementKind::TdxPckCrl
            | EndorsementKind::TdxTcbInfo
            | EndorsementKind::TdxQeIdentity
            | EndorsementKind::NvidiaOcsp
    )
}

/// The dates of a document, of whatever kind; `None` if it has none. Fails if it is not of its kind.
pub(crate) fn dates(kind: EndorsementKind, document: &[u8]) -> Result<Option<Published>, EndorserError> {
    if kind == EndorsementKind::NvidiaOcsp {
        let dates = ocsp::dates(document).ok_or(EndorserError::Document { kind })?;
        return Ok(Some(Published {
            issuer: "NVIDIA".to_owned(),
            issued: dates.issued,
            until: dates.until.unwrap_or(UnixTime::MAX),
            number: None,
        }));
    }
    let mut dates = published(kind, document).map_err(|_| EndorserError::Document { kind })?;
    if let Some(dates) = &mut dates {
        // A name in a document that nobody signed must not command a terminal.
        dates.issuer.retain(|c| !c.is_control());
    }
    Ok(dates)
}

/// Judges what is kept in a place; `required` are the kinds that must be there.
pub(crate) fn judge(
    place: &Place,
    required: &[EndorsementKind],
    endorsements: &Endorsements,
    ledger: &Ledger,
    ages: Ages,
    now: UnixTime,
) -> Condition {
    for kind in required {
        if endorsements.document(*kind).is_none() {
            return Condition::Expired(format!("{} is missing", kind.as_str()));
        }
    }
    for (kind, document) in endorsements.iter() {
        if let Err(reason) = usable(place, kind, document, ledger, ages, now) {
            return Condition::Expired(reason);
        }
    }
    let Some(seen) = ledger.seen(place) else {
        return Condition::Stale("nobody knows when it was fetched".to_owned());
    };
    let age = now.seconds_since(seen.fetched).unwrap_or(0);
    if age > ages.collateral_seconds {
        Condition::Expired(format!(
            "it was fetched {} ago, the limit is {}",
            duration(age),
            duration(ages.collateral_seconds)
        ))
    } else if age > ages.refresh_seconds {
        Condition::Stale(format!("it was fetched {} ago", duration(age)))
    } else {
        Condition::Fresh
    }
}

fn usable(
    place: &Place,
    kind: EndorsementKind,
    document: &[u8],
    ledger: &Ledger,
    ages: Ages,
    now: UnixTime,
) -> Result<(), String> {
    let name = kind.as_str();
    let Some(published) = dates(kind, document).map_err(|error| error.to_string())? else {
        return Ok(());
    };
    if published.until < now {
        return Err(format!(
            "{name} of {} ended {}",
            published.issuer, published.until
        ));
    }
    if kind.is_reissued() {
        ledger
            .refuse_older(place, kind, &published)
            .map_err(|error| error.to_string())?;
    }
    let age = now.seconds_since(published.issued).unwrap_or(0);
    if ages_from_issue(kind) && age > ages.collateral_seconds {
        return Err(format!(
            "{name} of {} was issued {} ago, the limit is {}",
            published.issuer,
            duration(age),
            duration(ages.collateral_seconds)
        ));
    }
    Ok(())
}

/// A duration for people: the largest unit of which there are at least two.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use attestation::{EndorsementKind, Endorsements, PlatformTag, UnixTime};

    use super::{Ages, Condition, duration, judge};
    use crate::ledger::Ledger;
    use crate::place::Place;

    const AGES: Ages = Ages {
        refresh_seconds: 100,
        collateral_seconds: 1000,
    };

    #[test]
    fn age_counts_from_the_last_fetch_and_a_missing_kind_from_nowhere() {
        let place = Place::of(PlatformTag::AmdSevSnp, b"x").expect("a place");
        let mut endorsements = Endorsements::new();
        endorsements.insert(EndorsementKind::NvidiaDriverRim, vec![1]);
        let required = [EndorsementKind::NvidiaDriverRim];
        let start = UnixTime::from_seconds(1_800_000_000);
        let mut ledger = Ledger::default();
        let at = |ledger: &Ledger, required: &[EndorsementKind], seconds| {
            judge(
                &place,
                required,
                &endorsements,
                ledger,
                AGES,
                start.plus_seconds(seconds),
            )
        };
        assert!(matches!(at(&ledger, &required, 0), Condition::Stale(_)));
        ledger.note(&place, b"x", start);
        assert_eq!(at(&ledger, &required, 0), Condition::Fresh);
        assert_eq!(at(&ledger, &required, 100), Condition::Fresh);
        assert!(matches!(at(&ledger, &required, 101), Condition::Stale(_)));
        assert!(matches!(at(&ledger, &required, 1000), Condition::Stale(_)));
        assert!(matches!(at(&ledger, &required, 1001), Condition::Expired(_)));
        let more = [EndorsementKind::NvidiaDriverRim, EndorsementKind::NvidiaVbiosRim];
        let Condition::Expired(reason) = at(&ledger, &more, 0) else {
            panic!("a kind is missing");
        };
        assert!(reason.contains("nvidia-vbios-rim"), "{reason}");
    }

    #[test]
    fn durations_are_short() {
        for (seconds, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
