//! Commits that outlast `commit.deadline`: the process says so, lets the tasks go, and every window says exactly 1000 afterwards.
//!
//! The deadline is set far below every other limit (session, transaction, request timeouts), so that what is seen is its own work.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::kafka::Kafka;
use integration_tests::process::Worker;
use integration_tests::proxy::{self, Fault, api};
use integration_tests::scenario::{PARTITIONS, Scenario};
use integration_tests::{admin, wait};

use crate::exactly_once::verdict;

const WINDOWS: u32 = 16;
const PATIENCE: Duration = Duration::from_secs(60);
/// What the process says about an overdue commit.
const OVERDUE: &str = "its commit lasts longer than";

/// Only the commit's own deadline ends anything within the time of a test.
fn patient(scenario: Scenario) -> Scenario {
    scenario
        .set("commit.interval", "20ms")
        .set("commit.deadline", "4s")
        .set("commit.transaction_timeout", "5m")
        .set("group.session_timeout", "45s")
}

fn wait_overdue(worker: &Worker, within: Duration) -> Result<()> {
    wait::until_true("an overdue commit is named", within, || {
        let answer = worker.get("/ready")?;
        ensure!(
            answer.status == 503 && answer.body.contains(OVERDUE),
            "{}: {}",
            answer.status,
            answer.body
        );
        Ok(true)
    })
}

/// Bites: a worker that says it is ready while its commits stand still; one that takes the silence for an answer (rows lost or
/// doubled); one that ends, or never comes back, when the broker does.
#[test]
fn a_broker_frozen_past_the_commit_deadline_is_named_and_survived() -> Result<()> {
    let broker = Kafka::local(&[])?;
    let scenario = patient(Scenario::clicks(broker.bootstrap(), "overdue")?);
    let mut workers = scenario.fleet(&["w1", "w2"])?;
    let mut generator = scenario.generate(WINDOWS, 6)?;
    for _ in 0..2 {
        std::thread::sleep(Duration::from_secs(5));
        // A busy machine may have made a commit overdue by itself: that is not the fault of this test.
        for worker in &mut workers {
            worker.wait_ready(PATIENCE)?;
        }
        broker.freeze(true)?;
        let frozen = wait::now();
        let named = workers
            .iter()
            .try_for_each(|worker| wait_overdue(worker, Duration::from_secs(15)));
        let waited = frozen.elapsed();
        // Some seconds longer: calls that were made with the deadline as their limit return.
        std::thread::sleep(Duration::from_secs(4));
        broker.freeze(false)?;
        named?;
        ensure!(
            waited >= Duration::from_secs(3),
            "named after {waited:?}: not for the deadline"
        );
        for worker in &mut workers {
            worker.wait_ready(PATIENCE)?;
        }
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

/// The committed position of every task's input.
fn positions(scenario: &Scenario) -> Result<Vec<i64>> {
    /// Of the click-count example.
    const SHARDS: i32 = 4;
    let repartition = format!("{}.counts.repartition", scenario.app);
    let sources = (0..PARTITIONS).map(|p| (scenario.input.as_str(), p));
    let shards = (0..SHARDS).map(|p| (repartition.as_str(), p));
    let position = |(topic, partition)| {
        let found = admin::committed(&scenario.brokers, &scenario.app, topic, partition)?;
        Ok(found.unwrap_or(0))
    };
    sources.chain(shards).map(position).collect()
}

/// One request of one thread is held back for longer than the test; everything else, the group included, is well.
fn one_request_is_stuck(name: &str, stuck: i16) -> Result<()> {
    /// Deadline, fence, rebalance and takeover, with room for a slow machine.
    const MOVED: Duration = Duration::from_secs(20);
    const HELD: Duration = Duration::from_secs(45);
    let broker = proxy::shared();
    let proxy = broker.take_proxy()?;
    let scenario = patient(Scenario::clicks(broker.direct(), name)?);
    let mut first = scenario
        .worker("w1")
        .env("MILLSTREAM__KAFKA__BOOTSTRAP_SERVERS", proxy.address())
        .start("w1", scenario.home())?;
    first.wait_ready(PATIENCE)?;
    let mut second = scenario.start("w2")?;
    second.wait_ready(PATIENCE)?;
    // Slow enough that there are clicks until the end of the fault.
    let mut generator = scenario.generate(WINDOWS, 3)?;
    std::thread::sleep(Duration::from_secs(4));
    proxy.arm(stuck, Fault::Delay(HELD));
    let began = wait::now();
    wait_overdue(&first, Duration::from_secs(15))?;
    // Four of the source, then four of the shards.
    let before = positions(&scenario)?;
    let moved = wait::until_true("every task goes on", MOVED, || {
        let now = positions(&scenario)?;
        let stand: Vec<_> = (0..now.len()).filter(|p| now[*p] <= before[*p]).collect();
        ensure!(stand.is_empty(), "tasks {stand:?} stand at {before:?}");
        Ok(true)
    });
    eprintln!("all go on: {moved:?} after {:?}", began.elapsed());
    ensure!(
        moved.is_err() || began.elapsed() < HELD,
        "the request had arrived by then: the run proves nothing"
    );
    ensure!(
        generator.wait_exit(PATIENCE * 3)?.success(),
        "{}",
        generator.log()?
    );
    proxy.wait_done(1, PATIENCE)?;
    verdict(&scenario, WINDOWS)?;
    first.stop()?;
    second.stop()?;
    moved?;
    scenario.done()
}

/// Bites: a thread that waits for its answer longer than the deadline and keeps its tasks from everybody.
#[test]
fn an_end_that_is_stuck_keeps_its_tasks_no_longer_than_the_deadline() -> Result<()> {
    one_request_is_stuck("stuckend", api::END_TXN)
}

/// As above, where records are not acknowledged: before the end nobody has anything to ask Kafka about.
#[test]
fn records_that_are_stuck_keep_their_tasks_no_longer_than_the_deadline() -> Result<()> {
    one_request_is_stuck("stuckrows", api::PRODUCE)
}
