//! The Fetch request: what is asked of a broker about its partitions, and what it answers about each.
//!
//! Invariant: every answer carries the generation and the offset with which it was asked for. Nothing is decided here. Whole
//! requests, without fetch sessions: a session saves bytes only with many idle partitions, and no broker keeps anything for us.

use super::batch::Batches;
use crate::fetch::TopicPartition;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// Versions with topic names: with transactions from the fourth on, with leader epochs from the ninth.
pub const FETCH: (i16, i16) = (4, 12);
/// The first version in which the broker sees that the log was cut since the last record was read.
const WITH_FETCHED_EPOCH: i16 = 12;
const READ_COMMITTED: i8 = 1;
const NO_SESSION: i32 = -1;

/// Sizes in bytes of an answer, compressed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The broker holds an answer without records back this long.
    pub wait: Duration,
    pub min_bytes: usize,
    pub max_bytes: usize,
    /// Of each partition.
    pub max_partition_bytes: usize,
}

/// What is asked about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub at: TopicPartition,
    pub generation: u64,
    pub offset: i64,
    /// Of the last batch that was read, -1 for none.
    pub fetched_epoch: i32,
    /// As metadata told it.
    pub leader_epoch: i32,
}

/// What is answered about a partition.
pub struct Answer {
    pub code: i16,
    /// The log was cut below what was read.
    pub diverged: bool,
    pub high: i64,
    /// Last stable offset.
    pub stable: i64,
    /// That came, whole batches or not.
    pub bytes: usize,
    pub batches: Batches,
}

/// The order of the questions is kept: a broker fills its answer from the first on.
pub fn request(questions: &[Question], limits: &Limits, version: i16) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for question in questions {
        let mut partition = FetchPartition::default()
            .with_partition(question.at.partition)
            .with_current_leader_epoch(question.leader_epoch)
            .with_fetch_offset(question.offset)
            .with_partition_max_bytes(clamped(limits.max_partition_bytes));
        if version >= WITH_FETCHED_EPOCH {
            partition = partition.with_last_fetched_epoch(question.fetched_epoch);
        }
        let place = *places.entry(&question.at.topic).or_insert_with(|| {
            let name = TopicName(StrBytes::from_string(question.at.topic.to_string()));
            topics.push(FetchTopic::default().with_topic(name));
            topics.len() - 1
        });
        topics[place].partitions.push(partition);
    }
    FetchRequest::default()
        .with_max_wait_ms(limits.wait.as_millis() as i32)
        .with_min_bytes(clamped(limits.min_bytes))
        .with_max_bytes(clamped(limits.max_bytes))
        .with_isolation_level(READ_COMMITTED)
        .with_session_epoch(NO_SESSION)
        .with_topics(topics)
}

fn clamped(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// The answers by question; a partition that the broker did not mention has none.
pub fn answers(response: FetchResponse, questions: Vec<Question>) -> Vec<(Question, Answer)> {
    let mut asked: BTreeMap<(String, i32), Question> = questions
        .into_iter()
        .map(|q| ((q.at.topic.to_string(), q.at.partition), q))
        .collect();
    let mut found = Vec::with_capacity(asked.len());
    for topic in response.responses {
        let name = topic.topic.0.to_string();
        for data in topic.partitions {
            if let Some(question) = asked.remove(&(name.clone(), data.partition_index)) {
                found.push((question, answer(data)));
            }
        }
    }
    found
}

fn answer(data: PartitionData) -> Answer {
    let aborted = data.aborted_transactions.unwrap_or_default();
    let aborted = aborted.iter().map(|a| (a.producer_id.0, a.first_offset));
    // Old brokers do not tell it where no transaction was ever open.
    let stable = match data.last_stable_offset {
        -1 => data.high_watermark,
        stable => stable,
    };
    let records = data.records.unwrap_or_default();
    Answer {
        code: data.error_code,
        diverged: data.diverging_epoch.end_offset >= 0,
        high: data.high_watermark,
        stable,
        bytes: records.len(),
        batches: Batches::new(records, aborted.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::fetch_response::FetchableTopicResponse;

    const LIMITS: Limits = Limits {
        wait: Duration::from_millis(50),
        min_bytes: 1,
        max_bytes: 1 << 40,
        max_partition_bytes: 1000,
    };

    fn question(topic: &str, partition: i32, offset: i64) -> Question {
        Question {
            at: TopicPartition::new(topic, partition),
            generation: 7,
            offset,
            fetched_epoch: 3,
            leader_epoch: 4,
        }
    }

    #[test]
    fn the_order_of_the_questions_is_kept_by_topic_and_sizes_fit_the_wire() {
        let asked = [
            question("b", 1, 10),
            question("a", 0, 20),
            question("b", 0, 30),
        ];
        let request = request(&asked, &LIMITS, 12);
        let topics: Vec<_> = request
            .topics
            .iter()
            .map(|t| {
                let offsets = t.partitions.iter().map(|p| (p.partition, p.fetch_offset));
                (t.topic.0.to_string(), offsets.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(
            topics,
            [
                ("b".to_string(), vec![(1, 10), (0, 30)]),
                ("a".to_string(), vec![(0, 20)])
            ]
        );
        assert_eq!((request.max_bytes, request.isolation_level), (i32::MAX, 1));
        let partition = &request.topics[0].partitions[0];
        assert_eq!(
            (partition.current_leader_epoch, partition.last_fetched_epoch),
            (4, 3)
        );
    }

    #[test]
    fn every_version_that_may_be_picked_can_be_written() {
        for version in FETCH.0..=FETCH.1 {
            let body = request(&[question("a", 0, 1)], &LIMITS, version);
            let api = kafka_protocol::messages::ApiKey::Fetch;
            let frame = super::super::wire::request(api, version, 1, "me", &body);
            assert!(frame.is_ok(), "{version}: {frame:?}");
        }
    }

    #[test]
    fn answers_find_their_questions_and_others_are_nobodys() {
        let data = |index, code, stable| {
            PartitionData::default()
                .with_partition_index(index)
                .with_error_code(code)
                .with_high_watermark(9)
                .with_last_stable_offset(stable)
        };
        let name = TopicName(StrBytes::from_static_str("a"));
        let topic = FetchableTopicResponse::default()
            .with_topic(name)
            .with_partitions(vec![data(1, 0, -1), data(0, 1, 5), data(7, 0, 5)]);
        let response = FetchResponse::default().with_responses(vec![topic]);
        let asked = vec![
            question("a", 0, 1),
            question("a", 1, 2),
            question("a", 2, 3),
        ];
        let found: Vec<_> = answers(response, asked)
            .into_iter()
            .map(|(q, a)| (q.at.partition, q.offset, q.generation, a.code, a.stable))
            .collect();
        // Where no last stable offset is told, the high watermark is.
        assert_eq!(found, [(1, 2, 7, 0, 9), (0, 1, 7, 1, 5)]);
    }
}
