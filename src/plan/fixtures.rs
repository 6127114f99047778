//! Topologies built by hand for the planner's tests, as reading a file would build them.
//!
//! Invariant: SQL of the n-th node begins at line 10 × n (from 1), column 7. This file checks nothing.

use crate::spec::diagnostic::{Diagnostic, Span};
use crate::spec::{
    ColumnSpec, ColumnType, EventTimeSpec, LatePolicy, NodeSpec, SinkSpec, SinkTimestamp,
    SourceSpec, Spanned, Start, TimestampFormat, TopologySpec,
};

fn spanned(value: &str, line: usize) -> Spanned<String> {
    Spanned {
        value: value.to_string(),
        span: Span {
            line,
            column: 7,
            len: value.chars().count().max(1),
        },
    }
}

/// A topology without anything in it.
pub fn topology(app: &str) -> TopologySpec {
    TopologySpec {
        file: format!("{app}.yaml"),
        text: String::new(),
        app: spanned(app, 1),
        shards: 4,
        sources: vec![],
        nodes: vec![],
        sinks: vec![],
        rejects_topic: format!("{app}.rejects"),
    }
}

impl TopologySpec {
    /// Columns are `name: type`, as in the file; `time` names the event time column.
    pub fn with_source(mut self, name: &str, columns: &[(&str, &str)], time: Option<&str>) -> Self {
        let columns = columns
            .iter()
            .map(|(column, kind)| ColumnSpec {
                name: spanned(column, 2),
                kind: column_type(kind),
                path: vec![column.to_string()],
                required: false,
            })
            .collect();
        let event_time = time.map(|column| EventTimeSpec {
            column: spanned(column, 3),
            out_of_orderness_ms: 200,
            idle_after_ms: Some(5_000),
            valid_from_ms: 0,
            valid_ahead_ms: None,
        });
        self.sources.push(SourceSpec {
            name: spanned(name, 2),
            topic: spanned(&format!("{name}-topic"), 2),
            columns,
            event_time,
            start: Start::Earliest,
            coerce: false,
        });
        self
    }

    pub fn with_node(mut self, name: &str, sql: &str) -> Self {
        let line = 10 * (self.nodes.len() + 1);
        let node = NodeSpec {
            name: spanned(name, line - 1),
            sql: spanned(sql, line),
            late: LatePolicy::Drop,
            late_span: None,
        };
        self.nodes.push(node);
        self
    }

    pub fn with_sink(mut self, name: &str, from: &str, key: &[&str]) -> Self {
        self.sinks.push(SinkSpec {
            name: spanned(name, 100),
            from: spanned(from, 101),
            topic: spanned(&format!("{name}-topic"), 102),
            key: key.iter().map(|column| spanned(column, 103)).collect(),
            timestamp: SinkTimestamp::WallClock,
            timestamp_format: TimestampFormat::Iso,
            decimals_as_string: false,
        });
        self
    }

    /// One source `clicks` with a column of every type.
    pub fn with_clicks(self) -> Self {
        let columns = [
            ("timestamp", "timestamp_ms"),
            ("page", "string"),
            ("a", "int64"),
            ("b", "int64"),
            ("i", "int32"),
            ("x", "double"),
            ("y", "double"),
            ("amount", "decimal"),
            ("flag", "boolean"),
            ("day", "date"),
        ];
        self.with_source("clicks", &columns, Some("timestamp"))
    }
}

fn column_type(kind: &str) -> ColumnType {
    match kind {
        "string" => ColumnType::String,
        "boolean" => ColumnType::Boolean,
        "int32" => ColumnType::Int32,
        "int64" => ColumnType::Int64,
        "double" => ColumnType::Double,
        "decimal" => ColumnType::Decimal {
            precision: 10,
            scale: 2,
        },
        "timestamp_ms" => ColumnType::TimestampMs,
        "date" => ColumnType::Date,
        other => panic!("no column type {other}"),
    }
}

/// Diagnostics as text: `line:column code: message (help)`.
pub fn render(found: &[Diagnostic]) -> String {
    let line = |d: &Diagnostic| {
        let help = d
            .help
            .as_ref()
            .map_or(String::new(), |help| format!(" ({help})"));
        format!(
            "{}:{}+{} {}: {}{help}\n",
            d.span.line, d.span.column, d.span.len, d.code, d.message
        )
    };
    found.iter().map(line).collect()
}
