//! Windows so large that they fire over many commits, into a second window, while their worker is killed.
//!
//! The size is a parameter: a cut for every change, the two millions for campaigns. A kill that comes before or after the firing
//! fails the run.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::kafka;
use integration_tests::scenario::{PARTITIONS, Scenario};
use integration_tests::topics::{self, Isolation, Record};
use integration_tests::wait;
use rdkafka::consumer::Consumer;
use serde_json::json;

use super::{PATIENCE, SECOND, START, on, running, wait_taken};

const CLICKS_PER_KEY: i64 = 2;
/// Records given to the producer at a time.
const CHUNK: i64 = 200_000;

/// How many records stand in a topic, committed or not, markers included.
fn written(scenario: &Scenario, topic: &str) -> Result<i64> {
    let consumer = topics::consumer(&scenario.brokers, Isolation::Uncommitted)?;
    let end = |p| Ok(consumer.fetch_watermarks(topic, p, PATIENCE)?.1);
    (0..PARTITIONS).map(end).sum()
}

/// Every key clicked on twice within the first window of 15 s.
fn fill(scenario: &Scenario, keys: i64) -> Result<()> {
    let click = |i: i64| {
        let at = START + i * 14 * SECOND / (keys * CLICKS_PER_KEY);
        let page = format!("/{}", i % keys);
        Record::json((i % 4) as i32, at, &json!({"timestamp": at, "page": page}))
    };
    let mut from = 0;
    while from < keys * CLICKS_PER_KEY {
        let to = (keys * CLICKS_PER_KEY).min(from + CHUNK);
        scenario.produce(&(from..to).map(click).collect::<Vec<_>>())?;
        from = to;
    }
    Ok(())
}

/// The whole run with so many keys.
pub fn killed_while_firing(name: &str, keys: i64) -> Result<()> {
    let patience = PATIENCE + Duration::from_secs(keys as u64 / 10_000);
    let scenario = Scenario::chain(kafka::shared().bootstrap(), name)?
        .set("commit.max_bytes", "1MB")
        .set("group.session_timeout", "3s");
    let each = scenario.each();
    fill(&scenario, keys)?;
    let mut worker = running(&scenario, "w1")?;
    wait_taken(&worker, keys * CLICKS_PER_KEY, patience)?;
    // Past the end of the minute: both windows close, one after the other.
    scenario.produce(&on(0..4, 100 * SECOND, 1))?;
    for share in [5, 30] {
        let wanted = keys * share / 100;
        wait::until_true(&format!("{share} % fired"), patience, || {
            worker.alive()?;
            Ok(written(&scenario, &each)? > wanted)
        })?;
        worker.kill9()?;
        let at = written(&scenario, &each)?;
        eprintln!("killed with {at} records in the output");
        ensure!(at < keys, "killed after the firing: the run proves nothing");
        worker = scenario.start("w1")?;
    }
    let rows = wait::until("the total", patience * 2, || {
        worker.alive()?;
        let rows = scenario.rows()?;
        Ok((!rows.is_empty()).then_some(rows))
    })?;
    let total = &rows[0];
    ensure!(rows.len() == 1, "{} rows of totals", rows.len());
    ensure!(
        total["clicks"] == keys * CLICKS_PER_KEY && total["pages"] == keys,
        "{total} (logs in {})",
        scenario.home().display()
    );
    check_each(&scenario, keys)?;
    worker.stop()?;
    scenario.done()
}

/// A row of each key, right, in transactions of the limited size.
fn check_each(scenario: &Scenario, keys: i64) -> Result<()> {
    let each = topics::read(&scenario.brokers, &scenario.each(), Isolation::Committed)?;
    let mut names: Vec<_> = each.iter().filter_map(|r| r.key.clone()).collect();
    names.sort_unstable();
    names.dedup();
    ensure!(
        (each.len() as i64, names.len() as i64) == (keys, keys),
        "{} rows of {} keys",
        each.len(),
        names.len()
    );
    for record in each.iter().step_by(997) {
        ensure!(
            record.document()?["clicks"] == CLICKS_PER_KEY,
            "{:?}",
            record.document()?
        );
    }
    // Markers: every transaction that fired left one per partition that it wrote.
    let all = topics::read(&scenario.brokers, &scenario.each(), Isolation::Uncommitted)?;
    let markers = written(scenario, &scenario.each())? - all.len() as i64;
    let values = each.iter().filter_map(|r| r.value.as_ref());
    let bytes: usize = values.map(Vec::len).sum();
    ensure!(
        markers as usize > bytes / 2_000_000,
        "{bytes} bytes, only {markers} markers"
    );
    Ok(())
}
