//! More state than memory: the budget holds, and every count is exact.
//!
//! What is measured is private memory (`RssAnon`), every 20 ms: file pages can be taken back by the system. The figure is compared with
//! the budget and a fifth of it, and with nothing else.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::kafka;
use integration_tests::ledger::{Ledger, state_sum};

use super::PATIENCE;

const BUDGET: u64 = 256_000_000;

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

/// All keys in one open window, of which some come back, in a budget that holds a fraction of them. The process may have a fifth more
/// than its budget in all, its idle memory included: that is what an operator gives a container.
///
/// Bites: rows that stay in memory after a save, queues without bounds, an eviction that drops rows that are not saved.
fn keys_within_the_budget(name: &str, keys: u32) -> Result<()> {
    let long = PATIENCE + Duration::from_secs(u64::from(keys) / 20_000);
    let scenario = Ledger::scenario(kafka::shared().bootstrap(), name, 2)?
        .set("memory.budget", &format!("{}MB", BUDGET / 1_000_000));
    let mut ledger = Ledger::default();
    let mut worker = scenario.start("w1")?;
    worker.wait_ready(PATIENCE)?;
    let base = figure(worker.pid(), "RssAnon")?;
    let gauge = Gauge::start(worker.pid());
    ledger.feed(&scenario, 0..keys)?;
    ledger.feed(&scenario, keys / 3..keys / 3 + keys / 20)?;
    ledger.absorbed(&[&worker], long)?;
    let taken = gauge.peak.load(Ordering::Relaxed);
    let hot = state_sum(&worker, "hot_rows")?;
    let stored = state_sum(&worker, "store_rows")?;
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, long)?;
    let resident = figure(worker.pid(), "VmHWM")?;
    let peak = gauge.finish();
    let allowed = BUDGET * 12 / 10;
    eprintln!(
        "{} keys: private memory {} MB at most ({} MB before the firing), idle {} MB, allowed {} MB; resident with file pages {} MB; \
         {hot} rows in memory, {stored} in the store",
        ledger.keys(),
        peak >> 20,
        taken >> 20,
        base >> 20,
        allowed >> 20,
        resident >> 20,
    );
    ensure!(
        hot < u64::from(keys) * 3 / 4,
        "{hot} rows were in memory: the budget was not felt"
    );
    ensure!(
        peak <= allowed,
        "{peak} bytes of private memory, allowed are {allowed} (idle {base}, budget {BUDGET})"
    );
    worker.stop()?;
    scenario.done()
}

#[test]
fn a_cut_of_the_keys_stays_within_the_budget() -> Result<()> {
    keys_within_the_budget("memory", 1_500_000)
}

#[test]
fn four_million_keys_stay_within_the_budget() -> Result<()> {
    keys_within_the_budget("memory4", 4_000_000)
}

/// The size: for campaigns.
#[test]
fn ten_million_keys_stay_within_the_budget() -> Result<()> {
    keys_within_the_budget("memory10", 10_000_000)
}
