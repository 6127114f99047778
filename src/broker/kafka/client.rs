//! One librdkafka instance: made from properties, with its log and error callbacks, destroyed off the caller's path.
//!
//! Invariant: the callbacks' context outlives the instance, because whoever destroys the instance owns both. Log
//! callbacks run on librdkafka's threads and hold no lock for long. This file does not know what the client is for.

use super::acknowledgement::{self, Acknowledgements};
use super::config::{CONFIGURATION, KafkaConfig, Role, properties};
use super::error::{codes, name};
use super::ffi::{self, c_string, code, text};
use super::rebalance::Rebalance;
use super::statistics;
use crate::broker::figures::Listener;
use crate::broker::{Error, Result};
use crate::clock::{Clock, SystemClock};
use std::ffi::{c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// librdkafka logs an identical disconnect of one broker only once in this time, so a disconnect counts for as long.
const SUPPRESSION: Duration = Duration::from_secs(31);

/// What the callbacks of one instance see.
pub(super) struct Context {
    name: String,
    clock: SystemClock,
    /// Elapsed ms of the last disconnect or request timeout, -1 for none.
    disturbed_at: AtomicI64,
    /// The client writes to partitions or reads them, and must know their leaders.
    holds_partitions: bool,
    /// The line of the log that said that it lost one for ever.
    lost_leader: OnceLock<String>,
    /// What librdkafka logged about the open transaction's failure; a purged message does not tell.
    pub transaction_error: Mutex<String>,
    pub acknowledgements: Acknowledgements,
    pub rebalance: Option<Rebalance>,
    /// The client's name in figures, and who hears them.
    statistics: Option<(String, Listener)>,
}

impl Context {
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// A disconnect or request timeout may have happened at or after `since`.
    pub fn disturbed_since(&self, since: Duration) -> bool {
        let at = self.disturbed_at.load(Ordering::SeqCst);
        at >= 0 && Duration::from_millis(at as u64) + SUPPRESSION >= since
    }

    fn disturb(&self) {
        self.disturbed_at
            .store(self.clock.elapsed().as_millis() as i64, Ordering::SeqCst);
    }
}

/// An owned instance.
pub(super) struct Client {
    rk: *mut ffi::rd_kafka_t,
    context: ManuallyDrop<Box<Context>>,
}

// librdkafka's handle may be used from any thread, and the context holds atomics and locks only.
unsafe impl Send for Client {}
unsafe impl Sync for Client {}

impl Client {
    pub fn new(config: &KafkaConfig, role: &Role, rebalance: Option<Rebalance>) -> Result<Client> {
        let properties = properties(config, role)?;
        let context = Box::new(Context {
            name: role.name().to_string(),
            clock: SystemClock::new(),
            disturbed_at: AtomicI64::new(-1),
            holds_partitions: matches!(role, Role::Data { .. } | Role::Transactional { .. }),
            lost_leader: OnceLock::new(),
            transaction_error: Mutex::default(),
            acknowledgements: Acknowledgements::default(),
            rebalance,
            statistics: role
                .statistics_name()
                .map(|name| (name, config.statistics.clone())),
        });
        let mut buffer = [0 as c_char; 512];
        unsafe {
            let conf = ffi::rd_kafka_conf_new();
            for (name, value) in &properties {
                if let Err(error) = set(conf, name, value) {
                    ffi::rd_kafka_conf_destroy(conf);
                    return Err(error);
                }
            }
            ffi::rd_kafka_conf_set_opaque(conf, (&raw const *context).cast_mut().cast());
            ffi::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            ffi::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            ffi::rd_kafka_conf_set_stats_cb(conf, Some(on_statistics));
            if context.rebalance.is_some() {
                code::rd_kafka_conf_set_rebalance_cb(conf, Some(super::rebalance::on_rebalance));
            }
            if matches!(role, Role::Transactional { .. }) {
                acknowledgement::intercept(conf, &context.acknowledgements);
            }
            let kind = if role.is_producer() {
                ffi::rd_kafka_type_t::RD_KAFKA_PRODUCER
            } else {
                ffi::rd_kafka_type_t::RD_KAFKA_CONSUMER
            };
            let rk = ffi::rd_kafka_new(kind, conf, buffer.as_mut_ptr(), buffer.len());
            if rk.is_null() {
                ffi::rd_kafka_conf_destroy(conf);
                let message = format!("{}: {}", role.name(), text(buffer.as_ptr()));
                return Err(Error::Refused {
                    call: CONFIGURATION,
                    message,
                });
            }
            if !role.is_producer() {
                // Without this, errors would wait in a queue that nobody reads.
                code::rd_kafka_poll_set_consumer(rk);
            }
            Ok(Client {
                rk,
                context: ManuallyDrop::new(context),
            })
        }
    }

    pub fn rk(&self) -> *mut ffi::rd_kafka_t {
        self.rk
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What made this instance unusable: code and text.
    pub fn fatal(&self) -> Option<(i32, String)> {
        let lost = self.context.lost_leader.get();
        lost.map(|line| (codes::FATAL, line.clone()))
            .or_else(|| fatal(self.rk))
    }
}

/// The fatal error of librdkafka: code and text.
pub(super) fn fatal(rk: *mut ffi::rd_kafka_t) -> Option<(i32, String)> {
    let mut buffer = [0 as c_char; 512];
    let code = unsafe { code::rd_kafka_fatal_error(rk, buffer.as_mut_ptr(), buffer.len()) };
    (code != 0).then(|| (code, unsafe { text(buffer.as_ptr()) }))
}

impl Drop for Client {
    fn drop(&mut self) {
        // Nothing touches the context after this.
        let context = unsafe { ManuallyDrop::take(&mut self.context) };
        let remains = Remains {
            rk: self.rk,
            _context: context,
        };
        // Destroying joins librdkafka's threads, one of which may sit in a connect: nobody waits for that. If no
        // thread can be made, the closure is dropped here and with it the instance.
        let spawned = std::thread::Builder::new()
            .name("kafka-destroy".into())
            .spawn(move || drop(remains));
        if let Err(error) = spawned {
            tracing::warn!(%error, "a Kafka client was destroyed in the foreground");
        }
    }
}

/// An instance on its way out, with the context its callbacks may still use.
struct Remains {
    rk: *mut ffi::rd_kafka_t,
    _context: Box<Context>,
}

unsafe impl Send for Remains {}

impl Drop for Remains {
    fn drop(&mut self) {
        unsafe {
            let everything = ffi::RD_KAFKA_PURGE_F_QUEUE | ffi::RD_KAFKA_PURGE_F_INFLIGHT;
            code::rd_kafka_purge(self.rk, everything | ffi::RD_KAFKA_PURGE_F_NON_BLOCKING);
            ffi::rd_kafka_destroy_flags(self.rk, ffi::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        }
    }
}

unsafe fn set(conf: *mut ffi::rd_kafka_conf_t, name: &str, value: &str) -> Result<()> {
    let (c_name, c_value) = (c_string(name), c_string(value));
    let mut buffer = [0 as c_char; 512];
    unsafe {
        let result = ffi::rd_kafka_conf_set(
            conf,
            c_name.as_ptr(),
            c_value.as_ptr(),
            buffer.as_mut_ptr(),
            buffer.len(),
        );
        if result == ffi::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
            return Ok(());
        }
        let message = format!("property \"{name}\": {}", text(buffer.as_ptr()));
        Err(Error::Refused {
            call: CONFIGURATION,
            message,
        })
    }
}

/// A partition without a leader, or with one that is not known yet, told beside the answer to a Produce or Fetch: librdkafka (2.12, issue
/// 5430) skips it and never uses the partition again, also when later metadata names its leader. Only a new client does. KRaft fences a broker that starves for a few
/// seconds, so this is an everyday matter.
pub(super) fn loses_leader(facility: &str, line: &str) -> bool {
    facility == "METADATAUPDATE"
        && line.contains("new leader")
        && line.ends_with("not found in cache")
}

/// A log line that speaks of requests which may have been lost or sent twice. A connection that could not be opened
/// carried nothing.
fn disturbs(facility: &str, line: &str) -> bool {
    match facility {
        "REQTMOUT" => true,
        "FAIL" => {
            let opening = [
                "Connect to",
                "Failed to resolve",
                "Connection setup timed out",
                "Failed to create socket",
            ];
            !opening.iter().any(|text| line.contains(text))
        }
        _ => false,
    }
}

unsafe extern "C" fn on_log(
    rk: *const ffi::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    let (facility, line) = unsafe { (text(facility), text(line)) };
    let opaque = if rk.is_null() {
        std::ptr::null_mut()
    } else {
        unsafe { ffi::rd_kafka_opaque(rk) }
    };
    let context = unsafe { opaque.cast::<Context>().as_ref() };
    let client = context.map_or("", |c| c.name.as_str());
    if let Some(context) = context.filter(|_| disturbs(&facility, &line)) {
        context.disturb();
    }
    if let Some(context) = context.filter(|_| facility == "TXNERR") {
        context
            .transaction_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&line);
    }
    if let Some(context) = context.filter(|c| c.holds_partitions && loses_leader(&facility, &line))
    {
        context.lost_leader.get_or_init(|| line.to_string());
    }
    match level {
        0..=4 => tracing::warn!(target: "librdkafka", client, facility, "{line}"),
        5 | 6 => tracing::info!(target: "librdkafka", client, facility, "{line}"),
        _ => tracing::debug!(target: "librdkafka", client, facility, "{line}"),
    }
}

/// Errors of the instance as a whole; those of one broker come by the log first.
unsafe extern "C" fn on_error(
    rk: *mut ffi::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    let Some(context) = (unsafe { opaque.cast::<Context>().as_ref() }) else {
        return;
    };
    let reason = unsafe { text(reason) };
    if matches!(code, codes::TIMED_OUT | codes::TIMED_OUT_QUEUE) {
        context.disturb();
    }
    tracing::info!(target: "librdkafka", client = context.name, code = name(code), "{reason}");
    if code == codes::FATAL
        && let (Some(rebalance), Some((code, cause))) = (&context.rebalance, fatal(rk))
    {
        rebalance.fatal(code, &cause);
    }
}

/// Runs on the thread that polls the client. librdkafka keeps the document, which the answer 0 says.
unsafe extern "C" fn on_statistics(
    _: *mut ffi::rd_kafka_t,
    document: *mut c_char,
    len: usize,
    opaque: *mut c_void,
) -> c_int {
    if let Some(context) = unsafe { opaque.cast::<Context>().as_ref() }
        && let Some((name, listener)) = &context.statistics
        && !document.is_null()
    {
        let document = unsafe { std::slice::from_raw_parts(document.cast::<u8>(), len) };
        statistics::hear(listener, name, document);
    }
    0
}

/// Counts down a call's time in librdkafka's milliseconds.
pub(super) struct Deadline {
    clock: SystemClock,
    total: Duration,
}

impl Deadline {
    pub fn after(total: Duration) -> Self {
        Deadline {
            clock: SystemClock::new(),
            total,
        }
    }

    pub fn is_over(&self) -> bool {
        self.clock.elapsed() >= self.total
    }

    /// What is left, at least 1 ms: 0 would mean "do not wait at all" and -1 "for ever".
    pub fn remaining_ms(&self) -> c_int {
        let left = self.total.saturating_sub(self.clock.elapsed()).as_millis();
        left.clamp(1, c_int::MAX as u128) as c_int
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_librdkafka_lost_for_ever_is_told_from_other_lines() {
        let lost = "Partition in(pG+ScEyZQe+Fv9Au1l483w)[0]: new leader-1 not found in cache";
        assert!(loses_leader("METADATAUPDATE", lost));
        assert!(!loses_leader(
            "METADATAUPDATE",
            "Topic in not found in cache"
        ));
        assert!(!loses_leader("FAIL", lost));
    }

    #[test]
    fn a_lost_connection_disturbs_and_one_that_never_opened_does_not() {
        let table = [
            (
                "FAIL",
                "127.0.0.1:9092/1: Disconnected (after 5ms in state UP)",
                true,
            ),
            (
                "FAIL",
                "b:9092/1: 3 request(s) timed out: disconnect (after 9ms in state UP)",
                true,
            ),
            (
                "FAIL",
                "b:9092/1: Receive failed: Connection reset by peer",
                true,
            ),
            (
                "REQTMOUT",
                "b:9092/1: Timed out 1 in-flight, 0 retry-queued",
                true,
            ),
            (
                "FAIL",
                "b:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused",
                false,
            ),
            (
                "FAIL",
                "b:9092/1: Failed to resolve 'b:9092': Name or service not known",
                false,
            ),
            ("CONFWARN", "Disconnected", false),
        ];
        for (facility, line, expected) in table {
            assert_eq!(disturbs(facility, line), expected, "{line}");
        }
    }
}
