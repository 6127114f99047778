//! Event time where partitions are empty, silent, behind, new or made anew, and (in [`large`]) windows that fire over many commits.
//!
//! Each test places its rows by hand and knows every count; the auditor is asked as well.

mod large;

use anyhow::{Context, Result, ensure};
use futures_executor::block_on;
use integration_tests::process::{Millstream, Worker};
use integration_tests::scenario::{PARTITIONS, Scenario};
use integration_tests::topics::{self, Isolation, Record};
use integration_tests::{http, kafka, wait};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Begins a window of 15 s, in the middle of a minute.
const START: i64 = 1_700_000_010_000;
const SECOND: i64 = 1000;
const WINDOW: i64 = 15 * SECOND;

fn application(name: &str, source: &str) -> Result<Scenario> {
    let text = format!(
        r#"
app: @APP@
shards: 4
sources:
  clicks:
    topic: @IN@
    columns: {{ timestamp: timestamp_ms, page: string }}
    {source}
nodes:
  counts:
    sql: |
      SELECT window_start, window_end, page, COUNT(*) AS count
      FROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND)
      GROUP BY window_start, window_end, page
    late: reject
sinks:
  output: {{ from: counts, topic: @OUT@, key: page }}
"#
    );
    Ok(Scenario::new(kafka::shared().bootstrap(), name, &text)?.set("group.session_timeout", "3s"))
}

fn event_time(idle_after: &str) -> String {
    format!(
        "event_time: {{ column: timestamp, out_of_orderness: 200ms, idle_after: {idle_after} }}"
    )
}

/// `count` clicks on one page, a millisecond apart, the first `after` milliseconds after [`START`].
fn clicks(partition: i32, after: i64, count: i64) -> Vec<Record> {
    let click = |at: i64| Record::json(partition, at, &json!({"timestamp": at, "page": "/a"}));
    (0..count).map(|i| click(START + after + i)).collect()
}

fn on(partitions: impl IntoIterator<Item = i32>, after: i64, count: i64) -> Vec<Record> {
    let of = |partition| clicks(partition, after, count);
    partitions.into_iter().flat_map(of).collect()
}

fn running(scenario: &Scenario, id: &str) -> Result<Worker> {
    let mut worker = scenario.start(id)?;
    worker.wait_ready(PATIENCE)?;
    Ok(worker)
}

fn tasks(worker: &Worker, sub: &str) -> Result<Vec<Value>> {
    let status = worker.status()?;
    let all = status["tasks"].as_array().context("no tasks in /status")?;
    let prefix = format!("{sub}/");
    let ours = |t: &&Value| t["task"].as_str().is_some_and(|t| t.starts_with(&prefix));
    Ok(all.iter().filter(ours).cloned().collect())
}

/// The idle flags of the source's tasks, by partition.
fn idle(worker: &Worker) -> Result<Vec<bool>> {
    let flag = |task: &Value| task["idle"].as_bool().context("no idle flag");
    tasks(worker, "clicks")?.iter().map(flag).collect()
}

fn wait_idle(worker: &Worker, wanted: &[bool]) -> Result<()> {
    wait::until_true(&format!("idle flags {wanted:?}"), PATIENCE, || {
        let found = idle(worker)?;
        ensure!(found == wanted, "{found:?}");
        Ok(true)
    })
}

/// Waits until all records written so far are processed and committed.
fn wait_taken(worker: &Worker, records: i64, within: Duration) -> Result<()> {
    wait::until_true(&format!("{records} records committed"), within, || {
        let tasks = tasks(worker, "clicks")?;
        let found: i64 = tasks.iter().filter_map(|t| t["position"].as_i64()).sum();
        ensure!(found == records, "positions add up to {found}");
        Ok(true)
    })
}

/// The counts by window, as [`START`] plus so many windows.
fn counts(scenario: &Scenario) -> Result<Vec<(i64, i64)>> {
    let mut counts = Vec::new();
    for row in scenario.rows()? {
        let text = row["window_start"].as_str().context("no window_start")?;
        let known = |n: &i64| text.starts_with(&instant(START + n * WINDOW));
        let window = (0..20).find(known).with_context(|| row.to_string())?;
        counts.push((window, row["count"].as_i64().context("no count")?));
    }
    counts.sort_unstable();
    Ok(counts)
}

/// ISO 8601 to the second, for the few minutes after [`START`], which is 2023-11-14T22:13:30.
fn instant(at: i64) -> String {
    let seconds = 13 * 60 + 30 + (at - START) / SECOND;
    format!("2023-11-14T22:{:02}:{:02}", seconds / 60, seconds % 60)
}

fn wait_counts(scenario: &Scenario, wanted: &[(i64, i64)]) -> Result<()> {
    let what = format!("{wanted:?} (logs: {})", scenario.home().display());
    wait::until_true(&what, PATIENCE, || {
        let found = counts(scenario)?;
        ensure!(found == wanted, "found {found:?}");
        Ok(true)
    })
}

/// The auditor, told that partitions were idle or new.
fn audit_idle(scenario: &Scenario) -> Result<Value> {
    let file = scenario.file();
    let arguments = ["audit", &file, "--idle-sources", "--format", "json"];
    let (status, text) = Millstream::new(&scenario.brokers, arguments).output()?;
    ensure!(status.success(), "{status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

/// Bites an engine that waits for ever for an empty partition, and one that does not wait for it at all.
#[test]
fn an_empty_partition_holds_windows_back_only_until_it_is_idle() -> Result<()> {
    let patient = application("never", &event_time("never"))?;
    let hasty = application("empty", &event_time("2s"))?;
    let mut records = on(0..3, 0, 100);
    records.extend(on(0..3, WINDOW + SECOND, 1));
    let workers = (running(&patient, "w1")?, running(&hasty, "w2")?);
    for scenario in [&patient, &hasty] {
        scenario.produce(&records)?;
    }
    wait_counts(&hasty, &[(0, 300)])?;
    wait_taken(&workers.0, 303, PATIENCE)?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(counts(&patient)?.is_empty(), "{:?}", counts(&patient)?);
    patient.produce(&on([3], 5 * SECOND, 7))?;
    patient.produce(&on([3], WINDOW + SECOND, 1))?;
    wait_counts(&patient, &[(0, 307)])?;
    patient.audit()?;
    hasty.audit()?;
    workers.0.stop()?;
    workers.1.stop()?;
    patient.done()?;
    hasty.done()
}

/// Bites: a watermark that stands still when all are idle; a flag that is lost in a crash (the second process would have to
/// wait anew); a flag that stays when rows come; windows closed for good by the idle time.
#[test]
fn all_partitions_idle_then_killed_then_resumed_count_exactly() -> Result<()> {
    let scenario = application("idle", &event_time("8s"))?;
    let mut worker = running(&scenario, "w1")?;
    let mut records = on(0..3, 0, 100);
    // Only one partition has seen the next window: the maximum of all counts once all are idle.
    records.extend(on([3], WINDOW + SECOND, 50));
    scenario.produce(&records)?;
    wait_taken(&worker, 350, PATIENCE)?;
    ensure!(
        counts(&scenario)?.is_empty(),
        "closed before anyone was idle"
    );
    wait_idle(&worker, &[true; 4])?;
    wait_counts(&scenario, &[(0, 300)])?;

    worker.kill9()?;
    let worker = running(&scenario, "w1")?;
    let flags = idle(&worker)?;
    ensure!(flags == [true; 4], "the flags after a restart: {flags:?}");

    scenario.produce(&on([0], WINDOW + 2 * SECOND, 10))?;
    wait_idle(&worker, &[false, true, true, true])?;
    scenario.produce(&on([0], 2 * WINDOW + SECOND, 1))?;
    // The others are idle still: nobody has to wait for them once more.
    wait_counts(&scenario, &[(0, 300), (1, 60)])?;
    scenario.produce(&on(0..4, 2 * WINDOW + 2 * SECOND, 20))?;
    scenario.produce(&on(0..4, 3 * WINDOW + SECOND, 1))?;
    wait_counts(&scenario, &[(0, 300), (1, 60), (2, 81)])?;
    ensure!(scenario.rejects()?.is_empty(), "{:?}", scenario.rejects()?);
    scenario.audit()?;
    worker.stop()?;
    scenario.done()
}

/// Offsets of one partition that the rejects name as late, single or in ranges.
fn late_offsets(scenario: &Scenario, partition: i64) -> Result<Vec<i64>> {
    let mut offsets = Vec::new();
    for reject in scenario.rejects()? {
        ensure!(
            reject["cause"] == "late"
                && reject["node"] == "counts"
                && reject["topic"] == scenario.input.as_str(),
            "{reject}"
        );
        ensure!(reject["partition"] == partition, "{reject}");
        let number = |key: &str| reject[key].as_i64();
        let first = number("first_offset")
            .or(number("offset"))
            .context("no offset")?;
        let last = number("last_offset").unwrap_or(first);
        ensure!(number("rows").unwrap_or(1) == last - first + 1, "{reject}");
        offsets.extend(first..=last);
    }
    offsets.sort_unstable();
    Ok(offsets)
}

/// Bites: rows of closed windows that reopen them, or vanish without a record, or take their neighbours along; a partition
/// that woke up behind and does not hold the windows that are still open.
#[test]
fn a_partition_that_resumes_behind_is_late_only_where_windows_are_closed() -> Result<()> {
    let scenario = application("behind", &event_time("10s"))?;
    let worker = running(&scenario, "w1")?;
    let mut records = on(0..4, 0, 10);
    records.extend(on(0..3, 2 * WINDOW + SECOND, 1));
    scenario.produce(&records)?;
    wait_counts(&scenario, &[(0, 40)])?;

    // On time by its own partition, whose last row came at 9 ms; offsets 10 to 14.
    scenario.produce(&on([3], 3 * SECOND, 5))?;
    let wanted: Vec<i64> = (10..15).collect();
    wait::until_true("5 late rows of partition 3", PATIENCE, || {
        let found = late_offsets(&scenario, 3)?;
        ensure!(found == wanted, "{found:?}");
        Ok(true)
    })?;
    // It is awake now, and far behind: the others cannot close the third window, for which it still has rows.
    scenario.produce(&on(0..3, 2 * WINDOW + 2 * SECOND, 10))?;
    scenario.produce(&on(0..3, 3 * WINDOW + SECOND, 1))?;
    wait_taken(&worker, 43 + 5 + 33, PATIENCE)?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(counts(&scenario)? == [(0, 40)], "{:?}", counts(&scenario)?);
    scenario.produce(&on([3], 2 * WINDOW + 3 * SECOND, 7))?;
    scenario.produce(&on([3], 3 * WINDOW + SECOND, 1))?;
    wait_counts(&scenario, &[(0, 40), (2, 40)])?;
    ensure!(late_offsets(&scenario, 3)? == wanted);
    let audit = audit_idle(&scenario)?;
    // A range of late rows may hold other groups' rows too: the auditor leaves their window undecided, and must check the other.
    ensure!(audit["windows_checked"].as_u64() >= Some(1), "{audit}");
    worker.stop()?;
    scenario.done()
}

fn admin(scenario: &Scenario) -> Result<AdminClient<DefaultClientContext>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &scenario.brokers);
    Ok(config.create()?)
}

/// Bites an engine that never looks again, one that reads a new partition from its end (`start: latest`), and one that
/// gives its tasks to nobody or to two.
#[test]
fn a_new_source_partition_becomes_a_task_and_is_read_from_its_first_record() -> Result<()> {
    let source = format!("start: latest\n    {}", event_time("5s"));
    let scenario = application("grown", &source)?;
    scenario.produce(&on(0..4, SECOND, 11))?;
    let workers = [running(&scenario, "w1")?, running(&scenario, "w2")?];
    scenario.produce(&on(0..4, 2 * SECOND, 50))?;
    scenario.produce(&on(0..4, WINDOW + SECOND, 1))?;
    wait_counts(&scenario, &[(0, 200)])?;

    let more = NewPartitions::new(&scenario.input, PARTITIONS as usize + 1);
    for result in block_on(admin(&scenario)?.create_partitions([&more], &AdminOptions::new()))? {
        result.map_err(|(topic, code)| anyhow::anyhow!("growing {topic}: {code}"))?;
    }
    scenario.produce(&clicks(4, WINDOW + 2 * SECOND, 30))?;
    wait::until_true("a task clicks/4 runs", PATIENCE, || {
        let mut owners = 0;
        for worker in &workers {
            let of = |t: &Value| t["task"] == "clicks/4" && t["phase"] == "running";
            owners += tasks(worker, "clicks")?.iter().filter(|t| of(t)).count();
        }
        ensure!(owners == 1, "{owners} owners");
        Ok(true)
    })?;
    scenario.produce(&on(0..5, WINDOW + 3 * SECOND, 10))?;
    scenario.produce(&on(0..5, 2 * WINDOW + SECOND, 1))?;
    wait_counts(&scenario, &[(0, 200), (1, 4 + 30 + 50)])?;
    ensure!(scenario.rejects()?.is_empty(), "{:?}", scenario.rejects()?);
    workers.into_iter().try_for_each(Worker::stop)?;
    scenario.done()
}

/// Deletes the source topic and makes it anew, with other rows: more of them than the old topic had.
fn recreate(scenario: &Scenario) -> Result<()> {
    let admin = admin(scenario)?;
    for result in block_on(admin.delete_topics(&[&scenario.input], &AdminOptions::new()))? {
        result.map_err(|(topic, code)| anyhow::anyhow!("deleting {topic}: {code}"))?;
    }
    let consumer = topics::consumer(&scenario.brokers, Isolation::Uncommitted)?;
    wait::until_true("the topic is gone", PATIENCE, || {
        Ok(topics::partitions(&consumer, &scenario.input)?.is_none())
    })?;
    topics::create(&scenario.brokers, &scenario.input, PARTITIONS, &[])?;
    scenario.produce(&on(0..4, WINDOW + 2 * SECOND, 500))
}

/// Every source task says that the topic is another one, by its id; those of the window go on.
fn wait_parked(worker: &Worker) -> Result<()> {
    wait::until_true("the source's tasks are parked", PATIENCE, || {
        worker.alive()?;
        for task in tasks(worker, "clicks")? {
            let cause = task["cause"].as_str().unwrap_or("");
            ensure!(
                task["phase"] == "parked" && cause.contains("made anew"),
                "{task}"
            );
        }
        let others = tasks(worker, "counts")?;
        ensure!(
            others.len() == 4 && others.iter().all(|t| t["phase"] == "running"),
            "{others:?}"
        );
        let answer = http::get(worker.http_port(), "/ready")?;
        ensure!(
            answer.status == 503 && answer.body.contains("made anew"),
            "{}",
            answer.body
        );
        Ok(true)
    })
}

fn before_recreation(name: &str) -> Result<(Scenario, Worker)> {
    let scenario = application(name, &event_time("3s"))?;
    let worker = running(&scenario, "w1")?;
    scenario.produce(&on(0..4, 0, 100))?;
    scenario.produce(&on(0..4, WINDOW + SECOND, 1))?;
    wait_counts(&scenario, &[(0, 400)])?;
    wait_taken(&worker, 404, PATIENCE)?;
    Ok((scenario, worker))
}

/// A worker that starts on the other topic says the same, and counts nothing of it.
fn still_parked(scenario: Scenario) -> Result<()> {
    let mut worker = scenario.start("w1")?;
    wait_parked(&worker)?;
    wait_counts(&scenario, &[(0, 400)])?;
    worker.kill9()?;
    scenario.done()
}

/// Bites an engine that goes on at its old position in another topic.
#[test]
fn a_topic_that_is_made_anew_while_running_parks_its_tasks() -> Result<()> {
    let (scenario, mut worker) = before_recreation("anew")?;
    recreate(&scenario)?;
    wait_parked(&worker)?;
    let positions: Vec<_> = tasks(&worker, "clicks")?
        .iter()
        .map(|t| t["position"].clone())
        .collect();
    ensure!(
        positions == [101, 101, 101, 101],
        "rows of the other topic were counted: {positions:?}"
    );
    worker.kill9()?;
    still_parked(scenario)
}

#[test]
fn a_topic_that_is_made_anew_while_stopped_parks_its_tasks() -> Result<()> {
    let (scenario, worker) = before_recreation("anewstop")?;
    worker.stop()?;
    recreate(&scenario)?;
    still_parked(scenario)
}

/// Bites: a window that fires in one transaction, whatever its size; firing that begins anew after a crash (rows twice) or
/// goes on behind (rows lost); a watermark that runs ahead of the rows still to fire (the second window closes too early).
#[test]
fn a_large_window_killed_while_it_fires_in_chunks_feeds_the_next_exactly() -> Result<()> {
    large::killed_while_firing("chunks", 500_000)
}

/// The issue's size of the same: for campaigns.
#[test]
fn two_million_keys_killed_while_they_fire_in_chunks_feed_the_next_exactly() -> Result<()> {
    large::killed_while_firing("millions", 2_000_000)
}
