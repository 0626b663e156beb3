//! Functions of Python that chat templates call.

use std::io;

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// Widest indentation of `tojson`.
const INDENT_MAX: usize = 16;

/// `json.dumps(value, ensure_ascii=False)`, with `indent` where a template gives it.
pub(super) fn to_json(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    for ignored in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(ignored)?;
    }
    options.assert_all_used()?;
    let json = match indent {
        None => dump(&value, OneLine),
        Some(width) => {
            let spaces = " ".repeat(width.min(INDENT_MAX));
            dump(&value, PrettyFormatter::with_indent(spaces.as_bytes()))
        }
    };
    json.map(Value::from_safe_string)
        .ok_or_else(|| Error::new(ErrorKind::BadSerialization, "tojson"))
}

fn dump(value: &Value, formatter: impl Formatter) -> Option<String> {
    let mut out = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut out, formatter))
        .ok()?;
    String::from_utf8(out).ok()
}

/// Python's separators: a space behind commas and colons.
struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `strftime` of UTC, with the conversions that templates use.
pub(super) fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    let unknown = || {
        Error::new(
            ErrorKind::InvalidOperation,
            "a conversion of strftime that is not known here",
        )
    };
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    // 1970-01-01 was a Thursday.
    let weekday = DAYS.get((days % 7) as usize).copied().unwrap_or_default();
    let month_name = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let conversion = characters.next().ok_or_else(unknown)?;
        let text = match conversion {
            'Y' => year.to_string(),
            'y' => format!("{:02}", year % 100),
            'm' => format!("{month:02}"),
            'd' => format!("{day:02}"),
            'e' => format!("{day:2}"),
            'B' => month_name.to_owned(),
            'b' | 'h' => month_name.chars().take(3).collect(),
            'A' => weekday.to_owned(),
            'a' => weekday.chars().take(3).collect(),
            'H' => format!("{hour:02}"),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'F' => format!("{year}-{month:02}-{day:02}"),
            'T' => format!("{hour:02}:{minute:02}:{second:02}"),
            'Z' => "UTC".to_owned(),
            '%' => "%".to_owned(),
            '-' => match characters.next() {
                Some('d') => day.to_string(),
                Some('m') => month.to_string(),
                Some('H') => hour.to_string(),
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        };
        out.push_str(&text);
    }
    Ok(out)
}

/// Year, month and day of a day since 1970-01-01 (Gregorian): whole cycles of 400 years, then year by year.
fn civil(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    const CYCLE_DAYS: u64 = 146_097;
    let mut year = 1970 + days / CYCLE_DAYS * 400;
    let mut left = days % CYCLE_DAYS;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (4_107_542_400, "2100-03-01"),
            (1_735_689_599, "2024-12-31"),
            (32_503_680_000, "3000-01-01"),
        ] {
            assert_eq!(strftime("%Y-%m-%d", seconds).expect("known"), date);
        }
        assert_eq!(
            strftime("%a %A %-d %e %B %y %H:%M:%S %F %T %Z%%", 784_111_777).expect("known"),
            "Sun Sunday 6  6 November 94 08:49:37 1994-11-06 08:49:37 UTC%"
        );
        assert!(strftime("%Q", 0).is_err() && strftime("%", 0).is_err() && strftime("%-Y", 0).is_err());
        strftime("%F", u64::MAX).expect("no overflow");
    }

    #[test]
    fn json_is_as_python_dumps_it() {
        let value = Value::from(minijinja::value::Serde(
            serde_json::json!({"b": [1, 2.5, null, "é<"], "a": {}, "c": []}),
        ));
        let json = |options: &[(&str, Value)]| {
            let options: Kwargs = options.iter().cloned().collect();
            to_json(value.clone(), options).map(|json| json.to_string())
        };
        assert_eq!(
            json(&[]).expect("it dumps"),
            r#"{"b": [1, 2.5, null, "é<"], "a": {}, "c": []}"#
        );
        assert_eq!(
            json(&[("indent", Value::from(2))]).expect("it dumps"),
            "{\n  \"b\": [\n    1,\n    2.5,\n    null,\n    \"é<\"\n  ],\n  \"a\": {},\n  \"c\": []\n}"
        );
        assert!(json(&[("unheard", Value::from(2))]).is_err());
    }
}
