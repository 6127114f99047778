//! Files as users write them: what good ones mean and what is said about bad ones. Each rule is seen to bite.

use expect_test::expect_file;
use proptest::prelude::*;

use super::diagnostic::render_text;
use super::*;

mod rules;

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

/// A file in which every optional key is written.
const EVERY_WORD: &str = "\u{feff}app: a
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
    let spec = good(EVERY_WORD);
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
    let text = "\
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
";
    expect_file!["tests/all_errors.txt"].assert_eq(&shown(text));
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
            "write `string`, `boolean`,",
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
            GOOD.replace("from: counts", "from: visitors"),
            "write `clicks` or `counts`",
        ),
        (
            GOOD.replace("column: timestamp", "column: at"),
            "write `timestamp` or `page`",
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
