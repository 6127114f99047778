//! Pauses between tries that fail: they grow, and a success ends them.
//!
//! Invariant: between two tries lies at least the first pause, so that an error that answers at once burns no core, and at
//! most the longest one. This file reads no clock and does not sleep: whoever waits must stay able to stop.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// When the next try may be made.
#[derive(Debug, Default)]
pub struct Pause {
    last: Duration,
    until: Duration,
}

impl Pause {
    /// A try has failed at `now`; returns how long the pause is.
    pub fn failed(&mut self, now: Duration) -> Duration {
        self.last = (self.last * 2).clamp(FIRST, LONGEST);
        self.until = now + self.last;
        self.last
    }

    /// The same call may be made again and waits by itself as a rule: only the shortest pause.
    pub fn brief(&mut self, now: Duration) {
        self.until = now + FIRST;
    }

    pub fn succeeded(&mut self) {
        *self = Pause::default();
    }

    /// What is left of the pause; zero where a try may be made.
    pub fn left(&self, now: Duration) -> Duration {
        self.until.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_a_success_ends_them() {
        let mut pause = Pause::default();
        let mut now = Duration::from_secs(1000);
        assert_eq!(pause.left(now), Duration::ZERO);
        let mut lengths = Vec::new();
        for _ in 0..8 {
            lengths.push(pause.failed(now).as_millis());
            assert_eq!(pause.left(now).as_millis(), lengths[lengths.len() - 1]);
            now += pause.left(now);
            assert_eq!(pause.left(now), Duration::ZERO);
        }
        assert_eq!(lengths, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        pause.succeeded();
        assert_eq!(pause.failed(now), FIRST);
    }
}
