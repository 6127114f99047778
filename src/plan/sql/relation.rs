//! What a node can read: the rows of a source or of another node, with what the planner knows about them.
//!
//! Invariant: `times` are exactly the columns that hold the event time of their row, by lineage and not by name.

use crate::plan::graph::Edge;
use crate::spec::{ColumnType, SourceSpec};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const WINDOW_START: &str = "window_start";
pub(super) const WINDOW_END: &str = "window_end";
pub(super) const WINDOW_TIME: &str = "window_time";
/// In the order in which they stand behind the input's columns and in front of the group keys.
pub(super) const WINDOW_COLUMNS: [&str; 3] = [WINDOW_START, WINDOW_END, WINDOW_TIME];

pub(super) fn window_field(name: &str) -> Field {
    Field::new(
        name,
        DataType::Timestamp(TimeUnit::Millisecond, None),
        false,
    )
}

#[derive(Clone)]
pub(super) struct Relation {
    pub name: String,
    pub schema: SchemaRef,
    pub times: Vec<usize>,
    /// The sub-topology in which its rows live, and where in it.
    pub home: String,
    pub edge: Edge,
    pub kind: Kind,
    /// What its rows mean; see `fingerprint`.
    pub lineage: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Source,
    Map,
    Window,
}

impl Relation {
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
    }

    /// How to give it a time attribute.
    pub(super) fn without_time(&self) -> String {
        match self.kind {
            Kind::Source => format!(
                "`{0}` has no event time: declare sources.{0}.event_time",
                self.name
            ),
            Kind::Map => format!(
                "`{}` must select its input's time column unchanged",
                self.name
            ),
            Kind::Window => format!(
                "`{}` must select window_time: that is the event time of a window's row",
                self.name
            ),
        }
    }
}

/// All sources and nodes by name; `None` for one that has diagnostics of its own.
#[derive(Default)]
pub(super) struct Relations(BTreeMap<String, Option<Relation>>);

impl Relations {
    pub(super) fn insert(&mut self, name: &str, relation: Option<Relation>) {
        self.0.insert(name.to_string(), relation);
    }

    /// `None`: no such name; `Some(None)`: it could not be planned.
    pub(super) fn get(&self, name: &str) -> Option<Option<&Relation>> {
        self.0.get(name).map(Option::as_ref)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Columns of the decoded rows of a source.
pub(super) fn source_schema(source: &SourceSpec) -> SchemaRef {
    let fields: Vec<Field> = source
        .columns
        .iter()
        .map(|column| {
            Field::new(
                &column.name.value,
                column_type(&column.kind),
                !column.required,
            )
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn column_type(kind: &ColumnType) -> DataType {
    match kind {
        ColumnType::String => DataType::Utf8,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
        ColumnType::TimestampMs | ColumnType::TimestampS | ColumnType::Timestamp { .. } => {
            DataType::Timestamp(TimeUnit::Millisecond, None)
        }
        ColumnType::Date => DataType::Date32,
    }
}
