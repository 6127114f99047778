//! What an audit has found, as text and as JSON.
//!
//! Invariant: both forms say the same verdict, and how much was compared; only the first anomalies are listed, all are
//! counted.

use super::compare::{Anomaly, AnomalyKind, Comparison};
use super::model::InputCounts;
use super::value::show_time;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Anomalies that are listed.
const LISTED: usize = 50;

/// The result of an audit.
#[derive(Debug)]
pub struct Report {
    pub node: String,
    pub input_topic: String,
    pub output_topic: String,
    pub input: InputCounts,
    /// Records of the output topic.
    pub output_records: u64,
    /// Records that the reject topic names as late, and rejected results without a record.
    pub late_rejects: u64,
    pub derived_rejects: u64,
    pub comparison: Comparison,
    /// Undecided groups fail.
    pub strict: bool,
    /// `late: drop`: nothing tells which late rows were dropped.
    pub drops_late: bool,
}

impl Report {
    pub fn ok(&self) -> bool {
        self.comparison.ok(self.strict)
    }

    /// One line: what was checked and what came out.
    fn summary(&self) -> String {
        let Comparison {
            windows,
            rows,
            undecided,
            open,
            anomalies,
            rejected: _,
        } = &self.comparison;
        let mut text = format!("checked {windows} windows, {rows} rows: ");
        let verdict = match anomalies.len() {
            0 if *rows == 0 => "FAILED, nothing was there to be checked".to_owned(),
            0 if !self.ok() => format!("FAILED, {undecided} rows are undecided"),
            0 => "ok".to_owned(),
            1 => "FAILED, 1 anomaly".to_owned(),
            many => format!("FAILED, {many} anomalies"),
        };
        text.push_str(&verdict);
        if *open > 0 {
            // Writing to a String cannot fail, here and below.
            let _ = write!(text, " ({open} rows of windows that are still open)");
        }
        if *undecided > 0 {
            let why = if self.drops_late {
                "late rows are dropped, not rejected"
            } else {
                "the reject topic names ranges of late rows that the input does not bear out"
            };
            let _ = write!(text, " ({undecided} rows cannot be decided: {why})");
        }
        text
    }

    fn by_kind(&self) -> BTreeMap<AnomalyKind, usize> {
        let mut counts = BTreeMap::new();
        for anomaly in &self.comparison.anomalies {
            *counts.entry(anomaly.kind).or_insert(0) += 1;
        }
        counts
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let anomalies = &self.comparison.anomalies;
        if !anomalies.is_empty() {
            let _ = writeln!(
                text,
                "{:<18} {:<24} {:<20} {:<12} what",
                "anomaly", "window end", "key", "at"
            );
        }
        for anomaly in anomalies.iter().take(LISTED) {
            let Anomaly {
                kind, key, detail, ..
            } = anomaly;
            let _ = writeln!(
                text,
                "{kind:<18} {:<24} {key:<20} {:<12} {detail}",
                end(anomaly),
                place(anomaly)
            );
        }
        if anomalies.len() > LISTED {
            let _ = writeln!(text, "… and {} more", anomalies.len() - LISTED);
        }
        for (kind, count) in self.by_kind() {
            let _ = writeln!(text, "{kind}: {count}");
        }
        let InputCounts {
            records,
            bad,
            filtered,
            possibly_late,
        } = self.input;
        let _ = writeln!(
            text,
            "{}: {records} records ({bad} no rows, {filtered} filtered, {possibly_late} possibly late, {} rejected as \
             late); {}: {} records",
            self.input_topic, self.late_rejects, self.output_topic, self.output_records
        );
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    pub fn json(&self) -> Json {
        let counts: BTreeMap<&str, usize> = self
            .by_kind()
            .into_iter()
            .map(|(kind, n)| (kind.as_str(), n))
            .collect();
        let listed: Vec<Json> = self
            .comparison
            .anomalies
            .iter()
            .take(LISTED)
            .map(|anomaly| {
                json!({
                    "kind": anomaly.kind.as_str(),
                    "window_end": anomaly.window_end.map(|end| show_time(i128::from(end) * 1000)),
                    "key": anomaly.key,
                    "partition": anomaly.place.map(|(partition, _)| partition),
                    "offset": anomaly.place.map(|(_, offset)| offset),
                    "detail": anomaly.detail,
                })
            })
            .collect();
        json!({
            "ok": self.ok(),
            "summary": self.summary(),
            "node": self.node,
            "windows_checked": self.comparison.windows,
            "rows_checked": self.comparison.rows,
            "rows_open": self.comparison.open,
            "rows_undecided": self.comparison.undecided,
            "input": {
                "topic": self.input_topic,
                "records": self.input.records,
                "bad": self.input.bad,
                "filtered": self.input.filtered,
                "possibly_late": self.input.possibly_late,
                "late_rejects": self.late_rejects,
                "derived_rejects": self.derived_rejects,
            },
            "output": { "topic": self.output_topic, "records": self.output_records },
            "anomaly_counts": counts,
            "anomalies": listed,
        })
    }
}

fn end(anomaly: &Anomaly) -> String {
    anomaly
        .window_end
        .map(|end| show_time(i128::from(end) * 1000))
        .unwrap_or_default()
}

fn place(anomaly: &Anomaly) -> String {
    anomaly
        .place
        .map(|(partition, offset)| format!("{partition}/{offset}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(comparison: Comparison, strict: bool) -> Report {
        Report {
            node: "counts".to_owned(),
            input_topic: "input".to_owned(),
            output_topic: "output".to_owned(),
            input: InputCounts {
                records: 9,
                ..InputCounts::default()
            },
            output_records: 3,
            late_rejects: 0,
            derived_rejects: 0,
            comparison,
            strict,
            drops_late: true,
        }
    }

    #[test]
    fn both_forms_say_the_same_verdict_and_nothing_checked_is_a_failure() {
        let anomaly = Anomaly {
            kind: AnomalyKind::Lost,
            window_end: Some(15_000),
            key: "/a".to_owned(),
            place: None,
            detail: "gone".to_owned(),
        };
        let checked = Comparison {
            windows: 2,
            rows: 3,
            ..Comparison::default()
        };
        let cases = [
            (
                report(checked.clone(), false),
                true,
                "checked 2 windows, 3 rows: ok",
            ),
            (
                report(Comparison::default(), false),
                false,
                "nothing was there",
            ),
            (
                report(
                    Comparison {
                        undecided: 1,
                        ..checked.clone()
                    },
                    true,
                ),
                false,
                "1 rows are undecided",
            ),
            (
                report(
                    Comparison {
                        anomalies: vec![anomaly.clone(); 60],
                        ..checked
                    },
                    false,
                ),
                false,
                "60 anomalies",
            ),
        ];
        for (report, ok, said) in cases {
            assert_eq!(report.ok(), ok);
            assert_eq!(report.json()["ok"], ok);
            assert!(report.text().contains(said), "{}", report.text());
            assert!(report.json()["summary"].as_str().unwrap().contains(said));
        }
    }

    #[test]
    fn only_the_first_anomalies_are_listed_and_all_are_counted() {
        let anomaly = Anomaly {
            kind: AnomalyKind::Duplicate,
            window_end: Some(15_000),
            key: "/a".to_owned(),
            place: Some((1, 7)),
            detail: "again".to_owned(),
        };
        let report = report(
            Comparison {
                rows: 1,
                anomalies: vec![anomaly; 60],
                ..Comparison::default()
            },
            false,
        );
        let text = report.text();
        assert_eq!(text.matches("again").count(), LISTED);
        assert!(
            text.contains("… and 10 more") && text.contains("duplicate: 60"),
            "{text}"
        );
        assert!(
            text.contains("1970-01-01T00:00:15Z") && text.contains("1/7"),
            "{text}"
        );
        assert_eq!(report.json()["anomaly_counts"]["duplicate"], 60);
    }
}
