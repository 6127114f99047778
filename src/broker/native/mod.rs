//! Reading without librdkafka: Kafka's protocol spoken by the thread that takes the records.
//!
//! How it is laid out: `wire` frames and versions; `dial` opens a connection, `view` asks for the cluster's shape, `errand` does both
//! aside; `metadata` keeps what they told; `link` a connection that never blocks, `broker` what is under way on it; `request` the Fetch; `slot` an assigned partition;
//! `consumer` the whole; `batch`, `records`, `codec` what records look like. `settings` says what it can do.
//!
//! Invariant: nothing here makes topics, commits, or knows a group; no allocation per record.

mod aborted;
mod batch;
mod broker;
mod codec;
mod consumer;
mod dial;
mod errand;
mod link;
mod metadata;
mod records;
mod request;
mod settings;
mod slot;
mod view;
mod wire;

pub use consumer::NativeConsumer;
pub use settings::NativeConfig;

use std::time::Duration;

/// Waits that double, up to two seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);

    /// The wait after one more failure.
    fn next(&mut self) -> Duration {
        let wait = Self::FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        wait.min(Self::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_two_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
    }
}
