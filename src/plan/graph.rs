//! The plan: sub-topologies, the nodes in them, and the topics between them.
//!
//! Invariant: `nodes` of a sub-topology are in topological order, an edge points backwards; a sub-topology's
//! fingerprint changes when the meaning of its state or of its positions changes, and not with names of sinks.

use crate::expr::Expr;
use crate::spec::{LatePolicy, SinkSpec, SourceSpec};
use arrow_schema::{DataType, SchemaRef};

pub struct Plan {
    pub app: String,
    pub rejects_topic: String,
    /// Partitions of repartition and changelog topics.
    pub shards: i32,
    pub sub_topologies: Vec<SubTopology>,
}

/// A part of the topology between topics; one task per partition of its input.
pub struct SubTopology {
    /// The source or keyed node that begins it.
    pub name: String,
    pub input: Input,
    pub nodes: Vec<Node>,
    /// What state and positions of the tasks mean: another fingerprint may not go on from them.
    pub fingerprint: u64,
}

pub enum Input {
    Source(SourcePlan),
    /// Partials of a keyed node, merged and fired by it.
    Window(WindowInput),
}

pub struct SourcePlan {
    pub spec: SourceSpec,
    /// Columns of the decoded rows.
    pub schema: SchemaRef,
    /// Index of the event time column (`Timestamp(Millisecond)` or finer) in `schema`.
    pub event_time: Option<usize>,
}

/// The receiving half of a windowed aggregation.
pub struct WindowInput {
    pub window: WindowPlan,
    /// Sub-topologies that write the repartition topic.
    pub producers: Vec<String>,
}

/// Where a node's rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The sub-topology's input: decoded rows, or the rows that its window fires.
    Input,
    /// An earlier node of the same sub-topology.
    Node(usize),
}

pub struct Node {
    pub name: String,
    pub from: Edge,
    pub kind: NodeKind,
}

pub enum NodeKind {
    Map(MapPlan),
    /// The sending half of a windowed aggregation: partials to the repartition topic of `name`.
    Fold(WindowPlan),
    Sink(SinkPlan),
}

/// `SELECT projection FROM … WHERE filter` over the rows of `from`.
#[derive(Clone)]
pub struct MapPlan {
    pub filter: Option<Expr>,
    pub projection: Vec<Expr>,
    pub schema: SchemaRef,
}

/// `SELECT projection FROM TUMBLE(…) WHERE filter GROUP BY … HAVING having`.
#[derive(Clone)]
pub struct WindowPlan {
    /// The keyed node's name.
    pub node: String,
    /// Rows that enter: the columns of the node that is read.
    pub input: SchemaRef,
    /// `input` with `window_start`, `window_end`, `window_time` (`Timestamp(Millisecond)`) behind it: what `filter`,
    /// `keys` and the aggregates' arguments are evaluated over when `reads_window` is set; `input` otherwise.
    pub reads_window: bool,
    pub filter: Option<Expr>,
    /// Index of the time attribute in `input`.
    pub time: usize,
    pub window: Window,
    /// Group expressions other than the window's own columns.
    pub keys: Vec<Expr>,
    pub key_types: Vec<DataType>,
    pub aggregates: Vec<AggregateCall>,
    /// What leaves the aggregation: `window_start`, `window_end`, `window_time`, keys, aggregates. `having` and
    /// `projection` are evaluated over it.
    pub grouped: SchemaRef,
    pub having: Option<Expr>,
    pub projection: Vec<Expr>,
    pub output: SchemaRef,
    pub late: LatePolicy,
}

/// Windows are `[start, end)`, aligned to the epoch plus `offset_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Tumbling { size_ms: i64, offset_ms: i64 },
}

#[derive(Clone)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    /// `None` for `COUNT(*)`.
    pub argument: Option<Expr>,
    pub argument_type: Option<DataType>,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Expr>,
    pub output_type: DataType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateFunction {
    Count,
    Sum,
    Min,
    Max,
    Avg,
}

pub struct SinkPlan {
    pub spec: SinkSpec,
    pub schema: SchemaRef,
    /// Indices of the key columns in `schema`; empty for a null key.
    pub key: Vec<usize>,
    /// Index of the time attribute, where there is one.
    pub time: Option<usize>,
}

impl Plan {
    pub fn sub_topology(&self, name: &str) -> Option<&SubTopology> {
        self.sub_topologies.iter().find(|s| s.name == name)
    }

    pub fn tasks_topic(&self, sub: &str) -> String {
        format!("{}.{sub}.tasks", self.app)
    }

    pub fn changelog_topic(&self, sub: &str) -> String {
        format!("{}.{sub}.changelog", self.app)
    }

    pub fn repartition_topic(&self, node: &str) -> String {
        format!("{}.{node}.repartition", self.app)
    }
}

impl SubTopology {
    /// Whether its tasks keep state, and therefore a changelog.
    pub fn has_state(&self) -> bool {
        matches!(self.input, Input::Window(_))
    }
}
