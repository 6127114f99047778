//! A disk without space: its cause is named, no row is lost, and with space everything goes on, after a restart at the latest.
//!
//! Two ways to be full: a small file system for the state directory, and a limit to the size of the worker's files, which needs no
//! rights. Where nothing may be mounted, the first test uses the second way and says so.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use integration_tests::disk::{self, SmallDisk};
use integration_tests::ledger::{Ledger, keyed_tasks, state_sum};
use integration_tests::process::Worker;
use integration_tests::scenario::Scenario;
use integration_tests::{kafka, wait};

use super::PATIENCE;

const KEYS: u32 = 100_000;
/// Less than the rows of a first save.
const FILE_LIMIT: u64 = 300_000;
/// Two empty stores fit, the rows do not.
const SMALL: u64 = 1 << 20;
/// Not even an empty store fits: its options alone take more.
const NOTHING: u64 = 12_000;
const LARGE: u64 = 1 << 30;

fn application(name: &str) -> Result<Scenario> {
    Ok(Ledger::scenario(kafka::shared().bootstrap(), name, 2)?.set("state.save_interval", "1s"))
}

/// What the worker says if it is not ready for want of space, in the system's words.
fn full(worker: &Worker) -> Result<Option<String>> {
    let answer = worker.get("/ready")?;
    let body = answer.body.to_lowercase();
    let named = ["no space left", "file too large"];
    let full = named.iter().any(|cause| body.contains(cause));
    ensure!(
        full || answer.status == 200,
        "not ready for another reason: {}",
        answer.body
    );
    ensure!(
        !full || answer.status == 503,
        "full, and ready: {}",
        answer.body
    );
    Ok(full.then_some(answer.body))
}

/// A full disk while the worker runs; `fill` and `empty` make it so and end it. Rows come all the time: saves follow commits.
fn full_while_running(
    scenario: &Scenario,
    mut worker: Worker,
    fill: impl FnOnce(&Worker) -> Result<()>,
    empty: impl FnOnce(&Worker) -> Result<()>,
) -> Result<()> {
    let mut ledger = Ledger::default();
    worker.wait_ready(PATIENCE)?;
    fill(&worker)?;
    ledger.feed(scenario, 0..KEYS)?;
    let said = wait::until("the cause is named", PATIENCE, || {
        ledger.feed(scenario, 0..KEYS / 10)?;
        full(&worker)
    })?;
    eprintln!("{said}");
    // Rows are taken all the same: state is in memory and in the log.
    ledger.feed(scenario, KEYS / 2..KEYS)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    empty(&worker)?;
    let healed = wait::until_true("it is saved", Duration::from_secs(30), || {
        ledger.feed(scenario, 0..KEYS / 10)?;
        if let Some(said) = full(&worker)? {
            bail!(said);
        }
        Ok(state_sum(&worker, "store_rows")? > u64::from(KEYS / 2))
    });
    eprintln!("with space again: {healed:?}");
    ledger.feed(scenario, 0..KEYS)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    worker.stop()?;
    let worker = scenario.start("w1")?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    ledger.close(scenario)?;
    ledger.verdict(scenario, PATIENCE)?;
    worker.stop()?;
    healed
}

/// Bites: a failed save that ends the worker, parks its tasks or drops rows; a position that is saved without its rows; a store that
/// refuses to be written after its first error, for ever.
#[test]
fn a_full_disk_is_named_harms_nothing_and_is_forgotten_with_space() -> Result<()> {
    let scenario = application("full")?;
    let Some(disk) = SmallDisk::mount(&scenario.state("w1"), SMALL)? else {
        eprintln!("nothing may be mounted here: limiting the size of files instead");
        return files_that_may_not_grow("fullfile");
    };
    let worker = scenario.start("w1")?;
    full_while_running(
        &scenario,
        worker,
        |_| Ok(()),
        |_| {
            let free = disk.free()?;
            eprintln!("{free} bytes were free");
            ensure!(free < SMALL / 2, "{free} bytes were free: it was not full");
            disk.resize(LARGE)
        },
    )?;
    drop(disk);
    scenario.done()
}

/// The same without space for whole files; the system's error is another one.
#[test]
fn files_that_cannot_grow_are_named_and_harm_nothing() -> Result<()> {
    files_that_may_not_grow("files")
}

fn files_that_may_not_grow(name: &str) -> Result<()> {
    let scenario = application(name)?;
    let worker = scenario
        .worker("w1")
        .small_files()
        .start("w1", scenario.home())?;
    full_while_running(
        &scenario,
        worker,
        |worker| disk::limit_files(worker.pid(), Some(FILE_LIMIT)),
        |worker| disk::limit_files(worker.pid(), None),
    )?;
    scenario.done()
}

/// A worker that is started where nothing can be written cannot open its stores. Bites: one that is ready all the same, that ends
/// without a word, or that holds tasks which another could run.
#[test]
fn a_worker_without_disk_leaves_its_tasks_to_another() -> Result<()> {
    let scenario = application("nodisk")?;
    let mut ledger = Ledger::default();
    let first = scenario.start("w1")?;
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.absorbed(&[&first], PATIENCE)?;
    first.stop()?;
    let disk = SmallDisk::mount(&scenario.state("w2"), NOTHING)?;
    let mut second = scenario
        .worker("w2")
        .small_files()
        .start("w2", scenario.home())?;
    if disk.is_none() {
        eprintln!("nothing may be mounted here: limiting the size of files instead");
        disk::limit_files(second.pid(), Some(NOTHING))?;
    }
    let said = wait::until("its cause is named", PATIENCE, || full(&second));
    eprintln!("{said:?}");
    let third = scenario.start("w3")?;
    wait::until_true("another runs all tasks with state", PATIENCE, || {
        let tasks = keyed_tasks(&third)?;
        Ok(tasks.len() == 2 && tasks.iter().all(|task| task["phase"] == "running"))
    })?;
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.close(&scenario)?;
    ledger.verdict(&scenario, PATIENCE)?;
    eprintln!("the worker without disk: {:?}", second.exited()?);
    third.stop()?;
    second.kill9()?;
    drop(disk);
    said?;
    scenario.done()
}
