//! Tells an honest restart from a second process with our id: how often an id of ours was taken within a minute.
//!
//! Invariant: a takeover that settles a process which restarts fences it, and so does its own earlier life, but each only
//! once in a while; two processes that take the same id from each other never stop. This file reads no clock.

use std::time::Duration;

/// Fenced so often within [`WINDOW`]: two processes have one id.
pub const FENCES: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// When an id was taken from us.
#[derive(Debug, Default)]
pub struct Fenced {
    at: Vec<Duration>,
}

impl Fenced {
    /// The id was taken at `now`; returns whether that is a twin's doing.
    pub fn by_twin(&mut self, now: Duration) -> bool {
        self.at.retain(|at| now.saturating_sub(*at) < WINDOW);
        self.at.push(now);
        self.at.len() >= FENCES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_fences_within_a_minute_are_a_twin_and_slower_ones_are_not() {
        let mut quick = Fenced::default();
        let said: Vec<bool> = (0..5)
            .map(|i| quick.by_twin(Duration::from_secs(i * 14)))
            .collect();
        assert_eq!(said, [false, false, false, false, true]);
        let mut slow = Fenced::default();
        assert!((0..50).all(|i| !slow.by_twin(Duration::from_secs(i * 15))));
    }
}
