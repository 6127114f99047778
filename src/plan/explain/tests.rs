//! The whole text of `explain`, for the topology of the README and for a window over a window.

use super::{explain, explain_json};
use crate::plan::fixtures::{render, topology};
use crate::plan::plan;
use crate::spec::TopologySpec;
use expect_test::{Expect, expect};
use std::collections::BTreeMap;

fn check(spec: &TopologySpec, expected: &Expect) {
    let plan = plan(spec).unwrap_or_else(|found| panic!("{}", render(&found)));
    expected.assert_eq(&explain(
        &plan,
        &BTreeMap::from([("clicks".to_string(), 3)]),
    ));
}

fn click_count() -> TopologySpec {
    let sql = "SELECT window_start, window_end, page, COUNT(*) AS count\nFROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND)\nGROUP BY window_start, window_end, page";
    topology("click-count")
        .with_source(
            "clicks",
            &[("timestamp", "timestamp_ms"), ("page", "string")],
            Some("timestamp"),
        )
        .with_node("counts", sql)
        .with_sink("output", "counts", &["page"])
}

#[test]
fn click_count_explained() {
    check(&click_count(), &expect![[r#""#]]);
}

#[test]
fn a_window_over_a_window_explained() {
    let spec = topology("busy")
        .with_source("clicks", &[("timestamp", "timestamp_ms"), ("page", "string"), ("ms", "int32")], Some("timestamp"))
        .with_node("slow", "SELECT timestamp, page, ms FROM clicks WHERE ms > 500")
        .with_node("counts", "SELECT window_time AS t, page, count(*) AS n, avg(ms) AS ms FROM TUMBLE(slow, timestamp, INTERVAL '1' MINUTE) GROUP BY window_start, page HAVING count(*) > 3")
        .with_node("daily", "SELECT window_start AS day, page, sum(n) AS n, max(ms) AS worst FROM TUMBLE(counts, t, INTERVAL '1' DAY, INTERVAL '2' HOUR) GROUP BY window_start, page")
        .with_sink("minutes", "counts", &["page"])
        .with_sink("days", "daily", &["day", "page"]);
    check(&spec, &expect![[r#""#]]);
}

#[test]
fn json_says_the_same() {
    let plan = plan(&click_count()).unwrap_or_else(|found| panic!("{}", render(&found)));
    let json = explain_json(&plan, &BTreeMap::new());
    expect![[r#""#]].assert_eq(&serde_json::to_string_pretty(&json).unwrap_or_default());
}
