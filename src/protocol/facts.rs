//! The facts of a task: what is committed with its positions, small enough for an offset's metadata string.
//!
//! Invariant: everything a new owner must know to go on stands here or in the changelog; facts of a newer format are
//! refused, never guessed. Encoding: one version byte, then postcard; base64 where text is needed.

use crate::operator::NodeCounts;
use crate::plan::graph::{Node, NodeKind, SubTopology};
use crate::time::watermark::{Producers, SourceWatermark};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 2;

/// Committed facts of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Who committed: its transactional id and its member id in the group.
    pub transactional_id: String,
    pub member_id: String,
    /// +1 for each committed transaction in which the task took part.
    pub epoch: u64,
    /// Random per commit: tells a commit from another one of the same epoch.
    pub nonce: u64,
    /// Next offset to be read from the input partition.
    pub position: i64,
    /// Plan fingerprint of the sub-topology.
    pub fingerprint: u64,
    /// Kafka's id of the input topic, where the broker tells it: a topic that was made anew has another.
    pub topic_id: Option<String>,
    /// Partitions that the input topic had when the task began: those of a greater number were added later.
    pub partitions: i32,
    pub time: EventTime,
    pub counts: Counts,
    pub changelog: Option<ChangelogFacts>,
    pub run: Option<BoundedRun>,
}

/// How far event time has come at the task's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventTime {
    Source(SourceWatermark),
    Producers(Producers),
}

/// Rows and records accounted for since the task began; exact at every commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records read (source) and how many of them the source rejected; `records = rejected + processed`.
    pub records: u64,
    pub rejected: u64,
    /// The receiving half of the window that begins the sub-topology, in rows.
    pub window: NodeCounts,
    /// Rows of results that the window has fired.
    pub fired: NodeCounts,
    /// Per node of the sub-topology, in the plan's order.
    pub nodes: Vec<NodeCounts>,
    /// Rows sent into each fold's repartition topic, in the order of the fold nodes.
    pub sent: Vec<u64>,
}

/// The state of the task's changelog.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangelogFacts {
    /// Replay from here finds every row.
    pub complete_from: i64,
    /// Bytes of blocks written since there, before compression.
    pub bytes: u64,
    pub cycle: Option<RefreshCycle>,
}

/// A refresh cycle under way: the store's rows are written again in key order, so that the log before `begin` dies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshCycle {
    /// What stood in the log when the cycle began; every later change stands at or after it.
    pub begin: i64,
    /// Bytes of blocks written since `begin`.
    pub bytes: u64,
    /// The last key written, cut to [`CURSOR_BYTES`] where it is committed: a new owner repeats a few rows.
    pub cursor: Vec<u8>,
}

/// Facts must stay small: a cursor is cut to this in the committed facts.
pub const CURSOR_BYTES: usize = 96;

/// `--until-end`: the last bounded run that the task has taken part in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundedRun {
    /// Runs of an application are numbered.
    pub number: u32,
    /// Where the input ends: for a source partition the last stable offset when the run first saw it.
    pub end: Option<i64>,
    pub finished: bool,
}

/// Why facts could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FactsError {
    #[error("the offset has no facts: it was set by a tool, not by this engine")]
    Missing,
    #[error("the facts have format version {0}; this program reads version {VERSION}")]
    Version(u8),
    #[error("the facts are damaged: {0}")]
    Damaged(String),
}

impl Facts {
    /// Of a task that nobody has committed yet, at the start of its input.
    pub fn beginning(sub: &SubTopology, topic_id: Option<String>, partitions: i32) -> Facts {
        let keyed = sub.has_state();
        let is_fold = |node: &&Node| matches!(node.kind, NodeKind::Fold(_));
        Facts {
            transactional_id: String::new(),
            member_id: String::new(),
            epoch: 0,
            nonce: 0,
            position: 0,
            fingerprint: sub.fingerprint,
            topic_id,
            partitions,
            time: if keyed {
                EventTime::Producers(Producers::default())
            } else {
                EventTime::Source(SourceWatermark::default())
            },
            counts: Counts {
                nodes: vec![NodeCounts::default(); sub.nodes.len()],
                sent: vec![0; sub.nodes.iter().filter(is_fold).count()],
                ..Counts::default()
            },
            changelog: keyed.then(ChangelogFacts::default),
            run: None,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        // Serialising into memory cannot fail: the types above hold nothing that postcard refuses.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    pub fn decode(bytes: &[u8]) -> Result<Facts, FactsError> {
        match bytes {
            [] => Err(FactsError::Missing),
            [VERSION, body @ ..] => {
                postcard::from_bytes(body).map_err(|e| FactsError::Damaged(e.to_string()))
            }
            [other, ..] => Err(FactsError::Version(*other)),
        }
    }

    /// As the metadata string of a committed offset.
    pub fn to_metadata(&self) -> String {
        STANDARD_NO_PAD.encode(self.encode())
    }

    pub fn from_metadata(text: &str) -> Result<Facts, FactsError> {
        let bytes = STANDARD_NO_PAD
            .decode(text)
            .map_err(|e| FactsError::Damaged(e.to_string()))?;
        Facts::decode(&bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Facts {
        Facts {
            transactional_id: "click-count-w1-0".into(),
            member_id: "w1-0123".into(),
            epoch: 7,
            nonce: 99,
            position: 1234,
            fingerprint: 0xfeed,
            topic_id: Some("abc".into()),
            partitions: 4,
            time: EventTime::Source(SourceWatermark::default()),
            counts: Counts {
                records: 10,
                nodes: vec![NodeCounts::default()],
                sent: vec![10],
                ..Counts::default()
            },
            changelog: None,
            run: None,
        }
    }

    #[test]
    fn facts_survive_the_metadata_string() {
        assert_eq!(Facts::from_metadata(&sample().to_metadata()), Ok(sample()));
    }

    #[test]
    fn the_encoding_is_pinned() {
        expect_test::expect!["AhBjbGljay1jb3VudC13MS0wB3cxLTAxMjMHY6QT7f0DAQNhYmMIAAD///////////8BAAoAAAAAAAAAAAAAAAEAAAAAAAEKAAA"].assert_eq(&sample().to_metadata());
    }

    #[test]
    fn an_empty_string_a_newer_version_and_noise_are_told_apart() {
        assert_eq!(Facts::from_metadata(""), Err(FactsError::Missing));
        let mut newer = sample().encode();
        newer[0] = 9;
        assert_eq!(Facts::decode(&newer), Err(FactsError::Version(9)));
        assert!(matches!(
            Facts::decode(&[VERSION, 255, 255]),
            Err(FactsError::Damaged(_))
        ));
        assert!(matches!(
            Facts::from_metadata("%%%"),
            Err(FactsError::Damaged(_))
        ));
    }

    #[test]
    fn a_task_with_64_producers_stays_under_a_kilobyte() {
        let mut producers = Producers::default();
        for partition in 0..64 {
            let said = crate::time::watermark::Heard::from_header(
                1_700_000_000_000 + i64::from(partition),
                false,
            );
            producers.hear((0, partition), 64, said);
        }
        let facts = Facts {
            time: EventTime::Producers(producers),
            ..sample()
        };
        assert!(
            facts.to_metadata().len() < 1024,
            "{}",
            facts.to_metadata().len()
        );
    }
}
