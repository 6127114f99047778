//! What the threads of a process share: the plan, the clients, the ownership table, the cluster's figures, the board.
//!
//! Invariant: everything here is either immutable or guarded by its own lock, and no lock is held during I/O.

use super::board::Board;
use super::holders::Holders;
use super::progress::Progress;
use super::task::sink::{OutputTopic, StampLimits};
use crate::broker::{Admin, Clients, Group, GroupMetadata, Membership};
use crate::clock::Clock;
use crate::fetch::TopicPartition;
use crate::metrics::Metrics;
use crate::plan::graph::{Input, NodeKind, Plan, SubTopology};
use crate::protocol::TaskId;
use crate::protocol::ownership::Ownership;
use crate::state::Stores;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

/// How a worker works; from the settings.
#[derive(Debug, Clone)]
pub struct Tuning {
    pub app: String,
    pub worker_id: String,
    pub threads: usize,
    pub commit_interval: Duration,
    pub commit_max_bytes: usize,
    pub commit_deadline: Duration,
    pub transaction_timeout: Duration,
    pub release_deadline: Duration,
    pub save_interval: Duration,
    pub changelog_keep: Duration,
    pub refresh_min_log: u64,
    /// What the whole process may use.
    pub memory_budget: u64,
    /// Memory that the hot layers of one thread may take.
    pub hot_bytes: usize,
    /// Fetched bytes that may wait in one thread.
    pub pending_bytes: usize,
    /// The number of the bounded run, with `--until-end`.
    pub run: Option<u32>,
    /// Each worker thread on a core of its own.
    pub pin_threads: bool,
}

/// A thread that has not finished a turn for so long, at least, stands still.
const STANDING: Duration = Duration::from_secs(10);

impl Tuning {
    /// How long a turn may last, outside commits, until the thread counts as standing still.
    pub fn longest_turn(&self) -> Duration {
        (self.release_deadline / 2).max(STANDING)
    }
}

/// Facts of the topics in use.
#[derive(Debug, Default)]
pub struct Cluster {
    topics: RwLock<BTreeMap<String, Topic>>,
    log_starts: RwLock<BTreeMap<TopicPartition, i64>>,
}

/// One topic as it was last described.
#[derive(Debug, Clone)]
pub struct Topic {
    pub id: Option<String>,
    pub partitions: i32,
    pub max_message_bytes: usize,
    pub stamps: StampLimits,
}

impl Cluster {
    pub fn set(&self, name: &str, topic: Topic) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.insert(name.to_string(), topic);
    }

    pub fn get(&self, name: &str) -> Option<Topic> {
        self.topics
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    pub fn partitions(&self, name: &str) -> i32 {
        self.get(name).map_or(1, |t| t.partitions)
    }

    pub fn set_log_start(&self, at: TopicPartition, start: i64) {
        self.log_starts
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(at, start);
    }

    /// Where the log of a changelog partition began when it was last looked at.
    pub fn log_start(&self, at: &TopicPartition) -> Option<i64> {
        self.log_starts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(at)
            .copied()
    }
}

/// Producers that this process has fenced itself, because a release had to go on without their thread.
#[derive(Default)]
pub struct Fences {
    threads: Mutex<BTreeSet<usize>>,
}

impl Fences {
    pub fn add(&self, thread: usize) {
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(thread);
    }

    /// Whether the thread's producer was fenced by this process; asked once per fence.
    pub fn take_own(&self, thread: usize) -> bool {
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&thread)
    }
}

pub struct Shared {
    pub plan: Plan,
    pub tuning: Tuning,
    pub clients: Arc<dyn Clients>,
    pub admin: Arc<dyn Admin>,
    pub group: Arc<dyn Group>,
    pub stores: Box<dyn Stores>,
    pub clock: Arc<dyn Clock>,
    pub ownership: Ownership,
    pub holders: Holders,
    pub cluster: Cluster,
    pub board: Board,
    pub metrics: Arc<Metrics>,
    pub fences: Fences,
    pub progress: Progress,
    /// Set once the member has started.
    pub membership: OnceLock<Arc<dyn Membership>>,
}

impl Shared {
    pub fn group_metadata(&self) -> crate::broker::Result<GroupMetadata> {
        match self.membership.get() {
            Some(membership) => membership.metadata(),
            None => Ok(GroupMetadata {
                generation: -1,
                ..GroupMetadata::default()
            }),
        }
    }

    /// The `client.id` of a thread's data consumer.
    pub fn reader_id(&self, thread: usize) -> String {
        format!("{}-{thread}", self.tuning.worker_id)
    }

    pub fn sub_topology(&self, task: &TaskId) -> Option<&SubTopology> {
        self.plan.sub_topology(&task.sub_topology)
    }

    /// The topic that the tasks of a sub-topology read.
    pub fn input_topic(&self, sub: &SubTopology) -> String {
        match &sub.input {
            Input::Source(source) => source.spec.topic.value.clone(),
            Input::Window(window) => self.plan.repartition_topic(&window.window.node),
        }
    }

    /// The same by name, for the origins of rejects.
    pub fn input_topic_of(&self, sub: &str) -> Option<String> {
        self.plan.sub_topology(sub).map(|sub| self.input_topic(sub))
    }

    pub fn input_at(&self, task: &TaskId) -> Option<TopicPartition> {
        self.sub_topology(task)
            .map(|sub| TopicPartition::new(self.input_topic(sub), task.partition))
    }

    pub fn changelog_at(&self, task: &TaskId) -> Option<TopicPartition> {
        let sub = self.sub_topology(task).filter(|sub| sub.has_state())?;
        Some(TopicPartition::new(
            self.plan.changelog_topic(&sub.name),
            task.partition,
        ))
    }

    /// The repartition partitions that a task writes.
    pub fn written_by(&self, task: &TaskId) -> Vec<TopicPartition> {
        let Some(sub) = self.sub_topology(task) else {
            return Vec::new();
        };
        let folds = sub.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Fold(window) => Some(self.plan.repartition_topic(&window.node)),
            _ => None,
        });
        folds
            .flat_map(|topic| {
                (0..self.plan.shards).map(move |p| TopicPartition::new(topic.as_str(), p))
            })
            .collect()
    }

    /// Tasks of a sub-topology: partitions of its input.
    pub fn tasks_of(&self, sub: &SubTopology) -> u32 {
        self.cluster.partitions(&self.input_topic(sub)).max(0) as u32
    }

    pub fn output_topic(&self, name: &str) -> OutputTopic {
        let topic = self.cluster.get(name);
        OutputTopic {
            partitions: topic.as_ref().map_or(1, |t| t.partitions.max(1)),
            max_bytes: topic.as_ref().map_or(1 << 20, |t| t.max_message_bytes),
            stamps: topic.map_or_else(StampLimits::default, |t| t.stamps),
        }
    }
}
