//! Checks of the whole file that need no SQL: names, references, topics, event time columns.
//!
//! Invariant: pure; a value that reading could not make out (an empty text) is skipped, so that one mistake gives one
//! diagnostic. Nodes that nothing reads are allowed.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::diagnostic::{Diagnostic, Span};
use super::{ColumnType, SourceSpec, Spanned, TopologySpec};

/// Names become parts of topic names, which end at 249 characters.
const LONGEST_NAME: usize = 60;

/// Kafka's own limit.
const LONGEST_TOPIC: usize = 249;

/// Adds what is wrong to `found`; `rejects` is where the reject topic is named, if it is.
pub(super) fn validate(spec: &TopologySpec, rejects: Option<Span>, found: &mut Vec<Diagnostic>) {
    names(spec, found);
    for source in &spec.sources {
        event_time(source, found);
    }
    references(spec, found);
    topics(spec, rejects, found);
}

fn names(spec: &TopologySpec, found: &mut Vec<Diagnostic>) {
    if !spec.app.value.is_empty() {
        name("the application's name", &spec.app, found);
    }
    let mut seen: HashMap<&str, &str> = HashMap::new();
    let sources = spec.sources.iter().map(|source| ("source", &source.name));
    let nodes = spec.nodes.iter().map(|node| ("node", &node.name));
    for (what, given) in sources.chain(nodes) {
        name(&format!("the {what}'s name"), given, found);
        if let Some(other) = seen.insert(&given.value, what) {
            let message = format!("`{}` is already the name of a {other}", given.value);
            let twice = Diagnostic::new("duplicate-name", given.span, message);
            found.push(
                twice.with_help("sources and nodes are tables of one SQL: rename one of them"),
            );
        }
    }
    for sink in &spec.sinks {
        name("the sink's name", &sink.name, found);
    }
}

fn name(what: &str, given: &Spanned<String>, found: &mut Vec<Diagnostic>) {
    let mut chars = given.value.chars();
    let begins = chars.next().is_some_and(|c| c.is_ascii_lowercase());
    let goes_on =
        chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
    let length = given.value.chars().count();
    if begins && goes_on && length <= LONGEST_NAME {
        return;
    }
    let message = match length > LONGEST_NAME {
        true => format!("{what} has {length} characters, more than {LONGEST_NAME}"),
        false => format!("{what} cannot be `{}`", given.value),
    };
    found.push(Diagnostic::new("invalid-name", given.span, message).with_help(
        "it becomes part of topic names: a small letter, then small letters, digits, `_` and `-`, at most 60",
    ));
}

fn event_time(source: &SourceSpec, found: &mut Vec<Diagnostic>) {
    let Some(event_time) = &source.event_time else {
        return;
    };
    let wanted = &event_time.column;
    if wanted.value.is_empty() {
        return;
    }
    let owner = &source.name.value;
    let column = source
        .columns
        .iter()
        .find(|column| column.name.value == wanted.value);
    match column.map(|column| &column.kind) {
        None => {
            let message = format!("source `{owner}` has no column `{}`", wanted.value);
            let names = source
                .columns
                .iter()
                .map(|column| column.name.value.as_str());
            found.push(
                Diagnostic::new("unknown-column", wanted.span, message)
                    .with_closest(&wanted.value, names),
            );
        }
        Some(ColumnType::TimestampMs | ColumnType::TimestampS | ColumnType::Timestamp { .. }) => {}
        Some(_) => {
            let message = format!(
                "column `{}` of source `{owner}` is no timestamp and cannot be its event time",
                wanted.value
            );
            found.push(
                Diagnostic::new("wrong-type", wanted.span, message)
                    .with_help("give it the type timestamp_ms, timestamp_s or timestamp"),
            );
        }
    }
}

fn references(spec: &TopologySpec, found: &mut Vec<Diagnostic>) {
    let sources = spec.sources.iter().map(|source| source.name.value.as_str());
    let nodes = spec.nodes.iter().map(|node| node.name.value.as_str());
    let names: BTreeSet<&str> = sources.chain(nodes).collect();
    for sink in &spec.sinks {
        let from = &sink.from;
        if !from.value.is_empty() && !names.contains(from.value.as_str()) {
            let message = format!(
                "sink `{}` reads from `{}`, which is no node and no source",
                sink.name.value, from.value
            );
            found.push(
                Diagnostic::new("unknown-node", from.span, message)
                    .with_closest(&from.value, names.iter().copied()),
            );
        }
        let mut seen = HashSet::new();
        for column in &sink.key {
            if !seen.insert(&column.value) {
                let message = format!("`{}` stands in the key twice", column.value);
                found.push(Diagnostic::new("duplicate-name", column.span, message));
            }
        }
    }
}

fn topics(spec: &TopologySpec, rejects: Option<Span>, found: &mut Vec<Diagnostic>) {
    for (index, source) in spec.sources.iter().enumerate() {
        let earlier = spec.sources[..index]
            .iter()
            .find(|s| s.topic.value == source.topic.value);
        if let Some(earlier) = earlier {
            // Both would commit their positions under the same partition of the same group.
            let message = format!(
                "sources `{}` and `{}` read the same topic `{}`",
                earlier.name.value, source.name.value, source.topic.value
            );
            found.push(
                Diagnostic::new("duplicate-topic", source.topic.span, message).with_help(
                    "keep one source with the columns of both; any number of nodes can read it",
                ),
            );
        }
    }
    let read: HashSet<&str> = spec
        .sources
        .iter()
        .map(|source| source.topic.value.as_str())
        .collect();
    for source in &spec.sources {
        topic(&source.topic, found);
        reserved(spec, &source.topic, found);
    }
    for sink in &spec.sinks {
        topic(&sink.topic, found);
        reserved(spec, &sink.topic, found);
        if !sink.topic.value.is_empty() && read.contains(sink.topic.value.as_str()) {
            let message = format!(
                "sink `{}` writes to `{}`, which a source reads: a loop",
                sink.name.value, sink.topic.value
            );
            found.push(
                Diagnostic::new("topic-loop", sink.topic.span, message).with_help(
                    "write to a topic of its own; a node can read another node directly",
                ),
            );
        }
    }
    if let Some(span) = rejects {
        reject_topic(spec, span, &read, found);
    }
}

/// A reject topic that the file names.
fn reject_topic(
    spec: &TopologySpec,
    span: Span,
    read: &HashSet<&str>,
    found: &mut Vec<Diagnostic>,
) {
    let given = Spanned {
        value: spec.rejects_topic.clone(),
        span,
    };
    topic(&given, found);
    if given.value != format!("{}.rejects", spec.app.value) {
        reserved(spec, &given, found);
    }
    let written = spec
        .sinks
        .iter()
        .any(|sink| sink.topic.value == given.value);
    if given.value.is_empty() || !(written || read.contains(given.value.as_str())) {
        return;
    }
    let message = format!(
        "the reject topic `{}` is also a source's or sink's topic",
        given.value
    );
    found.push(
        Diagnostic::new("topic-loop", given.span, message)
            .with_help("rejects need a topic of their own"),
    );
}

fn topic(given: &Spanned<String>, found: &mut Vec<Diagnostic>) {
    let name = given.value.as_str();
    let legal = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if legal && name.len() <= LONGEST_TOPIC && name != "." && name != ".." {
        return;
    }
    let message = format!("Kafka has no topic `{name}`");
    found.push(
        Diagnostic::new("invalid-name", given.span, message)
            .with_help("topic names have at most 249 letters, digits, `.`, `_` and `-`"),
    );
}

fn reserved(spec: &TopologySpec, given: &Spanned<String>, found: &mut Vec<Diagnostic>) {
    let app = &spec.app.value;
    let internal = given
        .value
        .strip_prefix(app.as_str())
        .is_some_and(|rest| rest.starts_with('.'));
    if app.is_empty() || !internal {
        return;
    }
    let message = format!(
        "`{}` belongs to the application's internal topics",
        given.value
    );
    found.push(
        Diagnostic::new("reserved-topic", given.span, message)
            .with_help(format!("choose a name that does not begin with `{app}.`")),
    );
}
