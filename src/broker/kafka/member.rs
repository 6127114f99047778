//! The process's membership of the consumer group: a thread of its own that polls, and joins anew where a client broke.
//!
//! Invariant: there is one client at a time, and whoever reads the metadata keeps it open; a broken one is closed before
//! the next one joins, with its tasks taken away before that (`rebalance.rs`). Whether to join anew is the listener's
//! decision. A member that leaves is gone for the broker, too, before its client is closed. The tasks topics are empty and
//! paused; nothing is read here. Data consumers are other clients: their batch calls would answer a rebalance by a forced
//! unassign.

use super::client::{Client, Deadline};
use super::config::{KafkaConfig, Role};
use super::error::{codes, describe, of_code};
use super::ffi::{self, PartitionList, code, message_code, text};
use super::rebalance::{Broken, End, Rebalance, group_metadata};
use crate::broker::{Error, GroupMetadata, Membership, RebalanceListener, Result};
use crate::fetch::TopicPartition;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// Longest wait of one poll: a stop is noticed after it.
const POLL_MS: i32 = 100;
/// For the last revocation when the member leaves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(60);
/// For LeaveGroup to be sent once nothing is owned; `close` then waits 5 s for its answer at most.
const SEND_LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Between a client that broke and the one that joins in its place: two twins must not burn a core.
const JOIN_ANEW_AFTER: Duration = Duration::from_millis(500);

/// The present client, shared by the thread and those who read the metadata.
enum Seat {
    Taken(Arc<Client>),
    /// A client broke, or has left for a while; the next one has not joined yet.
    Empty,
    /// The group was left.
    Left,
}

/// Where the member's thread stands.
enum Place {
    In(Arc<Client>),
    /// Left for a while.
    Aside,
    /// The membership has ended.
    Out,
}

struct Shared {
    config: KafkaConfig,
    topics: Vec<TopicPartition>,
    listener: Arc<dyn RebalanceListener>,
    /// Readers hold it while they ask: a client that is closed meanwhile would never answer.
    seat: RwLock<Seat>,
    stop: AtomicBool,
    /// An order to leave for a while that was not carried out yet.
    leave: AtomicBool,
    /// Joining again was not allowed yet.
    away: AtomicBool,
}

/// The callback's side of a member's client.
fn rebalance(client: &Client) -> Option<&Rebalance> {
    client.context().rebalance.as_ref()
}

fn poll(client: &Client, timeout_ms: i32) {
    let message = unsafe { ffi::rd_kafka_consumer_poll(client.rk(), timeout_ms) };
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
    let Some(rebalance) = rebalance(client).filter(|_| code != 0 && code != codes::PARTITION_EOF)
    else {
        return;
    };
    match client.fatal() {
        Some((code, cause)) => rebalance.fatal(code, &cause),
        None if code == codes::MAX_POLL_EXCEEDED => rebalance.disturbed(&reason),
        None => {
            tracing::warn!(code, reason, "the group membership met an error");
            rebalance.disturbed(&format!("{}: {reason}", describe(code)));
        }
    }
}

fn close(client: &Client) {
    let code = unsafe { code::rd_kafka_consumer_close(client.rk()) };
    if code != 0 && client.fatal().is_none() {
        tracing::warn!(
            code,
            error = describe(code),
            "leaving the group failed; it will time out"
        );
    }
}

impl Shared {
    /// A client that has begun to join.
    fn join(&self) -> Result<Arc<Client>> {
        let rebalance = Rebalance::new(Arc::clone(&self.listener));
        let client = Client::new(&self.config, &Role::Member, Some(rebalance))?;
        let list = PartitionList::of(&self.topics);
        let code = unsafe { code::rd_kafka_subscribe(client.rk(), list.as_ptr()) };
        if code != 0 {
            return Err(of_code("subscribe", code, &self.config.group));
        }
        Ok(Arc::new(client))
    }

    /// Waits for the readers of the client before.
    fn seat(&self, seat: Seat) {
        *self.seat.write().unwrap_or_else(PoisonError::into_inner) = seat;
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn run(&self, client: Arc<Client>, done: &SyncSender<()>) {
        let mut place = Place::In(client);
        while !self.stopping() {
            place = self.step(place);
        }
        match place {
            Place::In(client) => self.leave(&client, Seat::Left),
            Place::Aside | Place::Out => self.seat(Seat::Left),
        }
        // Nobody may wait for it any more.
        let _ = done.send(());
    }

    fn step(&self, place: Place) -> Place {
        match place {
            Place::In(client) if self.leave.swap(false, Ordering::SeqCst) => {
                self.leave(&client, Seat::Empty);
                Place::Aside
            }
            Place::In(client) => {
                poll(&client, POLL_MS);
                let Some(broken) = rebalance(&client).and_then(Rebalance::broken) else {
                    return Place::In(client);
                };
                self.seat(Seat::Empty);
                close(&client);
                drop(client);
                self.join_anew(&broken).map_or(Place::Out, Place::In)
            }
            Place::Aside if !self.away.load(Ordering::SeqCst) => {
                self.join_now("joining again").map_or(Place::Out, Place::In)
            }
            Place::Aside | Place::Out => {
                std::thread::sleep(Duration::from_millis(POLL_MS as u64));
                place
            }
        }
    }

    /// The client that takes a broken one's place; `None` where the membership has ended.
    fn join_anew(&self, broken: &Broken) -> Option<Arc<Client>> {
        let message = &broken.message;
        let may = match broken.end {
            End::Fatal => false,
            // Our own loss: no other process is seen in it.
            End::FencedAfterLoss => true,
            End::Fenced | End::Unassigned => self.listener.broken(message),
        };
        if !may {
            self.listener.failed(message, true);
            return None;
        }
        tracing::warn!(
            message,
            "the member of the group is of no use any more: joining anew"
        );
        let deadline = Deadline::after(JOIN_ANEW_AFTER);
        while !deadline.is_over() {
            if self.stopping() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.join_now(&format!("{message}; joining anew"))
    }

    fn join_now(&self, why: &str) -> Option<Arc<Client>> {
        match self.join() {
            Ok(client) => {
                self.seat(Seat::Taken(Arc::clone(&client)));
                Some(client)
            }
            Err(error) => {
                self.listener.failed(&format!("{why}: {error}"), true);
                None
            }
        }
    }

    /// Gives the tasks back, then leaves the group. The metadata stay readable while the last transactions end in the
    /// revocation's callback; they are shut before the close, after which librdkafka would not answer.
    fn leave(&self, client: &Client, seat: Seat) {
        unsafe { code::rd_kafka_unsubscribe(client.rk()) };
        let deadline = Deadline::after(LEAVE_TIMEOUT);
        let owns = || rebalance(client).is_some_and(Rebalance::owns_any);
        while owns() && client.fatal().is_none() && !deadline.is_over() {
            poll(client, 20);
        }
        self.seat(seat);
        if self.config.static_instance.is_none() {
            await_leave(client);
        }
        close(client);
    }
}

/// Serves the client until it has sent LeaveGroup: a close that comes between the last unassignment and that would end the
/// client without it, and the broker would count the member until its session ends. librdkafka forgets the member id with
/// the request; a client that never joined has none.
fn await_leave(client: &Client) {
    let deadline = Deadline::after(SEND_LEAVE_TIMEOUT);
    while client.fatal().is_none() && !deadline.is_over() {
        match unsafe { group_metadata(client.rk()) } {
            Ok(group) if group.member_id.is_empty() => return,
            Ok(_) | Err(_) => poll(client, 20),
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
        let topics = topics.iter().map(|t| TopicPartition::new(t.as_str(), -1));
        let shared = Arc::new(Shared {
            config: config.clone(),
            topics: topics.collect(),
            listener,
            seat: RwLock::new(Seat::Empty),
            stop: AtomicBool::new(false),
            leave: AtomicBool::new(false),
            away: AtomicBool::new(false),
        });
        let client = shared.join()?;
        shared.seat(Seat::Taken(Arc::clone(&client)));
        let (sender, done) = sync_channel(1);
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("kafka-member".into())
            .spawn(move || thread.run(client, &sender))
            .map_err(|error| Error::Fatal {
                call: "member",
                message: error.to_string(),
            })?;
        Ok(Arc::new(Member {
            shared,
            done: Mutex::new(done),
        }))
    }

    /// Gives the tasks back through the listener and leaves the group until [`Member::come_back`]. Returns at once.
    pub fn step_aside(&self) {
        self.shared.away.store(true, Ordering::SeqCst);
        self.shared.leave.store(true, Ordering::SeqCst);
    }

    /// Joins again, once the group was left.
    pub fn come_back(&self) {
        self.shared.away.store(false, Ordering::SeqCst);
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
        let seat = self
            .shared
            .seat
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        match &*seat {
            Seat::Taken(client) => unsafe { group_metadata(client.rk()) },
            // Nobody's: a commit with it is refused.
            Seat::Empty => Ok(GroupMetadata {
                group: self.shared.config.group.clone(),
                generation: -1,
                ..GroupMetadata::default()
            }),
            Seat::Left => Err(Error::Fatal {
                call: "group_metadata",
                message: "the group was left".into(),
            }),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}
