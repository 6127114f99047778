//! One run of an application: names of its own, the real binary to the end of its input, a verdict, nothing left behind.
//!
//! Invariant: settings are the defaults but for those that a job names. What an application made in Kafka is deleted when
//! it is dropped, so that neither the disk nor the broker carries one run into the next.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_executor::block_on;
use integration_tests::process::{Millstream, Worker};
use integration_tests::topics::{self, Isolation};
use integration_tests::wait;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::types::RDKafkaErrorCode;
use tempfile::TempDir;

use super::data::PARTITIONS;
use super::measure::{self, Usage};
use super::verify::{Expected, Verdict};

/// A run that takes longer does not go on any more: a minute and more for start and end, and a slow machine's time for the records.
const PATIENCE: Duration = Duration::from_secs(180);
const RECORDS_PER_SECOND: u64 = 10_000;

/// How long one waits for so many records to be taken.
pub fn patience(records: u64) -> Duration {
    PATIENCE + Duration::from_secs(records / RECORDS_PER_SECOND)
}

const REQUEST: Duration = Duration::from_secs(30);
/// Between two looks at a worker's metrics, which cost it CPU.
const SCRAPE: Duration = Duration::from_millis(500);

/// What is run: a topology with `@APP@`, `@IN@` and `@OUT@`, and settings that are not the defaults.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub name: &'a str,
    pub topology: &'a str,
    pub settings: &'a [(&'a str, &'a str)],
    /// Settings of the command line, stronger than the job's.
    pub tried: &'a [(String, String)],
}

/// An application with an output topic and a state directory of its own.
pub struct App {
    brokers: String,
    name: String,
    pub output: String,
    file: PathBuf,
    home: TempDir,
    /// Flags of the command line; of two for one key, the last counts.
    settings: Vec<String>,
}

impl App {
    /// Makes the topology file and the topics that it writes to.
    ///
    /// # Errors
    /// Kafka or the disk refuses.
    pub fn new(brokers: &str, job: Job<'_>, input: &str) -> Result<Self> {
        let name = topics::unique(&format!("bench-{}", job.name));
        let output = format!("{name}-out");
        let home = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir()?;
        let file = home.path().join("topology.yaml");
        let names = [
            ("@APP@", name.as_str()),
            ("@IN@", input),
            ("@OUT@", &output),
        ];
        let text = names
            .iter()
            .fold(job.topology.to_string(), |text, (mark, name)| {
                text.replace(mark, name)
            });
        std::fs::write(&file, text)?;
        // Making topics is no part of what is measured.
        let partitions = PARTITIONS.to_string();
        let create = [
            "topics",
            "create",
            &file.to_string_lossy(),
            "--partitions",
            &partitions,
        ];
        Millstream::new(brokers, create).succeed()?;
        let own = job.settings.iter();
        let own = own.map(|(key, value)| format!("--set={key}={value}"));
        let tried = job.tried.iter();
        let tried = tried.map(|(key, value)| format!("--set={key}={value}"));
        Ok(App {
            brokers: brokers.to_string(),
            settings: own.chain(tried).collect(),
            name,
            output,
            file,
            home,
        })
    }

    /// Starts `millstream run`.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn start(&self, flags: &[&str]) -> Result<Worker> {
        let state = self.state();
        let run = Millstream::new(&self.brokers, ["run", &self.file.to_string_lossy()])
            .env("MILLSTREAM__STATE__DIR", &state.to_string_lossy());
        let settings = self.settings.iter().map(String::as_str);
        let run = settings
            .chain(flags.iter().copied())
            .fold(run, Millstream::flag);
        run.start("worker", self.home.path())
    }

    /// The consumer group.
    pub fn group(&self) -> &str {
        &self.name
    }

    /// The workers' state directory.
    pub fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    fn clean(&self) -> Result<()> {
        let consumer = topics::consumer(&self.brokers, Isolation::Uncommitted)?;
        let metadata = consumer.fetch_metadata(None, REQUEST)?;
        let internal = format!("{}.", self.name);
        let ours = |name: &&str| *name == self.output || name.starts_with(&internal);
        let topics: Vec<&str> = metadata
            .topics()
            .iter()
            .map(|topic| topic.name())
            .filter(ours)
            .collect();
        delete_topics(&self.brokers, &topics)?;
        // A member that did not say goodbye is in the group until its session ends.
        let admin = admin(&self.brokers)?;
        let options = AdminOptions::new().request_timeout(Some(REQUEST));
        wait::until_true("the group can be deleted", REQUEST, || {
            let results = block_on(admin.delete_groups(&[&self.name], &options))?;
            match results.into_iter().next() {
                Some(Err((_, code))) if code != RDKafkaErrorCode::GroupIdNotFound => {
                    bail!("group {}: {code}", self.name)
                }
                _ => Ok(true),
            }
        })
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            eprintln!("bench: {} is left behind: {error:#}", self.name);
        }
    }
}

/// # Errors
/// Kafka does not answer; that a topic is gone already is no error.
pub fn delete_topics(brokers: &str, topics: &[&str]) -> Result<()> {
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    block_on(admin(brokers)?.delete_topics(topics, &options))?;
    Ok(())
}

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()?)
}

/// Reads and writes of the store, if the worker tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Store {
    pub reads: Option<f64>,
    pub writes: Option<f64>,
}

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub usage: Usage,
    pub verdict: Verdict,
    /// As the worker's metrics said last; 0 when they were not asked.
    pub store: Store,
}

/// Runs a job to the end of `input` and checks its output; `ask` it for its metrics meanwhile.
///
/// # Errors
/// The worker fails, or Kafka does. A wrong result is in the outcome.
pub fn to_the_end(
    brokers: &str,
    job: Job<'_>,
    input: &str,
    expected: &Expected,
    ask: bool,
) -> Result<Outcome> {
    let app = App::new(brokers, job, input)?;
    let mut store = Store::default();
    let mut asked = wait::now();
    let patience = patience(expected.records());
    let usage = measure::watch(
        || app.start(&["--until-end"]),
        patience,
        |worker| {
            if !ask || asked.elapsed() < SCRAPE {
                return;
            }
            asked = wait::now();
            // Figures of a task disappear when it ends: the largest sum is the last one of all tasks.
            if let Ok(text) = worker.metrics() {
                let larger = |old: Option<f64>, name| {
                    old.into_iter().chain(sum_of(&text, name)).reduce(f64::max)
                };
                store.reads = larger(store.reads, "millstream_store_reads_total");
                store.writes = larger(store.writes, "millstream_store_writes_total");
            }
        },
    )?;
    let verdict = expected.check(brokers, &app.output)?;
    Ok(Outcome {
        usage,
        verdict,
        store,
    })
}

/// The sum of a metric over all its labels; `None` if the worker does not serve it.
pub fn sum_of(metrics: &str, name: &str) -> Option<f64> {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then_some(rest)?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# HELP a_total Things.\na_total{p=\"0\"} 2\na_total{p=\"1\"} 3\na_totals 7\n";
        assert_eq!(sum_of(text, "a_total"), Some(5.0));
        assert_eq!(sum_of(text, "b_total"), None);
    }
}
