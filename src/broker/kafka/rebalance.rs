//! The rebalance callback of the group's member: what the listener is told, and when librdkafka is.
//!
//! Invariant: a task is released (the listener returned) before librdkafka is told to unassign it, and owned only
//! after it was told to assign it. An assignment that cannot be carried out breaks the client: the broker counts its
//! tasks as ours, so it must be given up and joined anew. This file neither polls nor joins.

use super::client;
use super::error::{codes, describe};
use super::ffi::{self, Failure, code, elements, text};
use crate::broker::{Error, GroupMetadata, RebalanceListener, Result};
use crate::fetch::TopicPartition;
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often, and how long apart, the metadata of a new assignment are asked for.
const METADATA_TRIES: u32 = 5;
const METADATA_PAUSE: Duration = Duration::from_millis(100);

/// Why a client can be the member no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub message: String,
    pub end: End,
}

/// What a broken client says about our place in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The broker has given the static instance id to a session that joined later.
    Fenced,
    /// The same, after this client had lost its session: while the callback runs, librdkafka goes on sending
    /// heartbeats with the instance id and an empty member id, and the broker answers them like a twin's.
    FencedAfterLoss,
    /// An assignment could not be carried out.
    Unassigned,
    /// Anything else that librdkafka calls fatal.
    Fatal,
}

/// What a fatal code means.
fn end_of(code: i32, lost: bool) -> End {
    match (code, lost) {
        (codes::FENCED_INSTANCE_ID, true) => End::FencedAfterLoss,
        (codes::FENCED_INSTANCE_ID, false) => End::Fenced,
        _ => End::Fatal,
    }
}

/// What the rebalance callback works on.
pub(super) struct Rebalance {
    listener: Arc<dyn RebalanceListener>,
    owned: Mutex<BTreeSet<TopicPartition>>,
    broken: Mutex<Option<Broken>>,
    /// The session was lost, and no assignment has come since.
    lost: AtomicBool,
}

impl Rebalance {
    pub fn new(listener: Arc<dyn RebalanceListener>) -> Self {
        Rebalance {
            listener,
            owned: Mutex::default(),
            broken: Mutex::default(),
            lost: AtomicBool::new(false),
        }
    }

    fn owned(&self) -> MutexGuard<'_, BTreeSet<TopicPartition>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn owns_any(&self) -> bool {
        !self.owned().is_empty()
    }

    /// Why the client is of no use any more; `None` while it is.
    pub fn broken(&self) -> Option<Broken> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.clone()
    }

    /// A failure after which librdkafka goes on by itself.
    pub fn disturbed(&self, message: &str) {
        self.listener.failed(message, false);
    }

    /// librdkafka has given the client up.
    pub fn fatal(&self, code: i32, cause: &str) {
        let end = end_of(code, self.lost.load(Ordering::SeqCst));
        self.break_down(format!("{cause} ({})", describe(code)), end);
    }

    /// Remembers the first reason, and takes the tasks away: librdkafka does not call the rebalance callback after a
    /// fatal error, although the broker may have given the tasks to the other static member.
    fn break_down(&self, message: String, end: End) {
        {
            let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
            if broken.is_some() {
                return;
            }
            *broken = Some(Broken { message, end });
        }
        let tasks: Vec<_> = std::mem::take(&mut *self.owned()).into_iter().collect();
        if !tasks.is_empty() {
            self.listener.lost(&tasks);
        }
    }

    fn refused(&self, failure: &Failure) {
        if failure.is_fatal() {
            self.fatal(failure.code(), &failure.message());
        } else {
            self.break_down(failure.message(), End::Unassigned);
        }
    }

    fn assign(&self, rk: *mut ffi::rd_kafka_t, list: *mut ffi::rd_kafka_topic_partition_list_t) {
        let tasks: Vec<_> = unsafe { elements(list) }
            .into_iter()
            .map(|e| e.at)
            .collect();
        unsafe {
            if let Some(failure) = Failure::of(ffi::rd_kafka_incremental_assign(rk, list)) {
                return self.refused(&failure);
            }
            code::rd_kafka_pause_partitions(rk, list);
        }
        match unsafe { patient_metadata(rk) } {
            Ok(group) => {
                self.lost.store(false, Ordering::SeqCst);
                self.owned().extend(tasks.iter().cloned());
                self.listener.assigned(&tasks, &group);
            }
            Err(error) => self.break_down(error.to_string(), End::Unassigned),
        }
    }

    fn revoke(&self, rk: *mut ffi::rd_kafka_t, list: *mut ffi::rd_kafka_topic_partition_list_t) {
        let mut tasks: Vec<_> = unsafe { elements(list) }
            .into_iter()
            .map(|e| e.at)
            .collect();
        tasks.retain(|at| self.owned().contains(at));
        let lost = unsafe { ffi::rd_kafka_assignment_lost(rk) } != 0;
        self.lost.fetch_or(lost, Ordering::SeqCst);
        // A client that broke down said so already of tasks that are owned no more.
        match lost {
            _ if tasks.is_empty() => {}
            false => self.listener.revoked(&tasks),
            true => self.listener.lost(&tasks),
        }
        // With the lost list too: the protocol is cooperative in every case.
        if let Some(failure) = Failure::of(unsafe { ffi::rd_kafka_incremental_unassign(rk, list) })
        {
            if failure.is_fatal() {
                self.fatal(failure.code(), &failure.message());
            } else {
                self.disturbed(&failure.message());
            }
        }
        self.owned().retain(|at| !tasks.contains(at));
    }
}

/// The callback: runs on the member's thread, inside its poll.
pub(super) unsafe extern "C" fn on_rebalance(
    rk: *mut ffi::rd_kafka_t,
    code: i32,
    list: *mut ffi::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    let context = unsafe { opaque.cast::<client::Context>().as_ref() };
    let Some(rebalance) = context.and_then(|c| c.rebalance.as_ref()) else {
        return;
    };
    if code == codes::ASSIGN_PARTITIONS {
        rebalance.assign(rk, list);
    } else {
        rebalance.revoke(rk, list);
    }
}

/// Reads the present group metadata.
///
/// # Safety
/// `rk` is a live consumer that is not closed: a closed one would never answer.
pub(super) unsafe fn group_metadata(rk: *mut ffi::rd_kafka_t) -> Result<GroupMetadata> {
    unsafe {
        let metadata = ffi::rd_kafka_consumer_group_metadata(rk);
        if metadata.is_null() {
            let message = "the client has no group metadata".to_string();
            return Err(Error::Retriable {
                call: "group_metadata",
                message,
            });
        }
        let instance = ffi::rd_kafka_consumer_group_metadata_group_instance_id(metadata);
        let group = GroupMetadata {
            group: text(ffi::rd_kafka_consumer_group_metadata_group_id(metadata)),
            member_id: text(ffi::rd_kafka_consumer_group_metadata_member_id(metadata)),
            generation: ffi::rd_kafka_consumer_group_metadata_generation_id(metadata),
            instance_id: (!instance.is_null()).then(|| text(instance)),
        };
        ffi::rd_kafka_consumer_group_metadata_destroy(metadata);
        Ok(group)
    }
}

/// The same, asked again for a moment: without them the tasks of an assignment cannot be taken.
///
/// # Safety
/// As for [`group_metadata`].
unsafe fn patient_metadata(rk: *mut ffi::rd_kafka_t) -> Result<GroupMetadata> {
    let mut tries = 1;
    loop {
        match unsafe { group_metadata(rk) } {
            Err(Error::Retriable { .. }) if tries < METADATA_TRIES => {
                tries += 1;
                std::thread::sleep(METADATA_PAUSE);
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Listener {
        lost: Mutex<usize>,
    }

    impl RebalanceListener for Listener {
        fn assigned(&self, _: &[TopicPartition], _: &GroupMetadata) {}
        fn revoked(&self, _: &[TopicPartition]) {}
        fn lost(&self, tasks: &[TopicPartition]) {
            *self.lost.lock().unwrap() += tasks.len();
        }
    }

    #[test]
    fn a_fence_after_a_lost_session_is_told_from_that_of_a_twin() {
        let table = [
            (codes::FENCED_INSTANCE_ID, false, End::Fenced),
            (codes::FENCED_INSTANCE_ID, true, End::FencedAfterLoss),
            (codes::FATAL, false, End::Fatal),
            (codes::FATAL, true, End::Fatal),
        ];
        for (code, lost, expected) in table {
            assert_eq!(end_of(code, lost), expected, "{code} {lost}");
        }
    }

    #[test]
    fn the_first_reason_stays_and_takes_the_tasks_away_once() {
        let listener = Arc::new(Listener::default());
        let rebalance = Rebalance::new(listener.clone());
        rebalance.owned().insert(TopicPartition::new("tasks", 0));
        rebalance.fatal(codes::FENCED_INSTANCE_ID, "fenced");
        rebalance.fatal(codes::FATAL, "another");
        assert_eq!(rebalance.broken().unwrap().end, End::Fenced);
        assert!(!rebalance.owns_any());
        assert_eq!(*listener.lost.lock().unwrap(), 1);
    }
}
