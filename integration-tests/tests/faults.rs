//! Pauses, restarts, lost disks, a killed broker, two processes with one id: no window is ever wrong.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::kafka::{self, Kafka};
use integration_tests::process::Worker;
use integration_tests::scenario::Scenario;
use integration_tests::wait;

use crate::exactly_once::verdict;

const WINDOWS: u32 = 16;
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_worker_frozen_past_its_session_comes_back_without_harm() -> Result<()> {
    let scenario =
        Scenario::clicks(kafka::shared().bootstrap(), "freeze")?.set("group.session_timeout", "6s");
    let mut workers = scenario.fleet(&["w1", "w2"])?;
    let mut generator = scenario.generate(WINDOWS, 6)?;
    for worker in &mut workers {
        std::thread::sleep(Duration::from_secs(3));
        worker.sigstop()?;
        std::thread::sleep(Duration::from_secs(9));
        worker.sigcont()?;
    }
    ensure!(
        generator.wait_exit(PATIENCE)?.success(),
        "{}",
        generator.log()?
    );
    verdict(&scenario, WINDOWS)?;
    workers.into_iter().try_for_each(Worker::stop)?;
    scenario.done()
}

#[test]
fn rolling_restarts_and_lost_state_directories_change_nothing() -> Result<()> {
    let scenario =
        Scenario::clicks(kafka::shared().bootstrap(), "rolling")?.set("state.save_interval", "2s");
    let ids = ["w1", "w2", "w3"];
    let mut workers = scenario.fleet(&ids)?;
    let mut generator = scenario.generate(WINDOWS, 6)?;
    for round in 0..5 {
        std::thread::sleep(Duration::from_secs(3));
        let at = round % ids.len();
        if round % 2 == 0 {
            workers[at].sigterm()?;
            ensure!(
                workers[at].wait_exit(Duration::from_secs(60))?.success(),
                "{}",
                workers[at].log()?
            );
        } else {
            workers[at].kill9()?;
            remove(&scenario.state(ids[at]))?;
        }
        workers[at] = scenario.start(ids[at])?;
    }
    ensure!(
        generator.wait_exit(PATIENCE)?.success(),
        "{}",
        generator.log()?
    );
    verdict(&scenario, WINDOWS)?;
    workers.into_iter().try_for_each(Worker::stop)?;
    scenario.done()
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(())
}

#[test]
fn static_members_return_within_their_session_without_a_rebalance() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "static")?
        .set("worker.static_membership", "true");
    let mut workers = scenario.fleet(&["w1", "w2"])?;
    let mut generator = scenario.generate(WINDOWS, 8)?;
    for round in 0..3 {
        std::thread::sleep(Duration::from_secs(3));
        workers[round % 2].kill9()?;
        workers[round % 2] = scenario.start(["w1", "w2"][round % 2])?;
    }
    ensure!(
        generator.wait_exit(PATIENCE)?.success(),
        "{}",
        generator.log()?
    );
    verdict(&scenario, WINDOWS)?;
    workers.into_iter().try_for_each(Worker::stop)?;
    scenario.done()
}

#[test]
fn a_second_process_with_the_same_worker_id_is_named_and_stopped() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "twins")?;
    let mut first = scenario.start("w1")?;
    first.wait_ready(Duration::from_secs(60))?;
    // The same id from another directory: the lock of the state directory cannot see it.
    let other = scenario.state("elsewhere").to_string_lossy().into_owned();
    let mut second = scenario
        .worker("w1")
        .env("MILLSTREAM__STATE__DIR", &other)
        .start("twin", scenario.home())?;
    let mut generator = scenario.generate(WINDOWS, 6)?;
    ensure!(
        generator.wait_exit(PATIENCE)?.success(),
        "{}",
        generator.log()?
    );
    let ended = wait::until("one of the twins stops", Duration::from_secs(60), || {
        Ok(first
            .exited()?
            .map(|status| (1, status))
            .or(second.exited()?.map(|status| (2, status))))
    });
    if let Ok((which, status)) = ended {
        let log = if which == 1 {
            first.log()?
        } else {
            second.log()?
        };
        ensure!(
            !status.success() && log.contains("worker id"),
            "{status}: {log}"
        );
    }
    // Both may have found out at the same moment; a process with an id of its own goes on in any case.
    let mut third = scenario.start("w3")?;
    verdict(&scenario, WINDOWS)?;
    third.kill9()?;
    scenario.done()
}

/// A broker of its own: the others must not suffer.
#[test]
fn a_broker_killed_during_commits_only_delays() -> Result<()> {
    let broker = Kafka::local(&[])?;
    let scenario = Scenario::clicks(broker.bootstrap(), "broker")?;
    let workers = scenario.fleet(&["w1", "w2"])?;
    let mut generator = scenario.generate(WINDOWS, 8)?;
    for _ in 0..2 {
        std::thread::sleep(Duration::from_secs(6));
        broker.kill9()?;
        std::thread::sleep(Duration::from_secs(1));
        broker.restart()?;
    }
    ensure!(
        generator.wait_exit(PATIENCE * 2)?.success(),
        "{}",
        generator.log()?
    );
    verdict(&scenario, WINDOWS)?;
    workers.into_iter().try_for_each(Worker::stop)?;
    scenario.done()
}
