//! Times and dates as text: RFC 3339, strftime patterns, and back.
//!
//! Invariant: what is written is read back as the same instant, years outside 0000 to 9999 included (ISO 8601's
//! signed years). Finer fractions than milliseconds are floored when read, also before 1970. No clock is read here.

#[cfg(test)]
mod tests;

use chrono::format::{Item, Parsed, StrftimeItems, parse};

const DAY_SECONDS: i64 = 86_400;
/// 10000-01-01, in milliseconds since 1970.
const YEAR_10000_MILLIS: i64 = 253_402_300_800_000;

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The rest of a text that is read piece by piece.
struct Pieces<'a>(&'a [u8]);

impl Pieces<'_> {
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (head, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        head.iter().try_fold(0, |value, byte| {
            byte.is_ascii_digit()
                .then(|| value * 10 + (byte - b'0') as i64)
        })
    }

    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        wanted.contains(first).then_some(*first)
    }

    /// Four digits, or a sign and four to nine.
    fn year(&mut self) -> Option<i64> {
        let sign = match self.0.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return self.number(4),
        };
        self.0 = &self.0[1..];
        let digits = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if !(4..=9).contains(&digits) {
            return None;
        }
        Some(sign * self.number(digits)?)
    }

    /// `YYYY-MM-DD` as days since 1970.
    fn date(&mut self) -> Option<i64> {
        let year = self.year()?;
        self.one_of(b"-")?;
        let month = self.number(2)?;
        self.one_of(b"-")?;
        let day = self.number(2)?;
        let exists = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
        exists.then(|| days_from_civil(year, month, day))
    }

    /// `HH:MM:SS`, an optional fraction cut to milliseconds: milliseconds of the day. Second 60 is a leap second.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.one_of(b":")?;
        let minute = self.number(2)?;
        self.one_of(b":")?;
        let second = self.number(2)?;
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut millis = ((hour * 60 + minute) * 60 + second) * 1000;
        if self.0.first() == Some(&b'.') {
            self.0 = &self.0[1..];
            let digits = self
                .0
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let kept = digits.min(3);
            let fraction = self.number(kept).filter(|_| kept > 0)?;
            millis += fraction * [1000, 100, 10, 1][kept];
            self.0 = &self.0[digits - kept..];
        }
        Some(millis)
    }

    /// `Z` or `±HH:MM`, in minutes east of Greenwich.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.number(2)?;
        self.one_of(b":")?;
        let minutes = self.number(2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
    }
}

/// Milliseconds since 1970 of an RFC 3339 time.
pub(super) fn parse_timestamp(text: &[u8]) -> Option<i64> {
    let mut pieces = Pieces(text);
    let days = pieces.date()?;
    pieces.one_of(b"Tt ")?;
    let millis = pieces.time()?;
    let offset = pieces.offset()?;
    if !pieces.0.is_empty() {
        return None;
    }
    days.checked_mul(DAY_SECONDS * 1000)?
        .checked_add(millis)?
        .checked_sub(offset * 60_000)
}

/// Days since 1970 of `YYYY-MM-DD`.
pub(super) fn parse_date(text: &[u8]) -> Option<i32> {
    let mut pieces = Pieces(text);
    let days = pieces.date()?;
    if pieces.0.is_empty() {
        i32::try_from(days).ok()
    } else {
        None
    }
}

/// A strftime pattern, taken apart once.
pub(super) struct Pattern {
    pub text: String,
    items: Vec<Item<'static>>,
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        Pattern {
            text: text.to_owned(),
            items: StrftimeItems::new(text).map(Item::to_owned).collect(),
        }
    }

    /// Milliseconds since 1970; UTC where the pattern has no offset, midnight where it has no time.
    pub fn parse(&self, text: &[u8]) -> Option<i64> {
        let text = std::str::from_utf8(text).ok()?;
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.items.iter()).ok()?;
        if parsed.offset().is_some() {
            return Some(parsed.to_datetime().ok()?.timestamp_millis());
        }
        if let Ok(time) = parsed.to_naive_datetime_with_offset(0) {
            return Some(time.and_utc().timestamp_millis());
        }
        let has_time = parsed.hour_div_12().is_some()
            || parsed.hour_mod_12().is_some()
            || parsed.minute().is_some();
        if has_time {
            return None;
        }
        Some(
            parsed
                .to_naive_date()
                .ok()?
                .and_hms_opt(0, 0, 0)?
                .and_utc()
                .timestamp_millis(),
        )
    }
}

fn two_digits(value: i64, out: &mut Vec<u8>) {
    out.push(b'0' + (value / 10) as u8);
    out.push(b'0' + (value % 10) as u8);
}

/// Appends `YYYY-MM-DD`; a year outside 0000 to 9999 gets a sign.
pub(super) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    let size = year.unsigned_abs();
    if year < 0 {
        out.push(b'-');
    } else if size > 9999 {
        out.push(b'+');
    }
    if size <= 9999 {
        two_digits(size as i64 / 100, out);
        two_digits(size as i64 % 100, out);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
    }
    out.push(b'-');
    two_digits(month, out);
    out.push(b'-');
    two_digits(day, out);
}

/// Appends `HH:MM:SS` and, where it is not zero, the fraction in 3, 6 or 9 digits.
pub(super) fn write_time(second_of_day: i64, nanos: i64, out: &mut Vec<u8>) {
    two_digits(second_of_day / 3600, out);
    out.push(b':');
    two_digits(second_of_day / 60 % 60, out);
    out.push(b':');
    two_digits(second_of_day % 60, out);
    if nanos == 0 {
        return;
    }
    out.push(b'.');
    let (fraction, digits) = if nanos % 1_000_000 == 0 {
        (nanos / 1_000_000, 3)
    } else if nanos % 1000 == 0 {
        (nanos / 1000, 6)
    } else {
        (nanos, 9)
    };
    let mut power = 10i64.pow(digits - 1);
    while power > 0 {
        out.push(b'0' + (fraction / power % 10) as u8);
        power /= 10;
    }
}

/// Appends a time in `per_second` units since 1970 as ISO 8601 in UTC, with `Z`.
pub(super) fn write_timestamp(value: i64, per_second: i64, out: &mut Vec<u8>) {
    if per_second == 1000 && (0..YEAR_10000_MILLIS).contains(&value) {
        return write_usual_timestamp(value as u64, out);
    }
    let seconds = value.div_euclid(per_second);
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    write_date(seconds.div_euclid(DAY_SECONDS), out);
    out.push(b'T');
    write_time(seconds.rem_euclid(DAY_SECONDS), nanos, out);
    out.push(b'Z');
}

/// The same for milliseconds from 1970 to 9999: narrow unsigned arithmetic into a text of known shape.
fn write_usual_timestamp(millis: u64, out: &mut Vec<u8>) {
    let seconds = millis / 1000;
    let fraction = (millis % 1000) as u32;
    let days = (seconds / DAY_SECONDS as u64) as u32 + 719_468;
    let second = (seconds % DAY_SECONDS as u64) as u32;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut put = |at: usize, value: u32| {
        text[at] = b'0' + (value / 10) as u8;
        text[at + 1] = b'0' + (value % 10) as u8;
    };
    put(0, year / 100);
    put(2, year % 100);
    put(5, month);
    put(8, day_of_year - (153 * shifted + 2) / 5 + 1);
    put(11, second / 3600);
    put(14, second / 60 % 60);
    put(17, second % 60);
    put(20, fraction / 10);
    text[22] = b'0' + (fraction % 10) as u8;
    out.extend_from_slice(&text);
    if fraction == 0 {
        out.truncate(out.len() - 5);
        out.push(b'Z');
    }
}
