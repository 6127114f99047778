//! Files as users write them: what good ones mean and what is said about bad ones. Each rule is seen to bite.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::diagnostic::render_text;
use super::*;

const GOOD: &str = "\
app: click-count
sources:
  clicks:
    topic: input
    format: json
    columns: { timestamp: timestamp_ms, page: string }
    event_time: { column: timestamp, out_of_orderness: 200ms, idle_after: 5s }
nodes:
  counts:
    sql: |
      SELECT window_start, window_end, page, COUNT(*) AS count
      FROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND)
      GROUP BY window_start, window_end, page
    allowed_lateness: 0s
    late: reject
sinks:
  output: { from: counts, topic: output, format: json, key: page }
";

/// The smallest file, with a source whose further lines are given; they are indented by four.
fn with_source(lines: &str) -> String {
    format!(
        "app: a\nsources:\n  s:\n    topic: in\n{lines}\nsinks:\n  out: {{ from: s, topic: out }}\n"
    )
}

fn with_node(lines: &str) -> String {
    format!(
        "app: a\nsources:\n  s: {{ topic: in, columns: {{ x: int64 }} }}\nnodes:\n  n:\n{lines}\n\
         sinks:\n  out: {{ from: n, topic: out }}\n"
    )
}

fn with_sink(lines: &str) -> String {
    format!(
        "app: a\nsources:\n  s: {{ topic: in, columns: {{ x: int64 }} }}\nsinks:\n  out:\n    from: s\n    topic: out\n{lines}\n"
    )
}

fn good(text: &str) -> TopologySpec {
    read("t.yaml", text).unwrap_or_else(|found| panic!("{}", render_text("t.yaml", text, &found)))
}

fn shown(text: &str) -> String {
    match read("t.yaml", text) {
        Ok(spec) => format!("accepted: {spec:#?}"),
        Err(found) => render_text("t.yaml", text, &found),
    }
}

/// `line:column code` and the message of each diagnostic.
fn brief(text: &str) -> Vec<String> {
    let found = read("t.yaml", text).expect_err("the file was accepted");
    found
        .iter()
        .map(|one| {
            format!(
                "{}:{} {}: {}",
                one.span.line, one.span.column, one.code, one.message
            )
        })
        .collect()
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&shown(text));
}

#[test]
fn the_example_of_the_design_is_read_into_these_values() {
    let spec = good(GOOD);
    assert_eq!((spec.app.value.as_str(), spec.shards), ("click-count", 16));
    assert_eq!(spec.rejects_topic, "click-count.rejects");
    let source = &spec.sources[0];
    assert_eq!(
        (source.name.value.as_str(), source.topic.value.as_str()),
        ("clicks", "input")
    );
    assert_eq!((source.start, source.coerce), (Start::Earliest, false));
    let columns: Vec<_> = source
        .columns
        .iter()
        .map(|c| (c.name.value.as_str(), &c.kind))
        .collect();
    assert_eq!(
        columns,
        [
            ("timestamp", &ColumnType::TimestampMs),
            ("page", &ColumnType::String)
        ]
    );
    assert_eq!(source.columns[1].path, ["page"]);
    assert!(!source.columns[1].required);
    let time = source.event_time.as_ref().unwrap();
    assert_eq!(time.column.value, "timestamp");
    assert_eq!(
        (time.out_of_orderness_ms, time.idle_after_ms),
        (200, Some(5_000))
    );
    assert_eq!(
        (time.valid_from_ms, time.valid_ahead_ms),
        (0, Some(86_400_000))
    );
    let node = &spec.nodes[0];
    assert_eq!(
        (node.name.value.as_str(), node.late),
        ("counts", LatePolicy::Reject)
    );
    assert_eq!((node.sql.span.line, node.sql.span.column), (11, 7));
    assert_eq!(
        node.late_span,
        Some(Span {
            line: 15,
            column: 5,
            len: 4
        })
    );
    assert!(node.sql.value.starts_with("SELECT window_start"));
    let sink = &spec.sinks[0];
    assert_eq!(
        (sink.from.value.as_str(), sink.topic.value.as_str()),
        ("counts", "output")
    );
    assert_eq!(sink.key[0].value, "page");
    assert_eq!(sink.timestamp, SinkTimestamp::WallClock);
    assert_eq!(sink.timestamp_format, TimestampFormat::Iso);
    assert!(!sink.decimals_as_string);
}

#[test]
fn every_optional_word_is_read() {
    let spec = good(
        "\u{feff}app: a
shards: 4
rejects: { topic: bad-rows }
sources:
  s:
    topic: in.1
    start: 2024-05-01T00:00:00Z
    coerce: true
    columns:
      at: { type: timestamp, pattern: '%Y-%m-%d %H:%M:%S', required: true }
      user: { type: string, path: user.id.text }
      dotted: { type: int32, path: [a.b, c] }
      a.dotted.name: int64
      price: decimal(9, 2)
      flag: boolean
      half: double
      day: date
      sec: timestamp_s
    event_time: { column: at, idle_after: never, valid: { from: 2020-01-01T00:00:00Z, ahead: any } }
sinks:
  o:
    from: s
    topic: out
    key: [user, day]
    timestamp: event_time
    timestamp_format: epoch_ms
    decimals_as: string
    mode: append
    delivery: exactly_once
",
    );
    assert_eq!((spec.shards, spec.rejects_topic.as_str()), (4, "bad-rows"));
    let source = &spec.sources[0];
    assert_eq!(
        (source.start, source.coerce),
        (Start::Timestamp(1_714_521_600_000), true)
    );
    let kinds: Vec<_> = source
        .columns
        .iter()
        .map(|column| column.kind.clone())
        .collect();
    let pattern = Some("%Y-%m-%d %H:%M:%S".to_owned());
    assert_eq!(
        kinds,
        [
            ColumnType::Timestamp { pattern },
            ColumnType::String,
            ColumnType::Int32,
            ColumnType::Int64,
            ColumnType::Decimal {
                precision: 9,
                scale: 2
            },
            ColumnType::Boolean,
            ColumnType::Double,
            ColumnType::Date,
            ColumnType::TimestampS,
        ]
    );
    assert!(source.columns[0].required);
    assert_eq!(source.columns[1].path, ["user", "id", "text"]);
    assert_eq!(source.columns[2].path, ["a.b", "c"]);
    assert_eq!(source.columns[3].path, ["a.dotted.name"]);
    let time = source.event_time.as_ref().unwrap();
    assert_eq!((time.out_of_orderness_ms, time.idle_after_ms), (0, None));
    assert_eq!(
        (time.valid_from_ms, time.valid_ahead_ms),
        (1_577_836_800_000, None)
    );
    let sink = &spec.sinks[0];
    let key: Vec<_> = sink
        .key
        .iter()
        .map(|column| column.value.as_str())
        .collect();
    assert_eq!(key, ["user", "day"]);
    assert_eq!(sink.timestamp, SinkTimestamp::EventTime);
    assert_eq!(sink.timestamp_format, TimestampFormat::EpochMs);
    assert!(sink.decimals_as_string);
}

#[test]
fn starts_are_words_rfc_3339_or_milliseconds() {
    let cases = [
        ("earliest", Start::Earliest),
        ("latest", Start::Latest),
        ("1500", Start::Timestamp(1_500)),
    ];
    for (word, start) in cases {
        let text = with_source(&format!("    columns: {{ x: int64 }}\n    start: {word}"));
        assert_eq!(good(&text).sources[0].start, start);
    }
}

#[test]
fn all_errors_of_a_file_come_at_once_in_the_order_of_their_places() {
    check(
        "\
app: Click
sources:
  clicks:
    topics: input
    format: jsno
    columns: { timestamp: string, page: strng }
    event_time: { column: timestmp, out_of_orderness: 5 }
nodes:
  clicks:
    late: keep
sinks:
  output: { from: count, topic: Click.x, key: [] }
",
        expect![[r#""#]],
    );
}

#[test]
fn broken_yaml_is_a_diagnostic_with_a_place() {
    let cases = [
        ("app: [a", "1:8 yaml-syntax"),
        ("app: a: b", "1:7 yaml-syntax"),
        ("app: 'a", "1:"),
        ("app: a\n\tb: c", "2:"),
        ("a\0b: c", "1:2 yaml-syntax: the file holds a NUL character"),
        (
            "--- \napp: a\n---\napp: b",
            "3:1 yaml-syntax: a second document begins here",
        ),
        ("", "1:1 missing-key: the file is empty"),
        ("# nothing", "1:1 missing-key: the file is empty"),
        (
            "- a",
            "1:1 wrong-kind: the topology must be a mapping, not a list",
        ),
        (
            "app",
            "1:1 wrong-kind: the topology must be a mapping, not text",
        ),
        ("app: &x a", "1:"),
        ("app: !!str a", "1:"),
        ("{[a]: b}", "1:2 wrong-kind: a key must be text, not a list"),
    ];
    for (text, start) in cases {
        let found = brief(text);
        assert!(
            found.iter().any(|one| one.starts_with(start)),
            "{text:?}: {found:?}"
        );
    }
    let deep = format!("app: {}", "[".repeat(200));
    assert!(brief(&deep)[0].contains("nesting"), "{:?}", brief(&deep));
    let deep = format!("app:\n{}", "- ".repeat(100_000));
    assert!(brief(&deep)[0].contains("nesting"));
}

#[test]
fn anchors_aliases_and_tags_are_refused_by_name() {
    let text = with_source("    columns: &c { x: int64 }\n    coerce: !!bool true\n    start: *c");
    let found = brief(&text).join("\n");
    for word in ["anchors", "tags", "aliases"] {
        assert!(
            found.contains(&format!("YAML {word} are not supported")),
            "{found}"
        );
    }
}

#[test]
fn every_duplicate_key_is_reported() {
    let text = "app: a\napp: b\nsources:\n  s: { topic: in, topic: in, columns: { x: int64, x: date } }\n\
                sinks: { o: { from: s, topic: t } }\n";
    let found = brief(text);
    assert_eq!(
        found,
        [
            "2:1 duplicate-key: `app` stands here for a second time",
            "4:20 duplicate-key: `topic` stands here for a second time",
            "4:53 duplicate-key: `x` stands here for a second time",
        ]
    );
}

#[test]
fn missing_keys_name_their_owner() {
    assert_eq!(
        brief("shards: 1"),
        [
            "1:1 missing-key: the topology needs `app`",
            "1:1 missing-key: the topology needs `sources`",
            "1:1 missing-key: the topology needs `sinks`",
        ]
    );
    assert_eq!(
        brief("app: a\nsources: {}\nnodes:\nsinks:\n"),
        [
            "2:10 missing-key: `sources` is empty: a topology needs at least one",
            "4:1 missing-key: `sinks` is empty: a topology needs at least one",
        ]
    );
    assert_eq!(
        brief("app: a\nsources: { s: {} }\nnodes: { n: {} }\nsinks: { o: {} }\nrejects: {}"),
        [
            "2:12 missing-key: source `s` needs `topic`",
            "2:12 missing-key: source `s` needs `columns`",
            "3:10 missing-key: node `n` needs `sql`",
            "4:10 missing-key: sink `o` needs `from`",
            "4:10 missing-key: sink `o` needs `topic`",
            "5:10 missing-key: `rejects` needs `topic`",
        ]
    );
}

/// Each case: lines within a source, and the one diagnostic that they give.
#[test]
fn rules_of_sources_bite() {
    let x = "    columns: { x: int64, t: timestamp_ms }\n";
    let cases = [
        (
            "    columns: [x]",
            "5:14 wrong-kind: `columns` of source `s` must be a mapping, not a list",
        ),
        (
            "    columns:",
            "5:5 wrong-kind: `columns` of source `s` must be a mapping, not nothing",
        ),
        (
            "    columns: {}",
            "5:14 missing-key: `columns` of source `s` is empty: a source needs at least one column",
        ),
        (
            "    columns: { x: integr }",
            "5:19 unknown-type: column `x` of source `s`: there is no type `integr`",
        ),
        (
            "    columns: { x: decimal(9,2) }",
            "5:19 unknown-type: column `x` of source `s`: `decimal(9` has no closing bracket",
        ),
        ("    columns: { x: { type: decimal(9,2) } }", "5:"),
        (
            "    columns: { x: \"decimal(39,2)\" }",
            "5:19 unknown-type: column `x` of source `s`: `decimal(39,2)` is no decimal type",
        ),
        (
            "    columns: { x: \"decimal(3,4)\" }",
            "5:19 unknown-type: column `x` of source `s`: `decimal(3,4)` is no decimal type",
        ),
        (
            "    columns: { x: \"decimal(3,-1)\" }",
            "5:19 unknown-type: column `x` of source `s`: `decimal(3,-1)` is no decimal type",
        ),
        (
            "    columns: { x: { path: a } }",
            "5:16 missing-key: column `x` of source `s` needs `type`",
        ),
        (
            "    columns: { x: { type: date, path: a..b } }",
            "5:39 invalid-value: `path` of column `x` of source `s` has an empty step",
        ),
        (
            "    columns: { x: { type: date, path: [] } }",
            "5:39 invalid-value: `path` of column `x` of source `s` is empty",
        ),
        (
            "    columns: { x: { type: date, requird: true } }",
            "5:33 unknown-key: column `x` of source `s` has no key `requird`",
        ),
        (
            "    columns: { x: { type: date, required: yes } }",
            "5:43 wrong-kind: `required` of column `x` of source `s` is `yes`, not true or false",
        ),
        (
            "    columns: { x: { type: date, pattern: '%Y' } }",
            "5:42 invalid-value: `pattern` of column `x` of source `s` has a meaning for the type `timestamp` only",
        ),
        (
            "    columns: { x: { type: timestamp, pattern: yyyy-MM-dd } }",
            "5:47 invalid-value: `pattern` of column `x` of source `s`: `yyyy-MM-dd` is no strftime pattern",
        ),
        (
            "    columns: { x: { type: timestamp, pattern: '%!' } }",
            "5:47 invalid-value: `pattern` of column `x` of source `s`: `%!` is no strftime pattern",
        ),
        (
            "    format: avro\n",
            "5:13 not-supported: `format` of source `s`: `avro` is not supported yet",
        ),
        (
            "    format: xml\n",
            "5:13 invalid-value: `format` of source `s` cannot be `xml`",
        ),
        (
            "    partitioned_by: [x]\n",
            "5:5 not-supported: `partitioned_by` is not supported yet, in source `s`",
        ),
        (
            "    kind: table\n",
            "5:5 not-supported: `kind` is not supported yet, in source `s`",
        ),
        (
            "    primary_key: x\n",
            "5:5 not-supported: `primary_key` is not supported yet, in source `s`",
        ),
        (
            "    state_ttl: 1h\n",
            "5:5 not-supported: `state_ttl` is not supported yet, in source `s`",
        ),
        (
            "    coerce: 'true'\n",
            "5:13 wrong-kind: `coerce` of source `s` is `true`, not true or false",
        ),
        (
            "    start: erliest\n",
            "5:12 invalid-value: `start` of source `s` cannot be `erliest`",
        ),
        (
            "    start: -5\n",
            "5:12 invalid-value: `start` of source `s` cannot be `-5`",
        ),
        (
            "    event_time: t\n",
            "5:17 wrong-kind: `event_time` of source `s` must be a mapping, not text",
        ),
        (
            "    event_time: {}\n",
            "5:17 missing-key: `event_time` of source `s` needs `column`",
        ),
        (
            "    event_time: { column: y }\n",
            "5:27 unknown-column: source `s` has no column `y`",
        ),
        (
            "    event_time: { column: x }\n",
            "5:27 wrong-type: column `x` of source `s` is no timestamp and cannot be its event time",
        ),
        (
            "    event_time: { column: t, out_of_orderness: -1s }\n",
            "5:48 invalid-duration: `out_of_orderness` of `event_time` of source `s`: a duration is never negative",
        ),
        (
            "    event_time: { column: t, out_of_orderness: never }\n",
            "5:48 invalid-duration: `out_of_orderness` of `event_time` of source `s`: `never` is not a duration",
        ),
        (
            "    event_time: { column: t, idle_after: 5 }\n",
            "5:42 invalid-duration: `idle_after` of `event_time` of source `s`: `5` has no unit",
        ),
        (
            "    event_time: { column: t, valid: { ahed: 1d } }\n",
            "5:39 unknown-key: `valid` of `event_time` of source `s` has no key `ahed`",
        ),
        (
            "    event_time: { column: t, valid: { ahead: never } }\n",
            "5:46 invalid-duration: `ahead` of `valid` of `event_time` of source `s`: `never` is not a duration",
        ),
        (
            "    event_time: { column: t, valid: { from: -1 } }\n",
            "5:45 invalid-value: `from` of `valid` of `event_time` of source `s` lies before 1970",
        ),
        (
            "    event_time: { column: t, valid: { from: 2024 05 } }\n",
            "5:45 invalid-value: `from` of `valid` of `event_time` of source `s`: `2024 05` is not a moment (input contains invalid characters)",
        ),
    ];
    for (lines, expected) in cases {
        let columns = if lines.contains("columns") { "" } else { x };
        let found = brief(&with_source(&format!("{lines}{columns}")));
        assert_eq!(found.len(), 1, "{lines}: {found:#?}");
        assert!(found[0].starts_with(expected), "{lines}: {found:#?}");
    }
}

#[test]
fn rules_of_nodes_bite() {
    let cases = [
        (
            "    sql: >\n      SELECT 1\n      FROM s",
            "7:7 folded-sql: `sql` of node `n` is folded",
        ),
        (
            "    sql: SELECT 1\n      FROM s",
            "6:10 folded-sql: `sql` of node `n` is folded",
        ),
        (
            "    sql: 'SELECT 1\n      FROM s'",
            "6:10 folded-sql: `sql` of node `n` is folded",
        ),
        (
            "    sql: ' '",
            "6:10 invalid-value: `sql` of node `n` is empty",
        ),
        (
            "    sql: [a]",
            "6:10 wrong-kind: `sql` of node `n` must be text, not a list",
        ),
        (
            "    sql: S\n    late: keep",
            "7:11 invalid-value: `late` of node `n` cannot be `keep`",
        ),
        (
            "    sql: S\n    late: { output: o }",
            "7:11 not-supported: `late` of node `n`: an output for late rows is not supported yet",
        ),
        (
            "    sql: S\n    late: output",
            "7:11 not-supported: `late` of node `n`: `output` is not supported yet",
        ),
        (
            "    sql: S\n    allowed_lateness: 5s",
            "7:23 not-supported: `allowed_lateness` of node `n`: a lateness above 0s is not supported yet",
        ),
        (
            "    sql: S\n    allowed_lateness: soon",
            "7:23 invalid-duration: `allowed_lateness` of node `n`: `soon` is not a duration",
        ),
        (
            "    sql: S\n    state_ttl: 1h",
            "7:5 not-supported: `state_ttl` is not supported yet, in node `n`",
        ),
        (
            "    sql: S\n    pattern: x",
            "7:5 not-supported: `pattern` is not supported yet, in node `n`",
        ),
        (
            "    sql: S\n    latte: drop",
            "7:5 unknown-key: node `n` has no key `latte`",
        ),
    ];
    for (lines, expected) in cases {
        let found = brief(&with_node(lines));
        assert_eq!(found.len(), 1, "{lines}: {found:#?}");
        assert!(found[0].starts_with(expected), "{lines}: {found:#?}");
    }
}

#[test]
fn rules_of_sinks_bite() {
    let cases = [
        (
            "    mode: upsert",
            "8:11 not-supported: `mode` of sink `out`: `upsert` is not supported yet",
        ),
        (
            "    delivery: at_least_once",
            "8:15 not-supported: `delivery` of sink `out`: `at_least_once` is not supported yet",
        ),
        (
            "    format: protobuf",
            "8:13 not-supported: `format` of sink `out`: `protobuf` is not supported yet",
        ),
        (
            "    timestamp: now",
            "8:16 invalid-value: `timestamp` of sink `out` cannot be `now`",
        ),
        (
            "    timestamp_format: iso8601",
            "8:23 invalid-value: `timestamp_format` of sink `out` cannot be `iso8601`",
        ),
        (
            "    decimals_as: text",
            "8:18 invalid-value: `decimals_as` of sink `out` cannot be `text`",
        ),
        (
            "    key: []",
            "8:10 invalid-value: `key` of sink `out` is empty",
        ),
        (
            "    key: [x, { a: b }]",
            "8:14 wrong-kind: `key` of sink `out` must be text, not a mapping",
        ),
        (
            "    key: [x, x]",
            "8:14 duplicate-name: `x` stands in the key twice",
        ),
        (
            "    url: postgres",
            "8:5 not-supported: `url` is not supported yet, in sink `out`",
        ),
        (
            "    topics: x",
            "8:5 unknown-key: sink `out` has no key `topics`",
        ),
    ];
    for (lines, expected) in cases {
        let found = brief(&with_sink(lines));
        assert_eq!(found.len(), 1, "{lines}: {found:#?}");
        assert!(found[0].starts_with(expected), "{lines}: {found:#?}");
    }
}

/// Each case replaces a part of the good example.
#[test]
fn rules_of_the_whole_bite() {
    let long = format!("app: {}", "a".repeat(61));
    let cases = [
        (
            "app: click-count",
            "app: 1click",
            "1:6 invalid-name: the application's name cannot be `1click`",
        ),
        (
            "app: click-count",
            long.as_str(),
            "1:6 invalid-name: the application's name has 61 characters, more than 60",
        ),
        (
            "app: click-count",
            "app: a\nshards: 0",
            "2:9 invalid-value: `shards` must lie between 1 and 1024, not 0",
        ),
        (
            "app: click-count",
            "app: a\nshards: 1025",
            "2:9 invalid-value: `shards` must lie between 1 and 1024, not 1025",
        ),
        (
            "app: click-count",
            "app: a\nshards: '4'",
            "2:9 wrong-kind: `shards` of the topology is `4`, not a whole number",
        ),
        (
            "app: click-count",
            "app: a\nlookups: {}",
            "2:1 not-supported: `lookups` is not supported yet, in the topology",
        ),
        (
            "app: click-count",
            "app: a\nsource: {}",
            "2:1 unknown-key: the topology has no key `source`",
        ),
        (
            "  clicks:\n",
            "  Clicks:\n",
            "3:3 invalid-name: the source's name cannot be `Clicks`",
        ),
        (
            "  counts:\n",
            "  counts.1:\n",
            "9:3 invalid-name: the node's name cannot be `counts.1`",
        ),
        (
            "  counts:\n",
            "  clicks:\n",
            "9:3 duplicate-name: `clicks` is already the name of a source",
        ),
        (
            "  output: {",
            "  out put: {",
            "17:3 invalid-name: the sink's name cannot be `out put`",
        ),
        (
            "from: counts",
            "from: count",
            "17:19 unknown-node: sink `output` reads from `count`, which is no node and no source",
        ),
        (
            "topic: output",
            "topic: input",
            "17:34 topic-loop: sink `output` writes to `input`, which a source reads: a loop",
        ),
        (
            "topic: output",
            "topic: click-count.x",
            "17:34 reserved-topic: `click-count.x` belongs to the application's internal topics",
        ),
        (
            "topic: input",
            "topic: click-count.rejects",
            "4:12 reserved-topic: `click-count.rejects` belongs to the application's internal topics",
        ),
        (
            "topic: output",
            "topic: out/put",
            "17:34 invalid-name: Kafka has no topic `out/put`",
        ),
        (
            "topic: output",
            "topic: ..",
            "17:34 invalid-name: Kafka has no topic `..`",
        ),
        (
            "sinks:",
            "rejects: { topic: input }\nsinks:",
            "16:19 topic-loop: the reject topic `input` is also a source's or sink's topic",
        ),
        (
            "sinks:",
            "rejects: { topic: output }\nsinks:",
            "16:19 topic-loop: the reject topic `output` is also a source's or sink's topic",
        ),
        (
            "sinks:",
            "rejects: { topic: click-count.bad }\nsinks:",
            "16:19 reserved-topic: `click-count.bad` belongs to",
        ),
        (
            "sinks:",
            "rejects: bad\nsinks:",
            "16:10 wrong-kind: `rejects` must be a mapping, not text",
        ),
    ];
    for (part, replacement, expected) in cases {
        let text = GOOD.replacen(part, replacement, 1);
        assert_ne!(text, GOOD);
        // Renaming a node or source also leaves the sink or SQL without it.
        let found = brief(&text);
        let others: Vec<_> = found
            .iter()
            .filter(|one| !one.contains("unknown-node") || expected.contains("unknown-node"))
            .collect();
        assert_eq!(others.len(), 1, "{replacement}: {found:#?}");
        assert!(others[0].starts_with(expected), "{replacement}: {found:#?}");
    }
}

#[test]
fn names_that_only_look_reserved_and_the_reject_topics_own_default_are_accepted() {
    good(&GOOD.replace("topic: output", "topic: click-counts.x"));
    good(&GOOD.replace("topic: output", "topic: click-count"));
    good(&GOOD.replace("sinks:", "rejects: { topic: click-count.rejects }\nsinks:"));
}

#[test]
fn numbers_are_names_where_text_is_expected() {
    assert_eq!(
        good(&GOOD.replace("topic: output", "topic: 010")).sinks[0]
            .topic
            .value,
        "010"
    );
}

#[test]
fn help_says_what_to_write() {
    let cases = [
        (with_sink("    keys: x"), "did you mean `key`?"),
        (
            with_source("    columns: { x: bigint }"),
            "did you mean `int64`?",
        ),
        (
            with_source("    columns: { x: blob }"),
            "the types are `string`, `boolean`,",
        ),
        (
            with_source("    columns: { p: decimal(9,2) }"),
            "write it in quotes, \"decimal(9,2)\"",
        ),
        (
            GOOD.replace("from: counts", "from: cuonts"),
            "did you mean `counts`?",
        ),
        (
            GOOD.replace("column: timestamp", "column: timestmp"),
            "did you mean `timestamp`?",
        ),
        (
            GOOD.replace("idle_after: 5s", "idle_after: 5"),
            "for example 200ms, 5s or 1m30s; or `never`",
        ),
    ];
    for (text, help) in cases {
        let found = read("t.yaml", &text).unwrap_err();
        assert!(
            found
                .iter()
                .any(|one| one.help.as_deref().is_some_and(|h| h.contains(help))),
            "{found:#?}"
        );
    }
}

#[test]
fn places_within_sql_of_a_spec_lead_back_to_the_file() {
    let spec = good(GOOD);
    let sql = &spec.nodes[0].sql;
    let span = locate::locate(&spec.text, sql, 2, 13);
    let line = spec.text.lines().nth(span.line - 1).unwrap();
    assert!(
        line[span.column - 1..].starts_with("clicks, timestamp"),
        "{span:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_panics_and_every_refusal_has_a_reason(text in "(\\PC|\n|\t| |[-:{}\\[\\]|>'\"#&*!?,0-9a-c]){0,80}") {
        if let Err(found) = read("t.yaml", &text) {
            prop_assert!(!found.is_empty());
            render_text("t.yaml", &text, &found);
        }
    }

    #[test]
    fn no_damage_to_a_good_file_panics(at in 0..GOOD.len(), cut in 0..40usize, put in "[-:{}\\[\\]|>'\"#&*!?,\n a0ä]{0,3}") {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + cut).min(GOOD.len()), &put);
        if let Err(found) = read("t.yaml", &text) {
            prop_assert!(!found.is_empty());
            render_text("t.yaml", &text, &found);
        }
    }
}
