//! Asking again where Kafka says "not now": topics that were just made have no leader yet, a coordinator loads, a controller is
//! being elected, a broker starts.
//!
//! Invariant: only what may simply be asked again is, a bounded number of times; every other answer comes back at once.
//! For the start of a process: worker threads have their own ways, and never wait here.

use super::startup::StartError;
use crate::broker;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(300);

/// An error that may pass.
pub trait Passing: std::fmt::Display {
    /// The same question may simply be asked again.
    fn may_pass(&self) -> bool;
}

impl Passing for broker::Error {
    fn may_pass(&self) -> bool {
        matches!(self, broker::Error::Retriable { .. })
    }
}

impl Passing for StartError {
    fn may_pass(&self) -> bool {
        matches!(self, StartError::Kafka(error) if error.may_pass())
    }
}

/// Asks at most so many times.
pub fn patiently<T, E: Passing>(tries: u32, mut ask: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut left = tries;
    loop {
        left = left.saturating_sub(1);
        match ask() {
            Err(error) if error.may_pass() && left > 0 => {
                tracing::info!(%error, "waiting for Kafka");
                std::thread::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(passing: bool) -> Result<(), StartError> {
        let (call, message) = ("c", String::new());
        Err(StartError::Kafka(if passing {
            broker::Error::Retriable { call, message }
        } else {
            broker::Error::Refused { call, message }
        }))
    }

    #[test]
    fn only_what_may_pass_is_asked_again_and_not_for_ever() {
        let asked = |passing: bool, good_after: u32| {
            let mut count = 0;
            let result = patiently(3, || {
                count += 1;
                if count > good_after {
                    Ok(())
                } else {
                    answer(passing)
                }
            });
            (count, result.is_ok())
        };
        assert_eq!(asked(true, 0), (1, true));
        assert_eq!(asked(true, 2), (3, true));
        assert_eq!(asked(true, 9), (3, false));
        assert_eq!(asked(false, 9), (1, false));
    }
}
