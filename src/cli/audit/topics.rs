//! Reading topics back: `read_committed`, from the start to an end that was asked for before.
//!
//! Invariant: a reading hands out exactly the visible records between the position where it stood and the last stable
//! offset at its beginning, each once, those of a partition in order. What lies beyond the end is left to the next one.

use crate::broker::{Admin, Consumer, Polled};
use crate::clock::Clock;
use crate::fetch::{Fetch, TopicPartition};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::time::Duration;

/// Without any progress for this long a reading has failed.
const STALLED: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
const RECORDS: usize = 10_000;

/// One topic and how far it was read.
pub struct TopicReader {
    topic: String,
    partitions: Vec<TopicPartition>,
    /// Next offset by partition.
    next: BTreeMap<i32, i64>,
    starts: BTreeMap<i32, i64>,
    consumer: Box<dyn Consumer>,
}

impl TopicReader {
    /// # Errors
    /// The topic does not exist, or Kafka does not answer.
    pub fn open(
        admin: &dyn Admin,
        consumer: Box<dyn Consumer>,
        topic: &str,
    ) -> anyhow::Result<TopicReader> {
        let found = admin.topics(&[topic.to_owned()])?;
        let info = found
            .iter()
            .find(|info| info.name == topic)
            .with_context(|| format!("topic {topic} does not exist"))?;
        let partitions: Vec<TopicPartition> = (0..info.partitions)
            .map(|p| TopicPartition::new(topic, p))
            .collect();
        let ranges = admin.log_ranges(&partitions)?;
        let starts: BTreeMap<i32, i64> = partitions
            .iter()
            .zip(&ranges)
            .map(|(at, r)| (at.partition, r.start))
            .collect();
        Ok(TopicReader {
            topic: topic.to_owned(),
            partitions,
            next: starts.clone(),
            starts,
            consumer,
        })
    }

    /// Where the partition's log began when the topic was opened.
    pub fn starts(&self) -> &BTreeMap<i32, i64> {
        &self.starts
    }

    /// The next offset of a partition.
    pub fn next(&self, partition: i32) -> i64 {
        self.next.get(&partition).copied().unwrap_or_default()
    }

    /// Begins anew at the start.
    pub fn rewind(&mut self) {
        self.next = self.starts.clone();
    }

    /// Reads on to the last stable offset of now; `take` gets each record's fetch and index.
    ///
    /// # Errors
    /// Records below the end are gone, or Kafka does not answer.
    pub fn read_on(
        &mut self,
        admin: &dyn Admin,
        clock: &dyn Clock,
        take: &mut dyn FnMut(&Fetch, usize),
    ) -> anyhow::Result<()> {
        let ranges = admin.log_ranges(&self.partitions)?;
        let mut ends = BTreeMap::new();
        let mut assignment = vec![];
        for (at, range) in self.partitions.iter().zip(&ranges) {
            let next = self.next(at.partition);
            if range.stable > next {
                ends.insert(at.partition, range.stable);
                assignment.push((at.clone(), next));
            }
        }
        if assignment.is_empty() {
            return Ok(());
        }
        self.consumer.assign(&assignment)?;
        let mut progress = clock.elapsed();
        while !ends.is_empty() {
            for polled in self.consumer.poll(POLL, RECORDS)? {
                if self.take_polled(polled, &mut ends, take)? {
                    progress = clock.elapsed();
                }
            }
            if clock.elapsed().saturating_sub(progress) > STALLED {
                bail!(
                    "no records of topic {} came for {} s",
                    self.topic,
                    STALLED.as_secs()
                );
            }
        }
        let assigned: Vec<TopicPartition> = assignment.into_iter().map(|(at, _)| at).collect();
        self.consumer.unassign(&assigned)?;
        Ok(())
    }

    /// Returns whether the reading has come forward.
    fn take_polled(
        &mut self,
        polled: Polled,
        ends: &mut BTreeMap<i32, i64>,
        take: &mut dyn FnMut(&Fetch, usize),
    ) -> anyhow::Result<bool> {
        match polled {
            Polled::Fetch(fetch) => {
                let partition = fetch.at.partition;
                let Some(end) = ends.get(&partition).copied() else {
                    return Ok(false);
                };
                let first = fetch.first_from(self.next(partition));
                for record in first..fetch.first_from(end) {
                    take(&fetch, record);
                }
                if let Some(next) = fetch.next_offset() {
                    self.come_to(partition, next, ends);
                }
            }
            Polled::End { at, offset, .. } => self.come_to(at.partition, offset, ends),
            Polled::OutOfRange { at } => bail!("records of {at} were deleted while they were read"),
            Polled::Failed { at, message } => {
                tracing::warn!(%at, message, "the partition cannot be read; trying again");
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn come_to(&mut self, partition: i32, offset: i64, ends: &mut BTreeMap<i32, i64>) {
        let Some(end) = ends.get(&partition).copied() else {
            return;
        };
        let next = self.next.entry(partition).or_default();
        *next = offset.min(end).max(*next);
        if *next >= end {
            ends.remove(&partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{LogRange, NewTopic, Result, TopicInfo};
    use crate::clock::SystemClock;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// A log of one partition that grows by a record, up to 5, with each question for its end.
    struct Growing(Mutex<i64>);

    impl Admin for Growing {
        fn topics(&self, names: &[String]) -> Result<Vec<TopicInfo>> {
            Ok(names
                .iter()
                .map(|name| TopicInfo {
                    name: name.clone(),
                    id: None,
                    partitions: 1,
                })
                .collect())
        }

        fn topic_config(&self, _: &str) -> Result<BTreeMap<String, String>> {
            Ok(BTreeMap::new())
        }

        fn create_topics(&self, _: &[NewTopic]) -> Result<()> {
            Ok(())
        }

        fn grow_topic(&self, _: &str, _: i32) -> Result<()> {
            Ok(())
        }

        fn delete_topics(&self, _: &[String]) -> Result<()> {
            Ok(())
        }

        fn delete_records(&self, _: &[(TopicPartition, i64)]) -> Result<()> {
            Ok(())
        }

        fn log_ranges(&self, _: &[TopicPartition]) -> Result<Vec<LogRange>> {
            let mut end = self.0.lock().unwrap();
            *end = (*end + 1).min(5);
            Ok(vec![LogRange {
                start: 0,
                stable: *end,
                high: *end + 5,
            }])
        }

        fn offsets_at(&self, _: &[TopicPartition], _: i64) -> Result<Vec<i64>> {
            Ok(vec![])
        }
    }

    /// Hands out offsets 0, 2 and 3 from the position on (1 is a marker), then the end at 5.
    #[derive(Default)]
    struct Log(VecDeque<Polled>);

    impl Consumer for Log {
        fn assign(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<()> {
            let (at, from) = &partitions[0];
            let mut fetch = Fetch::new(at.clone());
            for offset in [0, 2, 3].into_iter().filter(|offset| offset >= from) {
                fetch.push(offset, 0, None, None);
            }
            self.0 = VecDeque::from([
                Polled::Fetch(fetch),
                Polled::End {
                    at: at.clone(),
                    offset: 5,
                    high: 9,
                },
            ]);
            Ok(())
        }

        fn unassign(&mut self, _: &[TopicPartition]) -> Result<()> {
            Ok(())
        }

        fn pause(&mut self, _: &[TopicPartition], _: bool) -> Result<()> {
            Ok(())
        }

        fn high(&self, _: &TopicPartition) -> Option<i64> {
            None
        }

        fn poll(&mut self, _: Duration, _: usize) -> Result<Vec<Polled>> {
            Ok(self.0.pop_front().into_iter().collect())
        }
    }

    #[test]
    fn each_reading_ends_at_the_stable_end_asked_before_and_the_next_goes_on_there() {
        let admin = Growing(Mutex::new(0));
        let mut reader = TopicReader::open(&admin, Box::new(Log::default()), "output").unwrap();
        let read = |reader: &mut TopicReader| {
            let mut seen = vec![];
            let mut take = |fetch: &Fetch, record: usize| seen.push(fetch.offset(record));
            reader
                .read_on(&admin, &SystemClock::new(), &mut take)
                .unwrap();
            seen
        };
        assert_eq!(read(&mut reader), [0], "up to 2: offset 1 is a marker");
        assert_eq!(read(&mut reader), [2]);
        assert_eq!(read(&mut reader), [3]);
        assert_eq!(read(&mut reader), [] as [i64; 0], "offset 4 is a marker");
        assert_eq!(reader.next(0), 5);
        reader.rewind();
        assert_eq!(read(&mut reader), [0, 2, 3]);
    }
}
