//! A plan for people (`millstream explain`) and for tools (JSON).
//!
//! Invariant: the same plan gives the same text; everything that a worker will create or run is named in it.

use super::graph::{
    Edge, Input, Node, NodeKind, Plan, SourcePlan, SubTopology, Window, WindowPlan,
};
use super::topics::{InternalTopic, internal_topics};
use crate::expr::Expr;
use crate::spec::{LatePolicy, SinkTimestamp};
use arrow_schema::{DataType, Schema, TimeUnit};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The plan as text. `source_partitions`: see [`internal_topics`].
pub fn explain(plan: &Plan, source_partitions: &BTreeMap<String, i32>) -> String {
    let mut out = String::new();
    let topics = internal_topics(plan, source_partitions);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "application {} · {} sub-topologies · {} shards",
        plan.app,
        plan.sub_topologies.len(),
        plan.shards
    );
    for sub in &plan.sub_topologies {
        let _ = write!(out, "\n{}", sub_topology(plan, sub, &topics));
    }
    let _ = write!(out, "\ninternal topics\n{}", topic_table(&topics));
    out
}

/// A window in the file's words.
fn window_text(window: &Window) -> String {
    let Window::Tumbling { size_ms, offset_ms } = window;
    let offset = if *offset_ms == 0 {
        String::new()
    } else {
        format!(", offset {}", duration(*offset_ms))
    };
    format!("tumbling, {}{offset}", duration(*size_ms))
}

/// Milliseconds in the largest unit that divides them.
fn duration(ms: i64) -> String {
    [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ]
    .into_iter()
    .find(|(unit, _)| ms != 0 && ms % unit == 0)
    .map_or(format!("{ms} ms"), |(unit, name)| {
        format!("{} {name}", ms / unit)
    })
}

fn line(out: &mut String, label: &str, text: impl AsRef<str>) {
    if !text.as_ref().is_empty() {
        let _ = writeln!(out, "    {label:<11}{}", text.as_ref());
    }
}

fn texts(exprs: &[Expr]) -> String {
    exprs.iter().map(Expr::text).collect::<Vec<_>>().join(", ")
}

fn sub_topology(plan: &Plan, sub: &SubTopology, topics: &[InternalTopic]) -> String {
    let tasks = plan.tasks_topic(&sub.name);
    let count = topics
        .iter()
        .find(|topic| topic.name == tasks)
        .map_or(0, |topic| topic.partitions);
    let mut out = format!(
        "sub-topology {} · {count} tasks · fingerprint {:016x}\n",
        sub.name, sub.fingerprint
    );
    match &sub.input {
        Input::Source(source) => source_lines(&mut out, &sub.name, source),
        Input::Window(input) => {
            let window = &input.window;
            let _ = writeln!(out, "  window {}", sub.name);
            line(
                &mut out,
                "reads",
                format!(
                    "{}, written by {}",
                    plan.repartition_topic(&sub.name),
                    input.producers.join(", ")
                ),
            );
            window_lines(&mut out, window);
            line(
                &mut out,
                "state",
                format!(
                    "per window and key: {} (changelog {})",
                    state(window),
                    plan.changelog_topic(&sub.name)
                ),
            );
            line(
                &mut out,
                "having",
                window.having.as_ref().map_or("", Expr::text),
            );
            line(
                &mut out,
                "select",
                selection(&window.projection, &window.output),
            );
            line(
                &mut out,
                "late rows",
                if window.late == LatePolicy::Drop {
                    "dropped and counted"
                } else {
                    "rejected"
                },
            );
        }
    }
    for node in &sub.nodes {
        out.push_str(&node_text(plan, sub, node));
    }
    out
}

fn source_lines(out: &mut String, name: &str, source: &SourcePlan) {
    let _ = writeln!(out, "  source {name}");
    line(out, "topic", &source.spec.topic.value);
    line(out, "columns", columns(&source.schema));
    if let (Some(time), Some(index)) = (&source.spec.event_time, source.event_time) {
        let idle = time.idle_after_ms.map_or("never".to_string(), duration);
        let ooo = duration(time.out_of_orderness_ms);
        let name = source.schema.field(index).name();
        line(
            out,
            "event time",
            format!("{name}, out of order by {ooo}, idle after {idle}"),
        );
    }
}

fn window_lines(out: &mut String, window: &WindowPlan) {
    line(out, "window", window_text(&window.window));
    line(
        out,
        "keys",
        if window.keys.is_empty() {
            "none: one group".to_string()
        } else {
            texts(&window.keys)
        },
    );
}

fn state(window: &WindowPlan) -> String {
    let calls: Vec<&str> = window
        .grouped
        .fields()
        .iter()
        .skip(3 + window.keys.len())
        .map(|f| f.name().as_str())
        .collect();
    if calls.is_empty() {
        "presence".to_string()
    } else {
        calls.join(", ")
    }
}

fn from(sub: &SubTopology, edge: Edge) -> &str {
    match edge {
        Edge::Input => &sub.name,
        Edge::Node(index) => sub.nodes.get(index).map_or("?", |node| node.name.as_str()),
    }
}

fn node_text(plan: &Plan, sub: &SubTopology, node: &Node) -> String {
    let mut out = String::new();
    let from = from(sub, node.from);
    match &node.kind {
        NodeKind::Map(map) => {
            let _ = writeln!(out, "  map {} ← {from}", node.name);
            line(
                &mut out,
                "where",
                map.filter.as_ref().map_or("", Expr::text),
            );
            line(&mut out, "select", selection(&map.projection, &map.schema));
        }
        NodeKind::Fold(window) => {
            let _ = writeln!(out, "  fold {} ← {from}", node.name);
            line(
                &mut out,
                "where",
                window.filter.as_ref().map_or("", Expr::text),
            );
            line(&mut out, "time", window.input.field(window.time).name());
            window_lines(&mut out, window);
            line(&mut out, "writes", plan.repartition_topic(&node.name));
        }
        NodeKind::Sink(sink) => {
            let _ = writeln!(out, "  sink {} ← {from}", node.name);
            line(&mut out, "topic", &sink.spec.topic.value);
            let key: Vec<&str> = sink
                .key
                .iter()
                .map(|index| sink.schema.field(*index).name().as_str())
                .collect();
            line(
                &mut out,
                "key",
                if key.is_empty() {
                    "null".to_string()
                } else {
                    key.join(", ")
                },
            );
            line(&mut out, "columns", columns(&sink.schema));
            line(&mut out, "timestamp", stamp(sink.spec.timestamp));
        }
    }
    out
}

fn stamp(timestamp: SinkTimestamp) -> &'static str {
    match timestamp {
        SinkTimestamp::WallClock => "wall clock",
        SinkTimestamp::EventTime => "event time",
    }
}

fn selection(projection: &[Expr], schema: &Schema) -> String {
    let items = projection.iter().zip(schema.fields()).map(|(expr, field)| {
        if expr.text() == field.name() {
            expr.text().to_string()
        } else {
            format!("{} AS {}", expr.text(), field.name())
        }
    });
    items.collect::<Vec<_>>().join(", ")
}

fn columns(schema: &Schema) -> String {
    let columns = schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), type_name(field.data_type())));
    columns.collect::<Vec<_>>().join(", ")
}

/// A type in the words of the topology file.
fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "string".to_string(),
        DataType::Boolean => "boolean".to_string(),
        DataType::Int32 => "int32".to_string(),
        DataType::Int64 => "int64".to_string(),
        DataType::Float64 => "double".to_string(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Timestamp(TimeUnit::Millisecond, None) => "timestamp".to_string(),
        DataType::Date32 => "date".to_string(),
        other => other.to_string(),
    }
}

fn topic_table(topics: &[InternalTopic]) -> String {
    let width = topics
        .iter()
        .map(|topic| topic.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for topic in topics {
        let settings: Vec<String> = topic
            .config
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let settings = if settings.is_empty() {
            "broker defaults".to_string()
        } else {
            settings.join(" ")
        };
        let _ = writeln!(
            out,
            "  {:<width$}  {:<11} {:>4} partitions  {settings}",
            topic.name, topic.kind, topic.partitions
        );
    }
    out
}

/// The plan as JSON: the same facts under stable names.
pub fn explain_json(plan: &Plan, source_partitions: &BTreeMap<String, i32>) -> Value {
    let topics: Vec<Value> = internal_topics(plan, source_partitions)
        .iter()
        .map(|topic| {
            let config: BTreeMap<&str, &str> = topic.config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            json!({ "name": topic.name, "kind": topic.kind.to_string(), "partitions": topic.partitions, "config": config })
        })
        .collect();
    let subs: Vec<Value> = plan
        .sub_topologies
        .iter()
        .map(|sub| sub_topology_json(plan, sub))
        .collect();
    json!({ "app": plan.app, "shards": plan.shards, "rejects_topic": plan.rejects_topic, "sub_topologies": subs, "topics": topics })
}

fn sub_topology_json(plan: &Plan, sub: &SubTopology) -> Value {
    let input = match &sub.input {
        Input::Source(source) => json!({
            "kind": "source",
            "topic": source.spec.topic.value,
            "columns": columns_json(&source.schema),
            "event_time": source.event_time.map(|index| source.schema.field(index).name().clone()),
        }),
        Input::Window(input) => json!({
            "kind": "window",
            "topic": plan.repartition_topic(&sub.name),
            "producers": input.producers,
            "window": window_json(&input.window),
        }),
    };
    let nodes: Vec<Value> = sub
        .nodes
        .iter()
        .map(|node| node_json(plan, sub, node))
        .collect();
    json!({ "name": sub.name, "fingerprint": format!("{:016x}", sub.fingerprint), "input": input, "nodes": nodes })
}

fn window_json(window: &WindowPlan) -> Value {
    let Window::Tumbling { size_ms, offset_ms } = window.window;
    json!({
        "type": "tumbling",
        "size_ms": size_ms,
        "offset_ms": offset_ms,
        "time": window.input.field(window.time).name(),
        "filter": window.filter.as_ref().map(Expr::text),
        "keys": window.keys.iter().map(Expr::text).collect::<Vec<_>>(),
        "aggregates": window.grouped.fields().iter().skip(3 + window.keys.len()).map(|f| f.name().clone()).collect::<Vec<_>>(),
        "having": window.having.as_ref().map(Expr::text),
        "columns": columns_json(&window.output),
        "late": if window.late == LatePolicy::Drop { "drop" } else { "reject" },
    })
}

fn node_json(plan: &Plan, sub: &SubTopology, node: &Node) -> Value {
    let from = from(sub, node.from);
    match &node.kind {
        NodeKind::Map(map) => json!({
            "name": node.name, "kind": "map", "from": from,
            "filter": map.filter.as_ref().map(Expr::text), "columns": columns_json(&map.schema),
        }),
        NodeKind::Fold(window) => json!({
            "name": node.name, "kind": "fold", "from": from,
            "topic": plan.repartition_topic(&node.name), "window": window_json(window),
        }),
        NodeKind::Sink(sink) => json!({
            "name": node.name, "kind": "sink", "from": from, "topic": sink.spec.topic.value,
            "key": sink.key.iter().map(|index| sink.schema.field(*index).name().clone()).collect::<Vec<_>>(),
            "columns": columns_json(&sink.schema), "timestamp": stamp(sink.spec.timestamp),
        }),
    }
}

fn columns_json(schema: &Schema) -> Value {
    let columns = schema
        .fields()
        .iter()
        .map(|f| json!({ "name": f.name(), "type": type_name(f.data_type()) }));
    Value::Array(columns.collect())
}

#[cfg(test)]
mod tests;
