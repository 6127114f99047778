//! Restores from the log alone, interrupted ones, and local stores that are older than the log.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use integration_tests::kafka;
use integration_tests::ledger::{Ledger, keyed_tasks, tasks};
use integration_tests::scenario::Scenario;
use integration_tests::{admin, http, wait};

use super::{PATIENCE, events, replayed, size};

/// Rounds over the same keys, each in commits of its own.
fn rounds(ledger: &mut Ledger, scenario: &Scenario, keys: u32, rounds: u32) -> Result<()> {
    for _ in 0..rounds {
        ledger.feed(scenario, 0..keys)?;
        std::thread::sleep(Duration::from_millis(150));
    }
    Ok(())
}

/// Bites: a change that is not in the changelog, a replay that begins too late or ends too early, facts that are not restored.
#[test]
fn a_restore_from_a_long_changelog_equals_the_state_before() -> Result<()> {
    let scenario =
        Ledger::scenario(kafka::shared().bootstrap(), "long", 3)?.set("commit.interval", "100ms");
    let mut ledger = Ledger::default();
    let worker = scenario.start("w1")?;
    rounds(&mut ledger, &scenario, 5_000, 30)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    let epochs: u64 = keyed_tasks(&worker)?
        .iter()
        .filter_map(|task| task["epoch"].as_u64())
        .sum();
    ensure!(
        epochs > 60,
        "only {epochs} commits: the changelog is not long"
    );
    worker.stop()?;
    std::fs::remove_dir_all(scenario.state("w1"))?;
    let worker = scenario.start("w1")?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    let blocks = replayed(&worker)?;
    ensure!(
        blocks >= epochs,
        "{blocks} blocks were replayed, {epochs} commits were made"
    );
    // Half of the keys go on: restored rows are added to, not replaced.
    ledger.feed(&scenario, 0..2_500)?;
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, PATIENCE)?;
    eprintln!(
        "{epochs} commits of {} keys, {blocks} blocks replayed",
        ledger.keys()
    );
    worker.stop()?;
    scenario.done()
}

/// Bites: a position that is saved before its rows, a half-filled store that is taken for a whole one, a fork after a restart.
#[test]
fn a_worker_killed_in_the_middle_of_a_restore_restores_again() -> Result<()> {
    let scenario = Ledger::scenario(kafka::shared().bootstrap(), "midway", 1)?
        .set("group.session_timeout", "3s")
        // Little memory: the restore has to write into the store as it goes.
        .set("memory.budget", "128MB");
    let mut ledger = Ledger::default();
    let worker = scenario.start("w1")?;
    rounds(&mut ledger, &scenario, 250_000, 3)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    worker.stop()?;
    std::fs::remove_dir_all(scenario.state("w1"))?;
    let mut midway = 0;
    let mut partly = 0;
    for life in 0..4 {
        let mut worker = scenario
            .worker("w1")
            .start(&format!("life{life}"), scenario.home())?;
        wait::until_true("the restore begins", PATIENCE, || {
            Ok(keyed_tasks(&worker)?
                .iter()
                .any(|task| task["phase"] == "restoring"))
        })?;
        std::thread::sleep(Duration::from_millis(150 * life));
        worker.kill9()?;
        midway += u64::from(events(&worker.log()?, "restored").is_empty());
        partly += u64::from(size(&scenario.state("w1")) > 4_000_000);
    }
    eprintln!("killed in mid-restore {midway} times, the store was partly filled {partly} times");
    ensure!(
        midway >= 2 && partly >= 1,
        "killed in mid-restore {midway} times, partly filled {partly} times: proves nothing"
    );
    let mut worker = scenario.start("w1")?;
    if let Err(error) = ledger.absorbed(&[&worker], PATIENCE) {
        bail!(
            "{error:#}; ended: {:?}; {}",
            worker.exited()?,
            worker.log()?
        );
    }
    ledger.feed(&scenario, 100_000..150_000)?;
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, PATIENCE)?;
    worker.stop()?;
    scenario.done()
}

/// The first worker's store ends before the log begins. Bites: a store that is trusted because it opens; rows that a refresh leaves out.
#[test]
fn a_store_older_than_the_log_is_wiped_and_restored() -> Result<()> {
    let scenario = Ledger::scenario(kafka::shared().bootstrap(), "older", 2)?
        .set("state.save_interval", "1s")
        .set("changelog.keep", "0s")
        .set("changelog.refresh_min_log", "100kB");
    let changelog = format!("{}.totals.changelog", scenario.app);
    let mut ledger = Ledger::default();
    let first = scenario.start("w1")?;
    ledger.feed(&scenario, 0..10_000)?;
    ledger.absorbed(&[&first], PATIENCE)?;
    first.stop()?;
    let ends: Vec<i64> = (0..2)
        .map(|p| Ok(admin::log_range(&scenario.brokers, &changelog, p)?.1))
        .collect::<Result<_>>()?;
    let second = scenario.start("w2")?;
    // The janitor waits for half a minute; what it will delete may be deleted by anybody.
    wait::until_true("both tasks have refreshed their logs", PATIENCE, || {
        ledger.feed(&scenario, 0..2_000)?;
        let tasks = keyed_tasks(&second)?;
        let beyond = |at: usize| {
            let id = format!("totals/{at}");
            tasks.iter().any(|task| {
                task["task"] == id
                    && task["state"]["changelog_complete_from"].as_i64() > Some(ends[at])
            })
        };
        Ok(beyond(0) && beyond(1))
    })?;
    ledger.absorbed(&[&second], PATIENCE)?;
    for task in keyed_tasks(&second)? {
        let partition = task["task"]
            .as_str()
            .and_then(|id| id.rsplit_once('/'))
            .map_or(Ok(-1), |(_, p)| p.parse())?;
        let below = task["state"]["changelog_complete_from"]
            .as_i64()
            .unwrap_or(-1);
        admin::delete_below(&scenario.brokers, &changelog, partition, below)?;
        ensure!(
            below > ends[partition as usize],
            "the log of {partition} still holds the first worker's end"
        );
    }
    second.stop()?;
    let first = scenario.start("w1")?;
    ledger.absorbed(&[&first], PATIENCE)?;
    ensure!(
        events(&first.log()?, "not of this log any more").len() == 2,
        "no word of the old store: {}",
        first.log()?
    );
    ledger.feed(&scenario, 0..10_000)?;
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, PATIENCE)?;
    first.stop()?;
    scenario.done()
}

/// `/ready` is what a rolling restart waits for: it may not say yes while assigned tasks do not run yet.
#[test]
fn ready_means_that_the_assigned_tasks_run() -> Result<()> {
    let scenario = Ledger::scenario(kafka::shared().bootstrap(), "ready", 4)?;
    for life in 0..3 {
        let worker = scenario.start("w1")?;
        wait::until("/ready says yes", PATIENCE, || {
            Ok((http::get(worker.http_port(), "/ready")?.status == 200).then_some(()))
        })?;
        let tasks = tasks(&worker)?;
        ensure!(
            tasks.len() == 8,
            "life {life}: ready with {} of 8 tasks: {}",
            tasks.len(),
            worker.log()?
        );
        ensure!(
            tasks.iter().all(|task| task["phase"] == "running"),
            "life {life}: ready with {tasks:#?}"
        );
        worker.stop()?;
    }
    scenario.done()
}
