//! One worker thread stands still while its process is alive: heartbeats, answers, and takes part in rebalances. Only the release
//! deadline and the fence of that thread's producer keep its tasks from being run twice. Linux only.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use integration_tests::aborts::Watch;
use integration_tests::freeze::Frozen;
use integration_tests::process::Worker;
use integration_tests::scenario::Scenario;
use integration_tests::{admin, kafka, wait};
use serde_json::Value;

use crate::exactly_once::verdict;

const WINDOWS: u32 = 24;
const PATIENCE: Duration = Duration::from_secs(60);
const RELEASE: Duration = Duration::from_secs(4);
const FENCING: &str = "does not close its tasks in time: fencing its producer";

/// Holds `worker-0` while it has records in an open transaction: they must never become visible.
fn freeze_in_transaction(worker: &Worker, scenario: &Scenario) -> Result<Frozen> {
    const TRIES: usize = 60;
    let topic = format!("{}.counts.repartition", scenario.app);
    for tried in 0..TRIES {
        let frozen = Frozen::thread(worker.pid(), "worker-0")?;
        // Others' transactions last milliseconds; what is open at the same place after this time is the frozen thread's.
        let before = admin::open_transactions(&scenario.brokers, &topic)?;
        if !before.is_empty() {
            std::thread::sleep(Duration::from_millis(700));
            let after = admin::open_transactions(&scenario.brokers, &topic)?;
            if before.iter().any(|at| after.get(at.0) == Some(at.1)) {
                eprintln!("frozen in an open transaction at try {tried}: {after:?}");
                return Ok(frozen);
            }
        }
        frozen.thaw()?;
        std::thread::sleep(Duration::from_millis(37));
    }
    bail!("the thread was never caught with an open transaction: the run proves nothing")
}

/// The tasks of a worker that fulfil a condition, with their epochs.
fn tasks(worker: &Worker, wanted: impl Fn(&Value) -> bool) -> Result<Vec<(String, u64)>> {
    let status = worker.status()?;
    let all = status["tasks"].as_array().context("no tasks")?;
    let named = |task: &Value| Some((task["task"].as_str()?.to_string(), task["epoch"].as_u64()?));
    Ok(all
        .iter()
        .filter(|task| wanted(task))
        .filter_map(named)
        .collect())
}

/// Waits until the second worker commits tasks of which the frozen thread was the owner; returns them.
fn taken_over(by: &Worker, from: &BTreeSet<String>) -> Result<Vec<String>> {
    let of_both = |task: &Value| {
        task["phase"] == "running" && task["task"].as_str().is_some_and(|id| from.contains(id))
    };
    let what = format!("{} runs tasks of the frozen thread", by.name());
    let first = wait::until(&what, PATIENCE, || {
        let found = tasks(by, of_both)?;
        Ok((!found.is_empty()).then_some(found))
    })?;
    // The claim is one epoch; two more are rows.
    wait::until_true("they commit", PATIENCE, || {
        let now = tasks(by, of_both)?;
        Ok(first
            .iter()
            .all(|(id, epoch)| now.iter().any(|(i, e)| i == id && *e >= epoch + 2)))
    })?;
    Ok(first.into_iter().map(|(id, _)| id).collect())
}

/// Bites: a revocation that waits for ever for a thread that does not answer (the group stands still); tasks given away without
/// the fence (the frozen transaction is still open, and its offsets, sent with valid metadata, would count after the thaw); a thawed
/// thread that goes on with tasks that are not its own, or that ends the process.
#[test]
fn tasks_of_a_frozen_thread_move_at_the_deadline_and_its_thaw_does_no_harm() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "thread")?
        .set("commit.interval", "20ms")
        .set("group.release_deadline", "4s")
        // Longer than the test: only a fence can end the frozen thread's transaction.
        .set("commit.transaction_timeout", "5m");
    let repartition = format!("{}.counts.repartition", scenario.app);
    let watch = Watch::start(&scenario.brokers, &[&scenario.output, &repartition]);
    let mut first = scenario.fleet(&["w1"])?.remove(0);
    let mut generator = scenario.generate(WINDOWS, 6)?;
    wait::until_true("the thread commits rows", PATIENCE, || {
        let of_source = |task: &Value| {
            task["thread"] == 0
                && task["task"]
                    .as_str()
                    .is_some_and(|id| id.starts_with("clicks/"))
        };
        Ok(tasks(&first, of_source)?.iter().all(|task| task.1 >= 5))
    })?;
    let frozen = freeze_in_transaction(&first, &scenario)?;
    let of_thread = |task: &Value| task["thread"] == 0;
    let held: BTreeSet<_> = tasks(&first, of_thread)?.into_iter().map(|t| t.0).collect();
    ensure!(held.len() >= 3, "the frozen thread has only {held:?}");

    let began = wait::now();
    let second = scenario.start("w2")?;
    wait::until_true("the frozen thread's producer is fenced", PATIENCE, || {
        first.alive()?;
        Ok(first.log()?.contains(FENCING))
    })?;
    let waited = began.elapsed();
    ensure!(
        waited >= RELEASE,
        "fenced after {waited:?}, before the deadline"
    );
    let moved = taken_over(&second, &held)?;
    eprintln!("fenced after {waited:?}, moved: {moved:?}");
    let log = first.log()?;
    ensure!(
        !log.contains("the membership was lost"),
        "its process was not in the group all the time: {log}"
    );
    // Everybody goes on for a while before the sleeper wakes up with what it held.
    std::thread::sleep(Duration::from_secs(3));
    frozen.thaw()?;
    let given_away = |task: &Value| {
        task["task"]
            .as_str()
            .is_some_and(|id| moved.iter().any(|m| m == id))
    };
    wait::until_true(
        "the thawed thread closes what is not its own",
        PATIENCE,
        || Ok(tasks(&first, given_away)?.is_empty()),
    )?;
    first.wait_ready(PATIENCE)?;
    ensure!(
        generator.wait_exit(PATIENCE * 2)?.success(),
        "{}",
        generator.log()?
    );
    verdict(&scenario, WINDOWS)?;
    first.stop()?;
    second.stop()?;
    let aborted = watch.finish()?;
    eprintln!(
        "aborted transactions with records: {}",
        aborted.transactions
    );
    ensure!(
        aborted.transactions >= 1,
        "the frozen transaction was not aborted: {aborted:?}"
    );
    scenario.done()
}
