//! `--until-end`: what is there is processed, every window closes, everybody exits with 0, and the application can go on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::kafka;
use integration_tests::process::Worker;
use integration_tests::scenario::Scenario;
use integration_tests::topics::Record;
use integration_tests::wait;
use serde_json::json;

/// A million clicks: fewer are counted before anybody can be killed.
const WINDOWS: u32 = 200;
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn two_processes_of_which_one_is_killed_finish_every_window_of_a_chain() -> Result<()> {
    let scenario =
        Scenario::chain(kafka::shared().bootstrap(), "until")?.set("group.session_timeout", "6s");
    let scenario = scenario.set("commit.interval", "50ms");
    let mut generator = scenario.generate(WINDOWS, 0)?;
    ensure!(
        generator.wait_exit(PATIENCE)?.success(),
        "{}",
        generator.log()?
    );
    let start = |id: &str| {
        let worker = scenario.worker(id).flag("--until-end");
        worker.start(id, scenario.home())
    };
    // The victim first, so that it surely has something to do.
    let mut victim = start("w2")?;
    let mut survivor = start("w1")?;
    wait::until_true("the victim has committed", PATIENCE, || begun(&victim))?;
    victim.kill9()?;
    survivor.alive()?;
    let status = survivor.wait_exit(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", survivor.log()?);
    let mut rows = scenario.rows()?;
    rows.sort_by_key(|row| row["window_start"].as_str().unwrap_or("").to_string());
    // Four windows of 15 s are a minute; the first begins on a multiple of 15 s, maybe in mid-minute.
    let clicks: i64 = rows.iter().filter_map(|row| row["clicks"].as_i64()).sum();
    let pages: i64 = rows.iter().filter_map(|row| row["pages"].as_i64()).sum();
    ensure!(
        (clicks, pages) == (i64::from(WINDOWS) * 6000, i64::from(WINDOWS) * 6),
        "{rows:#?}"
    );
    ensure!(
        rows.iter().all(|row| row["last_page"] == "/shop"),
        "{rows:#?}"
    );
    let minutes = WINDOWS as usize / 4;
    ensure!((minutes..=minutes + 1).contains(&rows.len()), "{rows:#?}");
    scenario.done()
}

/// One of its source's tasks has committed records.
fn begun(worker: &Worker) -> Result<bool> {
    let status = worker.status()?;
    let tasks = status["tasks"].as_array().context("no tasks in /status")?;
    Ok(tasks.iter().any(|task| {
        let ours = task["task"]
            .as_str()
            .is_some_and(|id| id.starts_with("clicks/"));
        ours && task["position"]
            .as_i64()
            .is_some_and(|position| position > 0)
    }))
}

#[test]
fn an_application_goes_on_after_a_bounded_run() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "goon")?;
    let click =
        |at: i64| Record::json((at % 4) as i32, at, &json!({"timestamp": at, "page": "/a"}));
    let run = |records: &[Record], name: &str| -> Result<usize> {
        scenario.produce(records)?;
        let mut worker = scenario
            .worker("w1")
            .flag("--until-end")
            .start(name, scenario.home())?;
        let status = worker.wait_exit(PATIENCE)?;
        ensure!(status.success(), "{status}: {}", worker.log()?);
        Ok(scenario.rows()?.len())
    };
    let base = 1_700_000_010_000;
    let first: Vec<_> = (0..100).map(|i| click(base + i)).collect();
    ensure!(run(&first, "run1")? == 1);
    // The first window was closed by the end: rows that still come for it are late, those of the next window count.
    let second: Vec<_> = (0..100)
        .map(|i| click(base + 20_000 + i))
        .chain([click(base + 50)])
        .collect();
    ensure!(run(&second, "run2")? == 2, "{:?}", scenario.rows()?);
    ensure!(run(&[], "run3")? == 2);
    let rows = scenario.rows()?;
    ensure!(rows.iter().all(|row| row["count"] == 100), "{rows:?}");
    let rejects = scenario.rejects()?;
    ensure!(
        rejects.len() == 1 && rejects[0]["cause"] == "late",
        "{rejects:?}"
    );
    scenario.done()
}
