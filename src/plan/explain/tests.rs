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
    check(
        &click_count(),
        &expect![[r#"
            application click-count · 2 sub-topologies · 4 shards

            sub-topology clicks · 3 tasks · fingerprint 594a515a9e4a1971
              source clicks
                topic      clicks-topic
                columns    timestamp timestamp, page string
                event time timestamp, out of order by 200 ms, idle after 5 s
              fold counts ← clicks
                time       timestamp
                window     tumbling, 15 s
                keys       page
                writes     click-count.counts.repartition

            sub-topology counts · 4 tasks · fingerprint fb25ba45c2e493d3
              window counts
                reads      click-count.counts.repartition, written by clicks
                window     tumbling, 15 s
                keys       page
                state      per window and key: count(*) (changelog click-count.counts.changelog)
                select     window_start, window_end, page, count(*) AS count
                late rows  dropped and counted
              sink output ← counts
                topic      output-topic
                key        page
                columns    window_start timestamp, window_end timestamp, page string, count int64
                timestamp  wall clock

            internal topics
              click-count.clicks.tasks        tasks          3 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              click-count.counts.repartition  repartition    4 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              click-count.counts.tasks        tasks          4 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              click-count.counts.changelog    changelog      4 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              click-count.rejects             rejects        1 partitions  broker defaults
        "#]],
    );
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
    check(
        &spec,
        &expect![[r#"
            application busy · 3 sub-topologies · 4 shards

            sub-topology clicks · 3 tasks · fingerprint ab5a11fb21a67c8f
              source clicks
                topic      clicks-topic
                columns    timestamp timestamp, page string, ms int32
                event time timestamp, out of order by 200 ms, idle after 5 s
              map slow ← clicks
                where      ms > 500
                select     timestamp, page, ms
              fold counts ← slow
                time       timestamp
                window     tumbling, 1 min
                keys       page
                writes     busy.counts.repartition

            sub-topology counts · 4 tasks · fingerprint cdf61a987c8daf01
              window counts
                reads      busy.counts.repartition, written by clicks
                window     tumbling, 1 min
                keys       page
                state      per window and key: count(*), avg(ms) (changelog busy.counts.changelog)
                having     count(*) > 3
                select     window_time AS t, page, count(*) AS n, avg(ms) AS ms
                late rows  dropped and counted
              fold daily ← counts
                time       t
                window     tumbling, 1 d, offset 2 h
                keys       page
                writes     busy.daily.repartition
              sink minutes ← counts
                topic      minutes-topic
                key        page
                columns    t timestamp, page string, n int64, ms double
                timestamp  wall clock

            sub-topology daily · 4 tasks · fingerprint 4537000d918dddd1
              window daily
                reads      busy.daily.repartition, written by counts
                window     tumbling, 1 d, offset 2 h
                keys       page
                state      per window and key: sum(n), max(ms) (changelog busy.daily.changelog)
                select     window_start AS day, page, sum(n) AS n, max(ms) AS worst
                late rows  dropped and counted
              sink days ← daily
                topic      days-topic
                key        day, page
                columns    day timestamp, page string, n int64, worst double
                timestamp  wall clock

            internal topics
              busy.clicks.tasks        tasks          3 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              busy.counts.repartition  repartition    4 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              busy.counts.tasks        tasks          4 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              busy.counts.changelog    changelog      4 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              busy.daily.repartition   repartition    4 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              busy.daily.tasks         tasks          4 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              busy.daily.changelog     changelog      4 partitions  cleanup.policy=delete retention.ms=-1 retention.bytes=-1 segment.bytes=33554432
              busy.rejects             rejects        1 partitions  broker defaults
        "#]],
    );
}

#[test]
fn json_says_the_same() {
    let plan = plan(&click_count()).unwrap_or_else(|found| panic!("{}", render(&found)));
    let json = explain_json(&plan, &BTreeMap::new());
    expect![[r#"
        {
          "app": "click-count",
          "shards": 4,
          "rejects_topic": "click-count.rejects",
          "sub_topologies": [
            {
              "name": "clicks",
              "fingerprint": "594a515a9e4a1971",
              "input": {
                "kind": "source",
                "topic": "clicks-topic",
                "columns": [
                  {
                    "name": "timestamp",
                    "type": "timestamp"
                  },
                  {
                    "name": "page",
                    "type": "string"
                  }
                ],
                "event_time": "timestamp"
              },
              "nodes": [
                {
                  "name": "counts",
                  "kind": "fold",
                  "from": "clicks",
                  "topic": "click-count.counts.repartition",
                  "window": {
                    "type": "tumbling",
                    "size_ms": 15000,
                    "offset_ms": 0,
                    "time": "timestamp",
                    "filter": null,
                    "keys": [
                      "page"
                    ],
                    "aggregates": [
                      "count(*)"
                    ],
                    "having": null,
                    "columns": [
                      {
                        "name": "window_start",
                        "type": "timestamp"
                      },
                      {
                        "name": "window_end",
                        "type": "timestamp"
                      },
                      {
                        "name": "page",
                        "type": "string"
                      },
                      {
                        "name": "count",
                        "type": "int64"
                      }
                    ],
                    "late": "drop"
                  }
                }
              ]
            },
            {
              "name": "counts",
              "fingerprint": "fb25ba45c2e493d3",
              "input": {
                "kind": "window",
                "topic": "click-count.counts.repartition",
                "producers": [
                  "clicks"
                ],
                "window": {
                  "type": "tumbling",
                  "size_ms": 15000,
                  "offset_ms": 0,
                  "time": "timestamp",
                  "filter": null,
                  "keys": [
                    "page"
                  ],
                  "aggregates": [
                    "count(*)"
                  ],
                  "having": null,
                  "columns": [
                    {
                      "name": "window_start",
                      "type": "timestamp"
                    },
                    {
                      "name": "window_end",
                      "type": "timestamp"
                    },
                    {
                      "name": "page",
                      "type": "string"
                    },
                    {
                      "name": "count",
                      "type": "int64"
                    }
                  ],
                  "late": "drop"
                }
              },
              "nodes": [
                {
                  "name": "output",
                  "kind": "sink",
                  "from": "counts",
                  "topic": "output-topic",
                  "key": [
                    "page"
                  ],
                  "columns": [
                    {
                      "name": "window_start",
                      "type": "timestamp"
                    },
                    {
                      "name": "window_end",
                      "type": "timestamp"
                    },
                    {
                      "name": "page",
                      "type": "string"
                    },
                    {
                      "name": "count",
                      "type": "int64"
                    }
                  ],
                  "timestamp": "wall clock"
                }
              ]
            }
          ],
          "topics": [
            {
              "name": "click-count.clicks.tasks",
              "kind": "tasks",
              "partitions": 1,
              "config": {
                "cleanup.policy": "delete",
                "retention.bytes": "-1",
                "retention.ms": "-1",
                "segment.bytes": "33554432"
              }
            },
            {
              "name": "click-count.counts.repartition",
              "kind": "repartition",
              "partitions": 4,
              "config": {
                "cleanup.policy": "delete",
                "retention.bytes": "-1",
                "retention.ms": "-1",
                "segment.bytes": "33554432"
              }
            },
            {
              "name": "click-count.counts.tasks",
              "kind": "tasks",
              "partitions": 4,
              "config": {
                "cleanup.policy": "delete",
                "retention.bytes": "-1",
                "retention.ms": "-1",
                "segment.bytes": "33554432"
              }
            },
            {
              "name": "click-count.counts.changelog",
              "kind": "changelog",
              "partitions": 4,
              "config": {
                "cleanup.policy": "delete",
                "retention.bytes": "-1",
                "retention.ms": "-1",
                "segment.bytes": "33554432"
              }
            },
            {
              "name": "click-count.rejects",
              "kind": "rejects",
              "partitions": 1,
              "config": {}
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&json).unwrap_or_default());
}
