//! The open transaction of one worker thread: everything that leaves a task goes through here.
//!
//! Invariant: a transaction is begun by the first record that is sent and is open until a commit or abort ends it, so
//! an idle worker has none. The outbox counts bytes; when to commit is the worker's decision.

use crate::broker::{CommittedOffset, GroupMetadata, Outcome, Outgoing, Producer, Result};
use crate::fetch::TopicPartition;
use std::collections::BTreeMap;
use std::time::Duration;

/// A producer and the state of its transaction.
pub struct Outbox {
    producer: Box<dyn Producer>,
    open: bool,
    bytes: usize,
}

impl Outbox {
    /// `producer` must be initialised.
    pub fn new(producer: Box<dyn Producer>) -> Self {
        Outbox {
            producer,
            open: false,
            bytes: 0,
        }
    }

    pub fn transactional_id(&self) -> &str {
        self.producer.transactional_id()
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Bytes sent in the open transaction.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Begins the transaction if none is open.
    pub fn begin(&mut self) -> Result<()> {
        if !self.open {
            self.producer.begin()?;
            self.open = true;
            self.bytes = 0;
        }
        Ok(())
    }

    pub fn send(&mut self, record: Outgoing<'_>) -> Result<()> {
        self.begin()?;
        self.bytes += size(&record);
        self.producer.send(record)
    }

    /// Like `send`, for a block whose offset [`Outbox::flush`] shall report.
    pub fn send_block(&mut self, record: Outgoing<'_>) -> Result<()> {
        self.begin()?;
        self.bytes += size(&record);
        self.producer.send_block(record)
    }

    pub fn flush(&mut self, timeout: Duration) -> Result<BTreeMap<TopicPartition, i64>> {
        self.producer.flush(timeout)
    }

    pub fn send_offsets(
        &mut self,
        offsets: &[CommittedOffset],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        self.begin()?;
        self.producer.send_offsets(offsets, group, timeout)
    }

    pub fn commit(&mut self, timeout: Duration) -> Result<Outcome> {
        let outcome = self.producer.commit(timeout)?;
        self.open = false;
        Ok(outcome)
    }

    /// Aborts what is open; nothing to do where nothing is.
    pub fn abort(&mut self, timeout: Duration) -> Result<()> {
        if self.open {
            self.open = false;
            self.producer.abort(timeout)?;
        }
        Ok(())
    }

    /// Lets the client tell what it has to tell.
    pub fn serve(&mut self) {
        self.producer.serve();
    }

    pub fn disturbed(&self) -> bool {
        self.producer.disturbed()
    }
}

/// What a record takes in a batch, about.
fn size(record: &Outgoing<'_>) -> usize {
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + 16
}
