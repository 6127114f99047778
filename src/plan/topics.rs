//! The topics that a topology needs besides those that it reads and writes, with their settings.
//!
//! Invariant: names derive from names in the file. A topic whose loss loses data keeps its records for ever: the
//! engine itself deletes what is no longer needed. Nothing is created here.

use super::graph::{Input, NodeKind, Plan};
use std::collections::BTreeMap;
use std::fmt;

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKind {
    /// Empty: its partitions are the tasks that the consumer group assigns.
    Tasks,
    Changelog,
    Repartition,
    Rejects,
}

impl fmt::Display for TopicKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TopicKind::Tasks => "tasks",
            TopicKind::Changelog => "changelog",
            TopicKind::Repartition => "repartition",
            TopicKind::Rejects => "rejects",
        })
    }
}

/// A topic as it has to exist before the first task runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalTopic {
    pub name: String,
    pub kind: TopicKind,
    pub partitions: i32,
    /// Settings that differ from the broker's defaults.
    pub config: Vec<(String, String)>,
}

/// The broker frees whole segments only, and never the active one: smaller segments follow deletion more closely.
const SEGMENT_BYTES: u32 = 32 << 20;

/// All internal topics, by sub-topology in the plan's order, and last the rejects. `source_partitions` holds the
/// partition count of each source's topic, by the source's name; one that is missing counts as 1.
pub fn internal_topics(
    plan: &Plan,
    source_partitions: &BTreeMap<String, i32>,
) -> Vec<InternalTopic> {
    let mut topics = Vec::new();
    for sub in &plan.sub_topologies {
        let tasks = match &sub.input {
            Input::Source(_) => source_partitions.get(&sub.name).copied().unwrap_or(1),
            Input::Window(_) => plan.shards,
        };
        topics.push(internal(
            TopicKind::Tasks,
            plan.tasks_topic(&sub.name),
            tasks,
        ));
        if sub.has_state() {
            topics.push(internal(
                TopicKind::Changelog,
                plan.changelog_topic(&sub.name),
                tasks,
            ));
        }
        for node in &sub.nodes {
            if let NodeKind::Fold(_) = node.kind {
                topics.push(internal(
                    TopicKind::Repartition,
                    plan.repartition_topic(&node.name),
                    plan.shards,
                ));
            }
        }
    }
    let rejects = InternalTopic {
        name: plan.rejects_topic.clone(),
        kind: TopicKind::Rejects,
        partitions: 1,
        config: vec![],
    };
    topics.push(rejects);
    topics
}

fn internal(kind: TopicKind, name: String, partitions: i32) -> InternalTopic {
    let config = [
        ("cleanup.policy", "delete".to_string()),
        ("retention.ms", "-1".to_string()),
        ("retention.bytes", "-1".to_string()),
        ("segment.bytes", SEGMENT_BYTES.to_string()),
    ];
    let config = config
        .into_iter()
        .map(|(key, value)| (key.to_string(), value))
        .collect();
    InternalTopic {
        name,
        kind,
        partitions,
        config,
    }
}
