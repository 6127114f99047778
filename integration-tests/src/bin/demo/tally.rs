//! What the output topic says so far, window by window, and what is wrong with it.
//!
//! Invariant: every row counts. A second row for a page of a window is a duplicate even if it says the same.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

/// Clicks of each page in each window: what the generator makes.
pub const PER_PAGE: u64 = 1000;
/// Pages of each window.
pub const PAGES: usize = 6;

/// All rows seen, by window start.
#[derive(Debug, Default)]
pub struct Tally {
    windows: BTreeMap<String, Vec<(String, u64)>>,
}

/// A window whose rows are not what they must be.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub window: String,
    pub what: String,
}

impl Tally {
    /// Takes one row; gives the window's line when it completes it: all pages are there.
    ///
    /// # Errors
    /// The row is not one of the click-count topology's.
    pub fn take(&mut self, row: &Value) -> Result<Option<String>> {
        let text = |name: &str| {
            row[name]
                .as_str()
                .with_context(|| format!("no `{name}` in {row}"))
        };
        let count = row["count"]
            .as_u64()
            .with_context(|| format!("no `count` in {row}"))?;
        let window = text("window_start")?.to_string();
        let rows = self.windows.entry(window.clone()).or_default();
        rows.push((text("page")?.to_string(), count));
        if rows.len() != PAGES {
            return Ok(None);
        }
        rows.sort();
        let counts: Vec<_> = rows
            .iter()
            .map(|(page, count)| format!("{page} {count}"))
            .collect();
        Ok(Some(format!(
            "window {window} closed: {}",
            counts.join(", ")
        )))
    }

    /// Windows with at least one row.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// Windows with a row for every page.
    pub fn complete(&self) -> usize {
        self.windows
            .values()
            .filter(|rows| rows.len() >= PAGES)
            .count()
    }

    /// Every window that does not say exactly 1000 once for each of the pages.
    pub fn wrong(&self) -> Vec<Wrong> {
        let mut found = Vec::new();
        for (window, rows) in &self.windows {
            let mut add = |what: String| {
                found.push(Wrong {
                    window: window.clone(),
                    what,
                })
            };
            let mut pages: BTreeMap<&str, usize> = BTreeMap::new();
            for (page, count) in rows {
                *pages.entry(page).or_default() += 1;
                if *count != PER_PAGE {
                    add(format!("{page} says {count} instead of {PER_PAGE}"));
                }
            }
            for (page, times) in pages.iter().filter(|(_, times)| **times > 1) {
                add(format!("{page} was written {times} times"));
            }
            if pages.len() != PAGES {
                add(format!("{} pages instead of {PAGES}", pages.len()));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tally(rows: &[(&str, u64)]) -> Tally {
        let mut tally = Tally::default();
        for (page, count) in rows {
            tally
                .take(&json!({ "window_start": "w", "page": page, "count": count }))
                .unwrap();
        }
        tally
    }

    const RIGHT: [(&str, u64); 6] = [
        ("a", 1000),
        ("b", 1000),
        ("c", 1000),
        ("d", 1000),
        ("e", 1000),
        ("f", 1000),
    ];

    #[test]
    fn a_window_with_1000_for_every_page_is_right() {
        let tally = tally(&RIGHT);
        assert_eq!((tally.wrong(), tally.complete()), (vec![], 1));
    }

    #[test]
    fn a_wrong_count_a_missing_page_and_a_repeated_row_are_each_named() {
        let mut rows = RIGHT;
        rows[3].1 = 999;
        assert_eq!(tally(&rows).wrong()[0].what, "d says 999 instead of 1000");
        assert_eq!(tally(&RIGHT[..5]).wrong()[0].what, "5 pages instead of 6");
        let mut rows = RIGHT.to_vec();
        rows.push(("b", 1000));
        assert_eq!(tally(&rows).wrong()[0].what, "b was written 2 times");
    }

    #[test]
    fn a_row_that_is_not_understood_is_an_error() {
        assert!(
            Tally::default()
                .take(&json!({ "window_start": "w", "page": "a", "count": "1000" }))
                .is_err()
        );
    }
}
