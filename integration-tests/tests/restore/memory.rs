//! More state than memory: the budget holds, and every count is exact.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::kafka;
use integration_tests::ledger::{Ledger, state_sum};

use super::stop;

const KEYS: u32 = 2_000_000;
const BUDGET: u64 = 96_000_000;
const LONG: Duration = Duration::from_secs(120);

/// A figure of `/proc/<pid>/status`, in bytes.
fn figure(pid: u32, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name}"))?;
    let kilobytes: u64 = line
        .trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kilobytes * 1024)
}

/// Follows the private memory of a process: what a cgroup cannot take back by dropping file pages.
struct Gauge {
    over: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Gauge {
    fn start(pid: u32) -> Self {
        let (over, peak) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ends, highest) = (over.clone(), peak.clone());
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                if let Ok(now) = figure(pid, "RssAnon") {
                    highest.fetch_max(now, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Gauge { over, peak, thread }
    }

    fn finish(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        // It cannot panic: it only reads and sleeps.
        let _ = self.thread.join();
        self.peak.load(Ordering::Relaxed)
    }
}

/// Two million keys in one open window, of which some come back, in a budget that holds a fraction of them.
///
/// Bites: rows that stay in memory after a save, queues without bounds, an eviction that drops rows that are not saved.
#[test]
fn two_million_keys_stay_within_the_budget() -> Result<()> {
    let scenario =
        Ledger::scenario(kafka::shared().bootstrap(), "memory", 2)?.set("memory.budget", "96MB");
    let mut ledger = Ledger::default();
    let mut worker = scenario.start("w1")?;
    worker.wait_ready(LONG)?;
    let base = figure(worker.pid(), "RssAnon")?;
    let gauge = Gauge::start(worker.pid());
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.feed(&scenario, 700_000..800_000)?;
    ledger.absorbed(&[&worker], LONG)?;
    let (hot, stored) = (
        state_sum(&worker, "hot_rows")?,
        state_sum(&worker, "store_rows")?,
    );
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, LONG)?;
    let resident = figure(worker.pid(), "VmHWM")?;
    let peak = gauge.finish();
    let allowed = BUDGET * 12 / 10 + base;
    eprintln!(
        "{} keys: private memory {} MB at most, idle {} MB, allowed {} MB; resident with file pages {} MB; {hot} rows in memory, {stored} in the store",
        ledger.keys(),
        peak >> 20,
        base >> 20,
        allowed >> 20,
        resident >> 20,
    );
    ensure!(
        hot < u64::from(KEYS) / 2,
        "{hot} rows were in memory: the budget was not felt"
    );
    ensure!(
        peak <= allowed,
        "{peak} bytes of private memory, allowed are {allowed} (idle {base}, budget {BUDGET})"
    );
    stop(worker)
}
