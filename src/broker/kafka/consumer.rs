//! The data consumer: manual assignment, batches taken through the C API, grouped into one [`Fetch`] per partition.
//!
//! Invariant: positions are our own. Whatever lies below a partition's position, or belongs to a partition that is
//! paused or not assigned, is dropped here. librdkafka's application position is never used (the batch call advances it
//! over end-of-partition marks), so a pause takes the partition out of librdkafka's assignment and a resume puts it
//! back at our position. This consumer never joins the group.

use super::client::{Client, Deadline};
use super::config::{KafkaConfig, Role};
use super::error::{Class, class, codes, describe, of_code, of_failure};
use super::ffi::{self, Failure, PartitionList, c_string, code, message_code, text};
use crate::broker::{Consumer, Error, Polled, Result, offsets_to_assign};
use crate::fetch::{Fetch, TopicPartition};
use std::collections::HashMap;
use std::ffi::c_int;
use std::time::Duration;

/// How long an assignment waits for a topic's leaders.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

type Topic = *mut ffi::rd_kafka_topic_t;
type Message = *mut ffi::rd_kafka_message_t;

/// An assigned partition.
struct Slot {
    at: TopicPartition,
    /// The offset of the next record that may be handed out.
    position: i64,
    paused: bool,
    /// Where its records of the current poll go: number of the poll, index of the fetch.
    open: (u64, usize),
}

/// One data consumer.
pub struct KafkaConsumer {
    client: Client,
    queue: *mut ffi::rd_kafka_queue_t,
    /// One handle per topic that was ever assigned; records carry the same pointer.
    topics: HashMap<String, Topic>,
    slots: HashMap<(Topic, i32), Slot>,
    buffer: Vec<Message>,
    polls: u64,
}

// The raw handles are used by the owner only.
unsafe impl Send for KafkaConsumer {}

impl KafkaConsumer {
    /// # Errors
    /// [`Error::Refused`] for bad settings.
    pub fn new(config: &KafkaConfig, client_id: &str) -> Result<Self> {
        let client = Client::new(
            config,
            &Role::Data {
                client_id: client_id.to_string(),
            },
            None,
        )?;
        let queue = unsafe { ffi::rd_kafka_queue_get_consumer(client.rk()) };
        Ok(KafkaConsumer {
            client,
            queue,
            topics: HashMap::new(),
            slots: HashMap::new(),
            buffer: vec![],
            polls: 0,
        })
    }

    /// The topic's handle; on first use it also fetches the topic's metadata, without which the first assignment
    /// waits for librdkafka's own refresh, 0.5 to 1 s.
    fn topic(&mut self, name: &str) -> Result<Topic> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(*topic);
        }
        let c_name = c_string(name);
        let topic = unsafe {
            ffi::rd_kafka_topic_new(self.client.rk(), c_name.as_ptr(), std::ptr::null_mut())
        };
        if topic.is_null() {
            return Err(of_code(
                "assign",
                unsafe { code::rd_kafka_last_error() },
                name,
            ));
        }
        match warm(self.client.rk(), topic, name) {
            Ok(()) => {
                self.topics.insert(name.to_string(), topic);
                Ok(topic)
            }
            Err(error) => {
                unsafe { ffi::rd_kafka_topic_destroy(topic) };
                Err(error)
            }
        }
    }

    fn key(&self, at: &TopicPartition) -> Option<(Topic, i32)> {
        Some((*self.topics.get(&*at.topic)?, at.partition))
            .filter(|key| self.slots.contains_key(key))
    }

    fn incremental_assign(&self, partitions: &[(TopicPartition, i64)]) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let list = PartitionList::at_offsets(partitions);
        match Failure::of(unsafe {
            ffi::rd_kafka_incremental_assign(self.client.rk(), list.as_ptr())
        }) {
            None => Ok(()),
            Some(failure) => Err(of_failure("assign", &failure)),
        }
    }

    fn incremental_unassign(&self, partitions: &[TopicPartition]) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let list = PartitionList::of(partitions);
        match Failure::of(unsafe {
            ffi::rd_kafka_incremental_unassign(self.client.rk(), list.as_ptr())
        }) {
            None => Ok(()),
            Some(failure) => Err(of_failure("unassign", &failure)),
        }
    }

    /// # Errors
    /// Fatal, where only a new consumer reads on.
    fn usable(&self) -> Result<()> {
        let Some((code, cause)) = self.client.fatal() else {
            return Ok(());
        };
        Err(Error::Fatal {
            call: "poll",
            message: format!("{cause}: {}", describe(code)),
        })
    }

    /// Takes up to `room` messages into the buffer from index `from`.
    fn batch(&mut self, from: usize, room: usize, timeout_ms: c_int) -> usize {
        let target = self.buffer[from..from + room].as_mut_ptr();
        let taken =
            unsafe { ffi::rd_kafka_consume_batch_queue(self.queue, timeout_ms, target, room) };
        usize::try_from(taken).unwrap_or(0)
    }

    /// The slot of a message: by the handle, or by the name where librdkafka made another handle for an error.
    fn slot_key(&self, message: Message) -> Option<(Topic, i32)> {
        unsafe {
            let key = ((*message).rkt, (*message).partition);
            if key.0.is_null() || self.slots.contains_key(&key) {
                return (!key.0.is_null()).then_some(key);
            }
            let topic = self.topics.get(&text(ffi::rd_kafka_topic_name(key.0)))?;
            Some((*topic, key.1)).filter(|key| self.slots.contains_key(key))
        }
    }

    /// Hands on a run of records of one partition.
    fn take_records(&mut self, run: &[Message], out: &mut Vec<Polled>) {
        let Some(&first) = run.first() else { return };
        let Some(slot) = self
            .slot_key(first)
            .and_then(|key| self.slots.get_mut(&key))
            .filter(|s| !s.paused)
        else {
            return;
        };
        if slot.open.0 != self.polls {
            slot.open = (self.polls, out.len());
            out.push(Polled::Fetch(Fetch::new(slot.at.clone())));
        }
        let Some(Polled::Fetch(fetch)) = out.get_mut(slot.open.1) else {
            return;
        };
        for &message in run {
            unsafe {
                let offset = (*message).offset;
                if offset < slot.position {
                    continue;
                }
                let timestamp = ffi::rd_kafka_message_timestamp(message, std::ptr::null_mut());
                let key = slice((*message).key, (*message).key_len);
                let value = slice((*message).payload, (*message).len);
                fetch.push(offset, timestamp, key, value);
                slot.position = offset + 1;
            }
        }
    }

    fn take_event(&mut self, code: i32, message: Message, out: &mut Vec<Polled>) -> Result<()> {
        let offset = unsafe { (*message).offset };
        let reason = unsafe { text(ffi::rd_kafka_message_errstr(message)) };
        let Some(slot) = self
            .slot_key(message)
            .and_then(|key| self.slots.get_mut(&key))
            .filter(|s| !s.paused)
        else {
            self.usable()?;
            tracing::debug!(reason, code, "an event of no assigned partition");
            return Ok(());
        };
        let at = slot.at.clone();
        match code {
            codes::PARTITION_EOF if offset < slot.position => return Ok(()),
            codes::PARTITION_EOF => {
                slot.position = offset;
                let high = high_watermark(self.client.rk(), &at).max(offset);
                out.push(Polled::End { at, offset, high });
            }
            codes::AUTO_OFFSET_RESET | codes::OFFSET_OUT_OF_RANGE => {
                out.push(Polled::OutOfRange { at })
            }
            _ => out.push(Polled::Failed {
                at,
                message: format!("{}: {reason}", describe(code)),
            }),
        }
        // Records after the event belong after it.
        slot.open = (0, 0);
        Ok(())
    }

    /// Sorts what stands in the buffer and frees it.
    fn sort(&mut self, count: usize) -> Result<Vec<Polled>> {
        let mut out = vec![];
        let mut result = Ok(());
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        while at < count {
            let code = unsafe { message_code(buffer[at]) };
            let mut end = at + 1;
            if code == 0 {
                let partition = |m: Message| unsafe { ((*m).rkt, (*m).partition) };
                let same = |m: Message| unsafe { message_code(m) == 0 } && partition(m) == partition(buffer[at]);
                while end < count && same(buffer[end]) {
                    end += 1;
                }
                self.take_records(&buffer[at..end], &mut out);
            } else {
                result = result.and(self.take_event(code, buffer[at], &mut out));
            }
            for &message in &buffer[at..end] {
                unsafe { ffi::rd_kafka_message_destroy(message) };
            }
            at = end;
        }
        self.buffer = buffer;
        // Where every record of a run was old, nothing is left of it.
        out.retain(|polled| !matches!(polled, Polled::Fetch(fetch) if fetch.is_empty()));
        match result {
            // What was taken is beyond our position already: an error must not swallow it, and will come again.
            Err(error) if !out.is_empty() => {
                tracing::warn!(%error, "reading is disturbed");
                Ok(out)
            }
            result => result.map(|()| out),
        }
    }
}

/// # Safety
/// `data` is null or points to `len` bytes that outlive the slice.
unsafe fn slice<'a>(data: *mut std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) })
}

/// The high watermark that came with the last fetch; negative where there was none yet. Asks no broker.
fn high_watermark(rk: *mut ffi::rd_kafka_t, at: &TopicPartition) -> i64 {
    let topic = c_string(&at.topic);
    let (mut low, mut high) = (-1, -1);
    let (low, out) = (&raw mut low, &raw mut high);
    let code =
        unsafe { code::rd_kafka_get_watermark_offsets(rk, topic.as_ptr(), at.partition, low, out) };
    if code == 0 { high } else { -1 }
}

/// Fetches a topic's metadata until it has leaders.
fn warm(rk: *mut ffi::rd_kafka_t, topic: Topic, name: &str) -> Result<()> {
    let deadline = Deadline::after(METADATA_TIMEOUT);
    loop {
        let code = unsafe { topic_code(rk, topic, deadline.remaining_ms()) };
        if code == 0 {
            return Ok(());
        }
        // A topic that was just made has no leader for a moment.
        if class(code) != Class::Retriable || deadline.is_over() {
            return Err(of_code("assign", code, name));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// # Safety
/// `rk` and `topic` are live.
unsafe fn topic_code(rk: *mut ffi::rd_kafka_t, topic: Topic, timeout_ms: c_int) -> i32 {
    let mut metadata: *const ffi::rd_kafka_metadata = std::ptr::null();
    unsafe {
        let code = code::rd_kafka_metadata(rk, 0, topic, &raw mut metadata, timeout_ms);
        if code != 0 || metadata.is_null() {
            return code;
        }
        let found = if (*metadata).topic_cnt > 0 {
            let first = (*metadata).topics;
            let no_leader = (0..(*first).partition_cnt as usize)
                .any(|p| (*(*first).partitions.add(p)).leader < 0);
            match (&raw const (*first).err).cast::<i32>().read() {
                0 if no_leader => codes::LEADER_NOT_AVAILABLE,
                code => code,
            }
        } else {
            codes::UNKNOWN_TOPIC_OR_PARTITION
        };
        ffi::rd_kafka_metadata_destroy(metadata);
        found
    }
}

impl Consumer for KafkaConsumer {
    fn assign(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<()> {
        let wanted = offsets_to_assign(partitions)?;
        for at in wanted.keys() {
            self.topic(&at.topic)?;
        }
        let assigned: Vec<_> = wanted
            .keys()
            .filter(|at| self.key(at).is_some())
            .cloned()
            .collect();
        let paused = |at: &TopicPartition| self.key(at).is_some_and(|key| self.slots[&key].paused);
        let moved: Vec<_> = assigned.iter().filter(|at| !paused(at)).cloned().collect();
        let fetched: Vec<_> = wanted
            .iter()
            .filter(|(at, _)| !paused(at))
            .map(|(at, o)| (at.clone(), *o))
            .collect();
        // Taking a partition out and putting it back makes a version barrier: what was fetched before is outdated.
        self.incremental_unassign(&moved)?;
        for key in moved
            .iter()
            .filter_map(|at| self.key(at))
            .collect::<Vec<_>>()
        {
            self.slots.remove(&key);
        }
        self.incremental_assign(&fetched)?;
        for (at, position) in wanted {
            let topic = self.topic(&at.topic)?;
            let key = (topic, at.partition);
            let paused = self.slots.get(&key).is_some_and(|slot| slot.paused);
            self.slots.insert(
                key,
                Slot {
                    at,
                    position,
                    paused,
                    open: (0, 0),
                },
            );
        }
        Ok(())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let keys: Vec<_> = partitions.iter().filter_map(|at| self.key(at)).collect();
        let fetched = keys
            .iter()
            .map(|key| &self.slots[key])
            .filter(|s| !s.paused)
            .map(|s| s.at.clone());
        self.incremental_unassign(&fetched.collect::<Vec<_>>())?;
        for key in keys {
            self.slots.remove(&key);
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<()> {
        let mut keys: Vec<_> = partitions.iter().filter_map(|at| self.key(at)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| self.slots[key].paused != paused);
        if paused {
            self.incremental_unassign(
                &keys
                    .iter()
                    .map(|key| self.slots[key].at.clone())
                    .collect::<Vec<_>>(),
            )?;
        } else {
            let slots = keys.iter().map(|key| &self.slots[key]);
            self.incremental_assign(
                &slots
                    .map(|s| (s.at.clone(), s.position))
                    .collect::<Vec<_>>(),
            )?;
        }
        for key in keys {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.paused = paused;
            }
        }
        Ok(())
    }

    fn high(&self, at: &TopicPartition) -> Option<i64> {
        Some(high_watermark(self.client.rk(), at)).filter(|high| *high >= 0)
    }

    fn poll(&mut self, timeout: Duration, max_records: usize) -> Result<Vec<Polled>> {
        self.usable()?;
        self.polls += 1;
        let room = max_records.max(1);
        if self.buffer.len() < room {
            self.buffer.resize(room, std::ptr::null_mut());
        }
        // A batch call waits its whole timeout unless the batch fills: so take what is there, else wait for a single
        // message and then take what came with it.
        let mut count = self.batch(0, room, 0);
        if count == 0 && !timeout.is_zero() {
            let ms = timeout
                .as_nanos()
                .div_ceil(1_000_000)
                .min(c_int::MAX as u128) as c_int;
            count = self.batch(0, 1, ms);
            if count == 1 && room > 1 {
                count += self.batch(1, room - 1, 0);
            }
        }
        self.sort(count)
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        unsafe {
            for topic in self.topics.values() {
                ffi::rd_kafka_topic_destroy(*topic);
            }
            ffi::rd_kafka_queue_destroy(self.queue);
        }
    }
}
