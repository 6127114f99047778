//! What became of sent messages: offsets of blocks, and the first cause of a failure.
//!
//! Why an interceptor and no delivery report callback: with a callback librdkafka hands every acknowledged message
//! back through a queue to the sending thread, and `delivery.report.only.error` would suppress the blocks' reports too.
//! The acknowledgement interceptor runs on the broker's thread before the message is freed there: a plain row costs one
//! call and two comparisons, and only blocks and failures take the lock.
//!
//! Invariant: a block that was acknowledged without an offset is never passed over in silence.

use super::error::{Class, class, codes, describe};
use super::ffi::{self, code, message_code, text};
use crate::broker::Error;
use crate::fetch::TopicPartition;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The message opaque of a block; plain rows carry null.
pub(super) const BLOCK: *mut c_void = std::ptr::without_provenance_mut(1);

/// A message the broker or librdkafka gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    pub code: i32,
    pub at: TopicPartition,
}

impl Cause {
    /// Codes of messages that failed only because another one did.
    pub fn is_consequence(&self) -> bool {
        matches!(
            self.code,
            codes::PURGE_QUEUE | codes::PURGE_INFLIGHT | codes::INVALID_DIFFERENT_RECORD
        )
    }

    /// [`Error::Refused`] where the broker would refuse the message again, else [`Error::Abortable`]; in both cases
    /// the transaction is to be aborted. `detail` is what librdkafka said about the transaction.
    pub fn error(&self, call: &'static str, detail: &str) -> Error {
        let mut message = format!("{}: {}", self.at, describe(self.code));
        if !detail.is_empty() {
            message = format!("{message} ({detail})");
        }
        match class(self.code) {
            Class::Refused => Error::Refused { call, message },
            _ => Error::Abortable { call, message },
        }
    }
}

#[derive(Default)]
struct State {
    /// The highest acknowledged offset of a block.
    blocks: BTreeMap<TopicPartition, i64>,
    /// A block that was acknowledged without an offset (its acknowledgement was lost and implied by a later one).
    unplaced: Option<TopicPartition>,
    cause: Option<Cause>,
}

/// The acknowledgements of one producer's open transaction.
#[derive(Default)]
pub(super) struct Acknowledgements(Mutex<State>);

impl Acknowledgements {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything: a transaction begins.
    pub fn clear(&self) {
        *self.state() = State::default();
    }

    pub fn cause(&self) -> Option<Cause> {
        self.state().cause.clone()
    }

    /// The last block's offset per partition, or the partition of a block whose offset is not known.
    pub fn blocks(&self) -> Result<BTreeMap<TopicPartition, i64>, TopicPartition> {
        let state = self.state();
        match &state.unplaced {
            Some(at) => Err(at.clone()),
            None => Ok(state.blocks.clone()),
        }
    }

    fn acknowledged(&self, at: TopicPartition, offset: i64) {
        let mut state = self.state();
        if offset < 0 {
            state.unplaced = Some(at);
            return;
        }
        let last = state.blocks.entry(at).or_insert(offset);
        *last = offset.max(*last);
    }

    fn failed(&self, cause: Cause) {
        let mut state = self.state();
        let better = state
            .cause
            .as_ref()
            .is_none_or(|old| old.is_consequence() && !cause.is_consequence());
        if better {
            state.cause = Some(cause);
        }
    }
}

const NAME: *const c_char = c"acknowledgements".as_ptr();

/// Adds the interceptor to a producer's configuration.
///
/// # Safety
/// `conf` is live, and `acknowledgements` stays where it is for as long as the producer lives.
pub(super) unsafe fn intercept(
    conf: *mut ffi::rd_kafka_conf_t,
    acknowledgements: &Acknowledgements,
) {
    let opaque = (&raw const *acknowledgements).cast_mut().cast();
    unsafe { code::rd_kafka_conf_interceptor_add_on_new(conf, NAME, Some(on_new), opaque) };
}

unsafe extern "C" fn on_new(
    rk: *mut ffi::rd_kafka_t,
    _conf: *const ffi::rd_kafka_conf_t,
    opaque: *mut c_void,
    _text: *mut c_char,
    _size: usize,
) -> i32 {
    unsafe {
        code::rd_kafka_interceptor_add_on_acknowledgement(
            rk,
            NAME,
            Some(on_acknowledgement),
            opaque,
        )
    }
}

unsafe extern "C" fn on_acknowledgement(
    _rk: *mut ffi::rd_kafka_t,
    message: *mut ffi::rd_kafka_message_t,
    opaque: *mut c_void,
) -> i32 {
    unsafe {
        let code = message_code(message);
        if code == 0 && (*message)._private != BLOCK {
            return 0;
        }
        let Some(acknowledgements) = opaque.cast::<Acknowledgements>().as_ref() else {
            return 0;
        };
        let topic = text(ffi::rd_kafka_topic_name((*message).rkt));
        let at = TopicPartition::new(topic, (*message).partition);
        if code == 0 {
            acknowledgements.acknowledged(at, (*message).offset);
        } else {
            acknowledgements.failed(Cause { code, at });
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(code: i32) -> Cause {
        Cause {
            code,
            at: TopicPartition::new("t", 0),
        }
    }

    #[test]
    fn the_culprit_is_named_and_not_its_neighbours() {
        let acknowledgements = Acknowledgements::default();
        acknowledgements.failed(cause(codes::INVALID_DIFFERENT_RECORD));
        acknowledgements.failed(cause(87));
        acknowledgements.failed(cause(codes::PURGE_QUEUE));
        acknowledgements.failed(cause(29));
        assert_eq!(acknowledgements.cause(), Some(cause(87)));
        assert!(matches!(
            cause(87).error("flush", ""),
            Error::Refused { .. }
        ));
        assert!(matches!(
            cause(codes::PURGE_QUEUE).error("flush", ""),
            Error::Abortable { .. }
        ));
    }

    #[test]
    fn the_last_block_counts_whatever_the_order_and_a_missing_offset_is_not_hidden() {
        let acknowledgements = Acknowledgements::default();
        let at = TopicPartition::new("t", 0);
        acknowledgements.acknowledged(at.clone(), 9);
        acknowledgements.acknowledged(at.clone(), 4);
        assert_eq!(acknowledgements.blocks().unwrap()[&at], 9);
        acknowledgements.acknowledged(at.clone(), -1001);
        assert_eq!(acknowledgements.blocks(), Err(at));
    }
}
