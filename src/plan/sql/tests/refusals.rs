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
    expect![[r#"
        SELECT a FROM clicks; SELECT b FROM clicks
          10:27+1 several-statements: a node is one statement (write one SELECT per node; a node can read another one)
        INSERT INTO clicks VALUES (1)
          10:7+29 not-a-select: a node's SQL must be a SELECT (write SELECT … FROM …; where rows go is said under `sinks`)
        VALUES (1)
          10:7+10 not-a-select: a node's SQL must be a SELECT (write SELECT … FROM …; where rows go is said under `sinks`)

          10:7+1 sql-syntax: there is no SQL here (write a SELECT)
        SELECT a,, b FROM clicks
          10:16+1 sql-syntax: SQL syntax: expected: an expression, found: ,
        SELECT 'open FROM clicks
          10:14+1 sql-syntax: cannot read the SQL: Unterminated string literal
        SELECT a FROM clicks JOIN other ON a = b
          10:28+4 unsupported-join: joins are not supported yet: a node reads one input (bring the columns into one topic before Millstream)
        SELECT a FROM clicks, other
          10:29+5 unsupported-join: joins are not supported yet: a node reads one input (bring the columns into one topic before Millstream)
        SELECT a FROM (SELECT a FROM clicks)
          10:22+20 unsupported-subquery: a subquery is not supported (make it a node of its own and read from that)
        SELECT a FROM clicks WHERE a IN (SELECT b FROM clicks)
          10:40+20 unsupported-subquery: a subquery is not supported (make it a node of its own; joins come later)
        WITH t AS (SELECT 1) SELECT a FROM t
          10:7+4 unsupported-cte: WITH is not supported (make it a node of its own and read from that)
        SELECT a FROM clicks UNION ALL SELECT b FROM clicks
          10:28+5 unsupported-union: UNION is not supported (let two nodes feed two sinks of the same topic)
        SELECT DISTINCT page FROM clicks
          10:14+8 unsupported-distinct: DISTINCT is not supported (GROUP BY the columns over a window)
        SELECT a FROM clicks ORDER BY a LIMIT 3
          10:28+5 unsupported-order-by: ORDER BY is not supported (rows leave in the order in which they arrive; leave it out)
          10:39+5 unsupported-limit: LIMIT is not supported (a stream has no last row; filter with WHERE, or aggregate over a window)
        SELECT row_number() OVER (PARTITION BY page) AS n FROM clicks
          10:14+10 unsupported-over: OVER is not supported (aggregate over a window: FROM TUMBLE(…) … GROUP BY window_start, window_end)
        SELECT page, COUNT(*) AS n FROM clicks GROUP BY page
          10:46+5 unwindowed-aggregate: an aggregate without a window is not supported yet: on a stream it would never be finished (read FROM TUMBLE(clicks, timestamp, INTERVAL '1' MINUTE) and GROUP BY window_start, window_end)
        SELECT COUNT(*) AS n FROM clicks
          10:14+5 unwindowed-aggregate: an aggregate without a window is not supported yet: on a stream it would never be finished (read FROM TUMBLE(clicks, timestamp, INTERVAL '1' MINUTE) and GROUP BY window_start, window_end)
        SELECT a FROM HOP(clicks, timestamp, INTERVAL '5' SECOND, INTERVAL '15' SECOND)
          10:21+3 unsupported-window: HOP windows are not supported yet (use TUMBLE(input, time, INTERVAL '15' SECOND))
        SELECT a FROM SESSION(clicks PARTITION BY page, timestamp, INTERVAL '5' SECOND)
          10:21+7 unsupported-window: SESSION windows are not supported yet (use TUMBLE(input, time, INTERVAL '15' SECOND))
        SELECT a FROM TABLE(TUMBLE(clicks, timestamp, INTERVAL '5' SECOND))
          10:27+38 unsupported-table-function: TABLE(…) is not supported (write FROM TUMBLE(input, time, INTERVAL '15' SECOND))
        SELECT page FROM clicks GROUP BY TUMBLE(timestamp, INTERVAL '5' SECOND)
          10:31+5 unwindowed-aggregate: an aggregate without a window is not supported yet: on a stream it would never be finished (read FROM TUMBLE(clicks, timestamp, INTERVAL '1' MINUTE) and GROUP BY window_start, window_end)
          10:40+6 window-in-expression: a window stands in FROM, not in an expression (write FROM TUMBLE(input, time, INTERVAL '15' SECOND) … GROUP BY window_start, window_end)
        SELECT now() AS n, random() AS r, uuid() AS u, current_timestamp AS c FROM clicks
          10:14+3 non-deterministic: now gives another value each time, so that a repeated row would not be the same row (use a column of the record; the time a window closed is window_end)
          10:26+6 non-deterministic: random gives another value each time, so that a repeated row would not be the same row (use a column of the record; the time a window closed is window_end)
          10:41+4 non-deterministic: uuid gives another value each time, so that a repeated row would not be the same row (use a column of the record; the time a window closed is window_end)
          10:54+17 non-deterministic: current_timestamp gives another value each time, so that a repeated row would not be the same row (use a column of the record; the time a window closed is window_end)
        SELECT pgae FROM clicks
          10:14+4 unknown-column: `clicks` has no column `pgae` (did you mean `page`?)
        SELECT page FROM click
          10:24+5 unknown-input: no source or node is called `click` (did you mean `clicks`?)
        SELECT Page FROM clicks
          10:14+4 unknown-column: `clicks` has no column `Page` (did you mean `page`?)
        SELECT uper(page) AS p FROM clicks
          10:14+4 unknown-function: there is no function `uper` (did you mean `upper`?)
        SELECT a FROM clicks WHERE page = "home"
          10:41+6 unknown-column: `clicks` has no column `home` (text stands in single quotes: 'home')
        SELECT window_start FROM clicks
          10:14+12 unknown-column: `clicks` has no column `window_start` (window_start exists where FROM is TUMBLE(clicks, time, INTERVAL '15' SECOND))
        SELECT a + b FROM clicks
          10:14+5 missing-alias: `a + b` has no name (write a + b AS name)
        SELECT a AS x, b AS x FROM clicks
          10:27+1 duplicate-column: two columns are called `x` (give one another name with AS)
        SELECT other.a FROM clicks
          10:14+5 unknown-input: `other` is not an input of this node (the input is called `clicks` here)
        SELECT NULL AS x FROM clicks
          10:14+9 invalid-expression: NULL has no type here: write CAST(NULL AS VARCHAR), or another type
        SELECT make_array(a) AS x FROM clicks
          10:14+18 invalid-expression: `make_array(a)` is List(Int64), which no column can hold: CAST it to text, a number, a date or a timestamp
        SELECT a FROM clicks WHERE a
          10:34+1 invalid-expression: `a` is Int64, not a condition (compare it with something)
        SELECT a FROM clicks WHERE sum(a) > 1
          10:34+3 aggregate-in-where: sum cannot stand in WHERE (filter on aggregates with HAVING)
        SELECT page + flag AS x FROM clicks
          10:14+11 invalid-expression: Cannot coerce arithmetic expression Utf8 + Boolean to valid types
        SELECT a = $1 AS x FROM clicks
          10:18+2 unsupported-parameter: there are no parameters in SQL (write the value)
    "#]].assert_eq(&found);
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
    expect![[r#"
        COUNT(*) | TUMBLE(clicks, timestamp, INTERVAL '1' MONTH) | window_start
          11:47+3 interval: MONTH has no fixed length, and windows of the calendar are not supported yet (use MILLISECOND, SECOND, MINUTE, HOUR or DAY (24 hours))
        COUNT(*) | TUMBLE(clicks, timestamp, INTERVAL '0' SECOND) | window_start
          11:47+3 tumble-size: the size of a window must be above zero
        COUNT(*) | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND, INTERVAL '5' SECOND) | window_start
          11:68+3 tumble-offset: the offset must be smaller than the window (windows repeat after their size: use the remainder)
        COUNT(*) | TUMBLE(clicks, day, INTERVAL '5' SECOND) | window_start
          11:27+3 tumble-time: `day` is not the time attribute of `clicks`: watermarks say nothing about it (use `timestamp`)
        COUNT(*) | TUMBLE(clicks, tmestamp, INTERVAL '5' SECOND) | window_start
          11:27+8 unknown-column: `clicks` has no column `tmestamp` (did you mean `timestamp`?)
        COUNT(*) | TUMBLE(klicks, timestamp, INTERVAL '5' MONTH) | window_start
          11:19+6 unknown-input: no source or node is called `klicks` (did you mean `clicks`?)
          11:47+3 interval: MONTH has no fixed length, and windows of the calendar are not supported yet (use MILLISECOND, SECOND, MINUTE, HOUR or DAY (24 hours))
        COUNT(*) | TUMBLE(clicks, timestamp) | window_start
          11:12+6 tumble-arguments: TUMBLE lacks arguments (write TUMBLE(input, time, INTERVAL '15' SECOND [, INTERVAL offset]))
        COUNT(*) | TUMBLE(clicks, timestamp, width => INTERVAL '5' SECOND) | window_start
          11:38+21 tumble-arguments: TUMBLE has no such argument (write TUMBLE(input, time, INTERVAL '15' SECOND [, INTERVAL offset]); the arguments are named data, time, size, offset)
        COUNT(*) | TUMBLE(clicks, DESCRIPTOR(timestamp), INTERVAL '5' SECOND) | window_start
          11:27+20 tumble-arguments: DESCRIPTOR(…) is not needed (write TUMBLE(input, time, INTERVAL '15' SECOND [, INTERVAL offset]))
        COUNT(*) | FUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | window_start
          11:12+6 unknown-table-function: `FUMBLE` is not a function that can stand in FROM (write TUMBLE(input, time, INTERVAL '15' SECOND [, INTERVAL offset]))
        COUNT(*) | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | page
          12:7+5 window-not-grouped: rows of TUMBLE must be grouped by their window (write GROUP BY window_start, window_end, …)
        COUNT(*) | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | ROLLUP(window_start, page)
          12:16+6 unsupported-grouping-sets: grouping by several sets (GROUPING SETS, CUBE, ROLLUP) is not supported (one node per grouping)
        COUNT(DISTINCT page) | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | window_start
          10:14+5 unsupported-distinct-aggregate: DISTINCT in count is not supported yet (group by the column in one node, and count its rows in the next)
        sum(a ORDER BY b) | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | window_start
          10:14+3 unsupported-order-by: ORDER BY in sum is not supported (sum does not depend on order: leave it out)
        array_agg(a) | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | window_start
          10:14+9 unsupported-aggregate: the aggregate array_agg is not supported yet (there are count, sum, min, max, avg)
        sum(sum(a)) | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | window_start
          10:18+3 nested-aggregate: an aggregate inside an aggregate (aggregate in one node, and again in a node that reads it)
        avg(amount) | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | window_start
          10:14+3 invalid-expression: avg of a decimal is not supported yet: write avg(CAST(amount AS DOUBLE)), or select sum and count
        min(flag) | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | window_start
          10:14+3 invalid-expression: min of a boolean is not supported: write min(CAST(flag AS INT))
        sum(page) | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | window_start
          10:14+8 invalid-expression: sum does not take Utf8: CAST the argument to a type that it takes
        page | TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) | window_start
          10:14+4 not-grouped: a column in SELECT or HAVING must be in GROUP BY or inside an aggregate (add it to GROUP BY, or write for example max(…))
    "#]].assert_eq(&found);
}

#[test]
fn a_wildcard_and_a_window_do_not_go_together() {
    let sql = "SELECT * FROM TUMBLE(clicks, timestamp, INTERVAL '5' SECOND) GROUP BY window_start";
    check(
        sql,
        &expect![[r#"
        10:14+1 wildcard-with-window: `*` cannot be grouped (name the group columns and the aggregates)
    "#]],
    );
    check(
        "SELECT page FROM TUMBLE(clicks, timestamp, INTERVAL '5' SECOND)",
        &expect![[r#"
            10:24+6 window-not-grouped: rows of TUMBLE must be grouped by their window (write GROUP BY window_start, window_end, …)
        "#]],
    );
}

#[test]
fn positions_in_a_block_scalar_are_shifted_by_its_indentation() {
    check(
        "SELECT a,\n  pgae,\n  uper(page) AS u\nFROM clicks",
        &expect![[r#"
            11:9+4 unknown-column: `clicks` has no column `pgae` (did you mean `page`?)
            12:9+4 unknown-function: there is no function `uper` (did you mean `upper`?)
        "#]],
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
    expect![[r#"
        10:14+4 unknown-column: `clicks` has no column `pgae` (did you mean `page`?)
        30:14+4 unknown-function: there is no function `uper` (did you mean `upper`?)
        103:7+1 key-type: the key column `x` is a double (a double is no key: CAST it to a decimal, an integer or text in the node)
        103:7+3 unknown-column: `clicks` has no column `pge` (did you mean `page`?)
    "#]].assert_eq(&found);
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
    expect![[r#"
        20:21+1 cycle: nodes read each other in a circle: b reads c reads b (let one of them read a source)
        40:21+1 cycle: nodes read each other in a circle: d reads d (let one of them read a source)
    "#]].assert_eq(&found);
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
    expect![[r#"
        kept.t: accepted
        timed.wt: accepted
        changed.timestamp: 50:63+9 tumble-time: `timestamp` is not the time attribute of `changed`: watermarks say nothing about it (`changed` must select its input's time column unchanged)
        windowed.window_end: 50:64+10 tumble-time: `window_end` is not the time attribute of `windowed`: watermarks say nothing about it (`windowed` must select window_time: that is the event time of a window's row)
        plain.timestamp: 50:61+9 tumble-time: `timestamp` is not the time attribute of `plain`: watermarks say nothing about it (`plain` has no event time: declare sources.plain.event_time)
    "#]].assert_eq(&outcomes);
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
    expect![[r#"
        12:3+4 late-without-window: `late` on a node without a window (leave it out: without a window no row is late)
        101:7+1 sink-without-time: `timestamp: event_time`, but rows of `n` have no event time (`n` must select its input's time column unchanged)
    "#]].assert_eq(&format!("{first}{second}"));
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
    assert_ne!(refusal(&not), "accepted\n");
    assert_eq!(refusal(&sum(200)), "accepted\n");
    assert_eq!(code(sum(201)).as_deref(), Some("expression-too-deep"));
}

#[test]
fn unread_sources_and_nodes_are_warnings() {
    let spec = topology("app")
        .with_clicks()
        .with_source("idle", &[("a", "int64")], None)
        .with_node("n", "SELECT EXTRACT(YEAR FROM day) AS y FROM clicks")
        .with_node("w", "SELECT window_end, COUNT(*) AS c FROM TUMBLE(size => INTERVAL '1' DAY, data => clicks, time => timestamp) GROUP BY 1");
    expect![[r#"
        2:7+4 unused-source: nothing reads `idle` (read it in a node or a sink, or remove it)
        9:7+1 unused-node: nothing reads `n` (read it in a node or a sink, or remove it)
        19:7+1 unused-node: nothing reads `w` (read it in a node or a sink, or remove it)
    "#]]
    .assert_eq(&render(&crate::plan::warnings(&spec)));
    assert_eq!(
        plan(&spec).map(|p| p.sub_topologies.len()).unwrap_or(0),
        2,
        "an unread source has no tasks"
    );
}
