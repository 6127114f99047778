//! Waiting for something to become true, with a deadline and a message that says what did not happen.
//!
//! Invariant: the only place of this crate that reads the monotonic clock. No wait is unbounded.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const POLL: Duration = Duration::from_millis(50);

/// The moment of the call.
#[expect(
    clippy::disallowed_methods,
    reason = "tests wait for real processes in real time"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Calls `probe` until it gives a value, every 50 ms.
///
/// # Errors
/// The deadline passed: names `what`, and the last error of the probe, if it had one.
pub fn until<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = now() + timeout;
    loop {
        // An error may be a process that is not up yet; only the last one counts.
        let answer = probe();
        if let Ok(Some(value)) = answer {
            return Ok(value);
        }
        if now() >= deadline {
            let message = format!("waited {:.0} s in vain: {what}", timeout.as_secs_f64());
            match answer {
                Err(error) => return Err(error).context(message),
                Ok(_) => bail!(message),
            }
        }
        thread::sleep(POLL);
    }
}

/// [`until`] for a condition.
///
/// # Errors
/// As [`until`].
pub fn until_true(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Result<bool>,
) -> Result<()> {
    until(what, timeout, || Ok(probe()?.then_some(())))
}
