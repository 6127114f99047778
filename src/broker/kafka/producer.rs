//! The transactional producer, over the C API.
//!
//! Invariant: an error of `commit` means that the transaction did not and will not commit; whatever is less certain is
//! [`Outcome::Unknown`]. Offsets are never sent without a member id and a generation: the broker would accept them
//! unfenced. This file does not decide what follows an error.

use super::acknowledgement::BLOCK;
use super::client::{Client, Deadline};
use super::config::{KafkaConfig, Role};
use super::error::{Class, class, codes, describe, name, of_class, of_failure};
use super::ffi::{self, Failure, PartitionList, c_string, code};
use crate::broker::{CommittedOffset, Error, GroupMetadata, Outcome, Outgoing, Producer, Result};
use crate::fetch::TopicPartition;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::PoisonError;
use std::time::Duration;

/// Between two attempts of a call that librdkafka gave back early.
const PAUSE: Duration = Duration::from_millis(5);

/// For the records of a failed transaction to be given up one by one.
const BLAME: Duration = Duration::from_secs(1);

/// Topic handles by name; rows come in runs of one topic, so the last one is looked at first.
struct Topics {
    handles: Vec<(String, *mut ffi::rd_kafka_topic_t)>,
    last: usize,
}

/// One transactional producer.
pub struct KafkaProducer {
    client: Client,
    transactional_id: String,
    topics: Topics,
    /// When the open transaction began, on the client's clock.
    begun: Duration,
}

// The handles are used by the owner only.
unsafe impl Send for KafkaProducer {}

impl KafkaProducer {
    /// # Errors
    /// [`Error::Refused`] for bad settings.
    pub fn new(config: &KafkaConfig, transactional_id: &str) -> Result<Self> {
        let role = Role::Transactional {
            transactional_id: transactional_id.to_string(),
        };
        let client = Client::new(config, &role, None)?;
        let topics = Topics {
            handles: vec![],
            last: 0,
        };
        Ok(KafkaProducer {
            client,
            transactional_id: transactional_id.to_string(),
            topics,
            begun: Duration::ZERO,
        })
    }

    fn topic(&mut self, name: &str) -> Result<*mut ffi::rd_kafka_topic_t> {
        let Topics { handles, last } = &mut self.topics;
        if let Some((known, handle)) = handles.get(*last)
            && known == name
        {
            return Ok(*handle);
        }
        if let Some(found) = handles.iter().position(|(known, _)| known == name) {
            *last = found;
            return Ok(handles[found].1);
        }
        let c_name = c_string(name);
        let handle = unsafe {
            ffi::rd_kafka_topic_new(self.client.rk(), c_name.as_ptr(), std::ptr::null_mut())
        };
        if handle.is_null() {
            let code = unsafe { code::rd_kafka_last_error() };
            return Err(Error::Refused {
                call: "send",
                message: format!("{name}: {}", describe(code)),
            });
        }
        *last = handles.len();
        handles.push((name.to_string(), handle));
        Ok(handle)
    }

    fn queue(&mut self, record: Outgoing<'_>, opaque: *mut c_void) -> Result<()> {
        let topic = self.topic(record.topic)?;
        let rk = self.client.rk();
        // librdkafka takes 0 for "now": the first millisecond of 1970 becomes the second.
        let timestamp = record.timestamp.map_or(0, |t| if t == 0 { 1 } else { t });
        let (key, key_len) = bytes(record.key);
        let (value, value_len) = bytes(record.value);
        loop {
            let code = unsafe {
                use ffi::rd_kafka_vtype_t as v;
                code::rd_kafka_producev(
                    rk,
                    v::RD_KAFKA_VTYPE_RKT as c_int,
                    topic,
                    v::RD_KAFKA_VTYPE_PARTITION as c_int,
                    record.partition as c_int,
                    v::RD_KAFKA_VTYPE_MSGFLAGS as c_int,
                    ffi::RD_KAFKA_MSG_F_COPY as c_int,
                    v::RD_KAFKA_VTYPE_TIMESTAMP as c_int,
                    timestamp,
                    v::RD_KAFKA_VTYPE_OPAQUE as c_int,
                    opaque,
                    v::RD_KAFKA_VTYPE_KEY as c_int,
                    key,
                    key_len,
                    v::RD_KAFKA_VTYPE_VALUE as c_int,
                    value,
                    value_len,
                    v::RD_KAFKA_VTYPE_END as c_int,
                )
            };
            match code {
                0 => return Ok(()),
                // Serves callbacks; room comes as the broker acknowledges, or as records time out.
                codes::QUEUE_FULL => unsafe {
                    ffi::rd_kafka_poll(rk, 1);
                },
                _ => return Err(self.send_error(code, &record)),
            }
        }
    }

    fn send_error(&self, code: i32, record: &Outgoing<'_>) -> Error {
        let call = "send";
        if let Some(error) = self.fatal(call) {
            return error;
        }
        if code == codes::STATE
            && let Some(error) = self.failed(call)
        {
            return error;
        }
        let at = TopicPartition::new(record.topic, record.partition);
        let message = format!("{at}: {}", describe(code));
        match class(code) {
            Class::Refused => Error::Refused { call, message },
            _ => Error::Abortable { call, message },
        }
    }

    /// The error that made this instance unusable.
    fn fatal(&self, call: &'static str) -> Option<Error> {
        let (code, message) = self.client.fatal()?;
        let message = format!("{message} ({})", name(code));
        Some(match class(code) {
            class @ (Class::Fenced | Class::Refused) => of_class(call, class, message),
            Class::Retriable | Class::Fatal => Error::Fatal { call, message },
        })
    }

    /// The error of a message that was given up in this transaction, or of the transaction itself.
    fn failed(&self, call: &'static str) -> Option<Error> {
        let context = self.client.context();
        let detail = || {
            let error = context.transaction_error.lock();
            error.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let named = || {
            let cause = context.acknowledgements.cause();
            cause.is_some_and(|cause| !cause.is_consequence())
        };
        // librdkafka fails the transaction before it gives up the record that was to blame: wait for its name.
        if !detail().is_empty() {
            let deadline = Deadline::after(BLAME);
            while !named() && unsafe { code::rd_kafka_flush(self.client.rk(), 1) } != 0 {
                if deadline.is_over() {
                    break;
                }
            }
        }
        match (context.acknowledgements.cause(), detail()) {
            (Some(cause), detail) => Some(cause.error(call, &detail)),
            (None, detail) if !detail.is_empty() => Some(Error::Abortable {
                call,
                message: detail,
            }),
            (None, _) => None,
        }
    }

    /// Repeats a call while it is retriable, until `timeout`. An abortable error names the message that caused it.
    fn repeat(
        &self,
        call: &'static str,
        timeout: Duration,
        attempt: impl Fn(c_int) -> *mut ffi::rd_kafka_error_t,
    ) -> Result<()> {
        let deadline = Deadline::after(timeout);
        loop {
            let Some(failure) = Failure::of(attempt(deadline.remaining_ms())) else {
                return Ok(());
            };
            match of_failure(call, &failure) {
                Error::Retriable { .. } if !deadline.is_over() => std::thread::sleep(PAUSE),
                error @ Error::Abortable { .. } => return Err(self.failed(call).unwrap_or(error)),
                error => return Err(error),
            }
        }
    }
}

fn bytes(slice: Option<&[u8]>) -> (*const c_void, usize) {
    slice.map_or((std::ptr::null(), 0), |s| (s.as_ptr().cast(), s.len()))
}

/// What the broker would accept without any fencing, and what librdkafka would send nowhere.
fn check_offsets(offsets: &[CommittedOffset], group: &GroupMetadata) -> Result<()> {
    let problem = if offsets.is_empty() {
        "no offsets: such a call fences nothing".to_string()
    } else if group.member_id.is_empty() || group.generation < 0 {
        format!(
            "not a member of the group (member \"{}\", generation {})",
            group.member_id, group.generation
        )
    } else if let Some(bad) = offsets.iter().find(|o| o.offset < 0) {
        format!("{} has the invalid offset {}", bad.at, bad.offset)
    } else {
        return Ok(());
    };
    Err(Error::Fatal {
        call: "send_offsets",
        message: problem,
    })
}

impl Producer for KafkaProducer {
    fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    fn init(&mut self, timeout: Duration) -> Result<()> {
        // Repeated for as long as the brokers are away: nobody else serves the client meanwhile.
        self.serve();
        let rk = self.client.rk();
        self.repeat("init_transactions", timeout, |ms| unsafe {
            ffi::rd_kafka_init_transactions(rk, ms)
        })
    }

    fn begin(&mut self) -> Result<()> {
        if let Some(error) = self.fatal("begin_transaction") {
            return Err(error);
        }
        let context = self.client.context();
        context.acknowledgements.clear();
        context
            .transaction_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.begun = context.now();
        let rk = self.client.rk();
        match Failure::of(unsafe { ffi::rd_kafka_begin_transaction(rk) }) {
            None => Ok(()),
            Some(failure) => Err(of_failure("begin_transaction", &failure)),
        }
    }

    fn send(&mut self, record: Outgoing<'_>) -> Result<()> {
        self.queue(record, std::ptr::null_mut())
    }

    fn send_block(&mut self, record: Outgoing<'_>) -> Result<()> {
        self.queue(record, BLOCK)
    }

    fn flush(&mut self, timeout: Duration) -> Result<BTreeMap<TopicPartition, i64>> {
        let call = "flush";
        let deadline = Deadline::after(timeout);
        // Steps of 1 ms: librdkafka's own wait goes in steps of 10 ms. While it lasts, linger.ms is suspended.
        while unsafe { code::rd_kafka_flush(self.client.rk(), 1) } != 0 {
            if let Some(error) = self.fatal(call).or_else(|| self.failed(call)) {
                return Err(error);
            }
            if deadline.is_over() {
                return Err(Error::Retriable {
                    call,
                    message: "records are not acknowledged yet".into(),
                });
            }
        }
        if let Some(error) = self.fatal(call).or_else(|| self.failed(call)) {
            return Err(error);
        }
        self.client
            .context()
            .acknowledgements
            .blocks()
            .map_err(|at| Error::Abortable {
                call,
                message: format!("{at}: a block was acknowledged without its offset"),
            })
    }

    fn send_offsets(
        &mut self,
        offsets: &[CommittedOffset],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        check_offsets(offsets, group)?;
        let mut list = PartitionList::new(offsets.len());
        for offset in offsets {
            list.add(&offset.at, offset.offset, Some(&offset.metadata));
        }
        let group_id = c_string(&group.group);
        let member = c_string(&group.member_id);
        let instance = group.instance_id.as_deref().map(c_string);
        let metadata = unsafe {
            ffi::rd_kafka_consumer_group_metadata_new_with_genid(
                group_id.as_ptr(),
                group.generation,
                member.as_ptr(),
                instance.as_ref().map_or(std::ptr::null(), |i| i.as_ptr()),
            )
        };
        let rk = self.client.rk();
        let result = self.repeat("send_offsets", timeout, |ms| unsafe {
            ffi::rd_kafka_send_offsets_to_transaction(rk, list.as_ptr(), metadata, ms)
        });
        unsafe { ffi::rd_kafka_consumer_group_metadata_destroy(metadata) };
        result
    }

    fn commit(&mut self, timeout: Duration) -> Result<Outcome> {
        let call = "commit";
        // Before the first call EndTxn cannot have been sent: these ends are known.
        if let Some(error) = self.fatal(call).or_else(|| self.failed(call)) {
            return Err(error);
        }
        let deadline = Deadline::after(timeout);
        loop {
            let error = unsafe {
                ffi::rd_kafka_commit_transaction(self.client.rk(), deadline.remaining_ms())
            };
            let Some(failure) = Failure::of(error) else {
                return Ok(Outcome::Committed);
            };
            let text = format!("{} ({})", failure.message(), name(failure.code()));
            if !failure.is_fatal() && failure.requires_abort() {
                let error = Error::Abortable {
                    call,
                    message: text,
                };
                return Err(self.failed(call).unwrap_or(error));
            }
            // A fatal error may hide a commit: the first EndTxn may have been carried out and its repetition refused.
            if failure.is_fatal() || !failure.is_retriable() || deadline.is_over() {
                return Ok(Outcome::Unknown(text));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        let rk = self.client.rk();
        self.repeat("abort", timeout, |ms| unsafe {
            ffi::rd_kafka_abort_transaction(rk, ms)
        })
    }

    fn serve(&mut self) {
        unsafe { ffi::rd_kafka_poll(self.client.rk(), 0) };
    }

    fn disturbed(&self) -> bool {
        self.client.context().disturbed_since(self.begun)
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        for (_, handle) in &self.topics.handles {
            unsafe { ffi::rd_kafka_topic_destroy(*handle) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_would_accept_unfenced_is_refused() {
        let offset = |offset| CommittedOffset {
            at: TopicPartition::new("t", 0),
            offset,
            metadata: "f".into(),
        };
        let group = |member: &str, generation| GroupMetadata {
            group: "g".into(),
            member_id: member.into(),
            generation,
            instance_id: None,
        };
        assert!(check_offsets(&[offset(1)], &group("m", 0)).is_ok());
        for (offsets, group) in [
            (vec![], group("m", 0)),
            (vec![offset(1)], group("", 3)),
            (vec![offset(1)], group("m", -1)),
            (vec![offset(1)], group("", -1)),
            (vec![offset(1), offset(-1001)], group("m", 0)),
        ] {
            assert!(
                matches!(check_offsets(&offsets, &group), Err(Error::Fatal { .. })),
                "{offsets:?} {group:?}"
            );
        }
    }
}
