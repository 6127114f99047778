//! From a topology file to what the auditor checks: one source, one windowed aggregation over it, one Kafka sink.
//!
//! Invariant: a topology outside that shape is refused, and the message names what does not fit; a shape that is
//! returned is checked in full.

use super::row::kind_of;
use super::sql::{self, Comparison, Condition, Function, Operand, What};
use super::value::{OutputFormat, Value, ValueKind};
use crate::spec::{
    ColumnSpec, ColumnType, EventTimeSpec, LatePolicy, NodeSpec, SinkSpec, SourceSpec, Start,
    TimestampFormat, TopologySpec,
};
use std::cmp::Ordering;

/// A condition over a row: SQL's three values, `None` for unknown.
pub type Test = Box<dyn Fn(&[Value]) -> Option<bool>>;

/// What is audited.
pub struct Shape {
    pub node: String,
    /// Other nodes and sinks of the file: their rejects are not ours.
    pub others: Vec<String>,
    pub input_topic: String,
    pub output_topic: String,
    pub rejects_topic: String,
    pub columns: Vec<ColumnSpec>,
    /// Index of the event time column.
    pub time: usize,
    pub event_time: EventTimeSpec,
    pub size_ms: i64,
    pub offset_ms: i64,
    pub filter: Option<Test>,
    /// Group columns but for the window's, as indices of `columns`.
    pub keys: Vec<usize>,
    pub aggregates: Vec<Aggregate>,
    pub items: Vec<OutputItem>,
    pub late: LatePolicy,
    pub format: OutputFormat,
    /// The record key's columns, as indices of `items`.
    pub record_key: Vec<usize>,
}

pub struct Aggregate {
    pub function: Function,
    /// Index of `columns`; `None` for `COUNT(*)`.
    pub argument: Option<usize>,
    pub filter: Option<Test>,
    pub kind: ValueKind,
    /// A sum of integers must fit 64 bits.
    pub must_fit_i64: bool,
}

/// One field of the output documents.
pub struct OutputItem {
    pub name: String,
    pub kind: ValueKind,
    pub from: ItemFrom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemFrom {
    WindowStart,
    WindowEnd,
    WindowTime,
    /// Index of [`Shape::keys`].
    Key(usize),
    /// Index of [`Shape::aggregates`].
    Aggregate(usize),
}

impl Shape {
    /// End of the window of an event time, ms since 1970; `None` beyond 64 bits.
    pub fn window_end(&self, time_ms: i64) -> Option<i64> {
        let into = time_ms
            .checked_sub(self.offset_ms)?
            .rem_euclid(self.size_ms);
        time_ms.checked_sub(into)?.checked_add(self.size_ms)
    }

    /// Whether the record key keeps all rows of a group on one partition.
    pub fn one_partition(&self) -> bool {
        let is_group = |item: &usize| matches!(self.items[*item].from, ItemFrom::Key(_));
        !self.record_key.is_empty() && self.record_key.iter().all(is_group)
    }

    /// Finds what to audit. `node` and `sink` choose where the file has several.
    ///
    /// # Errors
    /// What does not fit the shape.
    pub fn of(
        spec: &TopologySpec,
        node: Option<&str>,
        sink: Option<&str>,
    ) -> Result<Shape, String> {
        let sink = choose_sink(spec, node, sink)?;
        let node = spec
            .nodes
            .iter()
            .find(|n| n.name.value == sink.from.value)
            .ok_or_else(|| {
                format!(
                    "sink `{}` is fed by `{}`, which is no windowed node",
                    sink.name.value, sink.from.value
                )
            })?;
        of_node(spec, node, sink).map_err(|found| {
            format!(
                "audit cannot check node `{}`: {found}. It checks source → TUMBLE with COUNT, SUM, MIN, MAX, AVG of \
                 columns and comparisons in WHERE → sink",
                node.name.value
            )
        })
    }
}

fn choose_sink<'a>(
    spec: &'a TopologySpec,
    node: Option<&str>,
    sink: Option<&str>,
) -> Result<&'a SinkSpec, String> {
    let fits = |s: &&SinkSpec| {
        node.is_none_or(|name| s.from.value == name) && sink.is_none_or(|name| s.name.value == name)
    };
    let found: Vec<&SinkSpec> = spec.sinks.iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let all = spec.sinks.iter();
            let names: Vec<String> = all
                .map(|s| format!("{} (of node {})", s.name.value, s.from.value))
                .collect();
            Err(format!(
                "no sink of the file fits --node and --sink; there are: {}",
                names.join(", ")
            ))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|s| s.name.value.as_str()).collect();
            Err(format!(
                "the file has several sinks: choose with --sink one of {}",
                names.join(", ")
            ))
        }
    }
}

fn of_node(spec: &TopologySpec, node: &NodeSpec, sink: &SinkSpec) -> Result<Shape, String> {
    let query = sql::parse(&node.sql.value)?;
    let source = find_source(spec, &query.source)?;
    let event_time = source
        .event_time
        .clone()
        .ok_or_else(|| format!("source `{}` has no event time", source.name.value))?;
    if event_time.column.value != query.time {
        return Err(format!(
            "`{}` is not the event time of source `{}`",
            query.time, source.name.value
        ));
    }
    let columns = Columns(&source.columns);
    let mut shape = Shape {
        node: node.name.value.clone(),
        others: others(spec, node, sink),
        input_topic: source.topic.value.clone(),
        output_topic: sink.topic.value.clone(),
        rejects_topic: spec.rejects_topic.clone(),
        columns: source.columns.clone(),
        time: columns.find(&query.time)?,
        event_time,
        size_ms: query.size_ms,
        offset_ms: query.offset_ms,
        filter: query
            .filter
            .as_ref()
            .map(|filter| columns.bind(filter))
            .transpose()?,
        keys: vec![],
        aggregates: vec![],
        items: vec![],
        late: node.late,
        format: OutputFormat {
            epoch_ms: sink.timestamp_format == TimestampFormat::EpochMs,
            decimals_as_string: sink.decimals_as_string,
        },
        record_key: vec![],
    };
    for name in query
        .group
        .iter()
        .filter(|name| window_column(name).is_none())
    {
        shape.keys.push(columns.find(name)?);
    }
    for item in &query.items {
        let (kind, from) = bind_item(&mut shape, columns, &item.what)?;
        shape.items.push(OutputItem {
            name: item.name.clone(),
            kind,
            from,
        });
    }
    check_identity(&shape)?;
    for key in &sink.key {
        let found = shape.items.iter().position(|item| item.name == key.value);
        shape.record_key.push(
            found.ok_or_else(|| format!("the sink's key `{}` is no column of it", key.value))?,
        );
    }
    Ok(shape)
}

fn find_source<'a>(spec: &'a TopologySpec, name: &str) -> Result<&'a SourceSpec, String> {
    let source = spec
        .sources
        .iter()
        .find(|source| source.name.value == name)
        .ok_or_else(
            || match spec.nodes.iter().any(|node| node.name.value == name) {
                true => format!("it reads node `{name}` and not a source"),
                false => format!("there is no source `{name}`"),
            },
        )?;
    if source.coerce {
        return Err(format!("source `{name}` says `coerce: true`"));
    }
    if source.start != Start::Earliest {
        return Err(format!(
            "source `{name}` does not start at `earliest`: where it began is not known"
        ));
    }
    Ok(source)
}

fn others(spec: &TopologySpec, node: &NodeSpec, sink: &SinkSpec) -> Vec<String> {
    let nodes = spec
        .nodes
        .iter()
        .map(|other| &other.name.value)
        .filter(|name| **name != node.name.value);
    let sinks = spec
        .sinks
        .iter()
        .map(|other| &other.name.value)
        .filter(|name| **name != sink.name.value);
    nodes.chain(sinks).cloned().collect()
}

fn window_column(name: &str) -> Option<ItemFrom> {
    match name {
        "window_start" => Some(ItemFrom::WindowStart),
        "window_end" => Some(ItemFrom::WindowEnd),
        "window_time" => Some(ItemFrom::WindowTime),
        _ => None,
    }
}

fn bind_item(
    shape: &mut Shape,
    columns: Columns<'_>,
    what: &What,
) -> Result<(ValueKind, ItemFrom), String> {
    match what {
        What::Column(name) => {
            if let Some(from) = window_column(name) {
                return Ok((ValueKind::Time, from));
            }
            let column = columns.find(name)?;
            let key = shape.keys.iter().position(|key| *key == column);
            let key = key.ok_or_else(|| format!("`{name}` is not in GROUP BY"))?;
            Ok((columns.kind(column), ItemFrom::Key(key)))
        }
        What::Aggregate {
            function,
            argument,
            filter,
        } => {
            let argument = argument
                .as_deref()
                .map(|name| columns.find(name))
                .transpose()?;
            let input = argument.map(|column| columns.kind(column));
            let kind = match (function, input) {
                (Function::Count, _) => ValueKind::Exact,
                (Function::Sum, Some(kind @ (ValueKind::Exact | ValueKind::Double))) => kind,
                (Function::Avg, Some(ValueKind::Exact | ValueKind::Double)) => ValueKind::Double,
                (Function::Min | Function::Max, Some(kind)) => kind,
                _ => return Err("the sum or average of a column that is no number".to_owned()),
            };
            let decimal =
                argument.is_some_and(|c| matches!(columns.0[c].kind, ColumnType::Decimal { .. }));
            let filter = filter
                .as_ref()
                .map(|filter| columns.bind(filter))
                .transpose()?;
            let must_fit_i64 = *function == Function::Sum && kind == ValueKind::Exact && !decimal;
            shape.aggregates.push(Aggregate {
                function: *function,
                argument,
                filter,
                kind,
                must_fit_i64,
            });
            Ok((kind, ItemFrom::Aggregate(shape.aggregates.len() - 1)))
        }
    }
}

/// The output rows must say which window and which group they are.
fn check_identity(shape: &Shape) -> Result<(), String> {
    let has = |from| shape.items.iter().any(|item| item.from == from);
    if !(has(ItemFrom::WindowStart) || has(ItemFrom::WindowEnd) || has(ItemFrom::WindowTime)) {
        return Err(
            "its rows do not name their window: select window_start or window_end".to_owned(),
        );
    }
    match (0..shape.keys.len()).find(|key| !has(ItemFrom::Key(*key))) {
        Some(key) => {
            let name = &shape.columns[shape.keys[key]].name.value;
            Err(format!("its rows do not name their group: select `{name}`"))
        }
        None => Ok(()),
    }
}

#[derive(Clone, Copy)]
struct Columns<'a>(&'a [ColumnSpec]);

impl Columns<'_> {
    fn find(self, name: &str) -> Result<usize, String> {
        self.0
            .iter()
            .position(|column| column.name.value == name)
            .ok_or_else(|| format!("`{name}` is no column of the source"))
    }

    fn kind(self, column: usize) -> ValueKind {
        kind_of(&self.0[column].kind)
    }

    fn bind(self, condition: &Condition) -> Result<Test, String> {
        Ok(match condition {
            Condition::Compare(left, comparison, right) => {
                self.bind_comparison(left, *comparison, right)?
            }
            Condition::IsNull(name) => {
                let column = self.find(name)?;
                Box::new(move |row| Some(row[column] == Value::Null))
            }
            Condition::Not(inner) => {
                let inner = self.bind(inner)?;
                Box::new(move |row| inner(row).map(|value| !value))
            }
            Condition::And(left, right) => {
                let (left, right) = (self.bind(left)?, self.bind(right)?);
                Box::new(move |row| match (left(row), right(row)) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                })
            }
            Condition::Or(left, right) => {
                let (left, right) = (self.bind(left)?, self.bind(right)?);
                Box::new(move |row| match (left(row), right(row)) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                })
            }
        })
    }

    fn bind_comparison(
        self,
        left: &Operand,
        comparison: Comparison,
        right: &Operand,
    ) -> Result<Test, String> {
        let (left_kind, left) = self.bind_operand(left)?;
        let (right_kind, right) = self.bind_operand(right)?;
        let number = |kind| matches!(kind, ValueKind::Exact | ValueKind::Double);
        if !(left_kind == right_kind || number(left_kind) && number(right_kind)) {
            return Err("a comparison of different types".to_owned());
        }
        Ok(Box::new(move |row| {
            let ordering = left.get(row).compare(right.get(row))?;
            Some(match comparison {
                Comparison::Equal => ordering == Ordering::Equal,
                Comparison::NotEqual => ordering != Ordering::Equal,
                Comparison::Less => ordering == Ordering::Less,
                Comparison::LessEqual => ordering != Ordering::Greater,
                Comparison::Greater => ordering == Ordering::Greater,
                Comparison::GreaterEqual => ordering != Ordering::Less,
            })
        }))
    }

    fn bind_operand(self, operand: &Operand) -> Result<(ValueKind, Getter), String> {
        match operand {
            Operand::Column(name) => {
                let column = self.find(name)?;
                Ok((self.kind(column), Getter::Column(column)))
            }
            Operand::Literal(value) => {
                let kind = match value {
                    Value::Bool(_) => ValueKind::Bool,
                    Value::Text(_) => ValueKind::Text,
                    _ => ValueKind::Exact,
                };
                Ok((kind, Getter::Literal(value.clone())))
            }
        }
    }
}

enum Getter {
    Column(usize),
    Literal(Value),
}

impl Getter {
    fn get<'a>(&'a self, row: &'a [Value]) -> &'a Value {
        match self {
            Getter::Column(column) => &row[*column],
            Getter::Literal(value) => value,
        }
    }
}

#[cfg(test)]
mod tests;
