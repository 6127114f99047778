//! What the engine counts and measures, for Prometheus; the only user of the `prometheus` crate.
//!
//! Invariant: every metric is named once, in [`names`], with its help and labels; `docs/metrics.md` is written from
//! there. These figures are for people: they are lost with the process, and nothing decides by them. The exact
//! accounting of rows is a fact of the tasks, committed with their offsets.

mod family;
pub mod names;

pub use family::{
    Counter, CounterFamily, Definition, Gauge, GaugeFamily, Histogram, HistogramFamily, Kind,
};
pub use names::Metrics;

use std::fmt::Write;

/// The reference page of all metrics, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Served at `/metrics` in the Prometheus text format. This page is written from the code\n\
         (`UPDATE_EXPECT=1 cargo test --release metrics`). A metric appears once it has a value; figures of a task\n\
         disappear when the task moves to another process.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for definition in Metrics::new().definitions() {
        let labels: Vec<String> = definition
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            definition.name,
            definition.kind.as_str(),
            labels.join(", "),
            definition.help
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_reference_page_lists_every_metric() {
        expect_test::expect_file!["../../docs/metrics.md"].assert_eq(&reference());
    }

    #[test]
    fn names_follow_the_prometheus_conventions() {
        let metrics = Metrics::new();
        let mut seen = BTreeSet::new();
        for definition in metrics.definitions() {
            assert!(
                seen.insert(definition.name),
                "{} is named twice",
                definition.name
            );
            assert!(
                definition.name.starts_with("millstream_"),
                "{}",
                definition.name
            );
            let total = definition.name.ends_with("_total");
            assert_eq!(
                total,
                definition.kind == Kind::Counter,
                "{}",
                definition.name
            );
            assert!(
                definition.help.ends_with('.'),
                "{}: the help is a sentence",
                definition.name
            );
        }
        assert!(seen.len() > 20);
    }

    #[test]
    fn values_come_out_with_their_labels() {
        let metrics = Metrics::new();
        metrics.flow.records_in.with(["clicks", "3"]).inc_by(7);
        metrics.flow.lag.with(["clicks", "3"]).set(5);
        metrics.commits.duration.with([]).observe(0.02);
        let text = metrics.render();
        assert!(
            text.contains("millstream_records_in_total{partition=\"3\",source=\"clicks\"} 7"),
            "{text}"
        );
        assert!(
            text.contains("millstream_lag_records{node=\"clicks\",partition=\"3\"} 5"),
            "{text}"
        );
        assert!(
            text.contains("millstream_commit_duration_seconds_count 1"),
            "{text}"
        );
        assert!(
            text.contains("# HELP millstream_records_in_total "),
            "{text}"
        );
    }

    #[test]
    fn figures_of_a_task_that_moved_away_disappear_and_others_stay() {
        let metrics = Metrics::new();
        metrics.flow.watermark.with(["counts", "1"]).set(5);
        metrics.state.rows.with(["counts", "1", "hot"]).set(10);
        metrics.flow.records_in.with(["clicks", "1"]).inc();
        let text = metrics.page(|m| m.flow.watermark.with(["counts", "2"]).set(6));
        assert!(!text.contains("node=\"counts\",partition=\"1\""), "{text}");
        assert!(text.contains("millstream_records_in_total"), "{text}");
        assert!(
            text.contains("millstream_watermark_ms{node=\"counts\",partition=\"2\"} 6"),
            "{text}"
        );
    }
}
