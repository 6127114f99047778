//! Commits whose requests and answers get lost, come late or too late: whatever the network does, every window says exactly 1000.
//!
//! Workers reach their broker through [`integration_tests::proxy`], generator and auditor directly. A run proves something only
//! if its faults were done: the number is checked, and the metrics must show what they must have caused.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_executor::block_on;
use integration_tests::kafka::Kafka;
use integration_tests::proxy::{self, Fault, Proxy, api};
use integration_tests::scenario::Scenario;
use integration_tests::topics::{self, Isolation, Record};
use integration_tests::{kafka, wait};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};

use crate::exactly_once::verdict;

const WINDOWS: u32 = 12;
const SPEED: u32 = 12;
const PATIENCE: Duration = Duration::from_secs(60);
const CUT_END: [(i16, Fault); 2] = [
    (api::END_TXN, Fault::LoseAnswer),
    (api::END_TXN, Fault::LoseRequest),
];

/// Click-count behind a proxy.
struct Play {
    scenario: Scenario,
    proxy: Proxy,
}

impl Play {
    fn new(name: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let broker = proxy::shared();
        let proxy = broker.take_proxy()?;
        let mut scenario = Scenario::clicks(broker.direct(), name)?
            .set("kafka.bootstrap_servers", proxy.address())
            .set("group.session_timeout", "6s");
        for (key, value) in settings {
            scenario = scenario.set(key, value);
        }
        Ok(Play { scenario, proxy })
    }

    /// Runs one worker while clicks come and each fault is done in turn, over and over; then the verdict.
    /// Gives the worker's last metrics and the number of faults.
    fn run(&self, faults: &[(i16, Fault)], pause: Duration) -> Result<(String, usize)> {
        let mut worker = self.scenario.start("w1")?;
        worker.wait_ready(PATIENCE)?;
        let mut generator = self.scenario.generate(WINDOWS, SPEED)?;
        let mut count = 0;
        while generator.exited()?.is_none() || count < faults.len() {
            let (api, fault) = faults[count % faults.len()];
            self.proxy.arm(api, fault);
            count += 1;
            let done = self.proxy.wait_done(count, PATIENCE);
            worker.alive()?;
            done.with_context(|| format!("api {api}: {fault:?}"))?;
            std::thread::sleep(pause);
        }
        verdict(&self.scenario, WINDOWS)?;
        let metrics = worker.metrics()?;
        worker.stop()?;
        eprintln!("faults done: {count}\n{}", outcomes(&metrics));
        Ok((metrics, count))
    }
}

fn outcomes(metrics: &str) -> String {
    let names = ["millstream_commits_total", "millstream_producers_replaced"];
    let lines = metrics
        .lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The sum of a counter over all its labels.
fn total(metrics: &str, name: &str) -> usize {
    let values = metrics.lines().filter(|line| line.starts_with(name));
    values
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum::<f64>() as usize
}

/// Bites an engine that takes "no answer" for an abort (it counts twice) or for a commit (it loses), and one that goes on
/// with a producer whose EndTxn may have been sent twice.
#[test]
fn an_end_whose_request_or_answer_is_lost_is_settled_by_kafka() -> Result<()> {
    let play = Play::new("lostend", &[])?;
    let (metrics, count) = play.run(&CUT_END, Duration::from_millis(700))?;
    ensure!(count >= 8, "only {count} faults: the run proves nothing");
    let replaced = total(&metrics, "millstream_producers_replaced_total");
    ensure!(
        replaced >= count,
        "{count} cut connections, but only {replaced} producers were replaced:\n{}",
        outcomes(&metrics)
    );
    play.scenario.done()
}

/// A first EndTxn that arrives after its repetition must not end the next transaction; a slow one may have been repeated.
#[test]
fn an_end_that_comes_late_or_slowly_costs_its_producer() -> Result<()> {
    let play = Play::new("lateend", &[("commit.interval", "50ms")])?;
    let faults = [
        (api::END_TXN, Fault::Late(Duration::from_millis(1200))),
        (api::END_TXN, Fault::Delay(Duration::from_millis(1500))),
        (api::END_TXN, Fault::Late(Duration::from_millis(300))),
    ];
    let (metrics, count) = play.run(&faults, Duration::from_millis(300))?;
    let replaced = total(&metrics, "millstream_producers_replaced_total");
    ensure!(
        replaced >= count,
        "{count} disturbed ends, but only {replaced} producers were replaced:\n{}",
        outcomes(&metrics)
    );
    play.scenario.done()
}

/// Bites an engine that skips what a broken step had carried, or repeats it in a transaction of its own.
#[test]
fn lost_steps_before_the_end_abort_or_go_on_exactly() -> Result<()> {
    let play = Play::new("loststeps", &[])?;
    let steps = [
        api::TXN_OFFSET_COMMIT,
        api::ADD_OFFSETS,
        api::ADD_PARTITIONS,
        api::PRODUCE,
    ];
    let faults: Vec<_> = steps
        .into_iter()
        .flat_map(|api| [(api, Fault::LoseAnswer), (api, Fault::LoseRequest)])
        .collect();
    let (_, count) = play.run(&faults, Duration::from_millis(400))?;
    ensure!(count >= 8, "only {count} faults: the run proves nothing");
    play.scenario.done()
}

/// The broker aborts a transaction before its end, its offsets or its records arrive. Twice within a minute, which must not be
/// taken for a second process with the same worker id.
#[test]
fn transactions_that_time_out_are_an_everyday_matter() -> Result<()> {
    let play = Play::new("timeout", &[("commit.transaction_timeout", "2s")])?;
    let late = Fault::Delay(Duration::from_secs(4));
    let faults = [
        (api::END_TXN, late),
        (api::TXN_OFFSET_COMMIT, late),
        (api::END_TXN, late),
        (api::PRODUCE, late),
    ];
    let (metrics, count) = play.run(&faults, Duration::from_millis(1000))?;
    let replaced = total(&metrics, "millstream_producers_replaced_total");
    ensure!(
        replaced >= count / 2,
        "{count} timeouts: {}",
        outcomes(&metrics)
    );
    play.scenario.done()
}

/// A kill, then a takeover that must ask twice: for its producer id and for the offsets.
#[test]
fn a_takeover_goes_on_when_its_questions_get_lost() -> Result<()> {
    let play = Play::new("lostask", &[("group.session_timeout", "3s")])?;
    let mut worker = play.scenario.start("w1")?;
    worker.wait_ready(PATIENCE)?;
    let mut generator = play.scenario.generate(WINDOWS, SPEED)?;
    let mut count = 0;
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        std::thread::sleep(Duration::from_secs(2));
        worker.kill9()?;
        for api in [api::INIT_PRODUCER_ID, api::OFFSET_FETCH] {
            play.proxy.arm(api, fault);
            count += 1;
        }
        worker = play.scenario.start("w1")?;
        play.proxy.wait_done(count, PATIENCE)?;
        worker.wait_ready(PATIENCE)?;
    }
    ensure!(
        generator.wait_exit(PATIENCE)?.success(),
        "{}",
        generator.log()?
    );
    verdict(&play.scenario, WINDOWS)?;
    worker.stop()?;
    play.scenario.done()
}

/// A broker that was silent past its session leads its partitions again under a new epoch, over the same connections. Bites a
/// takeover that asks with the old epoch for ever (`FENCED_LEADER_EPOCH`).
#[test]
fn a_takeover_after_a_new_leader_epoch_finds_its_position() -> Result<()> {
    let broker = Kafka::local(&[("broker.session.timeout.ms", "4000")])?;
    let scenario =
        Scenario::clicks(broker.bootstrap(), "epoch")?.set("group.session_timeout", "6s");
    let mut workers = ["w1", "w2"]
        .iter()
        .map(|id| scenario.start(id))
        .collect::<Result<Vec<_>>>()?;
    for worker in &mut workers {
        worker.wait_ready(PATIENCE)?;
    }
    let mut generator = scenario.generate(WINDOWS, SPEED)?;
    std::thread::sleep(Duration::from_secs(3));
    // It cannot replace its client, as workers do, when it is told of a partition without a leader.
    generator.sigstop()?;
    std::thread::sleep(Duration::from_millis(500));
    broker.freeze(true)?;
    std::thread::sleep(Duration::from_secs(8));
    broker.freeze(false)?;
    std::thread::sleep(Duration::from_secs(3));
    generator.sigcont()?;
    // Its tasks go to a process that has known the partitions under their old epoch.
    workers[0].kill9()?;
    ensure!(
        generator.wait_exit(PATIENCE)?.success(),
        "{}",
        generator.log()?
    );
    let verdict = verdict(&scenario, WINDOWS);
    let log = workers[1].log()?;
    let fenced = log
        .lines()
        .filter(|line| line.contains("FENCED_LEADER_EPOCH"))
        .count();
    verdict.with_context(|| format!("{fenced} warnings of FENCED_LEADER_EPOCH"))?;
    ensure!(
        fenced < 100,
        "{fenced} warnings of FENCED_LEADER_EPOCH: the log is flooded"
    );
    workers.remove(1).stop()?;
    scenario.done()
}

/// Two applications in one process: what happens to the one's output topic must not touch the other.
const TWO: &str = r#"
app: @APP@
shards: 4
sources:
  good:
    topic: @IN@
    columns: { n: int64, text: string }
  bad:
    topic: @APP@-bad-in
    columns: { n: int64, text: string }
nodes:
  good_rows: { sql: "SELECT n, text FROM good" }
  bad_rows: { sql: "SELECT n, text FROM bad" }
sinks:
  good_out: { from: good_rows, topic: @OUT@ }
  bad_out: { from: bad_rows, topic: @APP@-bad-out }
"#;

fn numbers(partition: i32, from: i64, count: i64) -> Vec<Record> {
    let row = |n| json!({"n": n, "text": "x".repeat(600)});
    (from..from + count)
        .map(|n| Record::json(partition, 1_700_000_000_000, &row(n)))
        .collect()
}

fn set_max_bytes(brokers: &str, topic: &str, bytes: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()?;
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", bytes);
    for result in block_on(admin.alter_configs([&change], &AdminOptions::new()))? {
        result.map_err(|(_, code)| anyhow::anyhow!("altering {topic}: {code}"))?;
    }
    Ok(())
}

/// The committed numbers of a topic, sorted.
fn committed(brokers: &str, topic: &str) -> Result<Vec<i64>> {
    let records = topics::read(brokers, topic, Isolation::Committed)?;
    let number = |record: &Record| record.document()?["n"].as_i64().context("no n");
    let mut numbers = records.iter().map(number).collect::<Result<Vec<_>>>()?;
    numbers.sort_unstable();
    Ok(numbers)
}

fn phase(status: &Value, task: &str) -> Option<String> {
    let tasks = status["tasks"].as_array()?;
    let found = tasks.iter().find(|t| t["task"] == task)?;
    found["phase"].as_str().map(String::from)
}

/// Bites an engine that parks everybody, that commits nobody else's rows while one fails, or that drops the rows in the way.
#[test]
fn a_task_that_cannot_commit_is_parked_and_the_others_go_on() -> Result<()> {
    let brokers = kafka::shared().bootstrap();
    let scenario = Scenario::new(brokers, "parked", TWO)?.set("worker.threads", "1");
    let (bad_in, bad_out) = (
        format!("{}-bad-in", scenario.app),
        format!("{}-bad-out", scenario.app),
    );
    for topic in [&bad_in, &bad_out] {
        topics::create(brokers, topic, 4, &[])?;
    }
    let mut worker = scenario.start("w1")?;
    worker.wait_ready(PATIENCE)?;
    scenario.produce(&numbers(0, 0, 50))?;
    topics::produce(brokers, &bad_in, &numbers(1, 0, 50))?;
    let reached = |topic: &str, count: i64| {
        wait::until(&format!("{count} rows in {topic}"), PATIENCE, || {
            let rows = committed(brokers, topic)?;
            ensure!(
                rows.len() as i64 <= count,
                "{} rows in {topic}, wanted {count}",
                rows.len()
            );
            Ok((rows == (0..count).collect::<Vec<_>>()).then_some(()))
        })
    };
    reached(&scenario.output, 50)?;
    reached(&bad_out, 50)?;

    // The worker knows the limit of before: only the broker refuses.
    set_max_bytes(brokers, &bad_out, "200")?;
    topics::produce(brokers, &bad_in, &numbers(1, 50, 50))?;
    for (partition, from) in [(0, 50), (1, 100), (2, 150), (3, 200)] {
        scenario.produce(&numbers(partition, from, 50))?;
        std::thread::sleep(Duration::from_millis(500));
    }
    let cause = wait::until("bad/1 is parked", PATIENCE, || {
        let answer = worker.get("/ready")?;
        Ok(
            (answer.status == 503 && answer.body.contains("task bad/1 is parked"))
                .then_some(answer.body),
        )
    })?;
    ensure!(cause.to_lowercase().contains("too large"), "{cause}");
    reached(&scenario.output, 250)?;
    scenario.produce(&numbers(3, 250, 50))?;
    reached(&scenario.output, 300)?;
    let status = worker.status()?;
    for task in [
        "good/0", "good/1", "good/2", "good/3", "bad/0", "bad/2", "bad/3",
    ] {
        let phase = phase(&status, task);
        ensure!(phase.as_deref() == Some("running"), "{task}: {phase:?}");
    }
    reached(&bad_out, 50)?;
    worker.stop()?;

    // The cause is gone: a restart goes on where the task stood.
    set_max_bytes(brokers, &bad_out, "1048588")?;
    let worker = scenario.start("w1")?;
    reached(&bad_out, 100)?;
    reached(&scenario.output, 300)?;
    worker.stop()?;
    scenario.done()
}
