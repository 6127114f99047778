//! The reject topic as the auditor reads it: which records the engine says it did not use, and why.
//!
//! Invariant: every reject record that concerns the audited source, node or sink is in the book, exactly as often as
//! it stands in the topic. Whether it ought to stand there is judged elsewhere.

use super::compare::{Anomaly, AnomalyKind};
use super::shape::Shape;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Partition and offset of an input record.
pub type Place = (i32, i64);

/// Rows of several records that were folded together and came too late together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateRange {
    pub partition: i32,
    pub first: i64,
    pub last: i64,
    pub rows: u64,
}

/// Everything that the reject topic says about the audited node.
#[derive(Debug, Default)]
pub struct RejectBook {
    /// Causes by input record.
    pub records: BTreeMap<Place, Vec<String>>,
    pub late_ranges: Vec<LateRange>,
    /// Rejected results of aggregates, which have no record.
    pub derived: u64,
    pub anomalies: Vec<Anomaly>,
    /// Nodes and records met with their cause, to find what was rejected twice; a range counts as its first record.
    seen: BTreeMap<(String, Place), String>,
}

impl RejectBook {
    pub fn is_late(&self, place: Place) -> bool {
        self.records
            .get(&place)
            .is_some_and(|causes| causes.iter().any(|cause| cause == "late"))
    }

    pub fn in_late_range(&self, (partition, offset): Place) -> bool {
        self.late_ranges
            .iter()
            .any(|r| r.partition == partition && (r.first..=r.last).contains(&offset))
    }

    /// Whether the record was rejected for another cause than being late.
    pub fn is_bad(&self, place: Place) -> bool {
        self.records
            .get(&place)
            .is_some_and(|causes| causes.iter().any(|cause| cause != "late"))
    }

    pub fn late_records(&self) -> usize {
        self.records
            .values()
            .filter(|causes| causes.iter().any(|cause| cause == "late"))
            .count()
    }

    /// Takes a record of the reject topic; returns the input records that it names, as partition, first, last offset.
    pub fn read(
        &mut self,
        shape: &Shape,
        at: Place,
        value: Option<&[u8]>,
    ) -> Option<(i32, i64, i64)> {
        let document: Option<Json> = value.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let Some(document) = document else {
            self.report(
                AnomalyKind::Unreadable,
                at,
                "a reject record that is no JSON".to_owned(),
            );
            return None;
        };
        let text = |field: &str| {
            document
                .get(field)
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let number = |field: &str| document.get(field).and_then(Json::as_i64);
        let (cause, node, topic) = (text("cause"), text("node"), text("topic"));
        if shape.others.contains(&node) {
            return None;
        }
        let (Some(partition), Some(first)) = (
            number("partition"),
            number("first_offset").or(number("offset")),
        ) else {
            self.derived += 1;
            return None;
        };
        if topic != shape.input_topic {
            return None;
        }
        let partition = i32::try_from(partition).ok()?;
        self.check_twice(at, node, (partition, first), &cause);
        if let Some(last) = number("last_offset").filter(|last| *last >= first) {
            let rows = number("rows")
                .and_then(|rows| u64::try_from(rows).ok())
                .unwrap_or_default();
            self.late_ranges.push(LateRange {
                partition,
                first,
                last,
                rows,
            });
            return Some((partition, first, last));
        }
        self.records
            .entry((partition, first))
            .or_default()
            .push(cause);
        Some((partition, first, first))
    }

    /// A node rejects a record once, and for one cause.
    fn check_twice(&mut self, at: Place, node: String, place: Place, cause: &str) {
        let detail = format!(
            "record {}/{} was rejected by {node} more than once, as {cause}",
            place.0, place.1
        );
        if let Some(before) = self.seen.insert((node, place), cause.to_owned()) {
            let detail = format!("{detail} and as {before}");
            self.report(AnomalyKind::DuplicateReject, at, detail);
        }
    }

    fn report(&mut self, kind: AnomalyKind, (partition, offset): Place, detail: String) {
        self.anomalies.push(Anomaly {
            kind,
            window_end: None,
            key: String::new(),
            place: Some((partition, offset)),
            detail,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::audit::testing::{CLICK_COUNT, topology};
    use crate::spec::LatePolicy;

    #[test]
    fn rejects_are_booked_by_their_origin_and_repeats_are_found() {
        let shape = Shape::of(&topology(CLICK_COUNT, LatePolicy::Reject), None, None).unwrap();
        let mut book = RejectBook::default();
        let mut read = |offset, text: &str| book.read(&shape, (0, offset), Some(text.as_bytes()));
        let late = r#"{"cause":"late","node":"counts","topic":"input","partition":2,"offset":7}"#;
        assert_eq!(read(0, late), Some((2, 7, 7)));
        read(
            1,
            r#"{"cause":"malformed","node":"clicks","topic":"input","partition":2,"offset":8}"#,
        );
        read(
            2,
            r#"{"cause":"malformed","node":"clicks","topic":"elsewhere","partition":2,"offset":9}"#,
        );
        read(
            3,
            r#"{"cause":"late","node":"counts","topic":"input","partition":1,"offset":5,"last_offset":9,"rows":3}"#,
        );
        read(
            4,
            r#"{"cause":"expression","node":"counts","topic":null,"partition":null,"offset":null}"#,
        );
        assert!(book.is_late((2, 7)) && !book.is_bad((2, 7)));
        assert!(book.is_bad((2, 8)) && !book.is_late((2, 8)));
        assert!(!book.is_bad((2, 9)), "another topic's record");
        assert!(
            book.in_late_range((1, 9))
                && !book.in_late_range((1, 10))
                && !book.in_late_range((0, 9))
        );
        assert_eq!((book.derived, book.late_records()), (1, 1));
        assert!(book.anomalies.is_empty());
        book.read(&shape, (0, 5), Some(late.as_bytes()));
        let range = r#"{"cause":"late","node":"counts","topic":"input","partition":1,"first_offset":5,"last_offset":9,"rows":3}"#;
        book.read(&shape, (0, 7), Some(range.as_bytes()));
        book.read(&shape, (0, 6), Some(b"{"));
        let kinds: Vec<AnomalyKind> = book.anomalies.iter().map(|anomaly| anomaly.kind).collect();
        assert_eq!(
            kinds,
            [
                AnomalyKind::DuplicateReject,
                AnomalyKind::DuplicateReject,
                AnomalyKind::Unreadable
            ]
        );
    }
}
