//! What only people can mend is said so, with the choices; everything else goes on.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use integration_tests::kafka;
use integration_tests::ledger::{Ledger, keyed_tasks, tasks};
use integration_tests::process::{Millstream, Worker};
use integration_tests::scenario::Scenario;
use integration_tests::{admin, http, wait};
use serde_json::Value;

use super::PATIENCE;

const KEYS: u32 = 8_000;
const SHARDS: u32 = 4;

fn changelog(scenario: &Scenario) -> String {
    format!("{}.totals.changelog", scenario.app)
}

fn task<'a>(tasks: &'a [Value], id: &str) -> Result<&'a Value> {
    tasks
        .iter()
        .find(|task| task["task"] == id)
        .with_context(|| format!("no task {id}: {tasks:#?}"))
}

/// Waits until `/ready` says no, for a reason that names this; returns the reason.
fn not_ready(worker: &Worker, about: &str) -> Result<String> {
    wait::until(
        &format!("/ready of {} names {about}", worker.name()),
        PATIENCE,
        || {
            let answer = http::get(worker.http_port(), "/ready")?;
            let others = ["positioning", "restoring", "claiming"]
                .iter()
                .any(|phase| answer.body.contains(phase));
            ensure!(!others, "tasks are still on their way: {}", answer.body);
            ensure!(
                answer.status == 503 && answer.body.contains(about),
                "{}: {}",
                answer.status,
                answer.body
            );
            Ok(Some(answer.body))
        },
    )
}

/// Bites: a restore from a log without its head that is taken for whole, one lost task that stops the others.
#[test]
fn a_log_whose_head_an_admin_deleted_parks_its_task_and_no_other() -> Result<()> {
    let scenario = Ledger::scenario(kafka::shared().bootstrap(), "head", SHARDS)?;
    let mut ledger = Ledger::default();
    let worker = scenario.start("w1")?;
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    let before = keyed_tasks(&worker)?;
    let lost_rows = task(&before, "totals/1")?["state"]["hot_rows"]
        .as_u64()
        .unwrap_or(0);
    ensure!(
        lost_rows > u64::from(KEYS / SHARDS / 2),
        "the shard is too small to prove anything: {before:#?}"
    );
    worker.stop()?;
    std::fs::remove_dir_all(scenario.state("w1"))?;
    let (start, end) = admin::log_range(&scenario.brokers, &changelog(&scenario), 1)?;
    ensure!(start == 0 && end > 4, "{start}..{end}");
    admin::delete_below(&scenario.brokers, &changelog(&scenario), 1, end / 2)?;
    let worker = scenario.start("w1")?;
    let reason = not_ready(&worker, "totals/1 is parked")?;
    eprintln!("{reason}");
    ensure!(
        reason.contains("lost") && reason.contains("millstream reset"),
        "no cause or no choice: {reason}"
    );
    ensure!(
        reason.contains(&(end / 2).to_string()),
        "the log's offsets are not named: {reason}"
    );
    ledger.close(&scenario)?;
    let rest = ledger.keys() - lost_rows as usize;
    let verdict = ledger.compare(&scenario, rest, PATIENCE)?;
    ensure!(
        verdict.keys == rest,
        "{} keys came, {rest} belong to the other shards",
        verdict.keys
    );
    not_ready(&worker, "totals/1 is parked")?;
    worker.stop()?;
    scenario.done()
}

/// The protocol's order: a local store that is good comes first, the log's completeness counts only without one.
#[test]
fn a_good_local_store_outlives_an_admins_deletion() -> Result<()> {
    let scenario =
        Ledger::scenario(kafka::shared().bootstrap(), "keeps", 2)?.set("state.save_interval", "1s");
    let mut ledger = Ledger::default();
    let worker = scenario.start("w1")?;
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    worker.stop()?;
    for partition in 0..2 {
        // The last block stays: it is what the store ends with. Behind it stands its transaction's marker.
        let end = admin::log_range(&scenario.brokers, &changelog(&scenario), partition)?.1;
        admin::delete_below(&scenario.brokers, &changelog(&scenario), partition, end - 2)?;
    }
    let worker = scenario.start("w1")?;
    if let Err(error) = ledger.absorbed(&[&worker], Duration::from_secs(20)) {
        bail!(
            "{error:#}: {}",
            http::get(worker.http_port(), "/ready")?.body
        );
    }
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, PATIENCE)?;
    worker.stop()?;
    scenario.done()
}

/// While the owner lives, nothing is lost: it notices at its next save and writes all of its state again.
#[test]
fn a_deletion_under_a_running_owner_is_noticed_and_the_log_made_whole() -> Result<()> {
    let scenario =
        Ledger::scenario(kafka::shared().bootstrap(), "under", 2)?.set("state.save_interval", "1s");
    let mut ledger = Ledger::default();
    let worker = scenario.start("w1")?;
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    let mut ends = Vec::new();
    for partition in 0..2 {
        let end = admin::log_range(&scenario.brokers, &changelog(&scenario), partition)?.1;
        admin::delete_below(&scenario.brokers, &changelog(&scenario), partition, end)?;
        ends.push(end);
    }
    let whole = wait::until_true(
        "the log is complete from its new start on",
        Duration::from_secs(20),
        || {
            ledger.feed(&scenario, 0..100)?;
            let from = |task: &Value| task["state"]["changelog_complete_from"].as_i64();
            Ok(keyed_tasks(&worker)?
                .iter()
                .all(|task| from(task) >= ends.iter().min().copied()))
        },
    );
    ensure!(
        whole.is_ok(),
        "{:#}\n{}",
        whole.err().context("no error")?,
        worker.log()?
    );
    ledger.absorbed(&[&worker], PATIENCE)?;
    worker.stop()?;
    std::fs::remove_dir_all(scenario.state("w1"))?;
    let worker = scenario.start("w1")?;
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, PATIENCE)?;
    worker.stop()?;
    scenario.done()
}

/// Bites: a worker that goes on from a tool's offset (rows lost or counted twice), or that cannot be mended by a reset.
#[test]
fn offsets_that_a_tool_has_set_are_refused_until_a_reset() -> Result<()> {
    let scenario = Ledger::scenario(kafka::shared().bootstrap(), "tool", 2)?;
    let repartition = format!("{}.totals.repartition", scenario.app);
    let mut ledger = Ledger::default();
    let worker = scenario.start("w1")?;
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    worker.stop()?;
    let ours = |topic: &str, partition| {
        admin::committed(&scenario.brokers, &scenario.app, topic, partition)?
            .with_context(|| format!("nothing committed for {topic}"))
    };
    let (source, keyed) = (ours(&scenario.input, 2)?, ours(&repartition, 1)?);
    admin::set_offset(
        &scenario.brokers,
        &scenario.app,
        &scenario.input,
        2,
        source / 2,
    )?;
    admin::set_offset(&scenario.brokers, &scenario.app, &repartition, 1, 1)?;
    let worker = scenario.start("w1")?;
    let reasons = [
        not_ready(&worker, "payments/2 is parked")?,
        not_ready(&worker, "totals/1 is parked")?,
    ]
    .concat();
    eprintln!("{reasons}");
    ensure!(reasons.contains("millstream reset"), "{reasons}");
    ensure!(
        reasons.contains(&format!("offset {} of {}", source / 2, scenario.input)),
        "the tool's value is not shown: {reasons}"
    );
    // The source's own value is gone with the tool's commit; a task with a changelog finds it there.
    let both = reasons.contains(&keyed.to_string());
    // Nobody has touched the task: what the tool set is still there, and no row was processed from it.
    ensure!(
        ours(&scenario.input, 2)? == source / 2,
        "the refused offset was committed over"
    );
    ensure!(task(&tasks(&worker)?, "payments/2")?["phase"] == "parked");
    worker.stop()?;
    ensure!(
        scenario.rows()?.is_empty(),
        "rows came out of a refused application"
    );
    reset(&scenario)?;
    let worker = scenario.start("w1")?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, PATIENCE)?;
    worker.stop()?;
    ensure!(
        both,
        "only the tool's value was shown for totals/1, not the changelog's own {keyed}: {reasons}"
    );
    Ok(())
}

fn reset(scenario: &Scenario) -> Result<()> {
    let file = scenario.file();
    let command = Millstream::new(&scenario.brokers, ["reset", file.as_str(), "--yes"]);
    let said = command
        .env(
            "MILLSTREAM__STATE__DIR",
            &scenario.state("w1").to_string_lossy(),
        )
        .succeed()?;
    ensure!(said.contains("begins anew"), "{said}");
    Ok(())
}
