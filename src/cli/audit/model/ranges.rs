//! Which rows a range of late rows means: rows of one window and group that were folded together and came too late
//! together. Pure.
//!
//! Invariant: a range is taken at its word only if the input bears it out, row for row: it begins with a row of its
//! group, ends with one, and counts them. Otherwise its group is undecided, and that is an anomaly by itself.

use super::{Apart, GroupKey, Model};
use crate::cli::audit::rejects::{LateRange, Place, RejectBook};
use std::collections::BTreeSet;

/// What the ranges of the reject topic come to.
#[derive(Default)]
pub(super) struct LateRanges {
    /// The rows that they mean.
    pub late: BTreeSet<Place>,
    /// Groups of which a range tells something that the input does not bear out.
    pub doubtful: BTreeSet<GroupKey>,
    /// These ranges, by their first record, and what is wrong.
    pub wrong: Vec<(Place, String)>,
}

impl Model {
    pub(super) fn late_ranges(&self, book: &RejectBook) -> LateRanges {
        let mut found = LateRanges::default();
        for range in &book.late_ranges {
            let place = (range.partition, range.first);
            // A row that came behind the watermark is named alone, never in a range.
            let Some(first) = self.apart.get(&place).filter(|row| !row.behind) else {
                let why = "a range of late rows begins here, with no row that was folded";
                found.wrong.push((place, why.to_owned()));
                continue;
            };
            let rows = self.members(book, range, first);
            let (count, last) = (rows.len() as u64, rows.last().map(|place| place.1));
            if count == range.rows && last == Some(range.last) {
                found.late.extend(rows);
                continue;
            }
            let why = format!(
                "a range of {} late rows up to offset {} begins here, and the input has {count} rows of its group there",
                range.rows, range.last
            );
            found.doubtful.insert(first.group.clone());
            found.wrong.push((place, why));
        }
        found
    }

    /// The rows of the range that belong to the group of its first one and are not named alone.
    fn members(&self, book: &RejectBook, range: &LateRange, first: &Apart) -> Vec<Place> {
        let places = (range.partition, range.first)..=(range.partition, range.last);
        let is_member = |place: &Place, row: &Apart| {
            row.group == first.group && !row.behind && !book.is_late(*place)
        };
        let rows = self.apart.range(places);
        rows.filter(|(place, row)| is_member(place, row))
            .map(|(place, _)| *place)
            .collect()
    }
}
