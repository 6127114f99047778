//! What the user wrote: the topology file as typed structs with positions. No behaviour of the engine.
//!
//! Invariant: a `TopologySpec` that is returned has passed every check that needs no SQL: names, references, types,
//! durations. All errors of a file are returned at once. SQL is checked by `plan/`.

mod columns;
pub mod diagnostic;
pub mod duration;
mod fields;
pub mod locate;
mod read;
pub mod size;
mod source;
#[cfg(test)]
mod tests;
mod validate;
pub(crate) mod yaml;

use diagnostic::{Diagnostic, Span};

/// A value and where it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub struct TopologySpec {
    /// Path as the user gave it, for diagnostics.
    pub file: String,
    /// The whole text, for diagnostics.
    pub text: String,
    pub app: Spanned<String>,
    /// Partitions of repartition and changelog topics (`shards`, default 16); never changed later.
    pub shards: i32,
    pub sources: Vec<SourceSpec>,
    pub nodes: Vec<NodeSpec>,
    pub sinks: Vec<SinkSpec>,
    /// `rejects: { topic }`, default `<app>.rejects`.
    pub rejects_topic: String,
}

#[derive(Debug, Clone)]
pub struct SourceSpec {
    pub name: Spanned<String>,
    pub topic: Spanned<String>,
    pub columns: Vec<ColumnSpec>,
    pub event_time: Option<EventTimeSpec>,
    pub start: Start,
    /// `coerce: true`: numbers in string columns, numeric text in number columns, text in boolean columns are taken.
    pub coerce: bool,
}

/// `name: type` or `name: { type, path, required, pattern }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    pub name: Spanned<String>,
    pub kind: ColumnType,
    /// Fields from the document's root down to the value; by default just the column's name.
    pub path: Vec<String>,
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    String,
    Boolean,
    Int32,
    Int64,
    Double,
    Decimal {
        precision: u8,
        scale: i8,
    },
    /// An integer, milliseconds since 1970.
    TimestampMs,
    /// An integer, seconds since 1970.
    TimestampS,
    /// Text: RFC 3339, or the strftime `pattern` (UTC where the pattern has no zone).
    Timestamp {
        pattern: Option<String>,
    },
    /// Text `YYYY-MM-DD`.
    Date,
}

#[derive(Debug, Clone)]
pub struct EventTimeSpec {
    pub column: Spanned<String>,
    /// Milliseconds.
    pub out_of_orderness_ms: i64,
    /// `None` for `never`.
    pub idle_after_ms: Option<i64>,
    /// `valid.from`, ms since 1970, inclusive; default 0.
    pub valid_from_ms: i64,
    /// `valid.ahead`: how far past the wall clock a time may lie; default one day; `None` for `any`.
    pub valid_ahead_ms: Option<i64>,
}

/// Where a source begins when nothing is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// Ms since 1970.
    Timestamp(i64),
}

#[derive(Debug, Clone)]
pub struct NodeSpec {
    pub name: Spanned<String>,
    /// The text, and where its first character stands: for a block scalar the first line below the `|`. Places within
    /// the text are mapped to the file by [`locate::locate`].
    pub sql: Spanned<String>,
    pub late: LatePolicy,
    /// Where `late` stands, if it was written: it is an error on a node without a window.
    pub late_span: Option<Span>,
}

/// What happens to rows whose window is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LatePolicy {
    /// Counted.
    #[default]
    Drop,
    /// Counted, and written to the reject topic.
    Reject,
}

#[derive(Debug, Clone)]
pub struct SinkSpec {
    pub name: Spanned<String>,
    pub from: Spanned<String>,
    pub topic: Spanned<String>,
    /// Columns of the record key; one text column is its bytes, otherwise a JSON array.
    pub key: Vec<Spanned<String>>,
    pub timestamp: SinkTimestamp,
    pub timestamp_format: TimestampFormat,
    pub decimals_as_string: bool,
}

/// Which time the written records are stamped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SinkTimestamp {
    #[default]
    WallClock,
    EventTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampFormat {
    #[default]
    Iso,
    EpochMs,
}

/// Reads and checks a topology file.
///
/// # Errors
/// Every diagnostic of the file, in the order of their positions.
pub fn read(file: &str, text: &str) -> Result<TopologySpec, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let read = read::read(file, text, &mut found);
    if let Some((spec, rejects)) = &read {
        validate::validate(spec, *rejects, &mut found);
    }
    diagnostic::sort(&mut found);
    match read {
        Some((spec, _)) if found.is_empty() => Ok(spec),
        _ => Err(found),
    }
}
