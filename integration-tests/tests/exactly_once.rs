//! Click-count while workers are killed: every window says exactly 1000.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::aborts::Watch;
use integration_tests::kafka;
use integration_tests::scenario::Scenario;
use integration_tests::wait;

const WINDOWS: u32 = 24;

/// Every complete window of every page holds 1000, and the auditor agrees.
pub fn verdict(scenario: &Scenario, windows: u32) -> Result<()> {
    let rows = scenario.wait_rows((windows as usize - 1) * 6, Duration::from_secs(90))?;
    for row in &rows {
        ensure!(
            row["count"] == 1000,
            "{row} (logs in {})",
            scenario.home().display()
        );
    }
    let audit = scenario.audit()?;
    ensure!(
        audit["windows_checked"].as_u64() >= Some(u64::from(windows) - 1),
        "{audit}"
    );
    Ok(())
}

#[test]
fn one_worker_counts_exactly() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "one")?;
    let mut generator = scenario.generate(WINDOWS, 0)?;
    let mut worker = scenario.start("w1")?;
    ensure!(
        generator.wait_exit(Duration::from_secs(60))?.success(),
        "{}",
        generator.log()?
    );
    verdict(&scenario, WINDOWS)?;
    worker.sigterm()?;
    let status = worker.wait_exit(Duration::from_secs(30))?;
    ensure!(status.success(), "{status}: {}", worker.log()?);
    scenario.done()
}

/// Workers in turn are killed without warning every few seconds and started again two seconds later.
#[test]
fn kill_9_of_random_workers_loses_and_doubles_nothing() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "kill")?
        .set("group.session_timeout", "3s")
        // Transactions that follow each other closely: a kill often meets an open one.
        .set("commit.interval", "20ms");
    let repartition = format!("{}.counts.repartition", scenario.app);
    let watch = Watch::start(&scenario.brokers, &[&scenario.output, &repartition]);
    let ids = ["w1", "w2", "w3"];
    let mut workers = ids
        .iter()
        .map(|id| scenario.start(id))
        .collect::<Result<Vec<_>>>()?;
    for worker in &mut workers {
        worker.wait_ready(Duration::from_secs(60))?;
    }
    let mut generator = scenario.generate(WINDOWS, 5)?;
    let mut kills = 0;
    // A small generator (Lehmer) is random enough for the order of kills, and the same in every run.
    let mut random: u64 = 42;
    while generator.exited()?.is_none() {
        std::thread::sleep(Duration::from_millis(2500));
        random = random * 48_271 % 2_147_483_647;
        let victim = random as usize % ids.len();
        workers[victim].kill9()?;
        kills += 1;
        std::thread::sleep(Duration::from_millis(1000));
        workers[victim] = scenario.start(ids[victim])?;
    }
    verdict(&scenario, WINDOWS)?;
    for worker in &mut workers {
        worker.sigterm()?;
    }
    for worker in &mut workers {
        worker.wait_exit(Duration::from_secs(60))?;
    }
    let aborted = watch.finish()?;
    eprintln!(
        "kills {kills}, aborted transactions with records: {}",
        aborted.transactions
    );
    ensure!(kills >= 10, "only {kills} kills: the run proves nothing");
    ensure!(
        aborted.transactions >= 10,
        "only {} aborted transactions held records: the run proves nothing",
        aborted.transactions
    );
    scenario.done()
}

#[test]
fn scaling_from_one_to_three_and_back_moves_tasks_without_harm() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "scale")?;
    let mut first = scenario.start("w1")?;
    first.wait_ready(Duration::from_secs(60))?;
    let mut generator = scenario.generate(WINDOWS, 12)?;
    std::thread::sleep(Duration::from_secs(4));
    let mut others = [scenario.start("w2")?, scenario.start("w3")?];
    for other in &others {
        wait::until_true("every worker has tasks", Duration::from_secs(60), || {
            Ok(other
                .status()
                .is_ok_and(|s| s["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty())))
        })?;
    }
    std::thread::sleep(Duration::from_secs(4));
    for other in &mut others {
        other.sigterm()?;
        let status = other.wait_exit(Duration::from_secs(60))?;
        ensure!(status.success(), "{status}: {}", other.log()?);
    }
    ensure!(
        generator.wait_exit(Duration::from_secs(120))?.success(),
        "{}",
        generator.log()?
    );
    verdict(&scenario, WINDOWS)?;
    first.sigterm()?;
    ensure!(
        first.wait_exit(Duration::from_secs(60))?.success(),
        "{}",
        first.log()?
    );
    scenario.done()
}
