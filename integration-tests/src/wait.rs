//! Waiting for something to become true, with a deadline and a message that says what did not happen.
//!
//! Invariant: the only place of this crate that reads the monotonic clock. No wait is unbounded, and none goes on once its probe has
//! answered [`Over`].

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

/// A probe's error after which waiting is in vain, as when the process that is asked has ended.
#[derive(Debug)]
pub struct Over(pub String);

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Over {}

/// Calls `probe` until it gives a value, every 50 ms.
///
/// # Errors
/// The deadline passed: names `what`, and the last error of the probe, if it had one. Or the probe said [`Over`].
pub fn until<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = now() + timeout;
    loop {
        // An error may be a process that is not up yet; only the last one counts.
        let answer = probe();
        let failed = match answer {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) if error.chain().any(|cause| cause.is::<Over>()) => {
                return Err(error).context(format!("waited in vain: {what}"));
            }
            Err(error) => Some(error),
        };
        if now() >= deadline {
            let message = format!("waited {:.0} s in vain: {what}", timeout.as_secs_f64());
            match failed {
                Some(error) => return Err(error).context(message),
                None => bail!(message),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_is_over_ends_the_wait_at_once() {
        let began = now();
        let over = || Err::<Option<()>, _>(Over("it ended".into()).into());
        let error = until("anything", Duration::from_secs(60), over).unwrap_err();
        assert!(format!("{error:#}").contains("it ended"));
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_wait_in_vain_names_what_and_the_last_error() {
        let error = until::<()>("the sea", Duration::ZERO, || bail!("dry")).unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 0 s in vain: the sea: dry");
    }
}
