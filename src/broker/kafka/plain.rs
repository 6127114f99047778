//! An idempotent producer without transactions, for test data. No task ever uses it.
//!
//! Invariant: `finish` succeeds only if the broker has acknowledged every record that was sent.

use super::client::loses_leader;
use super::{CONFIGURATION, KafkaConfig};
use crate::broker::{Error, Result};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Message};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Records of one call to the client's queue: acknowledgements are taken in between.
const POLL_EVERY: u32 = 1000;

/// The first record that was not acknowledged, and why.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Option<String>>>);

impl Reports {
    /// The first failure stays.
    fn fail(&self, why: impl FnOnce() -> String) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(why);
    }
}

impl ClientContext for Reports {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::info!(facility, "librdkafka: {message}");
        if loses_leader(facility, message) {
            self.fail(|| {
                format!("the Kafka client cannot go on, run it again on a fresh topic: {message}")
            });
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the Kafka client goes on trying");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = result {
            self.fail(|| format!("{}/{}: {error}", record.topic(), record.partition()));
        }
    }
}

pub struct PlainProducer {
    producer: BaseProducer<Reports>,
    reports: Reports,
    unpolled: u32,
}

impl PlainProducer {
    /// # Errors
    /// [`Error::Refused`] for bad settings.
    pub fn new(config: &KafkaConfig) -> Result<PlainProducer> {
        let mut client = ClientConfig::new();
        client
            .set("linger.ms", "20")
            .set("compression.codec", "lz4")
            .set("batch.num.messages", "100000");
        for (name, value) in &config.properties {
            client.set(name, value);
        }
        client.set("bootstrap.servers", &config.bootstrap_servers);
        client.set("client.id", &config.worker_id);
        client.set("enable.idempotence", "true");
        let reports = Reports::default();
        let producer = client
            .create_with_context(reports.clone())
            .map_err(|error| Error::Refused {
                call: CONFIGURATION,
                message: error.to_string(),
            })?;
        Ok(PlainProducer {
            producer,
            reports,
            unpolled: 0,
        })
    }

    /// Queues a record without key, stamped with the wall clock; waits while the queue is full.
    ///
    /// # Errors
    /// This record cannot be sent, or an earlier one was not acknowledged.
    pub fn send(&mut self, topic: &str, partition: i32, value: &[u8]) -> Result<()> {
        self.unpolled += 1;
        if self.unpolled >= POLL_EVERY {
            self.poll()?;
        }
        let mut record = BaseRecord::<(), [u8]>::to(topic)
            .partition(partition)
            .payload(value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    self.producer.poll(Duration::from_millis(10));
                    self.check()?;
                }
                Err((error, _)) => return Err(refused("produce", error.to_string())),
            }
        }
    }

    /// Takes acknowledgements, without waiting.
    ///
    /// # Errors
    /// A record was not acknowledged.
    pub fn poll(&mut self) -> Result<()> {
        self.unpolled = 0;
        self.producer.poll(Duration::ZERO);
        self.check()
    }

    /// Waits until everything is acknowledged.
    ///
    /// # Errors
    /// A record was not acknowledged, or not in time.
    pub fn finish(&mut self, timeout: Duration) -> Result<()> {
        self.producer
            .flush(timeout)
            .map_err(|error| refused("flush", error.to_string()))?;
        self.check()
    }

    fn check(&self) -> Result<()> {
        match &*self
            .reports
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            Some(error) => Err(refused("produce", error.clone())),
            None => Ok(()),
        }
    }
}

fn refused(call: &'static str, message: String) -> Error {
    Error::Refused { call, message }
}
