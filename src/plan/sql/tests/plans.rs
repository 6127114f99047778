//! What accepted SQL becomes: types, keys, aggregates, places in sub-topologies, fingerprints.

use crate::plan::fixtures::{render, topology};
use crate::plan::graph::{Edge, Input, NodeKind, Plan, WindowPlan};
use crate::plan::plan;
use crate::spec::TopologySpec;
use expect_test::expect;
use std::fmt::Write;

fn planned(spec: &TopologySpec) -> Plan {
    plan(spec).unwrap_or_else(|found| panic!("{}", render(&found)))
}

fn window(sql: &str) -> WindowPlan {
    let plan = planned(&topology("app").with_clicks().with_node("n", sql));
    match &plan.sub_topology("n").unwrap().input {
        Input::Window(input) => input.window.clone(),
        Input::Source(_) => panic!("no window"),
    }
}

fn describe(w: &WindowPlan) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:?} over column {}, reads window: {}",
        w.window, w.time, w.reads_window
    );
    let _ = writeln!(out, "filter {:?}, having {:?}", w.filter, w.having);
    let _ = writeln!(out, "keys {:?} {:?}", w.keys, w.key_types);
    for call in &w.aggregates {
        let _ = writeln!(
            out,
            "{:?}({:?}: {:?}) filter {:?} -> {}",
            call.function, call.argument, call.argument_type, call.filter, call.output_type
        );
    }
    let fields = |schema: &arrow_schema::Schema| -> Vec<String> {
        schema
            .fields()
            .iter()
            .map(|f| {
                format!(
                    "{} {}{}",
                    f.name(),
                    f.data_type(),
                    if f.is_nullable() { "?" } else { "" }
                )
            })
            .collect()
    };
    let _ = writeln!(out, "grouped {:?}", fields(&w.grouped));
    let _ = writeln!(
        out,
        "select {:?} columns {:?}",
        w.projection,
        w.projection
            .iter()
            .map(|e| e.as_column())
            .collect::<Vec<_>>()
    );
    let _ = writeln!(out, "output {:?}", fields(&w.output));
    out
}

#[test]
fn click_count_is_planned_as_written() {
    let sql = "SELECT window_start, window_end, page, COUNT(*) AS count\nFROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND)\nGROUP BY window_start, window_end, page";
    expect![[r#"
        Tumbling { size_ms: 15000, offset_ms: 0 } over column 0, reads window: false
        filter None, having None
        keys [page] [Utf8]
        Count(None: None) filter None -> Int64
        grouped ["window_start Timestamp(ms)", "window_end Timestamp(ms)", "window_time Timestamp(ms)", "page Utf8?", "count(*) Int64"]
        select [window_start, window_end, page, count(*)] columns [Some(0), Some(1), Some(3), Some(4)]
        output ["window_start Timestamp(ms)", "window_end Timestamp(ms)", "page Utf8?", "count Int64"]
    "#]].assert_eq(&describe(&window(sql)));
}

#[test]
fn aggregates_filters_having_and_expressions_over_them() {
    let sql = "SELECT upper(page) AS p, window_time AS t, sum(i) AS si, sum(x) / count(x) AS mean, sum(amount) AS sa, avg(a) AS av,
          min(page) AS mp, max(day) AS md, count(*) FILTER (WHERE flag) AS flagged, sum(a + b) AS ab, avg(x) AS ax,
          CAST(window_end AS DATE) AS day
        FROM TUMBLE(clicks, timestamp, size => INTERVAL '1' MINUTE, offset => INTERVAL '-10' SECOND) AS w
        WHERE w.a > 0 OR page IS NULL
        GROUP BY p, window_end, a % 2
        HAVING si > 10 AND count(*) > 1";
    expect![[r#"
        Tumbling { size_ms: 60000, offset_ms: -10000 } over column 0, reads window: false
        filter Some(a > 0 OR page IS NULL), having Some(sum(i) > 10 AND count(*) > 1)
        keys [upper(page), a % 2] [Utf8, Int64]
        Sum(Some(i): Some(Int64)) filter None -> Int64
        Sum(Some(x): Some(Float64)) filter None -> Float64
        Count(Some(x): Some(Float64)) filter None -> Int64
        Sum(Some(amount): Some(Decimal128(10, 2))) filter None -> Decimal128(20, 2)
        Avg(Some(a): Some(Int64)) filter None -> Float64
        Min(Some(page): Some(Utf8)) filter None -> Utf8
        Max(Some(day): Some(Date32)) filter None -> Date32
        Count(None: None) filter Some(flag) -> Int64
        Sum(Some(a + b): Some(Int64)) filter None -> Int64
        Avg(Some(x): Some(Float64)) filter None -> Float64
        Count(None: None) filter None -> Int64
        grouped ["window_start Timestamp(ms)", "window_end Timestamp(ms)", "window_time Timestamp(ms)", "upper(page) Utf8?", "a % 2 Int64?", "sum(i) Int64?", "sum(x) Float64?", "count(x) Int64", "sum(amount) Decimal128(20, 2)?", "avg(a) Float64?", "min(page) Utf8?", "max(day) Date32?", "count(*) FILTER (WHERE flag) Int64", "sum(a + b) Int64?", "avg(x) Float64?", "count(*) Int64"]
        select [upper(page), window_time, sum(i), sum(x) / count(x), sum(amount), avg(a), min(page), max(day), count(*) FILTER (WHERE flag), sum(a + b), avg(x), CAST(window_end AS Date32)] columns [Some(3), Some(2), Some(5), None, Some(8), Some(9), Some(10), Some(11), Some(12), Some(13), Some(14), None]
        output ["p Utf8?", "t Timestamp(ms)", "si Int64?", "mean Float64?", "sa Decimal128(20, 2)?", "av Float64?", "mp Utf8?", "md Date32?", "flagged Int64", "ab Int64?", "ax Float64?", "day Date32?"]
    "#]].assert_eq(&describe(&window(sql)));
}

#[test]
fn what_is_read_of_the_window_per_row_is_known() {
    let from = "FROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND)";
    let by_filter = format!(
        "SELECT count(*) AS n {from} WHERE timestamp < window_end - INTERVAL '1' SECOND GROUP BY window_start"
    );
    let by_key = format!(
        "SELECT date_part('hour', window_start) AS h, count(*) AS n {from} GROUP BY window_end, 1"
    );
    let by_argument =
        format!("SELECT max(timestamp - window_start) IS NULL AS m {from} GROUP BY window_time");
    let neither = format!("SELECT window_start, count(*) AS n {from} GROUP BY 1");
    let reads = [by_filter, by_key, by_argument, neither].map(|sql| {
        plan(&topology("app").with_clicks().with_node("n", &sql))
            .map(|p| match &p.sub_topologies[1].input {
                Input::Window(input) => input.window.reads_window,
                Input::Source(_) => false,
            })
            .map_err(|found| render(&found))
    });
    expect![[r#"[Ok(true), Ok(true), Err("10:14+3 invalid-expression: `timestamp - window_start` is Duration(ms), which no column can hold: CAST it to text, a number, a date or a timestamp\n"), Ok(false)]"#]].assert_eq(&format!("{reads:?}"));
}

#[test]
fn nodes_live_where_their_input_lives() {
    let plan = planned(
        &topology("app")
            .with_clicks()
            .with_node("daily", "SELECT window_end, sum(n) AS n FROM TUMBLE(counts, window_time, INTERVAL '1' DAY) GROUP BY window_end")
            .with_node("counts", "SELECT window_start, window_time, page, count(*) AS n FROM TUMBLE(good, t, INTERVAL '15' SECOND) GROUP BY window_start, page")
            .with_node("good", "SELECT timestamp AS t, page FROM clicks WHERE a > 0")
            .with_node("large", "SELECT page, n FROM counts WHERE n > 100")
            .with_sink("raw", "good", &["page"])
            .with_sink("big", "large", &["page"])
            .with_sink("days", "daily", &[]),
    );
    let mut out = String::new();
    for sub in &plan.sub_topologies {
        let producers = match &sub.input {
            Input::Source(_) => vec![],
            Input::Window(input) => input.producers.clone(),
        };
        let _ = writeln!(out, "{} <- {producers:?}", sub.name);
        for (index, node) in sub.nodes.iter().enumerate() {
            let kind = match &node.kind {
                NodeKind::Map(_) => "map",
                NodeKind::Fold(_) => "fold",
                NodeKind::Sink(_) => "sink",
            };
            assert!(
                matches!(node.from, Edge::Input)
                    || matches!(node.from, Edge::Node(from) if from < index),
                "edges point backwards"
            );
            let _ = writeln!(out, "  {index} {kind} {} <- {:?}", node.name, node.from);
        }
    }
    expect![[r#"
        clicks <- []
          0 map good <- Input
          1 fold counts <- Node(0)
          2 sink raw <- Node(0)
        counts <- ["clicks"]
          0 fold daily <- Input
          1 map large <- Input
          2 sink big <- Node(1)
        daily <- ["counts"]
          0 sink days <- Input
    "#]]
    .assert_eq(&out);
}

#[test]
fn a_window_over_a_window_may_keep_its_inputs_window_columns() {
    let sql = "SELECT window_start, window_end, max(n) AS n FROM TUMBLE(counts, window_time, INTERVAL '1' DAY) GROUP BY window_start";
    let plan = planned(
        &topology("app")
            .with_clicks()
            .with_node("counts", "SELECT window_start, window_end, window_time, count(*) AS n FROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND) GROUP BY window_start")
            .with_node("daily", sql),
    );
    let Input::Window(input) = &plan.sub_topology("daily").unwrap().input else {
        panic!("no window")
    };
    // The window's own columns hide the input's: 0 and 1 of `grouped`.
    assert_eq!(
        input
            .window
            .projection
            .iter()
            .map(|e| e.as_column())
            .collect::<Vec<_>>(),
        [Some(0), Some(1), Some(3)]
    );
    assert_eq!(input.window.time, 2);
}

#[test]
fn fingerprints_change_with_meaning_and_not_with_names_of_sinks() {
    let sql = "SELECT window_end, page, count(*) AS n FROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND) WHERE a > 0 GROUP BY window_end, page";
    let prints = |spec: &TopologySpec| {
        planned(spec)
            .sub_topologies
            .iter()
            .map(|s| s.fingerprint)
            .collect::<Vec<_>>()
    };
    let base = |sql: &str| {
        topology("app")
            .with_clicks()
            .with_node("n", sql)
            .with_sink("out", "n", &["page"])
    };
    let first = prints(&base(sql));
    // Pinned: a change of this number makes every running application start anew.
    expect!["[d871b6d7fa8b5125, 9e5d1775443b8777]"].assert_eq(&format!("{first:x?}"));
    assert_eq!(
        prints(&base(
            &sql.replace(" WHERE", "\n  where").replace("AS n", "AS   n")
        )),
        first,
        "layout"
    );
    assert_eq!(
        prints(
            &topology("app")
                .with_clicks()
                .with_node("n", sql)
                .with_sink("other", "n", &[])
        ),
        first,
        "sinks"
    );
    assert_eq!(
        prints(&base(&sql.replace("AS n", "AS m"))),
        first,
        "a column's name above the state"
    );
    let mut tuned = base(sql);
    tuned.sources[0]
        .event_time
        .as_mut()
        .unwrap()
        .out_of_orderness_ms = 9;
    tuned.nodes[0].late = crate::spec::LatePolicy::Reject;
    assert_eq!(prints(&tuned), first, "policies");
    for changed in [
        sql.replace("'15'", "'16'"),
        sql.replace("a > 0", "a > 1"),
        sql.replace("count(*)", "count(page)"),
        sql.replace("count(*)", "sum(a)"),
        sql.replace("page, count", "b, count")
            .replace("window_end, page", "window_end, b")
            .replace("b, count", "b AS page, count"),
    ] {
        let second = prints(&base(&changed));
        assert!(second.iter().zip(&first).all(|(a, b)| a != b), "{changed}");
    }
}

#[test]
fn a_change_of_a_map_changes_the_state_behind_it() {
    let print = |filter: &str| {
        let plan = planned(
            &topology("app")
                .with_clicks()
                .with_node("m", &format!("SELECT timestamp, page FROM clicks WHERE {filter}"))
                .with_node("n", "SELECT window_end, count(*) AS n FROM TUMBLE(m, timestamp, INTERVAL '15' SECOND) GROUP BY window_end"),
        );
        plan.sub_topology("n").unwrap().fingerprint
    };
    assert_ne!(print("a > 0"), print("a > 1"));
}
