//! The few figures of a Kafka client that tell whether it is well, and who hears them.
//!
//! Invariant: nothing decides by these figures. They are handed out on the thread that serves the client, so a listener must be
//! quick.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often a client tells its figures.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// What one client told of itself. Totals count since the client was made, and begin anew with the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFigures {
    /// Waiting to be sent or acknowledged.
    pub out: Queue,
    /// Fetched and not yet taken.
    pub fetched: Queue,
    /// Totals of records (messages) and of their bytes, as they were before compression.
    pub sent: Queue,
    pub received: Queue,
    pub brokers: Vec<BrokerFigures>,
}

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    pub messages: u64,
    pub bytes: u64,
}

impl std::iter::Sum for Queue {
    fn sum<I: Iterator<Item = Queue>>(queues: I) -> Queue {
        queues.fold(Queue::default(), |sum, queue| Queue {
            messages: sum.messages + queue.messages,
            bytes: sum.bytes + queue.bytes,
        })
    }
}

/// One broker as one client sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerFigures {
    pub name: String,
    /// 99th percentile of the last interval; `None` where nothing was asked.
    pub round_trip_us: Option<u64>,
    /// Longest time that the broker asked this client to hold back, in the last interval.
    pub throttle_ms: u64,
    /// Totals.
    pub errors: u64,
    pub connects: u64,
    pub disconnects: u64,
}

/// Who hears the figures: the client's name (`consumer-0`, `producer-0`) and what it told.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<Hear>>);

type Hear = dyn Fn(&str, &ClientFigures) + Send + Sync;

impl Listener {
    pub fn new(hear: impl Fn(&str, &ClientFigures) + Send + Sync + 'static) -> Self {
        Listener(Some(Arc::new(hear)))
    }

    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Hands figures on.
    pub fn tell(&self, client: &str, figures: &ClientFigures) {
        if let Some(hear) = &self.0 {
            hear(client, figures);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Listener({})",
            if self.is_set() { "set" } else { "none" }
        )
    }
}
