//! The process's membership of the consumer group: a thread of its own that polls, and the rebalance callback.
//!
//! Invariant: a task is released (the listener returned) before librdkafka is told to unassign it, and owned only
//! after it was told to assign it. The tasks topics are empty and paused; nothing is read here. Data consumers are
//! other clients: their batch calls would answer a rebalance by a forced unassign.

use super::client::{self, Client, Deadline};
use super::config::{KafkaConfig, Role};
use super::error::{codes, describe, of_code};
use super::ffi::{self, Failure, PartitionList, code, elements, message_code, text};
use crate::broker::{Error, GroupMetadata, Membership, RebalanceListener, Result};
use crate::fetch::TopicPartition;
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// Longest wait of one poll: a stop is noticed after it.
const POLL_MS: i32 = 100;
/// For the last revocation when the member leaves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(60);

/// What the rebalance callback works on.
pub(super) struct Rebalance {
    listener: Arc<dyn RebalanceListener>,
    owned: Mutex<BTreeSet<TopicPartition>>,
    fatal: AtomicBool,
}

impl Rebalance {
    fn owned(&self) -> MutexGuard<'_, BTreeSet<TopicPartition>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a failure. A fatal one is reported once, and takes the tasks away: librdkafka does not call the
    /// rebalance callback after it, although the broker may have given the tasks to the other static member.
    pub fn failed(&self, message: &str, fatal: bool) {
        if !fatal {
            return self.listener.failed(message, false);
        }
        if self.fatal.swap(true, Ordering::SeqCst) {
            return;
        }
        let tasks: Vec<_> = std::mem::take(&mut *self.owned()).into_iter().collect();
        if !tasks.is_empty() {
            self.listener.lost(&tasks);
        }
        self.listener.failed(message, true);
    }

    fn assign(&self, rk: *mut ffi::rd_kafka_t, list: *mut ffi::rd_kafka_topic_partition_list_t) {
        let tasks: Vec<_> = unsafe { elements(list) }
            .into_iter()
            .map(|e| e.at)
            .collect();
        unsafe {
            if let Some(failure) = Failure::of(ffi::rd_kafka_incremental_assign(rk, list)) {
                return self.failed(&failure.message(), failure.is_fatal());
            }
            code::rd_kafka_pause_partitions(rk, list);
        }
        match unsafe { group_metadata(rk) } {
            Ok(group) => {
                self.owned().extend(tasks.iter().cloned());
                self.listener.assigned(&tasks, &group);
            }
            Err(error) => self.failed(&error.to_string(), false),
        }
    }

    fn revoke(&self, rk: *mut ffi::rd_kafka_t, list: *mut ffi::rd_kafka_topic_partition_list_t) {
        let mut tasks: Vec<_> = unsafe { elements(list) }
            .into_iter()
            .map(|e| e.at)
            .collect();
        tasks.retain(|at| self.owned().contains(at));
        // A fatal error said so already of tasks that are owned no more.
        match unsafe { ffi::rd_kafka_assignment_lost(rk) } {
            _ if tasks.is_empty() => {}
            0 => self.listener.revoked(&tasks),
            _ => self.listener.lost(&tasks),
        }
        // With the lost list too: the protocol is cooperative in every case.
        if let Some(failure) = Failure::of(unsafe { ffi::rd_kafka_incremental_unassign(rk, list) })
        {
            self.failed(&failure.message(), failure.is_fatal());
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
unsafe fn group_metadata(rk: *mut ffi::rd_kafka_t) -> Result<GroupMetadata> {
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

/// The client, shared by the thread and those who read the metadata.
struct Shared {
    client: Client,
    /// Set before the consumer is closed; readers hold it while they ask.
    closed: RwLock<bool>,
    stop: AtomicBool,
}

impl Shared {
    fn rebalance(&self) -> Option<&Rebalance> {
        self.client.context().rebalance.as_ref()
    }

    fn poll(&self, timeout_ms: i32) {
        let message = unsafe { ffi::rd_kafka_consumer_poll(self.client.rk(), timeout_ms) };
        if message.is_null() {
            return;
        }
        let (code, reason) = unsafe {
            (
                message_code(message),
                text(ffi::rd_kafka_message_errstr(message)),
            )
        };
        unsafe { ffi::rd_kafka_message_destroy(message) };
        let Some(rebalance) = self
            .rebalance()
            .filter(|_| code != 0 && code != codes::PARTITION_EOF)
        else {
            return;
        };
        match self.client.fatal() {
            Some((code, cause)) => rebalance.failed(&format!("{cause} ({})", describe(code)), true),
            None if code == codes::MAX_POLL_EXCEEDED => rebalance.failed(&reason, false),
            None => {
                tracing::warn!(code, reason, "the group membership met an error");
                rebalance.failed(&format!("{}: {reason}", describe(code)), false);
            }
        }
    }

    fn run(&self, done: &SyncSender<()>) {
        while !self.stop.load(Ordering::SeqCst) {
            self.poll(POLL_MS);
        }
        self.leave();
        // Nobody may wait for it any more.
        let _ = done.send(());
    }

    /// Gives the tasks back, then leaves the group. The metadata stay readable while the last transactions end in the
    /// revocation's callback; they are shut before the close, after which librdkafka would not answer.
    fn leave(&self) {
        let rk = self.client.rk();
        unsafe { code::rd_kafka_unsubscribe(rk) };
        let deadline = Deadline::after(LEAVE_TIMEOUT);
        let owns = || self.rebalance().is_some_and(|r| !r.owned().is_empty());
        while owns() && self.client.fatal().is_none() && !deadline.is_over() {
            self.poll(20);
        }
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
        let code = unsafe { code::rd_kafka_consumer_close(rk) };
        if code != 0 {
            tracing::warn!(
                code,
                error = describe(code),
                "leaving the group failed; it will time out"
            );
        }
    }
}

/// The member of the group. Dropping it leaves the group in the background.
pub struct Member {
    shared: Arc<Shared>,
    done: Mutex<Receiver<()>>,
}

impl Member {
    /// Joins the group for the tasks topics, with the worker id as `client.id`. The listener is called on the member's
    /// thread, also with an empty list when only the generation changed.
    ///
    /// # Errors
    /// [`Error::Refused`] for bad settings; [`Error::Fatal`] where no thread can be made.
    pub fn start(
        config: &KafkaConfig,
        topics: &[String],
        listener: Arc<dyn RebalanceListener>,
    ) -> Result<Arc<Self>> {
        let rebalance = Rebalance {
            listener,
            owned: Mutex::default(),
            fatal: AtomicBool::new(false),
        };
        let client = Client::new(config, &Role::Member, Some(rebalance))?;
        let topics: Vec<_> = topics
            .iter()
            .map(|t| TopicPartition::new(t.as_str(), -1))
            .collect();
        let list = PartitionList::of(&topics);
        let code = unsafe { code::rd_kafka_subscribe(client.rk(), list.as_ptr()) };
        if code != 0 {
            return Err(of_code("subscribe", code, &config.group));
        }
        let shared = Arc::new(Shared {
            client,
            closed: RwLock::new(false),
            stop: AtomicBool::new(false),
        });
        let (sender, done) = sync_channel(1);
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("kafka-member".into())
            .spawn(move || thread.run(&sender))
            .map_err(|error| Error::Fatal {
                call: "member",
                message: error.to_string(),
            })?;
        Ok(Arc::new(Member {
            shared,
            done: Mutex::new(done),
        }))
    }

    /// Gives the tasks back through the listener and leaves the group (a static member does not: it comes back).
    ///
    /// # Errors
    /// [`Error::Retriable`] if that is not done after `timeout`; it goes on.
    pub fn stop(&self, timeout: Duration) -> Result<()> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        match done.recv_timeout(timeout) {
            // A thread that is gone has left, or was stopped before.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(Error::Retriable {
                call: "leave group",
                message: "still closing tasks".into(),
            }),
        }
    }
}

impl Membership for Member {
    fn metadata(&self) -> Result<GroupMetadata> {
        let closed = self
            .shared
            .closed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if *closed {
            return Err(Error::Fatal {
                call: "group_metadata",
                message: "the group was left".into(),
            });
        }
        unsafe { group_metadata(self.shared.client.rk()) }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}
