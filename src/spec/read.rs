//! From the YAML tree to the typed spec: sections, nodes and sinks; every error of the file is collected.
//!
//! Invariant: a spec is returned whenever the syntax is sound, even with errors found, so that the checks of
//! `validate` are reported with them; what could not be read stands in it as an empty text, which `validate` skips.
//! This file checks single values; how they fit together is `validate`'s business.

use super::diagnostic::{Diagnostic, Span};
use super::fields::{Fields, Keys, entries, scalar, text, texts};
use super::source;
use super::yaml::{self, Content, Entry, Node, Style};
use super::{
    LatePolicy, NodeSpec, SinkSpec, SinkTimestamp, SourceSpec, Spanned, TimestampFormat,
    TopologySpec,
};

/// Partitions of internal topics where the file does not say.
const DEFAULT_SHARDS: i32 = 16;

/// More partitions than a broker is happy to serve for one application.
const MOST_SHARDS: i64 = 1024;

/// Words of `format` that the design knows; `json` is the one that is read and written, and the default.
pub(super) const LATER_FORMATS: [&str; 4] = ["csv", "avro", "protobuf", "raw"];

const TOP: Keys = Keys {
    known: &["app", "shards", "sources", "nodes", "sinks", "rejects"],
    later: &[
        ("delivery", "remove it: every sink is exactly once"),
        ("lookups", "remove them"),
        ("patterns", "remove them; nodes are `sql`"),
        ("schema_registry", "remove it; sources are JSON"),
        (
            "state_ttl",
            "remove it; the state of windows ends with them",
        ),
        ("tables", "remove them; sources are append streams"),
    ],
};

const NODE: Keys = Keys {
    known: &["sql", "late", "allowed_lateness"],
    later: &[
        ("emit", "remove it: a window is emitted when it closes"),
        ("join", "remove it"),
        ("lookup", "remove it"),
        ("pattern", "remove it; nodes are `sql`"),
        ("patterns", "remove them; nodes are `sql`"),
        ("process", "remove it; nodes are `sql`"),
        (
            "state_ttl",
            "remove it; the state of windows ends with them",
        ),
        ("time_zone", "remove it; windows are aligned in UTC"),
    ],
};

const SINK: Keys = Keys {
    known: &[
        "from",
        "topic",
        "format",
        "key",
        "timestamp",
        "timestamp_format",
        "decimals_as",
        "mode",
        "delivery",
    ],
    later: &[
        ("kind", "remove it; sinks are Kafka topics"),
        ("table", "write to a `topic`"),
        ("url", "write to a `topic` of the worker's cluster"),
    ],
};

const REJECTS: Keys = Keys {
    known: &["topic"],
    later: &[],
};

/// Reads as much of the file as can be read, and where the reject topic is named, if it is. `None` only where the
/// syntax is broken or the whole is no mapping, which is then among `found`.
pub(super) fn read(
    file: &str,
    text: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<(TopologySpec, Option<Span>)> {
    let root = yaml::parse(text, found)?;
    if matches!(root.content, Content::Nothing) {
        let empty = Diagnostic::new("missing-key", root.span, "the file is empty");
        found.push(empty.with_help("a topology has `app`, `sources`, `nodes` and `sinks`"));
        return None;
    }
    let start = Span {
        line: 1,
        column: 1,
        len: 1,
    };
    let top = Fields::open("the topology".to_owned(), start, &root, &TOP, found)?;
    let app = top.needed_text("app", found);
    let sources = section(&top, "sources", true, found)
        .iter()
        .map(|entry| source::source(entry, found))
        .collect::<Vec<SourceSpec>>();
    let nodes = section(&top, "nodes", false, found)
        .iter()
        .map(|entry| node(entry, found))
        .collect();
    let sinks = section(&top, "sinks", true, found)
        .iter()
        .map(|entry| sink(entry, found))
        .collect();
    let rejects = rejects(&top, found);
    let rejects_span = rejects.as_ref().map(|topic| topic.span);
    let spec = TopologySpec {
        file: file.to_owned(),
        text: text.to_owned(),
        shards: shards(&top, found),
        rejects_topic: rejects
            .map_or_else(|| format!("{}.rejects", app.value), |topic| topic.value),
        app,
        sources,
        nodes,
        sinks,
    };
    Some((spec, rejects_span))
}

/// The named things of one section; a section that must have some and has none is an error.
fn section<'n>(
    top: &Fields<'n>,
    key: &'static str,
    needed: bool,
    found: &mut Vec<Diagnostic>,
) -> &'n [Entry] {
    let node = match needed {
        true => top.require(key, found),
        false => top.get(key),
    };
    let Some(node) = node else { return &[] };
    let empty = match &node.content {
        Content::Nothing => true,
        Content::Mapping(entries) => entries.is_empty(),
        _ => false,
    };
    if empty {
        if needed {
            let message = format!("`{key}` is empty: a topology needs at least one");
            found.push(Diagnostic::new("missing-key", node.span, message));
        }
        return &[];
    }
    entries(&top.label(key), node, found).unwrap_or(&[])
}

fn shards(top: &Fields<'_>, found: &mut Vec<Diagnostic>) -> i32 {
    let Some(given) = top.integer("shards", found) else {
        return DEFAULT_SHARDS;
    };
    match i32::try_from(given.value) {
        Ok(shards) if (1..=MOST_SHARDS).contains(&given.value) => shards,
        _ => {
            let message = format!(
                "`shards` must lie between 1 and {MOST_SHARDS}, not {}",
                given.value
            );
            found.push(Diagnostic::new("invalid-value", given.span, message));
            DEFAULT_SHARDS
        }
    }
}

/// The reject topic, if the file names one.
fn rejects(top: &Fields<'_>, found: &mut Vec<Diagnostic>) -> Option<Spanned<String>> {
    let node = top.get("rejects")?;
    let fields = Fields::open("`rejects`".to_owned(), node.span, node, &REJECTS, found)?;
    Some(fields.needed_text("topic", found))
}

fn node(entry: &Entry, found: &mut Vec<Diagnostic>) -> NodeSpec {
    let name = entry.key.clone();
    let nothing = Spanned {
        value: String::new(),
        span: name.span,
    };
    let owner = format!("node `{}`", name.value);
    let Some(fields) = Fields::open(owner, name.span, &entry.value, &NODE, found) else {
        return NodeSpec {
            name,
            sql: nothing,
            late: LatePolicy::default(),
            late_span: None,
        };
    };
    let sql = fields
        .require("sql", found)
        .and_then(|node| sql(&fields.label("sql"), node, found))
        .unwrap_or(nothing);
    if let Some(Some(ms)) = fields.duration("allowed_lateness", None, found)
        && ms > 0
        && let Some(node) = fields.get("allowed_lateness")
    {
        let message = format!(
            "{}: a lateness above 0s is not supported yet",
            fields.label("allowed_lateness")
        );
        found.push(Diagnostic::new("not-supported", node.span, message).with_help(
            "write 0s or remove it; a larger `out_of_orderness` of the source waits for late rows",
        ));
    }
    NodeSpec {
        late: late(&fields, found),
        late_span: fields.key_span("late"),
        name,
        sql,
    }
}

fn late(fields: &Fields<'_>, found: &mut Vec<Diagnostic>) -> LatePolicy {
    let Some(node) = fields.get("late") else {
        return LatePolicy::default();
    };
    if matches!(node.content, Content::Mapping(_)) {
        let message = format!(
            "{}: an output for late rows is not supported yet",
            fields.label("late")
        );
        let help = "write `drop` or `reject`; rejected rows go to the reject topic";
        found.push(Diagnostic::new("not-supported", node.span, message).with_help(help));
        return LatePolicy::default();
    }
    let words = [("drop", LatePolicy::Drop), ("reject", LatePolicy::Reject)];
    let later = ["output", "sink", "update"];
    fields
        .choice("late", &words, &later, found)
        .unwrap_or_default()
}

/// SQL text whose places can be found again in the file: in one line, or in a block after `|`.
fn sql(label: &str, node: &Node, found: &mut Vec<Diagnostic>) -> Option<Spanned<String>> {
    text(label, node, found)?;
    let scalar = scalar(label, node, "text", found)?;
    if scalar.style == Style::Folded {
        let message = format!(
            "{label} is folded: its line breaks are lost, and a `--` comment would swallow the rest"
        );
        found.push(
            Diagnostic::new("folded-sql", node.span, message)
                .with_help("write SQL of several lines as a block after `|`"),
        );
        return None;
    }
    Some(Spanned {
        value: scalar.text.clone(),
        span: scalar.inner,
    })
}

fn sink(entry: &Entry, found: &mut Vec<Diagnostic>) -> SinkSpec {
    let name = entry.key.clone();
    let nothing = Spanned {
        value: String::new(),
        span: name.span,
    };
    let mut spec = SinkSpec {
        from: nothing.clone(),
        topic: nothing,
        key: Vec::new(),
        timestamp: SinkTimestamp::default(),
        timestamp_format: TimestampFormat::default(),
        decimals_as_string: false,
        name,
    };
    let owner = format!("sink `{}`", spec.name.value);
    let Some(fields) = Fields::open(owner, spec.name.span, &entry.value, &SINK, found) else {
        return spec;
    };
    spec.from = fields.needed_text("from", found);
    spec.topic = fields.needed_text("topic", found);
    fields.choice("format", &[("json", ())], &LATER_FORMATS, found);
    fields.choice("mode", &[("append", ())], &["upsert"], found);
    fields.choice(
        "delivery",
        &[("exactly_once", ())],
        &["at_least_once"],
        found,
    );
    if let Some(node) = fields.get("key") {
        spec.key = texts(&fields.label("key"), node, found).unwrap_or_default();
    }
    let stamps = [
        ("wall_clock", SinkTimestamp::WallClock),
        ("event_time", SinkTimestamp::EventTime),
    ];
    spec.timestamp = fields
        .choice("timestamp", &stamps, &[], found)
        .unwrap_or_default();
    let formats = [
        ("iso", TimestampFormat::Iso),
        ("epoch_ms", TimestampFormat::EpochMs),
    ];
    spec.timestamp_format = fields
        .choice("timestamp_format", &formats, &[], found)
        .unwrap_or_default();
    let decimals = [("number", false), ("string", true)];
    spec.decimals_as_string = fields
        .choice("decimals_as", &decimals, &[], found)
        .unwrap_or_default();
    spec
}
