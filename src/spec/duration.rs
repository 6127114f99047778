//! Durations and moments as users write them: `200ms`, `1m30s`; RFC 3339 or milliseconds since 1970.
//!
//! Invariant: what [`print`] writes, [`parse`] reads back as the same number; no accepted duration is negative or
//! longer than [`LONGEST_MS`], so sums of a few of them never overflow. This file does not read a clock.

use thiserror::Error;

/// The longest duration that is accepted, in milliseconds: 36500 days.
pub const LONGEST_MS: i64 = 36_500 * 86_400_000;

const UNITS: [(&str, i64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    #[error("a duration is missing")]
    Empty,
    #[error("a duration is never negative")]
    Negative,
    #[error("`{0}` has no unit")]
    NoUnit(String),
    #[error("`{0}` is not a duration")]
    Malformed(String),
    #[error("`{0}` is not a unit of time")]
    UnknownUnit(String),
    #[error("units go from the largest to the smallest, each once")]
    Order,
    #[error("durations end at 36500d")]
    TooLong,
}

impl DurationError {
    /// What to write instead.
    pub fn help() -> &'static str {
        "whole numbers with d, h, m, s or ms, for example 200ms, 5s or 1m30s"
    }
}

/// Reads a duration such as `5s` or `1m30s`, in milliseconds.
///
/// # Errors
/// Whatever is not whole numbers with units from the largest to the smallest, or exceeds [`LONGEST_MS`].
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    let malformed = || DurationError::Malformed(text.to_owned());
    let (mut rest, mut total, mut next_unit) = (text, 0i64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(malformed());
        }
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() {
            let unit_is_all_that_lacks = tail.is_empty();
            return Err(match unit_is_all_that_lacks {
                true => DurationError::NoUnit(text.to_owned()),
                false => malformed(),
            });
        }
        let place = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(|| DurationError::UnknownUnit(unit.to_owned()))?;
        if place < next_unit {
            return Err(DurationError::Order);
        }
        let number: i64 = number.parse().map_err(|_| DurationError::TooLong)?;
        total = number
            .checked_mul(UNITS[place].1)
            .and_then(|ms| ms.checked_add(total))
            .filter(|ms| *ms <= LONGEST_MS)
            .ok_or(DurationError::TooLong)?;
        next_unit = place + 1;
        rest = tail;
    }
    Ok(total)
}

/// Writes milliseconds the way [`parse`] reads them: `1m30s`, `0s`; a negative number with a leading minus.
pub fn print(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::from(if ms < 0 { "-" } else { "" });
    let mut rest = ms.unsigned_abs();
    for (name, size) in UNITS {
        let size = size.unsigned_abs();
        if rest >= size {
            out.push_str(&format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    out
}

/// Reads a moment, in milliseconds since 1970: RFC 3339 with a zone, or that number itself.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_moment(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|moment| moment.timestamp_millis())
        .map_err(|cause| format!("`{text}` is not a moment ({cause})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepted_durations_have_these_milliseconds() {
        let cases = [
            ("0s", 0),
            ("200ms", 200),
            ("5s", 5_000),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1m30s", 90_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90m", 5_400_000),
            (" 5s ", 5_000),
            ("36500d", LONGEST_MS),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn refused_durations_say_why() {
        let cases = [
            ("", "a duration is missing"),
            ("-5s", "a duration is never negative"),
            ("5", "`5` has no unit"),
            ("1m30", "`1m30` has no unit"),
            ("1.5s", "`1.5s` is not a duration"),
            ("5 s", "`5 s` is not a duration"),
            ("s", "`s` is not a duration"),
            ("5sec", "`sec` is not a unit of time"),
            ("5M", "`M` is not a unit of time"),
            (
                "30s1m",
                "units go from the largest to the smallest, each once",
            ),
            (
                "1s1s",
                "units go from the largest to the smallest, each once",
            ),
            ("36501d", "durations end at 36500d"),
            ("99999999999999999999s", "durations end at 36500d"),
            ("9223372036854775807d", "durations end at 36500d"),
            ("5µs", "`5µs` is not a duration"),
        ];
        for (text, message) in cases {
            assert_eq!(
                parse(text).map_err(|e| e.to_string()),
                Err(message.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn moments_are_rfc_3339_with_a_zone_or_milliseconds() {
        assert_eq!(parse_moment("1970-01-01T00:00:01Z"), Ok(1_000));
        assert_eq!(parse_moment("1970-01-01T01:00:00.25+01:00"), Ok(250));
        assert_eq!(parse_moment("1700000000000"), Ok(1_700_000_000_000));
        assert_eq!(parse_moment("-1"), Ok(-1));
        for text in ["2024-01-01", "2024-01-01T00:00:00", "yesterday", ""] {
            assert!(parse_moment(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printed_durations_read_back_as_the_same(ms in 0..=LONGEST_MS) {
            prop_assert_eq!(parse(&print(ms)), Ok(ms));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}|[0-9dhms.-]{0,24}") {
            let _ = (parse(&text), parse_moment(&text));
        }
    }
}
