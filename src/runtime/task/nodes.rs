//! The nodes of one task: rows run through them by direct calls, batch in, batches out.
//!
//! Invariant: a node sees every batch of its edge in order; what a fold holds is drained into every commit and
//! discarded by every abort. Nothing here knows offsets or transactions beyond the outbox it is handed.

use super::rejects::RejectWriter;
use super::sink::{OutputTopic, SinkWriter};
use crate::batch::Batch;
use crate::broker::{self, Outgoing};
use crate::operator::fold::Fold;
use crate::operator::map::MapOperator;
use crate::operator::{NodeCounts, Reject};
use crate::plan::graph::{Edge, NodeKind, SinkPlan, SubTopology};
use crate::runtime::outbox::Outbox;
use crate::state::block::{self, Header, Partials};
use crate::time::watermark::Heard;
use std::sync::Arc;

enum Kind {
    Map(MapOperator),
    Fold(Box<FoldNode>),
    Sink(Box<SinkWriter>),
}

/// A fold and what it has told its shards.
struct FoldNode {
    fold: Fold,
    topic: String,
    shards: i32,
    /// What the shards know after the last commit, and what the open transaction tells them.
    told: Option<(Heard, u32)>,
    telling: Option<(Heard, u32)>,
}

struct NodeState {
    name: Arc<str>,
    from: Edge,
    kind: Kind,
}

/// The operators of one task.
pub struct Nodes {
    nodes: Vec<NodeState>,
    scratch: Vec<Reject>,
}

/// What nodes need to know of the world while a batch passes.
pub struct Surroundings<'a> {
    pub wall_ms: i64,
    pub outbox: &'a mut Outbox,
    pub rejects: &'a mut RejectWriter,
    pub counts: &'a mut [NodeCounts],
}

impl Nodes {
    /// `output` tells the facts of a sink's topic, `repartition` the name of a keyed node's topic.
    pub fn new(
        sub: &SubTopology,
        partition: i32,
        shards: i32,
        output: &dyn Fn(&SinkPlan) -> OutputTopic,
        repartition: &dyn Fn(&str) -> String,
    ) -> Self {
        let nodes = sub.nodes.iter().map(|node| {
            let kind = match &node.kind {
                NodeKind::Map(plan) => Kind::Map(MapOperator::new(plan)),
                NodeKind::Sink(plan) => {
                    Kind::Sink(Box::new(SinkWriter::new(plan, output(plan), partition)))
                }
                NodeKind::Fold(plan) => Kind::Fold(Box::new(FoldNode {
                    fold: Fold::new(plan, shards),
                    topic: repartition(&plan.node),
                    shards,
                    told: None,
                    telling: None,
                })),
            };
            NodeState {
                name: node.name.as_str().into(),
                from: node.from,
                kind,
            }
        });
        Nodes {
            nodes: nodes.collect(),
            scratch: Vec::new(),
        }
    }

    /// Runs a batch of the sub-topology's input through every node.
    pub fn process(&mut self, batch: &Batch, around: &mut Surroundings<'_>) -> broker::Result<()> {
        self.run(Edge::Input, batch, around)
    }

    fn run(
        &mut self,
        edge: Edge,
        batch: &Batch,
        around: &mut Surroundings<'_>,
    ) -> broker::Result<()> {
        for index in 0..self.nodes.len() {
            if self.nodes[index].from == edge
                && let Some(out) = self.step(index, batch, around)?
            {
                self.run(Edge::Node(index), &out, around)?;
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        index: usize,
        batch: &Batch,
        around: &mut Surroundings<'_>,
    ) -> broker::Result<Option<Batch>> {
        let node = &mut self.nodes[index];
        let counts = &mut around.counts[index];
        let mut out = None;
        match &mut node.kind {
            Kind::Map(map) => out = map.process(batch, counts, &mut self.scratch),
            Kind::Fold(node) => node.fold.process(batch, counts, &mut self.scratch),
            Kind::Sink(sink) => sink.write(
                batch,
                around.wall_ms,
                counts,
                &mut self.scratch,
                around.outbox,
            )?,
        }
        around.rejects.add_all(&node.name, &mut self.scratch);
        Ok(out)
    }

    /// Memory that folds hold, in bytes.
    pub fn bytes(&self) -> usize {
        self.nodes
            .iter()
            .map(|n| {
                if let Kind::Fold(f) = &n.kind {
                    f.fold.bytes()
                } else {
                    0
                }
            })
            .sum()
    }

    /// Whether a commit would tell the shards something that they do not know: a watermark, idleness, a new producer.
    pub fn has_news(&self, now: Heard, producers: u32) -> bool {
        let now = Heard::from_header(now.header_watermark(), now.idle);
        self.nodes
            .iter()
            .any(|n| matches!(&n.kind, Kind::Fold(f) if f.told != Some((now, producers))))
    }

    /// Drains every fold into blocks of its repartition topic. Returns the rows sent, per fold.
    pub fn seal(
        &mut self,
        header: &Header,
        limit: usize,
        outbox: &mut Outbox,
    ) -> broker::Result<Vec<u64>> {
        let mut sent = Vec::new();
        for node in &mut self.nodes {
            if let Kind::Fold(fold) = &mut node.kind {
                sent.push(fold.seal(header, limit, outbox)?);
            }
        }
        Ok(sent)
    }

    /// Bytes that each sink has written since the last call.
    pub fn take_written(&mut self) -> Vec<(Arc<str>, u64)> {
        let written = self
            .nodes
            .iter_mut()
            .filter_map(|node| match &mut node.kind {
                Kind::Sink(sink) => Some((node.name.clone(), sink.take_written())),
                _ => None,
            });
        written.collect()
    }

    pub fn committed(&mut self) {
        for node in &mut self.nodes {
            if let Kind::Fold(fold) = &mut node.kind
                && fold.telling.is_some()
            {
                fold.told = fold.telling.take();
            }
        }
    }

    pub fn aborted(&mut self) {
        self.scratch.clear();
        for node in &mut self.nodes {
            match &mut node.kind {
                Kind::Fold(fold) => {
                    fold.fold.discard();
                    fold.telling = None;
                }
                Kind::Sink(sink) => {
                    sink.take_written();
                }
                Kind::Map(_) => {}
            }
        }
    }
}

impl FoldNode {
    fn seal(&mut self, header: &Header, limit: usize, outbox: &mut Outbox) -> broker::Result<u64> {
        let now = (
            Heard::from_header(header.watermark, header.idle),
            header.producers,
        );
        let news = self.told != Some(now);
        let mut drained = self.fold.drain().into_iter().peekable();
        let mut sent = 0;
        for shard in 0..self.shards {
            let partials = match drained.peek() {
                Some((at, _)) if *at == shard => drained.next().map(|(_, p)| p).unwrap_or_default(),
                // Only the watermark moved: an empty block.
                _ if news => Partials::default(),
                _ => continue,
            };
            sent += partials.rows.iter().sum::<u64>();
            for bytes in block::encode_partials(header, &partials, limit) {
                outbox.send(Outgoing {
                    topic: &self.topic,
                    partition: shard,
                    key: None,
                    value: Some(&bytes),
                    timestamp: None,
                })?;
            }
        }
        self.telling = Some(now);
        Ok(sent)
    }
}
