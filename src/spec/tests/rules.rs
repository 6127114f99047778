//! The rules of the topology file, one case each: a change to a good file and the one diagnostic that it gives.
//!
//! A case is some lines of the file, then `=>` and how the diagnostic (place, code, message) begins.

use super::*;

fn cases(table: &str) -> Vec<(String, &str)> {
    let mut cases = Vec::new();
    let mut lines = Vec::new();
    for line in table.lines().skip(1) {
        match line.strip_prefix("=> ") {
            Some(expected) => cases.push((std::mem::take(&mut lines).join("\n"), expected)),
            None => lines.push(line),
        }
    }
    assert!(cases.len() > 5 && lines.is_empty());
    cases
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}\n")).collect()
}

fn gives_one(text: &str, expected: &str) {
    let found = brief(text);
    assert!(
        found.len() == 1 && found[0].starts_with(expected),
        "{text}\n{found:#?}\n{expected}"
    );
}

#[test]
fn rules_of_sources_bite() {
    let table = r#"
columns: [x]
=> 5:14 wrong-kind: `columns` of source `s` must be a mapping, not a list
columns:
=> 5:5 wrong-kind: `columns` of source `s` must be a mapping, not nothing
columns: {}
=> 5:14 missing-key: `columns` of source `s` is empty: a source needs at least one column
columns: { x: integr }
=> 5:19 unknown-type: column `x` of source `s`: there is no type `integr`
columns: { x: decimal(9,2) }
=> 5:19 unknown-type: column `x` of source `s`: `decimal(9` has no closing bracket
columns: { x: { type: decimal(9,2) } }
=> 5:
columns: { x: "decimal(39,2)" }
=> 5:19 unknown-type: column `x` of source `s`: `decimal(39,2)` is no decimal type
columns: { x: "decimal(3,4)" }
=> 5:19 unknown-type: column `x` of source `s`: `decimal(3,4)` is no decimal type
columns: { x: "decimal(3,-1)" }
=> 5:19 unknown-type: column `x` of source `s`: `decimal(3,-1)` is no decimal type
columns: { x: { path: a } }
=> 5:16 missing-key: column `x` of source `s` needs `type`
columns: { x: { type: date, path: a..b } }
=> 5:39 invalid-value: `path` of column `x` of source `s` has an empty step
columns: { x: { type: date, path: [] } }
=> 5:39 invalid-value: `path` of column `x` of source `s` is empty
columns: { x: { type: date, requird: true } }
=> 5:33 unknown-key: column `x` of source `s` has no key `requird`
columns: { x: { type: date, required: yes } }
=> 5:43 wrong-kind: `required` of column `x` of source `s` is `yes`, not true or false
columns: { x: { type: date, pattern: '%Y' } }
=> 5:42 invalid-value: `pattern` of column `x` of source `s` has a meaning for the type `timestamp` only
columns: { x: { type: timestamp, pattern: yyyy-MM-dd } }
=> 5:47 invalid-value: `pattern` of column `x` of source `s`: `yyyy-MM-dd` is no strftime pattern
columns: { x: { type: timestamp, pattern: '%!' } }
=> 5:47 invalid-value: `pattern` of column `x` of source `s`: `%!` is no strftime pattern
format: avro
=> 5:13 not-supported: `format` of source `s`: `avro` is not supported yet
format: xml
=> 5:13 invalid-value: `format` of source `s` cannot be `xml`
partitioned_by: [x]
=> 5:5 not-supported: `partitioned_by` is not supported yet, in source `s`
kind: table
=> 5:5 not-supported: `kind` is not supported yet, in source `s`
primary_key: x
=> 5:5 not-supported: `primary_key` is not supported yet, in source `s`
state_ttl: 1h
=> 5:5 not-supported: `state_ttl` is not supported yet, in source `s`
coerce: 'true'
=> 5:13 wrong-kind: `coerce` of source `s` is `true`, not true or false
start: erliest
=> 5:12 invalid-value: `start` of source `s` cannot be `erliest`
start: -5
=> 5:12 invalid-value: `start` of source `s` cannot be `-5`
event_time: t
=> 5:17 wrong-kind: `event_time` of source `s` must be a mapping, not text
event_time: {}
=> 5:17 missing-key: `event_time` of source `s` needs `column`
event_time: { column: y }
=> 5:27 unknown-column: source `s` has no column `y`
event_time: { column: x }
=> 5:27 wrong-type: column `x` of source `s` is no timestamp and cannot be its event time
event_time: { column: t, out_of_orderness: -1s }
=> 5:48 invalid-duration: `out_of_orderness` of `event_time` of source `s`: a duration is never negative
event_time: { column: t, out_of_orderness: never }
=> 5:48 invalid-duration: `out_of_orderness` of `event_time` of source `s`: `never` is not a duration
event_time: { column: t, idle_after: 5 }
=> 5:42 invalid-duration: `idle_after` of `event_time` of source `s`: `5` has no unit
event_time: { column: t, valid: { ahed: 1d } }
=> 5:39 unknown-key: `valid` of `event_time` of source `s` has no key `ahed`
event_time: { column: t, valid: { ahead: never } }
=> 5:46 invalid-duration: `ahead` of `valid` of `event_time` of source `s`: `never` is not a duration
event_time: { column: t, valid: { from: -1 } }
=> 5:45 invalid-value: `from` of `valid` of `event_time` of source `s` lies before 1970
event_time: { column: t, valid: { from: 2024 05 } }
=> 5:45 invalid-value: `from` of `valid` of `event_time` of source `s`: `2024 05` is not a moment
"#;
    for (lines, expected) in cases(table) {
        let columns = match lines.contains("columns") {
            true => "",
            false => "    columns: { x: int64, t: timestamp_ms }\n",
        };
        gives_one(&with_source(&(indented(&lines) + columns)), expected);
    }
}

#[test]
fn rules_of_nodes_bite() {
    let table = r#"
sql: >
  SELECT 1
  FROM s
=> 7:7 folded-sql: `sql` of node `n` is folded
sql: SELECT 1
  FROM s
=> 6:10 folded-sql: `sql` of node `n` is folded
sql: 'SELECT 1
  FROM s'
=> 6:10 folded-sql: `sql` of node `n` is folded
sql: ' '
=> 6:10 invalid-value: `sql` of node `n` is empty
sql: [a]
=> 6:10 wrong-kind: `sql` of node `n` must be text, not a list
sql: S
late: keep
=> 7:11 invalid-value: `late` of node `n` cannot be `keep`
sql: S
late: { output: o }
=> 7:11 not-supported: `late` of node `n`: an output for late rows is not supported yet
sql: S
late: output
=> 7:11 not-supported: `late` of node `n`: `output` is not supported yet
sql: S
allowed_lateness: 5s
=> 7:23 not-supported: `allowed_lateness` of node `n`: a lateness above 0s is not supported yet
sql: S
allowed_lateness: soon
=> 7:23 invalid-duration: `allowed_lateness` of node `n`: `soon` is not a duration
sql: S
state_ttl: 1h
=> 7:5 not-supported: `state_ttl` is not supported yet, in node `n`
sql: S
pattern: x
=> 7:5 not-supported: `pattern` is not supported yet, in node `n`
sql: S
latte: drop
=> 7:5 unknown-key: node `n` has no key `latte`
"#;
    for (lines, expected) in cases(table) {
        gives_one(&with_node(&indented(&lines)), expected);
    }
}

#[test]
fn rules_of_sinks_bite() {
    let table = r#"
mode: upsert
=> 8:11 not-supported: `mode` of sink `out`: `upsert` is not supported yet
delivery: at_least_once
=> 8:15 not-supported: `delivery` of sink `out`: `at_least_once` is not supported yet
format: protobuf
=> 8:13 not-supported: `format` of sink `out`: `protobuf` is not supported yet
timestamp: now
=> 8:16 invalid-value: `timestamp` of sink `out` cannot be `now`
timestamp_format: iso8601
=> 8:23 invalid-value: `timestamp_format` of sink `out` cannot be `iso8601`
decimals_as: text
=> 8:18 invalid-value: `decimals_as` of sink `out` cannot be `text`
key: []
=> 8:10 invalid-value: `key` of sink `out` is empty
key: [x, { a: b }]
=> 8:14 wrong-kind: `key` of sink `out` must be text, not a mapping
key: [x, x]
=> 8:14 duplicate-name: `x` stands in the key twice
url: postgres
=> 8:5 not-supported: `url` is not supported yet, in sink `out`
topics: x
=> 8:5 unknown-key: sink `out` has no key `topics`
"#;
    for (lines, expected) in cases(table) {
        gives_one(&with_sink(&indented(&lines)), expected);
    }
}

/// The first line of a case, after `-`, is the part of the good file that the others stand for.
#[test]
fn rules_of_the_whole_bite() {
    let table = r#"
-app: click-count
app: 1click
=> 1:6 invalid-name: the application's name cannot be `1click`
-app: click-count
app: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
=> 1:6 invalid-name: the application's name has 61 characters, more than 60
-app: click-count
app: a
shards: 0
=> 2:9 invalid-value: `shards` must lie between 1 and 1024, not 0
-app: click-count
app: a
shards: 1025
=> 2:9 invalid-value: `shards` must lie between 1 and 1024, not 1025
-app: click-count
app: a
shards: '4'
=> 2:9 wrong-kind: `shards` of the topology is `4`, not a whole number
-app: click-count
app: a
lookups: {}
=> 2:1 not-supported: `lookups` is not supported yet, in the topology
-app: click-count
app: a
source: {}
=> 2:1 unknown-key: the topology has no key `source`
-  clicks:
  Clicks:
=> 3:3 invalid-name: the source's name cannot be `Clicks`
-  counts:
  counts.1:
=> 9:3 invalid-name: the node's name cannot be `counts.1`
-  counts:
  clicks:
=> 9:3 duplicate-name: `clicks` is already the name of a source
-  output: {
  out put: {
=> 17:3 invalid-name: the sink's name cannot be `out put`
-from: counts
from: count
=> 17:19 unknown-node: sink `output` reads from `count`, which is no node and no source
-topic: output
topic: input
=> 17:34 topic-loop: sink `output` writes to `input`, which a source reads: a loop
-topic: output
topic: click-count.x
=> 17:34 reserved-topic: `click-count.x` belongs to the application's internal topics
-topic: input
topic: click-count.rejects
=> 4:12 reserved-topic: `click-count.rejects` belongs to the application's internal topics
-topic: output
topic: out/put
=> 17:34 invalid-name: Kafka has no topic `out/put`
-topic: output
topic: ..
=> 17:34 invalid-name: Kafka has no topic `..`
-sinks:
rejects: { topic: input }
sinks:
=> 16:19 topic-loop: the reject topic `input` is also a source's or sink's topic
-sinks:
rejects: { topic: output }
sinks:
=> 16:19 topic-loop: the reject topic `output` is also a source's or sink's topic
-sinks:
rejects: { topic: click-count.bad }
sinks:
=> 16:19 reserved-topic: `click-count.bad` belongs to
-sinks:
rejects: bad
sinks:
=> 16:10 wrong-kind: `rejects` must be a mapping, not text
"#;
    for (lines, expected) in cases(table) {
        let (part, replacement) = lines.split_once('\n').unwrap();
        let part = part.strip_prefix('-').unwrap();
        assert!(GOOD.contains(part), "{part}");
        // A renamed node is missed by its sink.
        let text = GOOD.replacen(part, replacement, 1);
        let text = match part {
            "  counts:" => text.replace("from: counts", "from: clicks"),
            _ => text,
        };
        gives_one(&text, expected);
    }
}

#[test]
fn broken_yaml_is_a_diagnostic_with_a_place() {
    let cases = [
        ("app: [a", "1:8 yaml-syntax"),
        ("app: a: b", "1:7 yaml-syntax"),
        ("app: 'a", "1:"),
        (
            "app: a\n\tb: c",
            "1:6 yaml-syntax: broken YAML: while scanning a plain scalar, found a tab",
        ),
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
            "4:19 duplicate-key: `topic` stands here for a second time",
            "4:51 duplicate-key: `x` stands here for a second time",
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

#[test]
fn unreadable_columns_are_no_second_error_at_the_event_time() {
    let found = brief(&GOOD.replace("{ timestamp: timestamp_ms, page: string }", "text"));
    assert_eq!(
        found,
        ["6:14 wrong-kind: `columns` of source `clicks` must be a mapping, not text"]
    );
}
