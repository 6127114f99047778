//! What the engine needs from Kafka, as narrow traits. [`kafka`] stands behind all of them; `native` reads, in its place.
//!
//! Invariant: nothing outside `broker/` names rdkafka. Whole fetches come in, blocks and rows go out; there is no
//! callback per record, so that records are read by librdkafka or by ourselves. The traits decide nothing: the
//! protocol (what to do about an outcome) stands in `protocol/`.

#[cfg(test)]
mod contract;
pub mod figures;
pub mod kafka;
mod native;

use crate::error::Reaction;
use crate::fetch::{Fetch, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;

/// A failed call to Kafka.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The same call, with the same arguments, may be made again.
    #[error("{call}: {message}")]
    Retriable { call: &'static str, message: String },
    /// The transaction can only be aborted; the producer stays usable.
    #[error("{call}: {message}")]
    Abortable { call: &'static str, message: String },
    /// Another producer with this transactional id exists, or the broker timed the transaction out.
    #[error("{call}: fenced: {message}")]
    Fenced { call: &'static str, message: String },
    /// The client instance is unusable.
    #[error("{call}: {message}")]
    Fatal { call: &'static str, message: String },
    /// The broker refuses for good: no rights, unknown topic, too large.
    #[error("{call}: refused: {message}")]
    Refused { call: &'static str, message: String },
}

impl Error {
    pub fn reaction(&self) -> Reaction {
        match self {
            Error::Retriable { .. } => Reaction::Retry,
            Error::Abortable { .. } => Reaction::Abort,
            Error::Fenced { .. } | Error::Fatal { .. } => Reaction::Replace,
            Error::Refused { .. } => Reaction::Park,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a poll brought.
pub enum Polled {
    Fetch(Fetch),
    /// The reader stands at the end of the partition: every visible record below `offset` was handed out.
    /// With an open transaction on the partition that is its last stable offset.
    /// `high` is the broker's end of the log as of the last fetch, open transactions included.
    End {
        at: TopicPartition,
        offset: i64,
        high: i64,
    },
    /// The wanted offset is not in the log.
    OutOfRange {
        at: TopicPartition,
    },
    /// The partition cannot be read; the client goes on trying.
    Failed {
        at: TopicPartition,
        message: String,
    },
}

/// The offsets of an assignment, each partition once.
///
/// # Errors
/// An offset is negative.
fn offsets_to_assign(
    partitions: &[(TopicPartition, i64)],
) -> Result<BTreeMap<TopicPartition, i64>> {
    match partitions.iter().find(|(_, offset)| *offset < 0) {
        Some((at, offset)) => Err(Error::Refused {
            call: "assign",
            message: format!("{at}: offset {offset}"),
        }),
        None => Ok(partitions.iter().cloned().collect()),
    }
}

/// Reads assigned partitions at explicit offsets, `read_committed`.
pub trait Consumer: Send {
    /// Adds partitions, each at its offset; a partition that is already assigned moves to the offset, and nothing
    /// fetched before is handed out any more.
    fn assign(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<()>;
    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()>;
    /// Stops or resumes fetching; what was fetched before a pause may still be handed out.
    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<()>;
    /// The broker's end of the log, open transactions included, as of the last fetch. Asks no broker.
    fn high(&self, at: &TopicPartition) -> Option<i64>;
    /// Waits at most `timeout` for something; returns at most `max_records` records, grouped by partition.
    fn poll(&mut self, timeout: Duration, max_records: usize) -> Result<Vec<Polled>>;
}

/// A record to be written.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Ms since 1970; `None` for the wall clock at sending.
    pub timestamp: Option<i64>,
}

/// The position and facts of one task, as they stand in the group's committed offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    pub at: TopicPartition,
    pub offset: i64,
    pub metadata: String,
}

/// What stands in the group for one partition, at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The committed offset, where there is one.
    Stable(Option<CommittedOffset>),
    /// A transaction with pending offsets is undecided.
    Undecided,
}

/// Who we are in the consumer group, read anew before each commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupMetadata {
    pub group: String,
    pub member_id: String,
    pub generation: i32,
    pub instance_id: Option<String>,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    /// Only Kafka knows: the producer must be replaced and the tasks taken over again.
    Unknown(String),
}

/// One transactional producer. Calls come in the order
/// `init` (`begin` `send`* `flush` `send_offsets` `commit` | `abort`)*.
pub trait Producer: Send {
    fn transactional_id(&self) -> &str;
    /// Registers the transactional id: whatever an older producer of this id had open is over when this returns.
    fn init(&mut self, timeout: Duration) -> Result<()>;
    fn begin(&mut self) -> Result<()>;
    /// Queues a record; waits while the client's queue is full.
    fn send(&mut self, record: Outgoing<'_>) -> Result<()>;
    /// Queues a block and remembers its offset: `flush` then reports the last one of each partition.
    fn send_block(&mut self, record: Outgoing<'_>) -> Result<()>;
    /// Waits until the broker has acknowledged everything; returns the offset of the last block per partition.
    fn flush(&mut self, timeout: Duration) -> Result<BTreeMap<TopicPartition, i64>>;
    fn send_offsets(
        &mut self,
        offsets: &[CommittedOffset],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()>;
    /// Ends the transaction. A known abort is an error, an undecided end is [`Outcome::Unknown`].
    fn commit(&mut self, timeout: Duration) -> Result<Outcome>;
    fn abort(&mut self, timeout: Duration) -> Result<()>;
    /// A disconnect or request timeout was seen since `begin`: requests may have been sent twice.
    fn disturbed(&self) -> bool;
    /// Serves the client's callbacks (errors, statistics), without waiting; called often, also while nothing is sent.
    fn serve(&mut self) {}
}

/// Makes the clients of a worker thread.
pub trait Clients: Send + Sync {
    fn consumer(&self, client_id: &str) -> Result<Box<dyn Consumer>>;
    fn producer(&self, transactional_id: &str) -> Result<Box<dyn Producer>>;
}

/// The group membership of the process, as worker threads see it.
pub trait Membership: Send + Sync {
    /// Never from memory: the client's present member id and generation.
    fn metadata(&self) -> Result<GroupMetadata>;
}

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: String,
    /// Kafka's topic id, which a topic that was deleted and made again does not keep; `None` on old brokers.
    pub id: Option<String>,
    pub partitions: i32,
}

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    pub partitions: i32,
    /// `None` for the broker's default.
    pub replication: Option<i32>,
    pub config: Vec<(String, String)>,
}

/// Start and end of a partition's log. `stable <= high`; they are equal when no transaction is open on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    pub start: i64,
    pub stable: i64,
    pub high: i64,
}

/// A member of the group as the broker lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    pub member_id: String,
    pub client_id: String,
}

/// Questions and orders outside the data path. Every call may block up to its timeout.
pub trait Admin: Send + Sync {
    /// All of `names` that exist.
    fn topics(&self, names: &[String]) -> Result<Vec<TopicInfo>>;
    fn topic_config(&self, name: &str) -> Result<BTreeMap<String, String>>;
    /// Makes those that do not exist yet.
    fn create_topics(&self, topics: &[NewTopic]) -> Result<()>;
    fn grow_topic(&self, name: &str, partitions: i32) -> Result<()>;
    fn delete_topics(&self, names: &[String]) -> Result<()>;
    /// Deletes everything below each offset.
    fn delete_records(&self, below: &[(TopicPartition, i64)]) -> Result<()>;
    fn log_ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<LogRange>>;
    /// The first offset at or after `timestamp_ms`, the end where there is none.
    fn offsets_at(&self, partitions: &[TopicPartition], timestamp_ms: i64) -> Result<Vec<i64>>;
}

/// What a takeover asks of the consumer group.
pub trait Group: Send + Sync {
    /// Stable committed offsets; `None` in the place of a partition that has none.
    /// [`Error::Retriable`] while a transaction with pending offsets is undecided.
    fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<CommittedOffset>>>;
    /// The standing of each partition by itself, in one question that waits for no transaction.
    fn standing(&self, partitions: &[TopicPartition]) -> Result<Vec<Standing>>;
    /// What is committed for sure, while a transaction with pending offsets is undecided.
    fn committed_unstable(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<CommittedOffset>>>;
    fn members(&self) -> Result<Vec<GroupMember>>;
    /// Ends whatever a producer of this transactional id had open, by registering the id anew (InitProducerId).
    fn settle(&self, transactional_id: &str) -> Result<()>;
    /// Sets offsets of a group without members, and forgets those with a negative offset.
    fn set_offsets(&self, offsets: &[CommittedOffset]) -> Result<()>;
    fn delete(&self) -> Result<()>;
}

/// A change of the tasks topics' assignment, told from inside the group's callback.
pub trait RebalanceListener: Send + Sync {
    /// Returns when the tasks may be owned.
    fn assigned(&self, tasks: &[TopicPartition], group: &GroupMetadata);
    /// Returns only when the tasks are closed or their thread's producer was fenced.
    fn revoked(&self, tasks: &[TopicPartition]);
    /// The membership is gone already: nothing of these tasks may be committed.
    fn lost(&self, tasks: &[TopicPartition]);
    /// The client can be the member no longer, and its tasks are lost: another process has joined with this static
    /// instance id, or an assignment could not be carried out. Returns whether to join anew.
    fn broken(&self, message: &str) -> bool {
        tracing::warn!(message, "the group membership broke");
        false
    }
    /// The membership met an error. After a fatal one it has ended; after another one the client rejoins by itself.
    fn failed(&self, message: &str, fatal: bool) {
        tracing::warn!(message, fatal, "the group membership failed");
    }
}
