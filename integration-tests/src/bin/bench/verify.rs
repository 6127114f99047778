//! Is a result exact? Every row of the output is compared with what the generator knows it must say.
//!
//! Invariant: nothing of the engine is asked. A row that comes twice, says something else, or belongs to no window or key
//! is wrong; a cell that no row came for is missing.

use anyhow::Result;

use super::data::{BEGIN_MS, PAGES, Set};
use super::reader;

/// Bits of the sum in a cell; the count stands above.
const SUM_BITS: u32 = 20;

/// What must come out: a cell per window and key, count and sum packed; 0 where no row is due.
pub struct Expected {
    set: Set,
    records: u64,
    cells: Vec<u32>,
}

/// What came out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub rows: u64,
    /// Sum of all rows' counts.
    pub counted: u64,
    /// Rows that are not as they must be, or come twice.
    pub wrong: u64,
    /// Rows that did not come.
    pub missing: u64,
}

impl Verdict {
    pub fn exact(&self) -> bool {
        self.rows > 0 && self.wrong == 0 && self.missing == 0
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Verdict {
            rows,
            counted,
            wrong,
            missing,
        } = self;
        match self.exact() {
            true => write!(f, "{rows} rows, exact"),
            false => write!(
                f,
                "NOT EXACT: {rows} rows that count {counted}, {wrong} wrong, {missing} missing"
            ),
        }
    }
}

impl Expected {
    /// The result over the first `records` records.
    pub fn new(set: Set, records: u64) -> Self {
        let mut cells = vec![0; (set.windows(records) * set.keys()) as usize];
        for number in 0..records {
            let event = set.event(number);
            let window = (event.at_ms - BEGIN_MS) / set.window_ms();
            let amount = if set == Set::Clicks { 0 } else { event.amount };
            cells[(window as u64 * set.keys() + event.key) as usize] += pack(1, amount);
        }
        Expected {
            set,
            records,
            cells,
        }
    }

    /// How many records the result is of.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Compares a topic's committed rows with it.
    ///
    /// # Errors
    /// Kafka refuses.
    pub fn check(&self, brokers: &str, topic: &str) -> Result<Verdict> {
        let mut open = self.cells.clone();
        let mut verdict = Verdict::default();
        reader::read(brokers, topic, |row| {
            self.take(row, &mut open, &mut verdict)
        })?;
        verdict.missing = open.iter().filter(|cell| **cell != 0).count() as u64;
        Ok(verdict)
    }

    fn take(&self, row: &[u8], open: &mut [u32], verdict: &mut Verdict) {
        verdict.rows += 1;
        let count = number(row, "count").unwrap_or(0);
        verdict.counted += count;
        let sum = match self.set {
            Set::Clicks => Some(0),
            Set::Users | Set::Keys { .. } => number(row, "total"),
        };
        let cell = self.cell(row).and_then(|cell| open.get_mut(cell));
        match (cell, sum) {
            // A count of 0 is no row that anybody expects, and would pass for an empty cell.
            (Some(cell), Some(sum))
                if count > 0 && sum >> SUM_BITS == 0 && *cell == pack(count, sum) =>
            {
                *cell = 0
            }
            _ => verdict.wrong += 1,
        }
    }

    fn cell(&self, row: &[u8]) -> Option<usize> {
        let since = epoch_ms(field(row, "window_start")?)? - BEGIN_MS;
        let until = epoch_ms(field(row, "window_end")?)? - BEGIN_MS;
        let size = self.set.window_ms();
        if since < 0 || since % size != 0 || until != since + size {
            return None;
        }
        let key = match self.set {
            Set::Clicks => {
                let page = text(field(row, "page")?)?;
                PAGES.iter().position(|known| known.as_bytes() == page)? as u64
            }
            Set::Users | Set::Keys { .. } => number(row, "user")?,
        };
        (key < self.set.keys()).then(|| ((since / size) as u64 * self.set.keys() + key) as usize)
    }
}

fn pack(count: u64, sum: u64) -> u32 {
    ((count << SUM_BITS) + sum) as u32
}

/// What stands behind `"name":` in a flat object, up to its end: a general JSON parser would cost more than the engine.
fn field<'a>(row: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let name = name.as_bytes();
    let at = row.windows(name.len() + 3).position(|part| {
        part[0] == b'"' && &part[1..=name.len()] == name && part.ends_with(b"\":")
    })?;
    Some(&row[at + name.len() + 3..])
}

fn text(value: &[u8]) -> Option<&[u8]> {
    let value = value.strip_prefix(b"\"")?;
    Some(&value[..value.iter().position(|c| *c == b'"')?])
}

fn number(row: &[u8], name: &str) -> Option<u64> {
    digits(field(row, name)?.split(|c| !c.is_ascii_digit()).next()?)
}

fn digits(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Milliseconds since 1970 of `"2023-11-14T22:00:00Z"`, with or without a fraction of a second.
fn epoch_ms(value: &[u8]) -> Option<i64> {
    let text = text(value)?.strip_suffix(b"Z")?;
    let part = |from: usize, to: usize| Some(digits(text.get(from..to)?)? as i64);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    // Windows begin and end with full seconds.
    if text
        .get(20..)
        .is_some_and(|fraction| fraction.iter().any(|c| *c != b'0'))
    {
        return None;
    }
    // Days of the civil calendar, counted from March, so that the leap day is the year's last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(rows: &[&str]) -> Verdict {
        let expected = Expected::new(Set::Clicks, 6000);
        let (mut open, mut verdict) = (expected.cells.clone(), Verdict::default());
        for row in rows {
            expected.take(row.as_bytes(), &mut open, &mut verdict);
        }
        verdict.missing = open.iter().filter(|cell| **cell != 0).count() as u64;
        verdict
    }

    fn row(page: &str, count: u64) -> String {
        format!(
            r#"{{"window_start":"2023-11-14T22:00:00.000Z","window_end":"2023-11-14T22:00:15.000Z","page":"{page}","count":{count}}}"#
        )
    }

    #[test]
    fn only_all_the_right_rows_are_exact() {
        let right: Vec<String> = PAGES.iter().map(|page| row(page, 1000)).collect();
        let right: Vec<&str> = right.iter().map(String::as_str).collect();
        let verdict = checked(&right);
        assert!(verdict.exact(), "{verdict}");
        assert_eq!((verdict.rows, verdict.counted), (6, 6000));
        assert_eq!(checked(&right[1..]).missing, 1);
        let twice: Vec<&str> = right.iter().chain(&right[..1]).copied().collect();
        assert_eq!(checked(&twice).wrong, 1);
        let wrong = row("/cart", 999);
        let verdict = checked(&[&right[1..], &[wrong.as_str()]].concat());
        assert_eq!((verdict.wrong, verdict.missing), (1, 1));
        assert_eq!(checked(&[&row("/nowhere", 1000)]).wrong, 1);
        assert!(!checked(&[]).exact());
    }

    #[test]
    fn a_window_elsewhere_is_wrong() {
        let shifted = row("/cart", 1000).replace("22:00:00.000", "22:00:01.000");
        assert_eq!(checked(&[&shifted]).wrong, 1);
        let longer = row("/cart", 1000).replace("22:00:15.000", "22:00:30.000");
        assert_eq!(checked(&[&longer]).wrong, 1);
    }

    #[test]
    fn times_are_read() {
        assert_eq!(epoch_ms(b"\"2023-11-14T22:00:00Z\""), Some(BEGIN_MS));
        assert_eq!(epoch_ms(b"\"1970-01-01T00:00:00.000Z\""), Some(0));
        assert_eq!(
            epoch_ms(b"\"2024-03-01T00:00:00Z\""),
            Some(1_709_251_200_000)
        );
        assert_eq!(epoch_ms(b"\"2024-02-29T23:59:59.999Z\""), None);
        assert_eq!(epoch_ms(b"null"), None);
    }
}
