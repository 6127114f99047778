//! One request of librdkafka's admin interface: sent, waited for, read.
//!
//! Invariant: every request waits on a queue of its own and ends by the request timeout; options, queue and event are freed
//! whatever the answer is. Any instance may send one. This file knows no operation by name.

use super::client::Client;
use super::error::{of_code, of_failure};
use super::ffi::{self, Failure, code, text};
use crate::broker::{Error, Result};
use ffi::rd_kafka_admin_op_t as Operation;
use std::ffi::{c_char, c_int};
use std::time::Duration;

/// For the answer of one request, and for the broker to carry it out.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) type Options = *const ffi::rd_kafka_AdminOptions_t;
pub(super) type Queue = *mut ffi::rd_kafka_queue_t;
pub(super) type Event = *mut ffi::rd_kafka_event_t;
pub(super) type Rk = *mut ffi::rd_kafka_t;

/// Sends a request, waits for its event and reads it. `set` sets the options that only this operation has.
pub(super) fn request<T>(
    client: &Client,
    call: &'static str,
    operation: Operation,
    set: impl FnOnce(*mut ffi::rd_kafka_AdminOptions_t) -> Option<Failure>,
    submit: impl FnOnce(Rk, Options, Queue),
    read: impl FnOnce(Event) -> Result<T>,
) -> Result<T> {
    let rk = client.rk();
    let timeout = REQUEST_TIMEOUT.as_millis() as c_int;
    let mut buffer = [0 as c_char; 256];
    unsafe {
        let options = ffi::rd_kafka_AdminOptions_new(rk, operation);
        let (out, size) = (buffer.as_mut_ptr(), buffer.len());
        code::rd_kafka_AdminOptions_set_request_timeout(options, timeout, out, size);
        // Refused for operations that have none, which changes nothing.
        code::rd_kafka_AdminOptions_set_operation_timeout(options, timeout, out, size);
        if let Some(failure) = set(options) {
            ffi::rd_kafka_AdminOptions_destroy(options);
            return Err(of_failure(call, &failure));
        }
        let queue = ffi::rd_kafka_queue_new(rk);
        submit(rk, options, queue);
        let event = ffi::rd_kafka_queue_poll(queue, timeout.saturating_add(1000));
        let result = if event.is_null() {
            Err(Error::Retriable {
                call,
                message: "no answer".into(),
            })
        } else {
            match code::rd_kafka_event_error(event) {
                0 => read(event),
                code => Err(of_code(
                    call,
                    code,
                    &text(ffi::rd_kafka_event_error_string(event)),
                )),
            }
        };
        if !event.is_null() {
            ffi::rd_kafka_event_destroy(event);
        }
        ffi::rd_kafka_queue_destroy(queue);
        ffi::rd_kafka_AdminOptions_destroy(options);
        result
    }
}
