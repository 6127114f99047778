//! The data sets of the benchmark, and the program that writes them into a topic.
//!
//! Invariant: a record is a function of its number (and, for W3, of the number of keys) alone: a set can be written in
//! pieces, and the expected result can be computed without reading anything back.

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

/// Partitions of every topic of the benchmark.
pub const PARTITIONS: i32 = 4;
pub const PAGES: [&str; 6] = ["/cart", "/docs", "/home", "/login", "/search", "/terms"];
pub const USERS: u64 = 1_000_000;
/// A full hour, so that windows of each size begin with the first record.
pub const BEGIN_MS: i64 = 1_699_999_200_000;
const CLICKS_PER_WINDOW: u64 = PAGES.len() as u64 * 1000;
const PAYMENTS_PER_WINDOW: u64 = 500_000;
/// So many records for each key of W3 fit into its hour.
const RECORDS_PER_KEY: u64 = 4;
/// A prime above every number of keys: multiples of it visit each key once, far from its neighbours.
const STRIDE: u64 = 2_147_483_647;

/// One of the three data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// W1: 1000 clicks for each of six pages in every 15 s.
    Clicks,
    /// W2: payments of a million users, 500 000 a minute.
    Users,
    /// W3: each key once within one hour, then updates of keys at random in the same hour.
    Keys { keys: u64 },
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub at_ms: i64,
    /// Index of the page, number of the user.
    pub key: u64,
    pub amount: u64,
}

impl Set {
    /// The number of records nearest to `records` from above that ends no window of W1 half full.
    pub fn whole(self, records: u64) -> u64 {
        match self {
            Set::Clicks => records.div_ceil(CLICKS_PER_WINDOW) * CLICKS_PER_WINDOW,
            Set::Users | Set::Keys { .. } => records,
        }
    }

    pub fn window_ms(self) -> i64 {
        match self {
            Set::Clicks => 15_000,
            Set::Users => 60_000,
            Set::Keys { .. } => 3_600_000,
        }
    }

    /// How many windows so many records reach into.
    pub fn windows(self, records: u64) -> u64 {
        match self {
            Set::Clicks => records.div_ceil(CLICKS_PER_WINDOW),
            Set::Users => records.div_ceil(PAYMENTS_PER_WINDOW),
            Set::Keys { .. } => 1,
        }
    }

    /// How many records there can be: W3 has only one window.
    pub fn room(self) -> u64 {
        match self {
            Set::Keys { keys } => keys * RECORDS_PER_KEY,
            Set::Clicks | Set::Users => u64::MAX,
        }
    }

    /// Every key is below.
    pub fn keys(self) -> u64 {
        match self {
            Set::Clicks => PAGES.len() as u64,
            Set::Users => USERS,
            Set::Keys { keys } => keys,
        }
    }

    pub fn event(self, number: u64) -> Event {
        let random = scramble(number);
        let amount = (random >> 40) % 1000;
        let after = |per_window: u64| (number * self.window_ms() as u64 / per_window) as i64;
        let (offset_ms, key) = match self {
            Set::Clicks => (after(CLICKS_PER_WINDOW), number % PAGES.len() as u64),
            Set::Users => (
                after(PAYMENTS_PER_WINDOW),
                ((random & 0xffff_ffff) * USERS) >> 32,
            ),
            Set::Keys { keys } if number < keys => (after(self.room()), number * STRIDE % keys),
            Set::Keys { keys } => (after(self.room()), random % keys),
        };
        Event {
            at_ms: BEGIN_MS + offset_ms,
            key,
            amount,
        }
    }

    /// The record's JSON, in the place of what stood in `text`.
    fn write(self, number: u64, text: &mut String) -> std::fmt::Result {
        let Event { at_ms, key, amount } = self.event(number);
        text.clear();
        match self {
            Set::Clicks => {
                let page = PAGES[key as usize];
                write!(text, r#"{{"timestamp":{at_ms},"page":"{page}"}}"#)
            }
            Set::Users | Set::Keys { .. } => write!(
                text,
                r#"{{"timestamp":{at_ms},"user":{key},"amount":{amount}}}"#
            ),
        }
    }
}

/// Any two numbers give unrelated results (the finalizer of MurmurHash3).
pub fn scramble(number: u64) -> u64 {
    let mut x = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// The partition of a record: each key reaches each partition.
fn partition(number: u64) -> i32 {
    (scramble(!number) % PARTITIONS as u64) as i32
}

/// Writes the records of these numbers, lz4-compressed, and waits until all are acknowledged.
///
/// # Errors
/// Kafka refuses one.
pub fn write(brokers: &str, topic: &str, set: Set, numbers: std::ops::Range<u64>) -> Result<()> {
    let mut writer = Writer::new(brokers, topic, set)?;
    for number in numbers {
        writer.write(number)?;
    }
    writer.finish()
}

/// A producer for one topic that knows the records by their numbers.
pub struct Writer {
    producer: ThreadedProducer<Delivery>,
    topic: String,
    set: Set,
    text: String,
}

impl Writer {
    /// # Errors
    /// The client cannot be made.
    pub fn new(brokers: &str, topic: &str, set: Set) -> Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "50")
            .set("queue.buffering.max.messages", "1000000");
        Ok(Writer {
            producer: config.create_with_context(Delivery::default())?,
            topic: topic.to_string(),
            set,
            text: String::new(),
        })
    }

    /// Hands the record of this number to the producer; waits while its queue is full.
    ///
    /// # Errors
    /// The producer does not take it.
    pub fn write(&mut self, number: u64) -> Result<()> {
        self.set.write(number, &mut self.text)?;
        let mut record = BaseRecord::<(), str>::to(&self.topic)
            .partition(partition(number))
            .payload(&self.text);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Waits until all are acknowledged.
    ///
    /// # Errors
    /// Kafka has refused one, or does not answer.
    pub fn finish(self) -> Result<()> {
        self.producer.flush(Duration::from_secs(120))?;
        match self.producer.context().failed.get() {
            Some(error) => bail!("a record for {} was refused: {error}", self.topic),
            None => Ok(()),
        }
    }
}

/// Remembers the first record that was refused.
#[derive(Default)]
pub struct Delivery {
    failed: OnceLock<KafkaError>,
}

impl ClientContext for Delivery {}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let _ = self.failed.set(error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_has_1000_clicks_in_each_window() {
        let mut counts = [[0; PAGES.len()]; 3];
        for number in 0..Set::Clicks.whole(12_001) {
            let event = Set::Clicks.event(number);
            counts[((event.at_ms - BEGIN_MS) / 15_000) as usize][event.key as usize] += 1;
        }
        assert_eq!(counts, [[1000; PAGES.len()]; 3]);
    }

    #[test]
    fn each_key_comes_once_before_updates_begin() {
        let set = Set::Keys { keys: 1000 };
        let mut keys: Vec<u64> = (0..1000).map(|number| set.event(number).key).collect();
        assert_ne!(keys[1], keys[0] + 1);
        keys.sort_unstable();
        assert_eq!(keys, (0..1000).collect::<Vec<_>>());
        assert!((1000..4000).all(|number| set.event(number).at_ms < BEGIN_MS + 3_600_000));
    }

    #[test]
    fn half_a_million_payments_fill_a_minute() {
        let at = |number| Set::Users.event(number).at_ms - BEGIN_MS;
        assert_eq!((at(499_999), at(500_000)), (59_999, 60_000));
        assert_eq!(Set::Users.windows(10_000_000), 20);
    }

    #[test]
    fn partitions_are_evenly_filled() {
        let mut counts = [0; PARTITIONS as usize];
        (0..40_000).for_each(|number| counts[partition(number) as usize] += 1);
        assert!(
            counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
    }
}
