//! How long a record takes through a pass-through topology, and what a worker costs that has nothing to do.
//!
//! Invariant: sending and receiving are timed by one monotonic clock in one process, at the call that also gives the record
//! its Kafka timestamp; every record must arrive, exactly once.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::process::Worker;
use integration_tests::topics::{self, Isolation};
use integration_tests::wait;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::data::PARTITIONS;
use super::measure;
use super::run::{App, Job};

pub const PER_SECOND: u64 = 1000;
pub const WARM_UP_SECONDS: u64 = 10;
pub const READY: Duration = Duration::from_secs(60);
/// The last records must have come by then.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// An idle worker first settles, then is watched.
const SETTLE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(10);

/// Milliseconds from sending to arrival at a committed reader.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    /// Of all these, in milliseconds.
    ///
    /// # Errors
    /// There are none.
    pub fn of(mut latencies: Vec<f64>) -> Result<Self> {
        ensure!(!latencies.is_empty(), "nothing was measured");
        latencies.sort_by(f64::total_cmp);
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        Ok(Latency {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        })
    }
}

/// A worker without input.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    pub rss_mb: f64,
    /// CPU time per time, in percent of a core.
    pub cpu_percent: f64,
}

/// Sends 1000 records a second for `seconds` after a warm-up, and waits for each.
///
/// # Errors
/// The worker or Kafka fails; a record is lost or comes twice.
pub fn pass(brokers: &str, job: Job<'_>, input: &str, seconds: u64) -> Result<Latency> {
    let app = App::new(brokers, job, input)?;
    let mut worker = app.start(&[])?;
    worker.wait_ready(READY)?;
    let reader = follow(brokers, &app.output)?;
    let (began, total) = (wait::now(), PER_SECOND * (WARM_UP_SECONDS + seconds));
    let sender = {
        let (brokers, input) = (brokers.to_string(), input.to_string());
        thread::spawn(move || send(&brokers, &input, began, total))
    };
    let received = receive(&reader, began, total);
    let sent = sender.join().ok().context("the sender panicked")?;
    stop(&mut worker)?;
    sent?;
    Latency::of(received?)
}

fn send(brokers: &str, topic: &str, began: Instant, total: u64) -> Result<()> {
    let sender = Sender::new(brokers, topic)?;
    for seq in 0..total {
        let due = Duration::from_micros(seq * 1_000_000 / PER_SECOND);
        thread::sleep(due.saturating_sub(began.elapsed()));
        let text = format!(r#"{{"sent":{},"seq":{seq}}}"#, began.elapsed().as_micros());
        let partition = (seq % PARTITIONS as u64) as i32;
        sender.send(partition, &text)?;
    }
    sender.finish()
}

/// Sends records at once, one by one.
pub struct Sender<'a> {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: &'a str,
}

impl<'a> Sender<'a> {
    /// # Errors
    /// Kafka's client refuses.
    pub fn new(brokers: &str, topic: &'a str) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let producer = config.set("linger.ms", "1").create()?;
        Ok(Sender { producer, topic })
    }

    /// # Errors
    /// The client's queue is full.
    pub fn send(&self, partition: i32, text: &str) -> Result<()> {
        let record = BaseRecord::<(), str>::to(self.topic)
            .partition(partition)
            .payload(text);
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(())
    }

    /// Waits for the broker to have all of it.
    ///
    /// # Errors
    /// It has not.
    pub fn finish(&self) -> Result<()> {
        Ok(self.producer.flush(PATIENCE)?)
    }
}

/// A reader of all committed records of a topic, from its beginning.
///
/// # Errors
/// Kafka refuses.
pub fn follow(brokers: &str, topic: &str) -> Result<BaseConsumer> {
    let consumer = topics::consumer(brokers, Isolation::Committed)?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

/// Latencies in ms of all records sent after the warm-up.
fn receive(reader: &BaseConsumer, began: Instant, total: u64) -> Result<Vec<f64>> {
    let end = Duration::from_micros(total * 1_000_000 / PER_SECOND) + PATIENCE;
    let warm = u128::from(WARM_UP_SECONDS) * 1_000_000;
    let mut seen = vec![false; total as usize];
    let (mut left, mut latencies) = (total, Vec::new());
    while left > 0 {
        ensure!(
            began.elapsed() < end,
            "{left} of {total} records did not arrive"
        );
        let message = match reader.poll(Duration::from_millis(100)) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
            Some(message) => message?,
        };
        let now = began.elapsed().as_micros();
        let row: serde_json::Value = serde_json::from_slice(message.payload().unwrap_or_default())?;
        let number = |name: &str| {
            row[name]
                .as_u64()
                .with_context(|| format!("no {name}: {row}"))
        };
        let (sent, seq) = (u128::from(number("sent")?), number("seq")? as usize);
        let first = seen
            .get_mut(seq)
            .is_some_and(|seen| !std::mem::replace(seen, true));
        ensure!(first, "record {seq} arrived twice");
        left -= 1;
        if sent >= warm {
            latencies.push(now.saturating_sub(sent) as f64 / 1000.0);
        }
    }
    Ok(latencies)
}

/// Lets a worker run without input for a while.
///
/// # Errors
/// The worker or Kafka fails.
pub fn idle(brokers: &str, job: Job<'_>, input: &str) -> Result<Idle> {
    let app = App::new(brokers, job, input)?;
    let mut worker = app.start(&[])?;
    worker.wait_ready(READY)?;
    thread::sleep(SETTLE);
    let before = measure::cpu_s(worker.pid())?;
    thread::sleep(IDLE);
    let used = measure::cpu_s(worker.pid())? - before;
    let rss_mb = measure::status_mb(worker.pid(), "VmRSS")?;
    stop(&mut worker)?;
    Ok(Idle {
        rss_mb,
        cpu_percent: used / IDLE.as_secs_f64() * 100.0,
    })
}

/// Ends a worker in order.
///
/// # Errors
/// It ends in another way, or not at all.
pub fn stop(worker: &mut Worker) -> Result<()> {
    worker.sigterm()?;
    let status = worker.wait_exit(READY)?;
    ensure!(status.success(), "{status}: {}", worker.log()?);
    Ok(())
}
