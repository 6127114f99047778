//! The worker's transactional producer and its replacement.
//!
//! Invariant: a producer is used only after `init`, which ends whatever its transactional id had open; while there is
//! none, nothing is processed. Replacing is an everyday path (a timed-out transaction needs it).

use super::{MAX_WAIT, Worker};
use crate::error::Reaction;
use crate::runtime::outbox::Outbox;
use crate::runtime::pause::Pause;
use crate::runtime::twin::{FENCES, Fenced};
use std::time::Duration;

/// One try to register the transactional id; commands are obeyed between tries.
const INIT_TRY: Duration = Duration::from_secs(2);

/// The outbox, or the producer that is about to become it.
pub(super) struct ProducerSlot {
    transactional_id: String,
    outbox: Option<Outbox>,
    fresh: Option<Box<dyn crate::broker::Producer>>,
    fenced: Fenced,
    /// Between registrations that fail.
    pause: Pause,
    pub(super) opened_at: Option<Duration>,
}

impl ProducerSlot {
    pub(super) fn new(transactional_id: String) -> Self {
        ProducerSlot {
            transactional_id,
            outbox: None,
            fresh: None,
            fenced: Fenced::default(),
            pause: Pause::default(),
            opened_at: None,
        }
    }

    pub(super) fn outbox(&mut self) -> Option<&mut Outbox> {
        self.outbox.as_mut()
    }

    pub(super) fn bytes(&self) -> usize {
        self.outbox
            .as_ref()
            .filter(|o| o.is_open())
            .map_or(0, Outbox::bytes)
    }

    pub(super) fn drop_producer(&mut self) {
        self.outbox = None;
        self.fresh = None;
        self.opened_at = None;
    }
}

impl Worker {
    /// Makes sure that there is an initialised producer; false while there is none.
    pub(super) fn ready_producer(&mut self) -> bool {
        if let Some(outbox) = &mut self.producer.outbox {
            outbox.serve();
            return true;
        }
        let left = self.producer.pause.left(self.elapsed());
        if !left.is_zero() {
            // Commands are obeyed after it.
            std::thread::sleep(left.min(MAX_WAIT));
            return false;
        }
        if self.producer.fresh.is_none() {
            match self
                .shared
                .clients
                .producer(&self.producer.transactional_id)
            {
                Ok(fresh) => self.producer.fresh = Some(fresh),
                Err(error) => {
                    self.fatal = Some(format!("cannot make a producer: {error}"));
                    return false;
                }
            }
        }
        let Some(fresh) = &mut self.producer.fresh else {
            return false;
        };
        match fresh.init(INIT_TRY) {
            Ok(()) => {
                self.producer.outbox = self.producer.fresh.take().map(Outbox::new);
                self.producer.pause.succeeded();
                self.shared.progress.recovered(self.index);
                self.shared.board.trouble(&self.trouble_name(), None);
                true
            }
            Err(error) => {
                let name = self.trouble_name();
                self.shared.board.trouble(
                    &name,
                    Some(format!("the producer cannot register with Kafka: {error}")),
                );
                match error.reaction() {
                    Reaction::Retry => {
                        tracing::info!(thread = self.index, %error, "waiting for Kafka");
                        self.producer.pause.brief(self.elapsed());
                    }
                    Reaction::Park => self.fatal = Some(format!("{error}")),
                    _ => {
                        tracing::warn!(thread = self.index, %error, "the new producer failed; making another");
                        self.producer.fresh = None;
                        self.producer.pause.failed(self.elapsed());
                    }
                }
                false
            }
        }
    }

    pub(super) fn trouble_name(&self) -> String {
        format!("thread {}", self.index)
    }

    /// Drops the producer; the next turn makes a new one.
    pub(super) fn replace_producer(&mut self) {
        self.producer.drop_producer();
    }

    /// The producer was fenced. That may be a timeout, our own release, or a takeover that settled the id before this process had
    /// joined the group; often and soon, it is another process with our id.
    pub(super) fn on_fenced(&mut self, opened_at: Option<Duration>) {
        let now = self.elapsed();
        let timed_out = opened_at.is_some_and(|opened| {
            now.saturating_sub(opened) >= self.shared.tuning.transaction_timeout
        });
        let member = self
            .shared
            .group_metadata()
            .is_ok_and(|m| !m.member_id.is_empty() && m.generation >= 0);
        if timed_out || !member || self.shared.fences.take_own(self.index) {
            return;
        }
        if self.producer.fenced.by_twin(now) {
            self.fatal = Some(format!(
                "the transactional id {} was taken {FENCES} times within a minute while this process is a member of \
                 the group: another process runs with the same worker id {:?}. Give each its own `worker.id` or its own \
                 `state.dir`",
                self.producer.transactional_id, self.shared.tuning.worker_id
            ));
        }
    }
}
