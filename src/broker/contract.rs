//! What every implementation of the broker traits must do, as one suite: the real client runs it against a real Kafka,
//! and a broker in memory must pass the same.
//!
//! Invariant: each case makes topics, groups and ids of its own, so cases may run side by side on one cluster. The suite
//! names no implementation; `contract/kafka.rs` binds it to the real one.

mod data;
mod kafka;
mod membership;
mod outside;

use super::*;
use crate::clock::{Clock, SystemClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Long enough for a loaded machine; a case that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A member that can leave.
trait Joined: Membership {
    fn leave(&self);
    /// Leaves until `come_back`; returns at once.
    fn step_aside(&self);
    fn come_back(&self);
}

/// One implementation, and a cluster to run it on.
trait Cluster {
    fn clients(&self, group: &str) -> Box<dyn Clients>;
    fn admin(&self) -> Arc<dyn Admin>;
    fn group(&self, group: &str) -> Arc<dyn Group>;
    fn join(
        &self,
        group: &str,
        worker: &str,
        instance: Option<&str>,
        topic: &str,
        listener: Arc<dyn RebalanceListener>,
    ) -> Arc<dyn Joined>;
}

/// A name that no other case and no earlier run has.
fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::SeqCst);
    format!(
        "contract-{}-{}-{next}-{stem}",
        SystemClock::new().wall_ms(),
        std::process::id()
    )
}

fn make_topic(cluster: &dyn Cluster, partitions: i32) -> String {
    make_topic_with(cluster, partitions, "segment.bytes", "1048576")
}

fn make_topic_with(cluster: &dyn Cluster, partitions: i32, key: &str, value: &str) -> String {
    let name = unique("topic");
    let config = vec![(key.to_string(), value.to_string())];
    let topic = NewTopic {
        name: name.clone(),
        partitions,
        replication: None,
        config,
    };
    cluster.admin().create_topics(&[topic]).unwrap();
    name
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn record<'a>(topic: &'a str, partition: i32, value: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition,
        key: None,
        value: Some(value),
        timestamp: None,
    }
}

/// A producer that is registered and ready to begin.
fn producer(cluster: &dyn Cluster, id: &str) -> Box<dyn Producer> {
    let mut producer = cluster.clients("contract").producer(id).unwrap();
    producer.init(PATIENCE).unwrap();
    producer
}

/// Commits one transaction of these values.
fn commit_values(producer: &mut dyn Producer, topic: &str, values: &[&str]) {
    producer.begin().unwrap();
    for value in values {
        producer.send(record(topic, 0, value.as_bytes())).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    assert_eq!(producer.commit(PATIENCE).unwrap(), Outcome::Committed);
}

/// A record as the consumer handed it out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl Row {
    fn text(&self) -> String {
        self.value
            .as_deref()
            .map_or("null".into(), |v| String::from_utf8_lossy(v).into_owned())
    }
}

fn rows(fetch: &Fetch) -> Vec<Row> {
    let row = |i| Row {
        partition: fetch.at.partition,
        offset: fetch.offset(i),
        timestamp: fetch.timestamp(i),
        key: fetch.key(i).map(<[u8]>::to_vec),
        value: fetch.value(i).map(<[u8]>::to_vec),
    };
    (0..fetch.len()).map(row).collect()
}

/// Polls until `stop` says so.
fn poll_until(
    consumer: &mut dyn Consumer,
    max: usize,
    mut stop: impl FnMut(&Polled) -> bool,
) -> Vec<Polled> {
    let clock = SystemClock::new();
    let mut seen = vec![];
    while clock.elapsed() < PATIENCE {
        for polled in consumer.poll(Duration::from_millis(200), max).unwrap() {
            let last = stop(&polled);
            seen.push(polled);
            if last {
                return seen;
            }
        }
    }
    panic!("nothing more came, after {} answers", seen.len());
}

/// Everything up to an end with no transaction open behind it, and that end's offset. A commit returns before its
/// marker is written, so an earlier end may come first.
fn read_to_end(consumer: &mut dyn Consumer) -> (Vec<Row>, i64) {
    let (read, end, _) = read_until_end(consumer, |offset, high| offset == high);
    (read, end)
}

/// Everything up to an end that `enough` accepts, and that end's offset and high watermark.
fn read_until_end(
    consumer: &mut dyn Consumer,
    enough: impl Fn(i64, i64) -> bool,
) -> (Vec<Row>, i64, i64) {
    let seen = poll_until(
        consumer,
        1000,
        |polled| matches!(polled, Polled::End { offset, high, .. } if enough(*offset, *high)),
    );
    let mut read = vec![];
    let mut end = (-1, -1);
    for polled in &seen {
        match polled {
            Polled::Fetch(fetch) => read.extend(rows(fetch)),
            Polled::End { offset, high, .. } => end = (*offset, *high),
            Polled::OutOfRange { at } => panic!("{at}: out of range"),
            Polled::Failed { at, message } => panic!("{at}: {message}"),
        }
    }
    (read, end.0, end.1)
}

fn consumer(cluster: &dyn Cluster, partitions: &[(TopicPartition, i64)]) -> Box<dyn Consumer> {
    let mut consumer = cluster
        .clients("contract")
        .consumer(&unique("reader"))
        .unwrap();
    consumer.assign(partitions).unwrap();
    consumer
}

/// Waits until `condition` holds.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    while !condition() {
        assert!(clock.elapsed() < PATIENCE, "not seen: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
