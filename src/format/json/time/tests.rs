//! Times as text, compared with chrono and with themselves.

use super::*;
use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;

fn timestamp(text: &str) -> Option<i64> {
    parse_timestamp(text.as_bytes())
}

fn written(value: i64, per_second: i64) -> String {
    let mut out = vec![];
    write_timestamp(value, per_second, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn rfc_3339_times_are_read_and_their_fractions_floored() {
    let cases = [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2024-01-01T00:00:15.250Z", Some(1704067215250)),
        ("2024-01-01T00:00:15.2509999Z", Some(1704067215250)),
        ("1969-12-31T23:59:59.9999Z", Some(-1)),
        ("1969-12-31T23:59:58.0001Z", Some(-2000)),
        ("2024-02-29t12:00:00.5z", Some(1709208000500)),
        ("2024-01-01 01:30:00+01:30", Some(1704067200000)),
        ("2023-12-31T19:00:00-05:00", Some(1704067200000)),
        ("2016-12-31T23:59:60Z", Some(1483228800000)),
        ("+10000-01-01T00:00:00Z", Some(253402300800000)),
        ("2024-01-01T00:00:15", None),
        ("2024-01-01", None),
        ("2023-02-29T00:00:00Z", None),
        ("2024-04-31T00:00:00Z", None),
        ("2024-00-01T00:00:00Z", None),
        ("2024-01-00T00:00:00Z", None),
        ("2024-13-01T00:00:00Z", None),
        ("2024-01-01T24:00:00Z", None),
        ("2024-01-01T00:60:00Z", None),
        ("2024-01-01T00:00:61Z", None),
        ("2024-01-01T00:00:00.Z", None),
        ("2024-01-01T00:00:00Z ", None),
        ("2024-01-01T00:00:00+0100", None),
        ("2024-01-01T00:00:00+24:00", None),
        ("24-01-01T00:00:00Z", None),
        ("+1000000000-01-01T00:00:00Z", None),
        ("+999999999-01-01T00:00:00Z", None),
        ("", None),
    ];
    for (text, millis) in cases {
        assert_eq!(timestamp(text), millis, "{text}");
    }
}

#[test]
fn times_are_written_with_the_digits_they_need() {
    let cases = [
        (1704067215000, 1000, "2024-01-01T00:00:15Z"),
        (1704067215250, 1000, "2024-01-01T00:00:15.250Z"),
        (1704067215007, 1000, "2024-01-01T00:00:15.007Z"),
        (1704067215, 1, "2024-01-01T00:00:15Z"),
        (1704067215000010, 1_000_000, "2024-01-01T00:00:15.000010Z"),
        (1704067215250000, 1_000_000, "2024-01-01T00:00:15.250Z"),
        (1, 1_000_000_000, "1970-01-01T00:00:00.000000001Z"),
        (-1, 1000, "1969-12-31T23:59:59.999Z"),
        (253402300800000, 1000, "+10000-01-01T00:00:00Z"),
        (-62167219200000, 1000, "0000-01-01T00:00:00Z"),
        (-62167219200001, 1000, "-0001-12-31T23:59:59.999Z"),
        (i64::MAX, 1000, "+292278994-08-17T07:12:55.807Z"),
        (i64::MIN, 1000, "-292275055-05-16T16:47:04.192Z"),
    ];
    for (value, per_second, text) in cases {
        assert_eq!(written(value, per_second), text);
    }
    // Years that no one needs, but no panic either.
    written(i64::MAX, 1);
    written(i64::MIN, 1);
}

#[test]
fn strftime_patterns_are_utc_unless_they_have_an_offset() {
    let cases = [
        (
            "%Y-%m-%d %H:%M:%S",
            "2024-01-01 00:00:15",
            Some(1704067215000),
        ),
        ("%Y-%m-%d %H:%M:%S%.f", "1969-12-31 23:59:59.9999", Some(-1)),
        (
            "%d/%b/%Y:%H:%M:%S %z",
            "01/Jan/2024:02:00:15 +0200",
            Some(1704067215000),
        ),
        ("%Y%m%d", "20240101", Some(1704067200000)),
        ("%s", "1704067215", Some(1704067215000)),
        ("%Y-%m-%d %H:%M", "2024-01-01 00:01", Some(1704067260000)),
        ("%Y-%m-%d %H:%M:%S", "2024-01-01", None),
        ("%Y-%m-%d %H:%M:%S", "2024-01-01 00:00:15 ", None),
        ("%Y-%m-%d", "2023-02-29", None),
        ("%Y-%m-%d %H", "2024-01-01 07", None),
        ("%H:%M:%S", "10:00:00", None),
        ("%Q", "x", None),
    ];
    for (pattern, text, millis) in cases {
        assert_eq!(
            Pattern::new(pattern).parse(text.as_bytes()),
            millis,
            "{pattern} {text}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same_instant(value in any::<i64>(), shift in 0u32..64) {
        let value = value >> shift;
        prop_assert_eq!(timestamp(&written(value, 1000)), Some(value));
    }

    #[test]
    fn dates_agree_with_chrono(days in -1_000_000i32..3_000_000) {
        let date = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::Duration::days(days as i64);
        let mut out = vec![];
        write_date(days as i64, &mut out);
        prop_assert_eq!(std::str::from_utf8(&out).unwrap(), date.to_string());
        prop_assert_eq!(parse_date(&out), Some(days));
    }

    #[test]
    fn times_agree_with_chrono(text in "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])") {
        let expected = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.timestamp_millis());
        prop_assert_eq!(timestamp(&text), expected, "{}", text);
    }
}
