//! Watches the memory of the process, in its own thread, and has freed memory given back where the budget is near.
//!
//! Invariant: it only tells the allocator what to keep. Limits of what is in use are kept by those who use it (see `budget`).

mod code;

use super::telemetry::resident_memory;
use crate::allocator;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

const ROUND: Duration = Duration::from_millis(50);
/// Rounds after which the start is over.
const STARTED: u32 = 60;

/// How the allocator is to behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thrift {
    /// Freed memory is kept for its next use.
    Keep,
    /// It goes back soon.
    GiveBack,
}

impl Thrift {
    /// With a gap between the two, so that it does not change with every round.
    fn next(self, used: u64, budget: u64) -> Thrift {
        match used {
            used if used > budget / 4 * 3 => Thrift::GiveBack,
            used if used < budget / 2 => Thrift::Keep,
            _ => self,
        }
    }
}

/// Runs until the sender of `stop` is gone.
pub fn run(budget: u64, stop: &Receiver<()>) {
    let (mut thrift, mut rounds) = (Thrift::Keep, 0_u32);
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(ROUND) {
        rounds = rounds.saturating_add(1);
        if rounds == STARTED {
            code::forget();
        }
        let Some(used) = resident_memory() else {
            return;
        };
        let next = thrift.next(used as u64, budget);
        if next != thrift {
            allocator::give_back(next == Thrift::GiveBack);
            thrift = next;
        }
        if next == Thrift::GiveBack && used as u64 > budget / 8 * 7 {
            allocator::collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_from_three_quarters_of_the_budget_until_half() {
        use Thrift::{GiveBack, Keep};
        let used = [10, 60, 76, 60, 51, 49, 60];
        let mut now = Keep;
        let seen = used.map(|used| {
            now = now.next(used, 100);
            now
        });
        assert_eq!(seen, [Keep, Keep, GiveBack, GiveBack, GiveBack, Keep, Keep]);
    }
}
