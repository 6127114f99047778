//! What a process costs: CPU time and memory as the kernel counts them.
//!
//! Invariant: [`watch`] owes its CPU figure to the children that were reaped meanwhile, so one child runs at a time, and
//! it is reaped before the function returns. Memory is the kernel's own high-water mark, read until just before the end.

use std::fs;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::process::Worker;
use integration_tests::wait;

const POLL: Duration = Duration::from_millis(20);

/// What one process took from start to end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system, all threads.
    pub cpu_s: f64,
    /// What everybody else on the machine used meanwhile, the broker included; 0 where the system does not tell. Much of
    /// it makes wall time and latency worthless, and CPU time a little larger.
    pub elsewhere_s: f64,
    pub wall_s: f64,
    /// 0 where the system does not tell.
    pub peak_rss_mb: f64,
}

/// Starts a worker and waits for its end, which must be exit code 0; calls `look` every 20 ms.
///
/// # Errors
/// It does not start, ends with another code, or does not end within `patience`.
pub fn watch(
    start: impl FnOnce() -> Result<Worker>,
    patience: Duration,
    mut look: impl FnMut(&Worker),
) -> Result<Usage> {
    let meter = Meter::start()?;
    let mut worker = start()?;
    let mut peak_rss_mb: f64 = 0.0;
    let status: ExitStatus = loop {
        // Of one that has ended, nothing can be read.
        if let Ok(peak) = status_mb(worker.pid(), "VmHWM") {
            peak_rss_mb = peak_rss_mb.max(peak);
        }
        if let Some(status) = worker.exited()? {
            break status;
        }
        if meter.began.elapsed() > patience {
            let (name, seconds) = (worker.name(), patience.as_secs());
            let log = worker.log()?;
            // The beginning tells more than the thousandth repetition.
            let head: String = log.chars().take(4000).collect();
            bail!("{name} has not ended after {seconds} s; its log begins:\n{head}");
        }
        look(&worker);
        std::thread::sleep(POLL);
    };
    let usage = meter.stop(peak_rss_mb)?;
    ensure!(
        status.success(),
        "{}: {status}: {}",
        worker.name(),
        worker.log()?
    );
    Ok(usage)
}

/// Measures the children that are started and waited for between its start and its stop.
pub struct Meter {
    began: Instant,
    children_s: f64,
    machine_s: f64,
}

impl Meter {
    /// # Errors
    /// The system refuses.
    pub fn start() -> Result<Self> {
        Ok(Meter {
            began: wait::now(),
            children_s: children_cpu_s()?,
            machine_s: machine_cpu_s().unwrap_or(0.0),
        })
    }

    /// # Errors
    /// The system refuses.
    pub fn stop(self, peak_rss_mb: f64) -> Result<Usage> {
        let cpu_s = children_cpu_s()? - self.children_s;
        let machine_s = machine_cpu_s().unwrap_or(0.0) - self.machine_s;
        Ok(Usage {
            cpu_s,
            elsewhere_s: (machine_s - cpu_s).max(0.0),
            wall_s: self.began.elapsed().as_secs_f64(),
            peak_rss_mb,
        })
    }
}

/// CPU seconds that all processes of this machine have used (Linux).
fn machine_cpu_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().context("an empty stat")?;
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq; what follows is counted in these, or not ours.
    let busy = |at: usize| ticks.get(at).copied().unwrap_or(0.0);
    Ok((busy(0) + busy(1) + busy(2) + busy(5) + busy(6)) / ticks_per_second())
}

fn ticks_per_second() -> f64 {
    // SAFETY: sysconf has no memory effects.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}

/// CPU seconds of all children that have ended and were waited for.
fn children_cpu_s() -> Result<f64> {
    // SAFETY: all zeros is a valid rusage, and the call only writes into it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let result = libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        ensure!(
            result == 0,
            "getrusage: {}",
            std::io::Error::last_os_error()
        );
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

/// CPU seconds of a running process so far (Linux).
///
/// # Errors
/// It has ended, or this is not Linux.
pub fn cpu_s(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; after it, user and system time are fields 12 and 13.
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let mut next = || {
        fields
            .next()
            .context("a short stat")?
            .context("a stat without numbers")
    };
    let ticks = next()? + next()?;
    Ok(ticks / ticks_per_second())
}

/// A line of a process's memory figures, as `VmRSS`, in MB (Linux).
///
/// # Errors
/// It has ended, or this is not Linux.
pub fn status_mb(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .with_context(|| format!("no {name}"))?;
    let kilobytes = line.split_whitespace().next().context("no figure")?;
    Ok(kilobytes.parse::<f64>()? * 1024.0 / 1e6)
}

/// The middle of these figures; of an even number, the mean of the two in the middle.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory_and_time() {
        let pid = std::process::id();
        let rss = status_mb(pid, "VmRSS").unwrap();
        assert!((0.5..10_000.0).contains(&rss), "{rss}");
        assert!(cpu_s(pid).unwrap() >= 0.0);
        assert!(status_mb(pid, "VmNothing").is_err());
    }
}
