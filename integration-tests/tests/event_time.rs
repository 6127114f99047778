//! Event time where partitions are empty, silent, behind, new or made anew, and windows so large that they fire over many commits.
//!
//! Each test places its rows by hand and knows every count; the auditor is asked as well.

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

fn stop(mut worker: Worker) -> Result<()> {
    worker.sigterm()?;
    let status = worker.wait_exit(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", worker.log()?);
    Ok(())
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
fn wait_taken(worker: &Worker, records: i64) -> Result<()> {
    wait::until_true(&format!("{records} records committed"), PATIENCE, || {
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
    wait_taken(&workers.0, 303)?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(counts(&patient)?.is_empty(), "{:?}", counts(&patient)?);
    patient.produce(&on([3], 5 * SECOND, 7))?;
    patient.produce(&on([3], WINDOW + SECOND, 1))?;
    wait_counts(&patient, &[(0, 307)])?;
    patient.audit()?;
    hasty.audit()?;
    stop(workers.0)?;
    stop(workers.1)
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
    wait_taken(&worker, 350)?;
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
    stop(worker)
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
    wait_taken(&worker, 43 + 5 + 33)?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(counts(&scenario)? == [(0, 40)], "{:?}", counts(&scenario)?);
    scenario.produce(&on([3], 2 * WINDOW + 3 * SECOND, 7))?;
    scenario.produce(&on([3], 3 * WINDOW + SECOND, 1))?;
    wait_counts(&scenario, &[(0, 40), (2, 40)])?;
    ensure!(late_offsets(&scenario, 3)? == wanted);
    let audit = audit_idle(&scenario)?;
    // A range of late rows may hold other groups' rows too: the auditor leaves their window undecided, and must check the other.
    ensure!(audit["windows_checked"].as_u64() >= Some(1), "{audit}");
    stop(worker)
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
    for worker in workers {
        stop(worker)?;
    }
    Ok(())
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
fn wait_parked(worker: &mut Worker) -> Result<()> {
    wait::until_true("the source's tasks are parked", PATIENCE, || {
        ensure!(worker.exited()?.is_none(), "it ended: {}", worker.log()?);
        for task in tasks(worker, "clicks")? {
            let cause = task["cause"].as_str().unwrap_or("");
            ensure!(
                task["phase"] == "parked" && cause.contains("made anew (its id was "),
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
            answer.status == 503 && answer.body.contains("its id was"),
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
    wait_taken(&worker, 404)?;
    Ok((scenario, worker))
}

/// Bites an engine that goes on at its old position in another topic.
#[test]
fn a_topic_that_is_made_anew_while_running_parks_its_tasks() -> Result<()> {
    let (scenario, mut worker) = before_recreation("anew")?;
    recreate(&scenario)?;
    wait_parked(&mut worker)?;
    let positions: Vec<_> = tasks(&worker, "clicks")?
        .iter()
        .map(|t| t["position"].clone())
        .collect();
    ensure!(
        positions == [101, 101, 101, 101],
        "rows of the other topic were counted: {positions:?}"
    );
    // And after a restart just the same.
    worker.kill9()?;
    let mut worker = scenario.start("w1")?;
    wait_parked(&mut worker)?;
    wait_counts(&scenario, &[(0, 400)])
}

#[test]
fn a_topic_that_is_made_anew_while_stopped_parks_its_tasks() -> Result<()> {
    let (scenario, worker) = before_recreation("anewstop")?;
    stop(worker)?;
    recreate(&scenario)?;
    let mut worker = scenario.start("w1")?;
    wait_parked(&mut worker)?;
    wait_counts(&scenario, &[(0, 400)])
}

/// Keys of the large window; the issue's 2 M are a matter of patience.
const KEYS: i64 = 200_000;
const CLICKS_PER_KEY: i64 = 2;

const LARGE: &str = r#"
app: @APP@
shards: 4
sources:
  clicks:
    topic: @IN@
    columns: { timestamp: timestamp_ms, page: string }
    event_time: { column: timestamp, out_of_orderness: 1s, idle_after: 5s }
nodes:
  counts:
    sql: |
      SELECT window_start, window_end, window_time, page, COUNT(*) AS count
      FROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND)
      GROUP BY window_start, window_end, window_time, page
  totals:
    sql: |
      SELECT window_start, window_end, SUM(count) AS clicks, COUNT(*) AS pages
      FROM TUMBLE(counts, window_time, INTERVAL '1' MINUTE)
      GROUP BY window_start, window_end
sinks:
  each: { from: counts, topic: @OUT@, key: page }
  totals: { from: totals, topic: @APP@-totals }
"#;

/// How many records stand in the output, committed or not, markers included.
fn written(scenario: &Scenario) -> Result<i64> {
    use rdkafka::consumer::Consumer;
    let consumer = topics::consumer(&scenario.brokers, Isolation::Uncommitted)?;
    let end = |p| Ok(consumer.fetch_watermarks(&scenario.output, p, PATIENCE)?.1);
    (0..PARTITIONS).map(end).sum()
}

/// Bites: a window that fires in one transaction, whatever its size; firing that begins anew after a crash (rows twice) or
/// goes on behind (rows lost); a watermark that runs ahead of the rows still to fire (the second window closes too early).
#[test]
fn a_large_window_killed_while_it_fires_in_chunks_feeds_the_next_exactly() -> Result<()> {
    let brokers = kafka::shared().bootstrap();
    let scenario = Scenario::new(brokers, "chunks", LARGE)?
        .set("commit.max_bytes", "1MB")
        .set("group.session_timeout", "3s");
    let totals = format!("{}-totals", scenario.app);
    topics::create(brokers, &totals, 1, &[])?;
    let click = |i: i64| {
        let at = START + i * 14 * SECOND / (KEYS * CLICKS_PER_KEY);
        let key = i % KEYS;
        Record::json(
            (i % 4) as i32,
            at,
            &json!({"timestamp": at, "page": format!("/{key}")}),
        )
    };
    let records: Vec<_> = (0..KEYS * CLICKS_PER_KEY).map(click).collect();
    scenario.produce(&records)?;
    let mut worker = running(&scenario, "w1")?;
    wait_taken(&worker, KEYS * CLICKS_PER_KEY)?;
    // Past the end of the minute: both windows close, one after the other.
    scenario.produce(&on(0..4, 100 * SECOND, 1))?;
    for share in [10, 50] {
        let wanted = KEYS * share / 100;
        wait::until_true(&format!("{share} % fired"), PATIENCE, || {
            Ok(written(&scenario)? > wanted)
        })?;
        worker.kill9()?;
        let at = written(&scenario)?;
        eprintln!("killed with {at} records in the output");
        ensure!(at < KEYS, "killed after the firing: the run proves nothing");
        worker = scenario.start("w1")?;
    }
    let rows = wait::until("the total", PATIENCE * 2, || {
        let rows = topics::read(brokers, &totals, Isolation::Committed)?;
        Ok((!rows.is_empty()).then_some(rows))
    })?;
    let total = rows[0].document()?;
    ensure!(rows.len() == 1, "{} rows of totals", rows.len());
    ensure!(
        total["clicks"] == KEYS * CLICKS_PER_KEY && total["pages"] == KEYS,
        "{total} (logs in {})",
        scenario.home().display()
    );
    let each = topics::read(brokers, &scenario.output, Isolation::Committed)?;
    let mut keys: Vec<_> = each.iter().filter_map(|r| r.key.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    ensure!(
        (each.len() as i64, keys.len() as i64) == (KEYS, KEYS),
        "{} rows of {} keys",
        each.len(),
        keys.len()
    );
    for record in each.iter().step_by(997) {
        ensure!(
            record.document()?["count"] == CLICKS_PER_KEY,
            "{:?}",
            record.document()?
        );
    }
    // Markers: every transaction that fired left one per partition that it wrote.
    let all = topics::read(brokers, &scenario.output, Isolation::Uncommitted)?;
    let markers = written(&scenario)? - all.len() as i64;
    let bytes: usize = each
        .iter()
        .filter_map(|r| r.value.as_ref())
        .map(Vec::len)
        .sum();
    ensure!(
        markers as usize > bytes / 2_000_000,
        "{bytes} bytes, only {markers} markers"
    );
    stop(worker)
}
