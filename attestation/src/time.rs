//! Time as an argument: seconds since 1970-01-01T00:00:00Z. This crate has no clock.

use core::fmt;

/// A moment in whole seconds of UTC since 1970-01-01T00:00:00Z (POSIX time).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

const SECONDS_PER_DAY: u64 = 86_400;

impl UnixTime {
    /// The last moment that RFC 3339 can write: 9999-12-31T23:59:59Z.
    pub const MAX: UnixTime = UnixTime(253_402_300_799);

    /// A moment from its POSIX time; later moments than [`UnixTime::MAX`] become it.
    pub const fn from_seconds(seconds: u64) -> Self {
        if seconds > Self::MAX.0 {
            Self::MAX
        } else {
            Self(seconds)
        }
    }

    /// POSIX time in seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// The moment `seconds` later.
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self::from_seconds(self.0.saturating_add(seconds))
    }

    /// Seconds since `earlier`, or `None` if `earlier` is later than this.
    pub const fn seconds_since(self, earlier: UnixTime) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// Reads `YYYY-MM-DDThh:mm:ssZ`, the one form of RFC 3339 that signed collateral uses.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 20 {
            return None;
        }
        let number = |from: usize, to: usize| -> Option<u64> {
            let mut value = 0u64;
            for digit in bytes.get(from..to)? {
                value = value * 10 + u64::from(char::from(*digit).to_digit(10)?);
            }
            Some(value)
        };
        for (at, mark) in [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'Z'),
        ] {
            if *bytes.get(at)? != mark {
                return None;
            }
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_since_epoch(year, month, day)?;
        Some(Self(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second))
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339, for example `2026-11-24T03:09:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / SECONDS_PER_DAY);
        let second = self.0 % SECONDS_PER_DAY;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; `None` if there is no such date.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let month_days = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || day == 0 || day > month_days {
        return None;
    }
    // Years that start in March put the leap day last.
    let (shifted_year, shifted_month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + day_of_year;
    days.checked_sub(719_468)
}

/// The inverse of [`days_since_epoch`].
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::UnixTime;
    use alloc::string::ToString;

    #[test]
    fn rfc3339_round_trips_over_every_day_until_2200() {
        for day in 0..84_000u64 {
            let time = UnixTime::from_seconds(day * 86_400 + day % 86_400);
            assert_eq!(UnixTime::parse_rfc3339(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn known_moments() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-24T03:09:00Z", 1_795_489_740),
            ("9999-12-31T23:59:59Z", UnixTime::MAX.seconds()),
        ] {
            assert_eq!(
                UnixTime::parse_rfc3339(text),
                Some(UnixTime::from_seconds(seconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn later_moments_than_can_be_written_become_the_last() {
        let last = UnixTime::MAX.seconds();
        for (seconds, moment) in [
            (last - 1, last - 1),
            (last, last),
            (last + 1, last),
            (u64::MAX, last),
        ] {
            assert_eq!(UnixTime::from_seconds(seconds).seconds(), moment);
        }
        assert_eq!(UnixTime::MAX.plus_seconds(u64::MAX), UnixTime::MAX);
        let (early, late) = (UnixTime::from_seconds(5), UnixTime::from_seconds(12));
        assert_eq!(
            (late.seconds_since(early), early.seconds_since(late)),
            (Some(7), None)
        );
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T03:09:00+00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-06-31T00:00:00Z",
            "2026-09-31T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-12-32T00:00:00Z",
            "2026-11-24T00:00:60Z",
            "2100-02-29T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T00:60:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-2xT00:00:00Z",
            "2026-11-24t00:00:00Z",
            "2026-11-00T00:00:00Z",
            "+026-11-24T00:00:00Z",
        ] {
            assert_eq!(UnixTime::parse_rfc3339(text), None, "{text}");
        }
    }
}
