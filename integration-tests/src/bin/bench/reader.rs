//! The barest way to read a topic: librdkafka in batches, through its C interface.
//!
//! Invariant: every record up to the end of each partition is shown once; a read that stands still is an error. Used as
//! the limit that reading sets to any consumer of librdkafka, and to read results back.

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use integration_tests::wait;
use rdkafka::bindings as c;

const BATCH: usize = 1000;
const POLL_MS: i32 = 100;
const REQUEST_MS: i32 = 15_000;
const STANDSTILL: Duration = Duration::from_secs(15);

/// Large fetches and a long queue: one core does nothing but fetch and hand over.
const FAST: [(&str, &str); 8] = [
    ("enable.auto.commit", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
    ("queued.min.messages", "1000000"),
    ("queued.max.messages.kbytes", "262144"),
    ("fetch.queue.backoff.ms", "1"),
    ("max.partition.fetch.bytes", "4194304"),
    ("socket.receive.buffer.bytes", "4194304"),
];

/// Shows the value of each committed record to `each`; returns how many there were.
///
/// # Errors
/// The topic does not exist, Kafka refuses, or nothing comes for 15 s.
pub fn read(brokers: &str, topic: &str, each: impl FnMut(&[u8])) -> Result<u64> {
    let client = Client::new(brokers)?;
    let partitions = client.assign(topic)?;
    client.drain(partitions, each)
}

/// A consumer that is closed when it is dropped.
struct Client(*mut c::rd_kafka_t);

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: the pointer came from rd_kafka_new and is not used afterwards.
        unsafe {
            c::rd_kafka_consumer_close(self.0);
            c::rd_kafka_destroy(self.0);
        }
    }
}

impl Client {
    fn new(brokers: &str) -> Result<Self> {
        let named = [("bootstrap.servers", brokers), ("group.id", "bench-reader")];
        let mut message = [0 as c_char; 512];
        // SAFETY: names and values live until the call returns; rd_kafka_new takes the configuration over.
        unsafe {
            let config = c::rd_kafka_conf_new();
            for (key, value) in named.into_iter().chain(FAST) {
                let (key, value) = (CString::new(key)?, CString::new(value)?);
                let (key, value) = (key.as_ptr(), value.as_ptr());
                let (text, size) = (message.as_mut_ptr(), message.len());
                let result = c::rd_kafka_conf_set(config, key, value, text, size);
                let right = result == c::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK;
                ensure!(right, "{:?}", CStr::from_ptr(text));
            }
            let (text, size) = (message.as_mut_ptr(), message.len());
            let kind = c::rd_kafka_type_t::RD_KAFKA_CONSUMER;
            let client = c::rd_kafka_new(kind, config, text, size);
            ensure!(!client.is_null(), "{:?}", CStr::from_ptr(text));
            c::rd_kafka_poll_set_consumer(client);
            Ok(Client(client))
        }
    }

    /// Assigns all partitions from their beginnings; returns how many there are.
    fn assign(&self, topic: &str) -> Result<usize> {
        let name = CString::new(topic)?;
        // SAFETY: each pointer is released by the function of librdkafka that belongs to it, after its last use.
        unsafe {
            let handle = c::rd_kafka_topic_new(self.0, name.as_ptr(), ptr::null_mut());
            ensure!(!handle.is_null(), "no handle for topic {topic}");
            let mut metadata: *const c::rd_kafka_metadata = ptr::null();
            let error = c::rd_kafka_metadata(self.0, 0, handle, &mut metadata, REQUEST_MS);
            c::rd_kafka_topic_destroy(handle);
            check(error, topic)?;
            let count = (*(*metadata).topics).partition_cnt;
            c::rd_kafka_metadata_destroy(metadata);
            ensure!(count > 0, "topic {topic} does not exist");
            let list = c::rd_kafka_topic_partition_list_new(count);
            for partition in 0..count {
                let entry = c::rd_kafka_topic_partition_list_add(list, name.as_ptr(), partition);
                (*entry).offset = i64::from(c::RD_KAFKA_OFFSET_BEGINNING);
            }
            let error = c::rd_kafka_assign(self.0, list);
            c::rd_kafka_topic_partition_list_destroy(list);
            check(error, topic)?;
            Ok(count as usize)
        }
    }

    /// Reads until each partition has told its end.
    fn drain(&self, partitions: usize, mut each: impl FnMut(&[u8])) -> Result<u64> {
        let mut messages = vec![ptr::null_mut(); BATCH];
        let (mut ended, mut count, mut last) = (vec![false; partitions], 0, wait::now());
        // SAFETY: the queue is released below, on the way out of this function.
        let queue = unsafe { c::rd_kafka_queue_get_consumer(self.0) };
        let mut failed = Ok(());
        while failed.is_ok() && ended.contains(&false) {
            // SAFETY: `messages` has room for BATCH pointers.
            let got = unsafe {
                c::rd_kafka_consume_batch_queue(queue, POLL_MS, messages.as_mut_ptr(), BATCH)
            };
            for message in &messages[..got.max(0) as usize] {
                // SAFETY: the message is ours until it is destroyed, two lines on; its payload lives as long.
                let taken = unsafe { take(&**message, &mut ended, &mut each) };
                unsafe { c::rd_kafka_message_destroy(*message) };
                match taken {
                    Ok(records) => count += records,
                    Err(error) => failed = Err(error),
                }
            }
            match got {
                1.. => last = wait::now(),
                _ if last.elapsed() > STANDSTILL => {
                    failed = Err(anyhow::anyhow!("a read stands still"))
                }
                _ => {}
            }
        }
        // SAFETY: not used afterwards.
        unsafe { c::rd_kafka_queue_destroy(queue) };
        failed.map(|()| count)
    }
}

/// 1 for a record, which is shown to `each`; 0 for the end of a partition.
///
/// # Safety
/// The message's payload must be alive.
unsafe fn take(
    message: &c::rd_kafka_message_t,
    ended: &mut [bool],
    each: &mut impl FnMut(&[u8]),
) -> Result<u64> {
    use c::rd_kafka_resp_err_t::{RD_KAFKA_RESP_ERR__PARTITION_EOF, RD_KAFKA_RESP_ERR_NO_ERROR};
    match message.err {
        RD_KAFKA_RESP_ERR_NO_ERROR if message.payload.is_null() => bail!("a record without value"),
        RD_KAFKA_RESP_ERR_NO_ERROR => {
            // SAFETY: librdkafka's word on where the payload lies; the caller's that it is alive.
            each(unsafe { std::slice::from_raw_parts(message.payload.cast(), message.len) });
            Ok(1)
        }
        RD_KAFKA_RESP_ERR__PARTITION_EOF => {
            ended[message.partition as usize] = true;
            Ok(0)
        }
        error => bail!("reading failed: {error:?}"),
    }
}

fn check(error: c::rd_kafka_resp_err_t, topic: &str) -> Result<()> {
    let right = error == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    ensure!(right, "topic {topic}: {error:?}");
    Ok(())
}
