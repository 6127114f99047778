//! What an administrator can do to an application from outside: look at logs, delete their heads, move a group's offsets.
//!
//! Invariant: each call is answered by the broker before it returns; nothing is retried, so a refusal is an error of the test.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::topics::{self, Isolation, REQUEST};

/// First and next offset of a partition's log.
///
/// # Errors
/// The partition does not exist, or the broker does not answer.
pub fn log_range(brokers: &str, topic: &str, partition: i32) -> Result<(i64, i64)> {
    let consumer = topics::consumer(brokers, Isolation::Uncommitted)?;
    Ok(consumer.fetch_watermarks(topic, partition, REQUEST)?)
}

/// Bytes of the values that each partition of a topic still holds, as a reader counts them.
///
/// # Errors
/// As [`topics::read`].
pub fn log_bytes(brokers: &str, topic: &str) -> Result<u64> {
    let records = topics::read(brokers, topic, Isolation::Uncommitted)?;
    Ok(records
        .iter()
        .filter_map(|record| record.value.as_ref())
        .map(|value| value.len() as u64)
        .sum())
}

/// DeleteRecords: everything below this offset is gone.
///
/// # Errors
/// The broker refuses, or its log begins elsewhere afterwards.
pub fn delete_below(brokers: &str, topic: &str, partition: i32, below: i64) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = topics::client(brokers).create()?;
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(topic, partition, Offset::Offset(below))?;
    let options = AdminOptions::new()
        .request_timeout(Some(REQUEST))
        .operation_timeout(Some(REQUEST));
    let answer = block_on(admin.delete_records(&wanted, &options))?;
    let answer = answer
        .find_partition(topic, partition)
        .context("no answer for the partition")?;
    answer
        .error()
        .map_err(|error| anyhow!("deleting records of {topic}/{partition}: {error}"))?;
    let start = topics::log_start(brokers, topic, partition)?;
    ensure!(
        start == below,
        "{topic}/{partition} begins at {start} after a deletion below {below}"
    );
    Ok(())
}

/// The group's committed offset of a partition; `None` where there is none.
///
/// # Errors
/// The broker does not answer.
pub fn committed(brokers: &str, group: &str, topic: &str, partition: i32) -> Result<Option<i64>> {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(topic, partition);
    let found = in_group(brokers, group)?.committed_offsets(wanted, REQUEST)?;
    Ok(found
        .find_partition(topic, partition)
        .and_then(|p| p.offset().to_raw())
        .filter(|offset| *offset >= 0))
}

/// Moves the offset of a group without members, as `kafka-consumer-groups --reset-offsets` does: metadata is empty.
///
/// # Errors
/// The group has members, or the broker refuses.
pub fn set_offset(
    brokers: &str,
    group: &str,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<()> {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    Ok(in_group(brokers, group)?.commit(&wanted, CommitMode::Sync)?)
}

/// Not subscribed: it never becomes a member.
fn in_group(brokers: &str, group: &str) -> Result<BaseConsumer> {
    let mut config = topics::client(brokers);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false");
    Ok(config.create()?)
}

/// The last stable offset of each partition in which a transaction is open.
///
/// # Errors
/// The topic does not exist, or the broker does not answer.
pub fn open_transactions(brokers: &str, topic: &str) -> Result<BTreeMap<i32, i64>> {
    let stable = topics::consumer(brokers, Isolation::Committed)?;
    let high = topics::consumer(brokers, Isolation::Uncommitted)?;
    let count = topics::partitions(&high, topic)?.with_context(|| format!("no topic {topic}"))?;
    let mut open = BTreeMap::new();
    for partition in 0..count {
        // The stable one first: an end in between then counts as open, and the next look tells.
        let stable = stable.fetch_watermarks(topic, partition, REQUEST)?.1;
        if stable < high.fetch_watermarks(topic, partition, REQUEST)?.1 {
            open.insert(partition, stable);
        }
    }
    Ok(open)
}
