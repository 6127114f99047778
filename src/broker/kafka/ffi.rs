//! The C API of librdkafka as this client uses it: error codes as integers, strings, partition lists.
//!
//! Invariant: no value of the generated enum `rd_kafka_resp_err_t` is ever made. A broker may answer with a code the
//! bindings do not know, and an unknown value of a Rust enum is undefined behaviour; so functions that return codes
//! are declared here with `i32`, and codes inside structs are read through an integer pointer.
//! This file takes no decisions: what a code means stands in `error.rs`.

use crate::fetch::TopicPartition;
use rdkafka::bindings as c;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Arc;

pub(super) use rdkafka::bindings::*;

/// `rd_kafka_conf_set_rebalance_cb`'s callback, with the code as an integer.
pub(super) type RebalanceCallback = unsafe extern "C" fn(
    *mut c::rd_kafka_t,
    i32,
    *mut c::rd_kafka_topic_partition_list_t,
    *mut c_void,
);
pub(super) type NewInterceptor = unsafe extern "C" fn(
    *mut c::rd_kafka_t,
    *const c::rd_kafka_conf_t,
    *mut c_void,
    *mut c_char,
    usize,
) -> i32;
pub(super) type AcknowledgementInterceptor =
    unsafe extern "C" fn(*mut c::rd_kafka_t, *mut c::rd_kafka_message_t, *mut c_void) -> i32;

/// The functions whose C signature holds an error code.
pub(super) mod code {
    use super::*;

    unsafe extern "C" {
        pub fn rd_kafka_err2str(code: i32) -> *const c_char;
        pub fn rd_kafka_err2name(code: i32) -> *const c_char;
        pub fn rd_kafka_last_error() -> i32;
        pub fn rd_kafka_error_code(error: *const c::rd_kafka_error_t) -> i32;
        pub fn rd_kafka_fatal_error(rk: *mut c::rd_kafka_t, text: *mut c_char, size: usize) -> i32;
        pub fn rd_kafka_producev(rk: *mut c::rd_kafka_t, ...) -> i32;
        pub fn rd_kafka_flush(rk: *mut c::rd_kafka_t, timeout_ms: c_int) -> i32;
        pub fn rd_kafka_purge(rk: *mut c::rd_kafka_t, flags: c_int) -> i32;
        pub fn rd_kafka_poll_set_consumer(rk: *mut c::rd_kafka_t) -> i32;
        pub fn rd_kafka_consumer_close(rk: *mut c::rd_kafka_t) -> i32;
        pub fn rd_kafka_unsubscribe(rk: *mut c::rd_kafka_t) -> i32;
        pub fn rd_kafka_subscribe(
            rk: *mut c::rd_kafka_t,
            list: *const c::rd_kafka_topic_partition_list_t,
        ) -> i32;
        pub fn rd_kafka_pause_partitions(
            rk: *mut c::rd_kafka_t,
            list: *mut c::rd_kafka_topic_partition_list_t,
        ) -> i32;
        pub fn rd_kafka_committed(
            rk: *mut c::rd_kafka_t,
            list: *mut c::rd_kafka_topic_partition_list_t,
            timeout_ms: c_int,
        ) -> i32;
        pub fn rd_kafka_metadata(
            rk: *mut c::rd_kafka_t,
            all_topics: c_int,
            only: *mut c::rd_kafka_topic_t,
            metadata: *mut *const c::rd_kafka_metadata,
            timeout_ms: c_int,
        ) -> i32;
        pub fn rd_kafka_get_watermark_offsets(
            rk: *mut c::rd_kafka_t,
            topic: *const c_char,
            partition: i32,
            low: *mut i64,
            high: *mut i64,
        ) -> i32;
        pub fn rd_kafka_conf_set_rebalance_cb(
            conf: *mut c::rd_kafka_conf_t,
            callback: Option<RebalanceCallback>,
        );
        pub fn rd_kafka_conf_interceptor_add_on_new(
            conf: *mut c::rd_kafka_conf_t,
            name: *const c_char,
            on_new: Option<NewInterceptor>,
            opaque: *mut c_void,
        ) -> i32;
        pub fn rd_kafka_interceptor_add_on_acknowledgement(
            rk: *mut c::rd_kafka_t,
            name: *const c_char,
            on_acknowledgement: Option<AcknowledgementInterceptor>,
            opaque: *mut c_void,
        ) -> i32;
        pub fn rd_kafka_event_error(event: *mut c::rd_kafka_event_t) -> i32;
        pub fn rd_kafka_topic_result_error(result: *const c::rd_kafka_topic_result_t) -> i32;
        pub fn rd_kafka_ConfigResource_error(resource: *const c::rd_kafka_ConfigResource_t) -> i32;
        pub fn rd_kafka_NewTopic_set_config(
            topic: *mut c::rd_kafka_NewTopic_t,
            name: *const c_char,
            value: *const c_char,
        ) -> i32;
        pub fn rd_kafka_AdminOptions_set_request_timeout(
            options: *mut c::rd_kafka_AdminOptions_t,
            timeout_ms: c_int,
            text: *mut c_char,
            size: usize,
        ) -> i32;
        pub fn rd_kafka_AdminOptions_set_operation_timeout(
            options: *mut c::rd_kafka_AdminOptions_t,
            timeout_ms: c_int,
            text: *mut c_char,
            size: usize,
        ) -> i32;
    }
}

/// A C string as text; the empty string for null.
///
/// # Safety
/// `text` is null or a C string that lives as long as the call.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// A Rust string for C; what stands behind a NUL byte, which no Kafka name holds, is cut off.
pub(super) fn c_string(text: &str) -> CString {
    let end = text.bytes().position(|b| b == 0).unwrap_or(text.len());
    CString::new(&text.as_bytes()[..end]).unwrap_or_default()
}

/// The error code of a message.
///
/// # Safety
/// `message` points to a live message.
pub(super) unsafe fn message_code(message: *const c::rd_kafka_message_t) -> i32 {
    unsafe { (&raw const (*message).err).cast::<i32>().read() }
}

/// The elements of an array that librdkafka owns.
///
/// # Safety
/// `data` is null or points to `count` elements.
pub(super) unsafe fn array<T: Copy>(data: *const T, count: usize) -> Vec<T> {
    if data.is_null() {
        vec![]
    } else {
        unsafe { std::slice::from_raw_parts(data, count) }.to_vec()
    }
}

/// One element of a partition list, with its error code.
pub(super) struct Element {
    pub at: TopicPartition,
    pub offset: i64,
    pub metadata: Vec<u8>,
    pub code: i32,
}

/// An owned `rd_kafka_topic_partition_list_t`.
pub(super) struct PartitionList(*mut c::rd_kafka_topic_partition_list_t);

impl PartitionList {
    pub fn new(capacity: usize) -> Self {
        PartitionList(unsafe {
            c::rd_kafka_topic_partition_list_new(capacity.min(1 << 20) as c_int)
        })
    }

    /// Partitions without offsets.
    pub fn of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Self {
        let mut list = PartitionList::new(8);
        for at in partitions {
            list.add(at, i64::from(c::RD_KAFKA_OFFSET_INVALID), None);
        }
        list
    }

    /// Partitions with an offset each.
    pub fn at_offsets(partitions: &[(TopicPartition, i64)]) -> Self {
        let mut list = PartitionList::new(partitions.len());
        for (at, offset) in partitions {
            list.add(at, *offset, None);
        }
        list
    }

    /// Appends a partition; the metadata's bytes are copied to memory that librdkafka frees with the list.
    pub fn add(&mut self, at: &TopicPartition, offset: i64, metadata: Option<&str>) {
        let topic = c_string(&at.topic);
        unsafe {
            let element =
                c::rd_kafka_topic_partition_list_add(self.0, topic.as_ptr(), at.partition);
            (*element).offset = offset;
            if let Some(metadata) = metadata.filter(|m| !m.is_empty()) {
                let copy = libc::malloc(metadata.len());
                if !copy.is_null() {
                    std::ptr::copy_nonoverlapping(
                        metadata.as_ptr(),
                        copy.cast::<u8>(),
                        metadata.len(),
                    );
                    (*element).metadata = copy;
                    (*element).metadata_size = metadata.len();
                }
            }
        }
    }

    pub fn as_ptr(&self) -> *mut c::rd_kafka_topic_partition_list_t {
        self.0
    }

    pub fn elements(&self) -> Vec<Element> {
        unsafe { elements(self.0) }
    }

    /// The elements by partition: librdkafka may reorder a list.
    pub fn by_partition(&self) -> HashMap<TopicPartition, Element> {
        self.elements()
            .into_iter()
            .map(|e| (e.at.clone(), e))
            .collect()
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        unsafe { c::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// Reads a list that belongs to librdkafka.
///
/// # Safety
/// `list` is null or points to a live list.
pub(super) unsafe fn elements(list: *const c::rd_kafka_topic_partition_list_t) -> Vec<Element> {
    if list.is_null() {
        return vec![];
    }
    unsafe {
        (0..(*list).cnt as usize)
            .map(|i| element((*list).elems.add(i)))
            .collect()
    }
}

/// # Safety
/// `element` points to a live list element.
pub(super) unsafe fn element(element: *const c::rd_kafka_topic_partition_t) -> Element {
    unsafe {
        let metadata = (*element).metadata.cast::<u8>();
        let size = (*element).metadata_size;
        Element {
            at: TopicPartition::new(
                Arc::<str>::from(text((*element).topic)),
                (*element).partition,
            ),
            offset: (*element).offset,
            metadata: if metadata.is_null() {
                vec![]
            } else {
                std::slice::from_raw_parts(metadata, size).to_vec()
            },
            code: (&raw const (*element).err).cast::<i32>().read(),
        }
    }
}

/// An error object that librdkafka returned; freed when dropped.
pub(super) struct Failure(*mut c::rd_kafka_error_t);

impl Failure {
    /// `None` for success, which the C API says by null.
    pub fn of(error: *mut c::rd_kafka_error_t) -> Option<Failure> {
        (!error.is_null()).then_some(Failure(error))
    }

    pub fn code(&self) -> i32 {
        unsafe { code::rd_kafka_error_code(self.0) }
    }

    pub fn message(&self) -> String {
        unsafe { text(c::rd_kafka_error_string(self.0)) }
    }

    pub fn is_fatal(&self) -> bool {
        unsafe { c::rd_kafka_error_is_fatal(self.0) != 0 }
    }

    pub fn requires_abort(&self) -> bool {
        unsafe { c::rd_kafka_error_txn_requires_abort(self.0) != 0 }
    }

    pub fn is_retriable(&self) -> bool {
        unsafe { c::rd_kafka_error_is_retriable(self.0) != 0 }
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        unsafe { c::rd_kafka_error_destroy(self.0) }
    }
}
