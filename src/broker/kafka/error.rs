//! From librdkafka's error codes to [`Error`].
//!
//! Invariant: a code this table does not name is severe: [`Error::Fatal`], or [`Error::Abortable`] where librdkafka
//! itself says that an abort is enough. Codes are integers throughout (see `ffi.rs`). This file calls no broker.

use super::ffi::{self, Failure, code};
use crate::broker::{Error, Result};

/// Codes of librdkafka (negative) and of the Kafka protocol (positive) that the client looks at by name.
pub(super) mod codes {
    pub const PARTITION_EOF: i32 = -191;
    pub const UNKNOWN_TOPIC: i32 = -188;
    pub const TIMED_OUT: i32 = -185;
    pub const QUEUE_FULL: i32 = -184;
    pub const ASSIGN_PARTITIONS: i32 = -175;
    pub const STATE: i32 = -172;
    pub const TIMED_OUT_QUEUE: i32 = -166;
    pub const PURGE_QUEUE: i32 = -152;
    pub const PURGE_INFLIGHT: i32 = -151;
    pub const FATAL: i32 = -150;
    pub const MAX_POLL_EXCEEDED: i32 = -147;
    pub const FENCED: i32 = -144;
    pub const AUTO_OFFSET_RESET: i32 = -140;
    pub const INVALID_DIFFERENT_RECORD: i32 = -138;
    pub const OFFSET_OUT_OF_RANGE: i32 = 1;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
    pub const LEADER_NOT_AVAILABLE: i32 = 5;
    pub const TOPIC_ALREADY_EXISTS: i32 = 36;
    pub const GROUP_ID_NOT_FOUND: i32 = 69;
    pub const FENCED_INSTANCE_ID: i32 = 82;
    pub const UNSTABLE_OFFSET_COMMIT: i32 = 88;
}

/// What a bare code asks for, outside of transactions' own flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Retriable,
    Fenced,
    Refused,
    Fatal,
}

/// The class of a code.
pub(super) fn class(code: i32) -> Class {
    match code {
        // _TRANSPORT, _RESOLVE, _ALL_BROKERS_DOWN, _TIMED_OUT, _WAIT_COORD, _IN_PROGRESS, _PREV_IN_PROGRESS,
        // _TIMED_OUT_QUEUE, _WAIT_CACHE, _INTR, _RETRY, _MSG_TIMED_OUT
        -195 | -193 | -192 | -187 | -185 | -180 | -178 | -177 | -166 | -164 | -163 | -153 => {
            Class::Retriable
        }
        // Leader and replica moves, coordinator moves, network, controller, quota, stable offsets.
        5..=9 | 13..=16 | 19 | 20 | 27 | 41 | 51 | 56 | 72 | 74 | 75 | 78 | 88 | 89 => {
            Class::Retriable
        }
        codes::FENCED | 47 | 90 => Class::Fenced,
        // _UNKNOWN_PARTITION, _UNKNOWN_TOPIC, _INVALID_ARG, _SSL, _AUTHENTICATION, _UNSUPPORTED_FEATURE
        -190 | -188 | -186 | -181 | -169 | -165 => Class::Refused,
        // Out of range, unknown topic, too large, invalid names and settings, no rights, unsupported, policies,
        // group states that only an operator changes, invalid records.
        1
        | 3
        | 10
        | 17
        | 18
        | 24
        | 26
        | 28..=31
        | 32
        | 33
        | 35..=40
        | 42
        | 44
        | 50
        | 53
        | 54
        | 58
        | 68
        | 69
        | 87 => Class::Refused,
        _ => Class::Fatal,
    }
}

/// `NAME: description` of a code.
pub(super) fn describe(code: i32) -> String {
    unsafe {
        format!(
            "{}: {}",
            ffi::text(code::rd_kafka_err2name(code)),
            ffi::text(code::rd_kafka_err2str(code))
        )
    }
}

/// The error of a call that returned a bare code; `about` names the topic or group.
pub(super) fn of_code(call: &'static str, code: i32, about: &str) -> Error {
    let message = if about.is_empty() {
        describe(code)
    } else {
        format!("{about}: {}", describe(code))
    };
    of_class(call, class(code), message)
}

pub(super) fn of_class(call: &'static str, class: Class, message: String) -> Error {
    match class {
        Class::Retriable => Error::Retriable { call, message },
        Class::Fenced => Error::Fenced { call, message },
        Class::Refused => Error::Refused { call, message },
        Class::Fatal => Error::Fatal { call, message },
    }
}

/// Success for code 0, else the code's error.
pub(super) fn check(call: &'static str, code: i32, about: &str) -> Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(of_code(call, code, about))
    }
}

/// The error of a call that returned an error object. The flags count in the order fatal, abort, retriable; an object
/// with no flag is classed by its code.
pub(super) fn of_failure(call: &'static str, failure: &Failure) -> Error {
    let message = format!("{} ({})", failure.message(), name(failure.code()));
    let class = class(failure.code());
    if failure.is_fatal() {
        // A refusal stays one (no rights on the transactional id): a new instance would be refused again.
        match class {
            Class::Fenced | Class::Refused => of_class(call, class, message),
            Class::Retriable | Class::Fatal => Error::Fatal { call, message },
        }
    } else if failure.requires_abort() {
        Error::Abortable { call, message }
    } else if failure.is_retriable() {
        Error::Retriable { call, message }
    } else {
        of_class(call, class, message)
    }
}

/// The code's short name.
pub(super) fn name(code: i32) -> String {
    unsafe { ffi::text(code::rd_kafka_err2name(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_classed_and_unknown_ones_are_severe() {
        let table = [
            (-195, Class::Retriable),
            (codes::TIMED_OUT, Class::Retriable),
            (88, Class::Retriable),
            (codes::FENCED, Class::Fenced),
            (47, Class::Fenced),
            (90, Class::Fenced),
            (10, Class::Refused),
            (29, Class::Refused),
            (87, Class::Refused),
            (codes::UNKNOWN_TOPIC_OR_PARTITION, Class::Refused),
            (48, Class::Fatal),
            (120, Class::Fatal),
            (12345, Class::Fatal),
            (-12345, Class::Fatal),
        ];
        for (code, expected) in table {
            assert_eq!(class(code), expected, "{code}");
        }
    }

    #[test]
    fn a_code_the_bindings_do_not_know_has_a_text() {
        assert!(describe(32000).contains("32000"), "{}", describe(32000));
        assert!(
            describe(29).contains("TOPIC_AUTHORIZATION_FAILED"),
            "{}",
            describe(29)
        );
    }
}
