//! Proof that transactions which held records were aborted, read from the raw log while the application runs: afterwards
//! the records of a repartition topic are deleted.
//!
//! Invariant: [`Aborted::transactions`] never says too many. Per producer id and epoch it takes the partition with the most aborts that
//! followed data there; a transaction has at most one marker per partition, and one pair of id and epoch. It may say too few.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::topics::{self, Isolation};
use crate::wait;
use crate::wire::{Batch, Connection, Fetched, Kind};

const POLL: Duration = Duration::from_millis(200);
/// How often topics are looked for that did not exist before.
const LOOK: Duration = Duration::from_secs(1);

/// What aborted transactions left in the watched topics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aborted {
    /// At least so many transactions that held records.
    pub transactions: usize,
    /// Exactly so many records.
    pub records: usize,
}

/// A thread that watches topics until it is asked for the result.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Aborted>,
}

impl Watch {
    /// Watches these topics from their beginning; those that do not exist yet are taken when they appear.
    pub fn start(brokers: &str, topics: &[&str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (brokers, stopped) = (brokers.to_string(), Arc::clone(&stop));
        let topics = topics.iter().map(|topic| topic.to_string()).collect();
        let thread = thread::spawn(move || run(&brokers, topics, &stopped));
        Watch { stop, thread }
    }

    /// Reads on to the present end and gives the count. Call it when no transaction is open any more: an open one is not counted.
    ///
    /// # Errors
    /// The watching thread panicked.
    pub fn finish(self) -> Result<Aborted> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the watch of the aborted transactions panicked"))
    }
}

fn run(brokers: &str, mut missing: Vec<String>, stop: &AtomicBool) -> Aborted {
    let mut logs: Vec<Log> = Vec::new();
    let mut looked = None;
    let mut connection = None;
    loop {
        // Seen before the pass: the last pass begins after the wish to stop.
        let last = stop.load(Ordering::Relaxed);
        if looked.is_none_or(|at: std::time::Instant| at.elapsed() >= LOOK) {
            look(brokers, &mut missing, &mut logs);
            looked = Some(wait::now());
        }
        // A broker that was killed comes back: connect anew and go on where we were.
        let read = connect(&mut connection, brokers).and_then(|connection| {
            logs.iter_mut()
                .try_for_each(|log| log.read(connection, brokers))
        });
        if read.is_err() {
            connection = None;
        }
        if last {
            return count(&logs);
        }
        thread::sleep(POLL);
    }
}

fn connect<'a>(
    connection: &'a mut Option<Connection>,
    brokers: &str,
) -> Result<&'a mut Connection> {
    if connection.is_none() {
        *connection = Some(Connection::open(brokers)?);
    }
    connection.as_mut().ok_or_else(|| anyhow!("not connected"))
}

/// Moves the topics that exist by now from `missing` to `logs`.
fn look(brokers: &str, missing: &mut Vec<String>, logs: &mut Vec<Log>) {
    if missing.is_empty() {
        return;
    }
    let Ok(consumer) = topics::consumer(brokers, Isolation::Uncommitted) else {
        return;
    };
    missing.retain(|topic| match topics::partitions(&consumer, topic) {
        Ok(Some(count)) => {
            logs.extend((0..count).map(|partition| Log::new(topic, partition)));
            false
        }
        _ => true,
    });
}

/// A producer's incarnation.
type ProducerKey = (i64, i16);

/// One partition as far as it was read.
struct Log {
    topic: String,
    partition: i32,
    next: i64,
    /// Open transactions: the epoch of their data and the number of their records.
    open: BTreeMap<i64, (i16, usize)>,
    aborts: BTreeMap<ProducerKey, usize>,
    records: usize,
}

impl Log {
    fn new(topic: &str, partition: i32) -> Self {
        Log {
            topic: topic.to_string(),
            partition,
            next: 0,
            open: BTreeMap::new(),
            aborts: BTreeMap::new(),
            records: 0,
        }
    }

    /// Reads to the present end.
    fn read(&mut self, connection: &mut Connection, brokers: &str) -> Result<()> {
        loop {
            match connection.fetch(&self.topic, self.partition, self.next)? {
                Fetched::Batches(batches) if batches.is_empty() => return Ok(()),
                Fetched::Batches(batches) => batches.iter().for_each(|batch| self.take(batch)),
                // Deleted before we came: go on where the log begins.
                Fetched::OutOfRange => {
                    self.next = topics::log_start(brokers, &self.topic, self.partition)?;
                    return Ok(());
                }
            }
        }
    }

    fn take(&mut self, batch: &Batch) {
        if batch.last_offset < self.next {
            // A fetch begins with the whole batch in which the offset lies.
            return;
        }
        self.next = batch.last_offset + 1;
        match batch.kind {
            Kind::Transactional => {
                let open = self.open.entry(batch.producer_id).or_default();
                *open = (batch.producer_epoch, open.1 + batch.records.max(0) as usize);
            }
            Kind::Commit => {
                self.open.remove(&batch.producer_id);
            }
            Kind::Abort => {
                // The marker carries a raised epoch when the coordinator aborted; the data's epoch names the transaction.
                if let Some((epoch, records)) = self.open.remove(&batch.producer_id) {
                    *self.aborts.entry((batch.producer_id, epoch)).or_default() += 1;
                    self.records += records;
                }
            }
            Kind::Plain | Kind::Other => {}
        }
    }
}

fn count(logs: &[Log]) -> Aborted {
    let producers: BTreeSet<_> = logs.iter().flat_map(|log| log.aborts.keys()).collect();
    let most = |key: &ProducerKey| {
        let aborts = logs.iter().filter_map(|log| log.aborts.get(key));
        aborts.max().copied().unwrap_or(0)
    };
    Aborted {
        transactions: producers.into_iter().map(most).sum(),
        records: logs.iter().map(|log| log.records).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(batches: &[(Kind, i64, i16)]) -> Log {
        let mut log = Log::new("t", 0);
        for (offset, (kind, producer_id, producer_epoch)) in batches.iter().enumerate() {
            let (last_offset, records) = (offset as i64, 1);
            log.take(&Batch {
                last_offset,
                producer_id: *producer_id,
                producer_epoch: *producer_epoch,
                records,
                kind: *kind,
            });
        }
        log
    }

    #[test]
    fn an_abort_without_data_is_not_counted() {
        let empty = log(&[
            (Kind::Abort, 7, 0),
            (Kind::Transactional, 7, 0),
            (Kind::Commit, 7, 0),
            (Kind::Abort, 7, 1),
        ]);
        assert_eq!(count(&[empty]), Aborted::default());
    }

    #[test]
    fn one_transaction_over_two_partitions_counts_once() {
        let one = || {
            log(&[
                (Kind::Transactional, 7, 0),
                (Kind::Transactional, 7, 0),
                (Kind::Abort, 7, 1),
            ])
        };
        assert_eq!(
            count(&[one(), one()]),
            Aborted {
                transactions: 1,
                records: 4
            }
        );
    }

    #[test]
    fn aborts_of_several_producers_and_epochs_add_up() {
        let interleaved = log(&[
            (Kind::Transactional, 7, 0),
            (Kind::Transactional, 8, 0),
            (Kind::Abort, 7, 1),
            (Kind::Commit, 8, 0),
            (Kind::Transactional, 7, 1),
            (Kind::Transactional, 8, 0),
            (Kind::Abort, 8, 0),
            (Kind::Abort, 7, 2),
        ]);
        assert_eq!(
            count(&[interleaved]),
            Aborted {
                transactions: 3,
                records: 3
            }
        );
    }
}
