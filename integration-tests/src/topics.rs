//! Topics seen from outside: create, fill at exact places, read back to the end.
//!
//! Invariant: a read is complete or an error: up to the high watermark at the time of the call, and with `read_committed` only after
//! every transaction below it has ended. Partitions and timestamps of produced records are the caller's, never a partitioner's.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use crate::wait;

pub(crate) const REQUEST: Duration = Duration::from_secs(15);
/// Longer than a killed worker's transaction lives.
const TRANSACTIONS_END: Duration = Duration::from_secs(90);

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    Committed,
    Uncommitted,
}

/// One record, to be written (`offset` is then ignored) or as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl Record {
    /// A JSON document for a partition.
    pub fn json(partition: i32, timestamp_ms: i64, document: &Value) -> Self {
        let value = Some(document.to_string().into_bytes());
        Record {
            partition,
            offset: 0,
            timestamp_ms,
            key: None,
            value,
        }
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// There is none, or it is no JSON.
    pub fn document(&self) -> Result<Value> {
        let value = self.value.as_deref().context("a record without value")?;
        Ok(serde_json::from_slice(value)?)
    }
}

/// A name that no other test and no earlier run has used.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let started = std::fs::metadata("/proc/self")
        .and_then(|meta| meta.modified())
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_secs());
    format!("{name}-{started}-{}-{number}", std::process::id())
}

pub(crate) fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    // A broker that is killed on purpose is no news.
    config.set("log_level", "0");
    config
}

/// A consumer that is assigned by hand; its group never exists.
///
/// # Errors
/// librdkafka refuses to make one.
pub fn consumer(brokers: &str, isolation: Isolation) -> Result<BaseConsumer> {
    let level = match isolation {
        Isolation::Committed => "read_committed",
        Isolation::Uncommitted => "read_uncommitted",
    };
    let mut config = client(brokers);
    config
        .set("group.id", "integration-tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("isolation.level", level);
    Ok(config.create()?)
}

/// Creates a topic with these settings.
///
/// # Errors
/// It exists already, or the broker refuses.
pub fn create(
    brokers: &str,
    topic: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create()?;
    let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        wanted = wanted.set(key, value);
    }
    let options = AdminOptions::new()
        .request_timeout(Some(REQUEST))
        .operation_timeout(Some(REQUEST));
    for result in block_on(admin.create_topics([&wanted], &options))? {
        result.map_err(|(name, code)| anyhow!("creating {name}: {code}"))?;
    }
    // Creation is answered before every client can see it.
    let consumer = consumer(brokers, Isolation::Uncommitted)?;
    wait::until_true(&format!("topic {topic} appears"), REQUEST, || {
        Ok(self::partitions(&consumer, topic)? == Some(partitions))
    })
}

/// How many partitions a topic has; `None` if it does not exist.
///
/// # Errors
/// The broker does not answer.
pub fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Option<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST)?;
    Ok(metadata
        .topics()
        .iter()
        .find(|t| t.name() == topic && t.error().is_none())
        .map(|t| t.partitions().len() as i32)
        .filter(|count| *count > 0))
}

/// The first offset that a partition still has.
///
/// # Errors
/// The partition does not exist, or the broker does not answer.
pub fn log_start(brokers: &str, topic: &str, partition: i32) -> Result<i64> {
    let consumer = consumer(brokers, Isolation::Uncommitted)?;
    Ok(consumer.fetch_watermarks(topic, partition, REQUEST)?.0)
}

/// Writes records to their partitions, in order, and waits until all are acknowledged.
///
/// # Errors
/// Any of them is refused, or not acknowledged within 60 s.
pub fn produce(brokers: &str, topic: &str, records: &[Record]) -> Result<()> {
    let mut config = client(brokers);
    config
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("message.max.bytes", "4000000");
    let producer: ThreadedProducer<Acknowledged> =
        config.create_with_context(Acknowledged::default())?;
    for record in records {
        send(&producer, topic, record)?;
    }
    producer.flush(Duration::from_secs(60))?;
    match producer.context().failed.get() {
        Some(error) => bail!("a record for {topic} was refused: {error}"),
        None => Ok(()),
    }
}

/// Remembers the first record that was refused.
#[derive(Default)]
struct Acknowledged {
    failed: std::sync::OnceLock<KafkaError>,
}

impl rdkafka::ClientContext for Acknowledged {}

impl rdkafka::producer::ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::message::DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let _ = self.failed.set(error.clone());
        }
    }
}

fn send(producer: &ThreadedProducer<Acknowledged>, topic: &str, record: &Record) -> Result<()> {
    let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic)
        .partition(record.partition)
        .timestamp(record.timestamp_ms);
    message.key = record.key.as_deref();
    message.payload = record.value.as_deref();
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                message = again;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// All records of a topic up to its present end, in offset order per partition.
///
/// # Errors
/// The topic does not exist, or a transaction stays open for 90 s (`Committed`).
pub fn read(brokers: &str, topic: &str, isolation: Isolation) -> Result<Vec<Record>> {
    let uncommitted = consumer(brokers, Isolation::Uncommitted)?;
    let count = partitions(&uncommitted, topic)?.with_context(|| format!("no topic {topic}"))?;
    let reader = consumer(brokers, isolation)?;
    let mut assignment = TopicPartitionList::new();
    let mut open = BTreeSet::new();
    for partition in 0..count {
        let (low, high) = uncommitted.fetch_watermarks(topic, partition, REQUEST)?;
        if low == high {
            continue;
        }
        if isolation == Isolation::Committed {
            // The last stable offset is what a committed reader calls the end: it must have reached the true one.
            let what = format!("the transactions of {topic}/{partition} end");
            wait::until_true(&what, TRANSACTIONS_END, || {
                Ok(reader.fetch_watermarks(topic, partition, REQUEST)?.1 >= high)
            })?;
        }
        assignment.add_partition_offset(topic, partition, Offset::Offset(low))?;
        open.insert(partition);
    }
    reader.assign(&assignment)?;
    let mut records = Vec::new();
    let mut last = wait::now();
    while !open.is_empty() {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                last = wait::now();
                records.push(record(&message));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => return Err(error).with_context(|| format!("reading {topic}")),
            None if last.elapsed() > REQUEST => bail!("reading {topic} stands still"),
            None => {}
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// A committed reader that follows a topic from its beginning.
pub struct Tail {
    consumer: BaseConsumer,
}

impl Tail {
    /// Begins to follow a topic that exists.
    ///
    /// # Errors
    /// It does not exist, or the broker does not answer.
    pub fn start(brokers: &str, topic: &str) -> Result<Self> {
        let consumer = consumer(brokers, Isolation::Committed)?;
        let count = partitions(&consumer, topic)?.with_context(|| format!("no topic {topic}"))?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..count {
            assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        Ok(Tail { consumer })
    }

    /// The records that have come, after waiting at most `timeout` for the first.
    ///
    /// # Errors
    /// The broker refuses to serve the topic; a broker that is away for a while is no error.
    pub fn poll(&self, timeout: Duration) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut patience = timeout;
        while let Some(result) = self.consumer.poll(patience) {
            match result {
                Ok(message) => records.push(record(&message)),
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error.into()),
            }
            patience = Duration::ZERO;
        }
        Ok(records)
    }
}

/// What librdkafka reports and mends by itself.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut};
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(AllBrokersDown | BrokerTransportFailure | OperationTimedOut)
    )
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
    }
}

/// How many records an uncommitted reader sees and a committed one does not: what aborted transactions left behind.
///
/// # Errors
/// As [`read`].
pub fn aborted_records(brokers: &str, topic: &str) -> Result<usize> {
    let place = |record: &Record| (record.partition, record.offset);
    // Uncommitted first: the committed read then waits until every transaction seen here has ended.
    let all = read(brokers, topic, Isolation::Uncommitted)?;
    let committed: BTreeSet<_> = read(brokers, topic, Isolation::Committed)?
        .iter()
        .map(place)
        .collect();
    Ok(all
        .iter()
        .filter(|record| !committed.contains(&place(record)))
        .count())
}
