//! Refresh keeps the log short although nothing ever leaves the state.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::admin;
use integration_tests::kafka;
use integration_tests::ledger::{Ledger, state_sum};
use integration_tests::wait;

use super::PATIENCE;

const SHARDS: i32 = 2;
const COLD: u32 = 20_000;
const HOT: u32 = 3_000;
/// Longer than the janitor waits between two rounds of deletions.
const RUN: Duration = Duration::from_secs(38);

/// Some keys change all the time, most are written once and never again: only refresh carries those on.
///
/// Bites: no refresh or one that never ends (the log grows), a refresh that leaves out rows or sets `complete_from` too late in the
/// log (rows lost after the restore), deletions that are not made (the log's start stays).
#[test]
fn an_endless_update_of_the_same_keys_keeps_the_log_bounded() -> Result<()> {
    let scenario = Ledger::scenario(kafka::shared().bootstrap(), "bounded", SHARDS as u32)?
        .set("state.save_interval", "1s")
        .set("changelog.keep", "0s")
        .set("changelog.refresh_min_log", "1MB");
    let changelog = format!("{}.totals.changelog", scenario.app);
    let mut ledger = Ledger::default();
    let worker = scenario.start("w1")?;
    ledger.feed(&scenario, 0..COLD + HOT)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    let range = |partition| admin::log_range(&scenario.brokers, &changelog, partition);
    let cold: Vec<(i64, i64)> = (0..SHARDS).map(range).collect::<Result<_>>()?;
    let began = wait::now();
    let (mut longest, mut state) = (0, 0);
    while began.elapsed() < RUN {
        ledger.feed(&scenario, COLD..COLD + HOT)?;
        std::thread::sleep(Duration::from_millis(100));
        longest = longest.max(state_sum(&worker, "changelog_bytes")?);
        state = state_sum(&worker, "store_bytes")?;
    }
    ledger.absorbed(&[&worker], PATIENCE)?;
    let written = metric(&worker.metrics()?, "millstream_changelog_bytes_total");
    let refreshed = metric(&worker.metrics()?, "millstream_refreshed_bytes_total");
    worker.stop()?;
    let now: Vec<(i64, i64)> = (0..SHARDS).map(range).collect::<Result<_>>()?;
    let held = admin::log_bytes(&scenario.brokers, &changelog)?;
    let rows = u64::from(COLD + HOT) * 60;
    eprintln!(
        "{} rows in {} updates; the rows are about {rows} bytes, the store's files {state} bytes",
        ledger.keys(),
        ledger.fed()
    );
    eprintln!(
        "written {written} bytes of changes and {refreshed} of refresh; the live log was never longer than {longest}, Kafka holds {held}"
    );
    eprintln!("offsets when the cold keys were in: {cold:?}; at the end: {now:?}");
    for (before, after) in cold.iter().zip(&now) {
        ensure!(
            after.0 > before.1,
            "the log still begins among the cold keys: {before:?}, now {after:?}"
        );
    }
    // Four times the state, or the least log worth a cycle per shard, and what two saves let through.
    let bound = 4 * rows.max(SHARDS as u64 * 1_000_000);
    ensure!(
        longest <= bound,
        "the live log was {longest} bytes long, the bound is {bound}"
    );
    std::fs::remove_dir_all(scenario.state("w1"))?;
    let worker = scenario.start("w1")?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, PATIENCE)?;
    worker.stop()?;
    scenario.done()
}

/// The sum of a metric over its labels.
fn metric(text: &str, name: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum::<f64>() as u64
}
