//! Restores whose log is deleted under them: DeleteRecords reaches beyond the place that is being replayed.
//!
//! The worker is held (SIGSTOP) while it restores, the head of its log is deleted far beyond what it can have fetched, and it is let go.
//! A run in which the worker had fetched too much to notice fails.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use integration_tests::ledger::{Ledger, keyed_tasks};
use integration_tests::process::Worker;
use integration_tests::scenario::Scenario;
use integration_tests::{admin, kafka, wait};

use super::{PATIENCE, events};

const KEYS: u32 = 60_000;
/// The fetch queue of a worker with this little memory is a small part of the log.
const BUDGET: &str = "128MB";
/// What a held worker may have fetched: its queue, a fetch on the way, socket buffers.
const FETCHED: u64 = 16_000_000;
const OVERTAKEN: &str = "the restore was overtaken by a deletion";
const LONG: Duration = Duration::from_secs(120);

fn changelog(scenario: &Scenario) -> String {
    format!("{}.totals.changelog", scenario.app)
}

/// One shard whose log is written over and over.
fn application(name: &str) -> Result<Scenario> {
    Ok(Ledger::scenario(kafka::shared().bootstrap(), name, 1)?
        .set("memory.budget", BUDGET)
        .set("group.session_timeout", "30s")
        .set("state.save_interval", "1s"))
}

/// Where the log is complete from, as the task's owner says.
fn complete_from(worker: &Worker) -> Result<i64> {
    let tasks = keyed_tasks(worker)?;
    Ok(tasks
        .first()
        .and_then(|task| task["state"]["changelog_complete_from"].as_i64())
        .unwrap_or(0))
}

/// Starts the worker, stops it within its restore, deletes the log below an offset, and lets it go on.
fn delete_while_restoring(scenario: &Scenario, below: i64) -> Result<Worker> {
    let mut worker = scenario.start("w1")?;
    wait::until_true("the restore begins", PATIENCE, || {
        let tasks = keyed_tasks(&worker)?;
        Ok(tasks.iter().any(|task| task["phase"] == "restoring"))
    })?;
    worker.sigstop()?;
    let ended = worker.log()?;
    ensure!(
        events(&ended, "restored").len() == scenario_restores(&ended),
        "the restore was over before the deletion: the run proves nothing: {ended}"
    );
    admin::delete_below(&scenario.brokers, &changelog(scenario), 0, below)?;
    worker.sigcont()?;
    Ok(worker)
}

/// Restores of earlier lives: those before the last start.
fn scenario_restores(log: &str) -> usize {
    let before = log.rfind("\"starting\"").map_or("", |at| &log[..at]);
    events(before, "restored").len()
}

/// A local store of long ago is restored from a part of the log that is dead already; the janitor of another process may delete it at
/// any time. Bites: a restore that goes on behind the gap (rows of before are lost), one that stands still, one that takes the
/// half-restored rows along, and one that calls it lost although the log is whole from its `complete_from` on.
#[test]
fn a_restore_from_an_old_store_overtaken_by_a_deletion_begins_again() -> Result<()> {
    let scenario = application("overtaken")?.set("changelog.refresh_min_log", "100kB");
    let mut ledger = Ledger::default();
    let first = scenario.start("w1")?;
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.absorbed(&[&first], PATIENCE)?;
    first.stop()?;
    let (_, old) = admin::log_range(&scenario.brokers, &changelog(&scenario), 0)?;
    let second = scenario.start("w2")?;
    let mut written = 0;
    while written < 4 * FETCHED {
        ledger.feed(&scenario, 0..KEYS)?;
        ledger.absorbed(&[&second], PATIENCE)?;
        written = admin::log_bytes(&scenario.brokers, &changelog(&scenario))?;
    }
    let (_, high) = admin::log_range(&scenario.brokers, &changelog(&scenario), 0)?;
    let far = old + (high - old) * 3 / 4;
    wait::until_true("a late refresh is complete", LONG, || {
        ledger.feed(&scenario, 0..1_000)?;
        Ok(complete_from(&second)? > far)
    })?;
    ledger.absorbed(&[&second], PATIENCE)?;
    let below = complete_from(&second)?;
    second.stop()?;
    eprintln!("{written} bytes of log, the store ends at {old}, complete from {below} of {high}");

    let worker = delete_while_restoring(&scenario, below)?;
    ledger.absorbed(&[&worker], LONG)?;
    let log = worker.log()?;
    ensure!(
        !events(&log, OVERTAKEN).is_empty(),
        "the deletion was not noticed: the run proves nothing: {log}"
    );
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, LONG)?;
    worker.stop()?;
    scenario.done()
}

/// Rows of the deleted part stand nowhere else. Bites: half a state that is taken for the whole.
#[test]
fn a_restore_whose_rows_were_deleted_under_it_is_lost_and_says_so() -> Result<()> {
    let scenario = application("underfoot")?;
    let mut ledger = Ledger::default();
    let first = scenario.start("w1")?;
    let mut written = 0;
    while written < 4 * FETCHED {
        ledger.feed(&scenario, 0..KEYS)?;
        ledger.absorbed(&[&first], PATIENCE)?;
        written = admin::log_bytes(&scenario.brokers, &changelog(&scenario))?;
    }
    first.stop()?;
    std::fs::remove_dir_all(scenario.state("w1"))?;
    let (start, end) = admin::log_range(&scenario.brokers, &changelog(&scenario), 0)?;
    ensure!(start == 0, "the log begins at {start}");

    let worker = delete_while_restoring(&scenario, end * 3 / 4)?;
    let cause = wait::until("the task is parked", LONG, || {
        let body = worker.get("/ready")?.body;
        if keyed_tasks(&worker)?
            .iter()
            .any(|t| t["phase"] == "running")
        {
            bail!(wait::Over(format!("it runs: {}", worker.log()?)));
        }
        Ok(body.contains("totals/0 is parked").then_some(body))
    })?;
    eprintln!("{cause}");
    let log = worker.log()?;
    ensure!(
        !events(&log, OVERTAKEN).is_empty(),
        "the deletion was not noticed: the run proves nothing: {log}"
    );
    ensure!(
        cause.contains("lost") && cause.contains("millstream reset"),
        "no cause or no choice: {cause}"
    );
    ledger.close(&scenario)?;
    std::thread::sleep(Duration::from_secs(2));
    ensure!(scenario.rows()?.is_empty(), "rows came out of half a state");
    worker.stop()?;
    scenario.done()
}
