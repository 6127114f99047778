//! One application of its own on the shared broker: topology, topics, workers, generator, auditor.
//!
//! Invariant: every name derives from the scenario's, so scenarios run side by side; the verdict comes from
//! `millstream audit`, which reads Kafka. Logs and state of a test that has not come to [`Scenario::done`] are kept, and their place is
//! printed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{Millstream, Worker};
use crate::topics::{self, Isolation, Record};
use crate::wait;

/// Partitions of source and output topics.
pub const PARTITIONS: i32 = 4;

/// A worker whose Kafka is well is ready sooner.
const READY: Duration = Duration::from_secs(60);

const CHAIN: &str = r"
app: @APP@
shards: 4
sources:
  clicks:
    topic: @IN@
    columns: { timestamp: timestamp_ms, page: string }
    event_time: { column: timestamp, out_of_orderness: 200ms, idle_after: 5s }
nodes:
  counts:
    sql: |
      SELECT window_start, window_time, page, COUNT(*) AS clicks
      FROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND)
      GROUP BY window_start, window_end, window_time, page
  totals:
    sql: |
      SELECT window_start, window_end, SUM(clicks) AS clicks, COUNT(*) AS pages, MAX(page) AS last_page
      FROM TUMBLE(counts, window_time, INTERVAL '1' MINUTE)
      GROUP BY window_start, window_end
sinks:
  each: { from: counts, topic: @APP@-each, key: page }
  output: { from: totals, topic: @OUT@ }
";

/// An application and everything it needs.
pub struct Scenario {
    pub brokers: String,
    pub app: String,
    pub topology: PathBuf,
    pub input: String,
    pub output: String,
    home: PathBuf,
    /// Settings of every worker.
    settings: Vec<(String, String)>,
}

impl Scenario {
    /// From a topology text in which `@APP@`, `@IN@` and `@OUT@` stand for the names; makes the two topics.
    ///
    /// # Errors
    /// Kafka or the disk refuses.
    pub fn new(brokers: &str, name: &str, text: &str) -> Result<Self> {
        let app = topics::unique(name);
        let (input, output) = (format!("{app}-in"), format!("{app}-out"));
        let home = tempfile::Builder::new()
            .prefix(&format!("{app}-"))
            .tempdir()?
            .keep();
        let topology = home.join("topology.yaml");
        let text = text
            .replace("@APP@", &app)
            .replace("@IN@", &input)
            .replace("@OUT@", &output);
        std::fs::write(&topology, text)?;
        for topic in [&input, &output] {
            topics::create(brokers, topic, PARTITIONS, &[])?;
        }
        let brokers = brokers.to_string();
        Ok(Scenario {
            brokers,
            app,
            topology,
            input,
            output,
            home,
            settings: Vec::new(),
        })
    }

    /// Flink's click-count: 15 s windows per page; the example of the repository with names of its own.
    ///
    /// # Errors
    /// As [`Scenario::new`].
    pub fn clicks(brokers: &str, name: &str) -> Result<Self> {
        let example = crate::repository()?.join("topologies/click-count.yaml");
        let text =
            std::fs::read_to_string(&example).with_context(|| example.display().to_string())?;
        let text = text
            .replace("app: click-count", "app: @APP@")
            .replace("topic: input", "topic: @IN@")
            .replace("topic: output", "topic: @OUT@");
        Self::new(brokers, name, &text)
    }

    /// Windows over windows: clicks per page in 15 s into [`Scenario::each`], and from these the totals of each minute into the output.
    ///
    /// # Errors
    /// As [`Scenario::new`].
    pub fn chain(brokers: &str, name: &str) -> Result<Self> {
        let scenario = Self::new(brokers, name, CHAIN)?;
        topics::create(brokers, &scenario.each(), PARTITIONS, &[])?;
        Ok(scenario)
    }

    /// The output of the first window of [`Scenario::chain`].
    pub fn each(&self) -> String {
        format!("{}-each", self.app)
    }

    /// A setting of every worker started from now on, as in `commit.interval`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let key = format!("MILLSTREAM__{}", key.to_uppercase().replace('.', "__"));
        self.settings.push((key, value.to_string()));
        self
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where a worker of this id keeps its state.
    pub fn state(&self, id: &str) -> PathBuf {
        self.home.join(format!("state-{id}"))
    }

    pub fn file(&self) -> String {
        self.topology.to_string_lossy().into_owned()
    }

    /// A worker of two threads, not started yet.
    pub fn worker(&self, id: &str) -> Millstream {
        let worker = Millstream::worker(&self.brokers, &self.topology, id, 2, &self.state(id))
            .env("MILLSTREAM__COMMIT__INTERVAL", "200ms");
        self.settings
            .iter()
            .fold(worker, |worker, (key, value)| worker.env(key, value))
    }

    /// # Errors
    /// The process cannot be started.
    pub fn start(&self, id: &str) -> Result<Worker> {
        self.worker(id).start(id, &self.home)
    }

    /// Starts these workers and waits until all are ready.
    ///
    /// # Errors
    /// One of them does not become ready.
    pub fn fleet(&self, ids: &[&str]) -> Result<Vec<Worker>> {
        let mut workers = ids
            .iter()
            .map(|id| self.start(id))
            .collect::<Result<Vec<_>>>()?;
        for worker in &mut workers {
            worker.wait_ready(READY)?;
        }
        Ok(workers)
    }

    /// Clicks in the background: `windows` of 15 s, `speed` times as fast as the clock (0: as fast as possible).
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn generate(&self, windows: u32, speed: u32) -> Result<Worker> {
        let (windows, speed) = (windows.to_string(), speed.to_string());
        let arguments = [
            "generate",
            "clicks",
            "--topic",
            &self.input,
            "--windows",
            &windows,
            "--pages",
            "6",
            "--per-page",
            "1000",
            "--speed",
            &speed,
            "--disorder-ms",
            "200",
            "--partitions",
            "4",
            "--seed",
            "7",
        ];
        Millstream::new(&self.brokers, arguments).start("generator", &self.home)
    }

    /// Writes records into the input.
    ///
    /// # Errors
    /// Kafka refuses.
    pub fn produce(&self, records: &[Record]) -> Result<()> {
        topics::produce(&self.brokers, &self.input, records)
    }

    /// The committed output, as documents.
    ///
    /// # Errors
    /// Kafka refuses, or a row is no JSON.
    pub fn rows(&self) -> Result<Vec<Value>> {
        topics::read(&self.brokers, &self.output, Isolation::Committed)?
            .iter()
            .map(Record::document)
            .collect()
    }

    /// The committed rejects, as documents.
    ///
    /// # Errors
    /// As [`Scenario::rows`].
    pub fn rejects(&self) -> Result<Vec<Value>> {
        let topic = format!("{}.rejects", self.app);
        topics::read(&self.brokers, &topic, Isolation::Committed)?
            .iter()
            .map(Record::document)
            .collect()
    }

    /// Waits until the output holds at least so many rows.
    ///
    /// # Errors
    /// Not within the time; the message says where the logs are.
    pub fn wait_rows(&self, count: usize, within: Duration) -> Result<Vec<Value>> {
        let what = format!(
            "{count} rows in {} (logs: {})",
            self.output,
            self.home.display()
        );
        wait::until(&what, within, || {
            let rows = self.rows()?;
            Ok((rows.len() >= count).then_some(rows))
        })
    }

    /// The auditor's verdict; an anomaly is an error that shows them.
    ///
    /// # Errors
    /// Anomalies, or nothing to check.
    pub fn audit(&self) -> Result<Value> {
        let file = self.file();
        let arguments = ["audit", &file, "--format", "json"];
        let (status, text) = Millstream::new(&self.brokers, arguments).output()?;
        ensure!(
            status.success(),
            "the audit found anomalies ({status}; logs in {}):\n{text}",
            self.home.display()
        );
        serde_json::from_str(&text).with_context(|| format!("the audit's JSON: {text}"))
    }

    /// Removes logs and state: the end of a test that has passed.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn done(mut self) -> Result<()> {
        let home = std::mem::take(&mut self.home);
        Ok(std::fs::remove_dir_all(home)?)
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        // Empty once it is done.
        if !self.home.as_os_str().is_empty() {
            eprintln!("logs and state are kept in {}", self.home.display());
        }
    }
}
