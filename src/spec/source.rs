//! The sources of a topology file: topic, event time, start.
//!
//! Invariant: what could not be read stands in the spec as an empty text, after a diagnostic. Columns are read by
//! `columns`; whether the event time's column exists is checked by `validate`.

use super::columns;
use super::diagnostic::{Diagnostic, closest};
use super::duration;
use super::fields::{Fields, Keys};
use super::read::LATER_FORMATS;
use super::yaml::{Entry, Node};
use super::{EventTimeSpec, SourceSpec, Spanned, Start};

/// `idle_after` where the file does not say.
const IDLE_AFTER_MS: i64 = 5_000;

/// `valid.ahead` where the file does not say: one day.
const AHEAD_MS: i64 = 86_400_000;

const SOURCE: Keys = Keys {
    known: &[
        "topic",
        "format",
        "columns",
        "event_time",
        "start",
        "coerce",
    ],
    later: &[
        ("delivery", "remove it: every sink is exactly once"),
        ("kind", "remove it; sources are append streams, not tables"),
        (
            "partitioned_by",
            "remove it; rows are partitioned anew before they are grouped",
        ),
        (
            "primary_key",
            "remove it; sources are append streams, not tables",
        ),
        ("schema_registry", "remove it; sources are JSON"),
        (
            "state_ttl",
            "remove it; the state of windows ends with them",
        ),
    ],
};

const EVENT_TIME: Keys = Keys {
    known: &["column", "out_of_orderness", "idle_after", "valid"],
    later: &[("marker", "remove it; watermarks follow the `column`")],
};

const VALID: Keys = Keys {
    known: &["from", "ahead"],
    later: &[],
};

/// One entry of `sources`.
pub(super) fn source(entry: &Entry, found: &mut Vec<Diagnostic>) -> SourceSpec {
    let name = entry.key.clone();
    let owner = format!("source `{}`", name.value);
    let mut spec = SourceSpec {
        topic: Spanned {
            value: String::new(),
            span: name.span,
        },
        columns: Vec::new(),
        event_time: None,
        start: Start::Earliest,
        coerce: false,
        name,
    };
    let span = spec.name.span;
    let Some(fields) = Fields::open(owner.clone(), span, &entry.value, &SOURCE, found) else {
        return spec;
    };
    spec.topic = fields.needed_text("topic", found);
    fields.choice("format", &[("json", ())], &LATER_FORMATS, found);
    let columns = fields
        .require("columns", found)
        .and_then(|node| columns::columns(&owner, node, found));
    spec.event_time = fields
        .get("event_time")
        .and_then(|node| event_time(&owner, node, found));
    if let (None, Some(event_time)) = (&columns, &mut spec.event_time) {
        // Without columns, a column that is not among them is no second error.
        event_time.column.value.clear();
    }
    spec.columns = columns.unwrap_or_default();
    if fields.get("start").is_some() {
        spec.start = start(&fields, found);
    }
    spec.coerce = fields.flag("coerce", found).unwrap_or(false);
    spec
}

fn start(fields: &Fields<'_>, found: &mut Vec<Diagnostic>) -> Start {
    let Some(given) = fields.text("start", found) else {
        return Start::Earliest;
    };
    match given.value.as_str() {
        "earliest" => return Start::Earliest,
        "latest" => return Start::Latest,
        _ => {}
    }
    match duration::parse_moment(&given.value) {
        Ok(ms) if ms >= 0 => return Start::Timestamp(ms),
        _ => {}
    }
    let label = fields.label("start");
    let message = format!("{label} cannot be `{}`", given.value);
    let help = match closest(&given.value, ["earliest", "latest"]) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write earliest, latest, RFC 3339 such as 2024-05-01T00:00:00Z, or milliseconds \
                 since 1970"
            .to_owned(),
    };
    found.push(Diagnostic::new("invalid-value", given.span, message).with_help(help));
    Start::Earliest
}

fn event_time(owner: &str, node: &Node, found: &mut Vec<Diagnostic>) -> Option<EventTimeSpec> {
    let owner = format!("`event_time` of {owner}");
    let fields = Fields::open(owner.clone(), node.span, node, &EVENT_TIME, found)?;
    let column = fields.needed_text("column", found);
    let out_of_orderness_ms = fields.duration("out_of_orderness", None, found).flatten();
    let idle_after_ms = fields
        .duration("idle_after", Some("never"), found)
        .unwrap_or(Some(IDLE_AFTER_MS));
    let (mut valid_from_ms, mut valid_ahead_ms) = (0, Some(AHEAD_MS));
    if let Some(node) = fields.get("valid")
        && let Some(valid) = Fields::open(
            format!("`valid` of {owner}"),
            node.span,
            node,
            &VALID,
            found,
        )
    {
        valid_from_ms = valid.moment("from", found).unwrap_or(0);
        if valid_from_ms < 0
            && let Some(node) = valid.get("from")
        {
            let message = format!("{} lies before 1970", valid.label("from"));
            found.push(Diagnostic::new("invalid-value", node.span, message));
        }
        valid_ahead_ms = valid
            .duration("ahead", Some("any"), found)
            .unwrap_or(Some(AHEAD_MS));
    }
    Some(EventTimeSpec {
        column,
        out_of_orderness_ms: out_of_orderness_ms.unwrap_or(0),
        idle_after_ms,
        valid_from_ms,
        valid_ahead_ms,
    })
}
