//! The inner Date: IMF-fixdate (RFC 9110 section 5.6.7), `Tue, 24 Nov 2026 03:09:00 GMT`.

use crate::UnixTime;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Writes a date.
pub(crate) fn format(time: UnixTime) -> String {
    // 1970-01-01 was a Thursday; RFC 3339 has the same numbers in another order.
    let day = usize::try_from(time.seconds() / 86_400 % 7)
        .ok()
        .and_then(|day| DAYS.get(day))
        .unwrap_or(&"");
    let rfc3339 = time.to_string();
    let part = |from: usize, to: usize| rfc3339.get(from..to).unwrap_or_default();
    let month = part(5, 7)
        .parse::<usize>()
        .ok()
        .and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    format!(
        "{day}, {} {} {} {} GMT",
        part(8, 10),
        month.unwrap_or(&""),
        part(0, 4),
        part(11, 19)
    )
}

/// Reads a date; only the form that [`format`] writes.
pub(crate) fn parse(text: &str) -> Option<UnixTime> {
    let part = |from: usize, to: usize| text.get(from..to);
    let month = MONTHS.iter().position(|month| Some(*month) == part(8, 11))? + 1;
    let rfc3339 = format!("{}-{month:02}-{}T{}Z", part(12, 16)?, part(5, 7)?, part(17, 25)?);
    UnixTime::parse_rfc3339(&rfc3339).filter(|time| format(*time) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        // The example of RFC 9110 section 5.6.7.
        assert_eq!(
            parse("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(UnixTime::from_seconds(784_111_777))
        );
        assert_eq!(
            format(UnixTime::from_seconds(784_111_777)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(format(UnixTime::from_seconds(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn only_the_one_form_is_read() {
        for text in [
            "",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 06 Nov 1994 08:49:3é GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn round_trip(seconds in 0..=UnixTime::MAX.seconds()) {
            let time = UnixTime::from_seconds(seconds);
            proptest::prop_assert_eq!(parse(&format(time)), Some(time));
        }

        #[test]
        fn any_text(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
