//! Every construct that is not supported is refused at its place, with what to write instead.

use crate::plan::fixtures::{render, topology};
use crate::plan::plan;
use expect_test::{Expect, expect};

/// Diagnostics of one node over `clicks`.
fn refusal(sql: &str) -> String {
    match plan(&topology("app").with_clicks().with_node("n", sql)) {
        Ok(_) => "accepted\n".to_string(),
        Err(found) => render(&found),
    }
}

fn check(sql: &str, expected: &Expect) {
    expected.assert_eq(&refusal(sql));
}

#[test]
fn every_refusal_names_construct_place_and_remedy() {
    let statements = [
        "SELECT a FROM clicks; SELECT b FROM clicks",
        "INSERT INTO clicks VALUES (1)",
        "VALUES (1)",
        "",
        "SELECT a,, b FROM clicks",
        "SELECT 'open FROM clicks",
        "SELECT a FROM clicks JOIN other ON a = b",
        "SELECT a FROM clicks, other",
        "SELECT a FROM (SELECT a FROM clicks)",
        "SELECT a FROM clicks WHERE a IN (SELECT b FROM clicks)",
        "WITH t AS (SELECT 1) SELECT a FROM t",
        "SELECT a FROM clicks UNION ALL SELECT b FROM clicks",
        "SELECT DISTINCT page FROM clicks",
        "SELECT a FROM clicks ORDER BY a LIMIT 3",
        "SELECT row_number() OVER (PARTITION BY page) AS n FROM clicks",
        "SELECT page, COUNT(*) AS n FROM clicks GROUP BY page",
        "SELECT COUNT(*) AS n FROM clicks",
        "SELECT a FROM HOP(clicks, timestamp, INTERVAL '5' SECOND, INTERVAL '15' SECOND)",
        "SELECT a FROM SESSION(clicks PARTITION BY page, timestamp, INTERVAL '5' SECOND)",
        "SELECT a FROM TABLE(TUMBLE(clicks, timestamp, INTERVAL '5' SECOND))",
        "SELECT page FROM clicks GROUP BY TUMBLE(timestamp, INTERVAL '5' SECOND)",
        "SELECT now() AS n, random() AS r, uuid() AS u, current_timestamp AS c FROM clicks",
        "SELECT pgae FROM clicks",
        "SELECT page FROM click",
        "SELECT Page FROM clicks",
        "SELECT uper(page) AS p FROM clicks",
        "SELECT a FROM clicks WHERE page = \"home\"",
        "SELECT window_start FROM clicks",
        "SELECT a + b FROM clicks",
        "SELECT a AS x, b AS x FROM clicks",
        "SELECT other.a FROM clicks",
        "SELECT NULL AS x FROM clicks",
        "SELECT make_array(a) AS x FROM clicks",
        "SELECT a FROM clicks WHERE a",
        "SELECT a FROM clicks WHERE sum(a) > 1",
        "SELECT page + flag AS x FROM clicks",
        "SELECT a = $1 AS x FROM clicks",
    ];
    let found: String = statements
        .iter()
        .map(|sql| format!("{sql}\n  {}", refusal(sql).trim_end().replace('\n', "\n  ")) + "\n")
        .collect();
    expect![[r#""#]].assert_eq(&found);
}

#[test]
fn windows_are_refused_where_they_do_not_hold_together() {
    let statements = [
        (
            "TUMBLE(clicks, timestamp, INTERVAL '1' MONTH)",
            "window_start",
            "COUNT(*)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '0' SECOND)",
            "window_start",
            "COUNT(*)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND, INTERVAL '5' SECOND)",
            "window_start",
            "COUNT(*)",
        ),
        (
            "TUMBLE(clicks, day, INTERVAL '5' SECOND)",
            "window_start",
            "COUNT(*)",
        ),
        (
            "TUMBLE(clicks, tmestamp, INTERVAL '5' SECOND)",
            "window_start",
            "COUNT(*)",
        ),
        (
            "TUMBLE(klicks, timestamp, INTERVAL '5' MONTH)",
            "window_start",
            "COUNT(*)",
        ),
        ("TUMBLE(clicks, timestamp)", "window_start", "COUNT(*)"),
        (
            "TUMBLE(clicks, timestamp, width => INTERVAL '5' SECOND)",
            "window_start",
            "COUNT(*)",
        ),
        (
            "TUMBLE(clicks, DESCRIPTOR(timestamp), INTERVAL '5' SECOND)",
            "window_start",
            "COUNT(*)",
        ),
        (
            "FUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "window_start",
            "COUNT(*)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "page",
            "COUNT(*)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "ROLLUP(window_start, page)",
            "COUNT(*)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "window_start",
            "COUNT(DISTINCT page)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "window_start",
            "sum(a ORDER BY b)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "window_start",
            "array_agg(a)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "window_start",
            "sum(sum(a))",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "window_start",
            "avg(amount)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "window_start",
            "min(flag)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "window_start",
            "sum(page)",
        ),
        (
            "TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
            "window_start",
            "page",
        ),
    ];
    let found: String = statements
        .iter()
        .map(|(from, by, call)| {
            let sql = format!("SELECT {call} AS v\nFROM {from}\nGROUP BY {by}");
            format!(
                "{call} | {from} | {by}\n  {}\n",
                refusal(&sql).trim_end().replace('\n', "\n  ")
            )
        })
        .collect();
    expect![[r#""#]].assert_eq(&found);
}

#[test]
fn a_wildcard_and_a_window_do_not_go_together() {
    let sql = "SELECT * FROM TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) GROUP BY window_start";
    check(sql, &expect![[r#""#]]);
    check(
        "SELECT page FROM TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
        &expect![[r#""#]],
    );
}

#[test]
fn positions_in_a_block_scalar_are_shifted_by_its_indentation() {
    check(
        "SELECT a,\n  pgae,\n  uper(page) AS u\nFROM clicks",
        &expect![[r#""#]],
    );
}

#[test]
fn all_nodes_and_sinks_are_reported_at_once_and_followers_keep_quiet() {
    let spec = topology("app")
        .with_clicks()
        .with_node("bad", "SELECT pgae FROM clicks")
        .with_node("follower", "SELECT nothing FROM bad")
        .with_node("other", "SELECT uper(page) AS p FROM clicks")
        .with_sink("out", "follower", &["nothing"])
        .with_sink("keyed", "clicks", &["pge", "x"]);
    let found = plan(&spec)
        .err()
        .map(|found| render(&found))
        .unwrap_or_default();
    expect![[r#""#]].assert_eq(&found);
}

#[test]
fn circles_are_reported_once() {
    let spec = topology("app")
        .with_clicks()
        .with_node("a", "SELECT * FROM b")
        .with_node("b", "SELECT * FROM c")
        .with_node("c", "SELECT * FROM b")
        .with_node("d", "SELECT * FROM d");
    let found = plan(&spec)
        .err()
        .map(|found| render(&found))
        .unwrap_or_default();
    expect![[r#""#]].assert_eq(&found);
}

#[test]
fn the_time_attribute_is_followed_by_lineage_not_by_name() {
    let over = |node: &str, time: &str| {
        let sql = format!(
            "SELECT window_start, COUNT(*) AS n FROM TUMBLE({node}, {time}, INTERVAL '1' DAY) GROUP BY window_start"
        );
        let spec = topology("app")
            .with_clicks()
            .with_source("plain", &[("timestamp", "timestamp_ms")], None)
            .with_node("kept", "SELECT timestamp AS t, page FROM clicks")
            .with_node("changed", "SELECT timestamp + INTERVAL '1' SECOND AS timestamp FROM clicks")
            .with_node("windowed", "SELECT window_start, window_end, page FROM TUMBLE(kept, t, INTERVAL '5' SECOND) GROUP BY 1, window_end, page")
            .with_node("timed", "SELECT window_time AS wt, page FROM TUMBLE(kept, t, INTERVAL '5' SECOND) GROUP BY window_end, page")
            .with_node("over", &sql);
        plan(&spec)
            .err()
            .map_or("accepted\n".to_string(), |found| render(&found))
    };
    let outcomes = [
        ("kept", "t"),
        ("timed", "wt"),
        ("changed", "timestamp"),
        ("windowed", "window_end"),
        ("plain", "timestamp"),
    ]
    .map(|(node, time)| format!("{node}.{time}: {}", over(node, time)))
    .concat();
    expect![[r#""#]].assert_eq(&outcomes);
}

#[test]
fn event_time_of_a_sink_needs_a_time_attribute_and_late_needs_a_window() {
    let mut spec = topology("app")
        .with_clicks()
        .with_node("n", "SELECT page FROM clicks")
        .with_sink("out", "n", &[]);
    spec.sinks[0].timestamp = crate::spec::SinkTimestamp::EventTime;
    spec.nodes[0].late_span = Some(crate::spec::diagnostic::Span {
        line: 12,
        column: 3,
        len: 4,
    });
    let first = plan(&spec)
        .err()
        .map(|found| render(&found))
        .unwrap_or_default();
    spec.nodes[0].late_span = None;
    let second = plan(&spec)
        .err()
        .map(|found| render(&found))
        .unwrap_or_default();
    expect![[r#""#]].assert_eq(&format!("{first}{second}"));
}

#[test]
fn very_long_and_very_deep_sql_is_an_error_and_no_overflow() {
    let code = |sql: String| {
        refusal(&sql)
            .split(':')
            .nth(1)
            .map(|part| part.split_once(' ').map_or("", |p| p.1).to_string())
    };
    let sum = |terms: usize| format!("SELECT {} AS s FROM clicks", vec!["a"; terms].join(" + "));
    assert_eq!(code(sum(9_000)).as_deref(), Some("expression-too-deep"));
    assert_eq!(code(sum(100_000)).as_deref(), Some("expression-too-deep"));
    let parens = format!(
        "SELECT {}a{} AS s FROM clicks",
        "(".repeat(5_000),
        ")".repeat(5_000)
    );
    assert_eq!(code(parens).as_deref(), Some("expression-too-deep"));
    let not = format!("SELECT {} flag AS s FROM clicks", "NOT ".repeat(5_000));
    assert_eq!(code(not).as_deref(), Some("expression-too-deep"));
    assert_eq!(refusal(&sum(400)), "accepted\n");
}

#[test]
fn unread_sources_and_nodes_are_warnings() {
    let spec = topology("app")
        .with_clicks()
        .with_source("idle", &[("a", "int64")], None)
        .with_node("n", "SELECT EXTRACT(YEAR FROM day) AS y FROM clicks")
        .with_node("w", "SELECT window_end, COUNT(*) AS c FROM TUMBLE(size => INTERVAL '1' DAY, data => clicks, time => timestamp) GROUP BY 1");
    expect![[r#""#]].assert_eq(&render(&crate::plan::warnings(&spec)));
    assert_eq!(
        plan(&spec).map(|p| p.sub_topologies.len()).unwrap_or(0),
        2,
        "an unread source has no tasks"
    );
}
