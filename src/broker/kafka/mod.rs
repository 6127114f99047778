//! The real Kafka client, over librdkafka. The only place that names rdkafka.
//!
//! How it is laid out: `ffi` the C API with integer error codes; `error` what codes mean; `config` settings per role;
//! `client` one instance with its callbacks; `statistics` what it tells of itself; `consumer`, `producer` (with `acknowledgement`) and `member`
//! (with `rebalance`) the clients of a process; `admin` and `group` (over `request`) questions outside the data path.
//!
//! Invariant: every librdkafka instance belongs to one value and dies with it. This module keeps no global state.

mod acknowledgement;
mod admin;
mod client;
mod config;
mod consumer;
mod error;
mod ffi;
mod group;
mod member;
mod plain;
mod producer;
mod rebalance;
mod request;
mod statistics;

pub use admin::KafkaAdmin;
pub use config::{CONFIGURATION, KafkaConfig};
pub use consumer::KafkaConsumer;
pub use group::KafkaGroup;
pub use member::Member;
pub use plain::PlainProducer;
pub use producer::KafkaProducer;

use super::native::NativeConsumer;
use super::{Clients, Consumer, Producer, RebalanceListener, Result};
use std::sync::Arc;

/// Makes every client of a process.
pub struct KafkaClients {
    config: KafkaConfig,
}

impl KafkaClients {
    pub fn new(config: KafkaConfig) -> Self {
        KafkaClients { config }
    }

    /// # Errors
    /// [`super::Error::Refused`] for bad settings.
    pub fn admin(&self) -> Result<Arc<KafkaAdmin>> {
        Ok(Arc::new(KafkaAdmin::new(&self.config)?))
    }

    /// # Errors
    /// [`super::Error::Refused`] for bad settings.
    pub fn group(&self, admin: Arc<KafkaAdmin>) -> Result<Arc<KafkaGroup>> {
        Ok(Arc::new(KafkaGroup::new(&self.config, admin)?))
    }

    /// Joins the group; see [`Member::start`].
    ///
    /// # Errors
    /// [`super::Error::Refused`] for bad settings.
    pub fn member(
        &self,
        tasks_topics: &[String],
        listener: Arc<dyn RebalanceListener>,
    ) -> Result<Arc<Member>> {
        Member::start(&self.config, tasks_topics, listener)
    }
}

impl Clients for KafkaClients {
    fn consumer(&self, client_id: &str) -> Result<Box<dyn Consumer>> {
        if self.config.native {
            match self.config.reader(client_id) {
                Ok(config) => return Ok(Box::new(NativeConsumer::new(config)?)),
                Err(why) => tracing::info!(client_id, "librdkafka reads: {why}"),
            }
        }
        Ok(Box::new(KafkaConsumer::new(&self.config, client_id)?))
    }

    fn producer(&self, transactional_id: &str) -> Result<Box<dyn Producer>> {
        Ok(Box::new(KafkaProducer::new(
            &self.config,
            transactional_id,
        )?))
    }
}
