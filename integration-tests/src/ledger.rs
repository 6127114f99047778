//! One long window, fed key by key and checked key by key: count and sum of each must be exactly what was fed.
//!
//! Invariant: the verdict reads the committed output to its end and compares in both directions: a missing, repeated, foreign or
//! wrong row is an anomaly. Nothing of the window is emitted before [`Ledger::close`], so all of it lives in state.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::process::Worker;
use crate::scenario::{PARTITIONS, Scenario};
use crate::topics::{Record, Tail};
use crate::wait;

const HOUR: i64 = 3_600_000;
/// A multiple of an hour, in the past.
const BASE: i64 = 472_222 * HOUR;
/// Records given to the producer at a time.
const CHUNK: u32 = 100_000;
/// How long is looked for rows that should not come.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Counts and sums per key over an hour of event time.
const TOPOLOGY: &str = r"
app: @APP@
shards: @SHARDS@
sources:
  payments:
    topic: @IN@
    columns: { at: timestamp_ms, who: string, amount: int64 }
    event_time: { column: at, out_of_orderness: 200ms, idle_after: never }
nodes:
  totals:
    sql: |
      SELECT window_start, who, COUNT(*) AS payments, SUM(amount) AS total
      FROM TUMBLE(payments, at, INTERVAL '1' HOUR)
      GROUP BY window_start, window_end, who
sinks:
  output: { from: totals, topic: @OUT@, key: who }
";

/// What one key was fed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Account {
    payments: i64,
    total: i64,
}

/// What was fed so far.
#[derive(Default)]
pub struct Ledger {
    accounts: Vec<Account>,
    fed: u64,
    rounds: u32,
}

/// What the output says: the keys that are there, all of them exact.
pub struct Verdict {
    pub keys: usize,
}

impl Ledger {
    /// The application, with so many shards.
    ///
    /// # Errors
    /// As [`Scenario::new`].
    pub fn scenario(brokers: &str, name: &str, shards: u32) -> Result<Scenario> {
        Scenario::new(
            brokers,
            name,
            &TOPOLOGY.replace("@SHARDS@", &shards.to_string()),
        )
    }

    /// One payment for each of these keys, over all partitions.
    ///
    /// # Errors
    /// Kafka refuses.
    pub fn feed(&mut self, scenario: &Scenario, keys: Range<u32>) -> Result<()> {
        self.rounds += 1;
        let mut from = keys.start;
        while from < keys.end {
            let to = keys.end.min(from + CHUNK);
            let records: Vec<Record> = (from..to).map(|key| self.pay(key)).collect();
            scenario.produce(&records)?;
            from = to;
        }
        Ok(())
    }

    fn pay(&mut self, key: u32) -> Record {
        let at = key as usize;
        if self.accounts.len() <= at {
            self.accounts.resize(at + 1, Account::default());
        }
        // Differs by key and round, so that a payment that stands for another one shows in the sum.
        let amount = i64::from(key % 97) + 1000 * i64::from(self.rounds);
        self.accounts[at].payments += 1;
        self.accounts[at].total += amount;
        self.fed += 1;
        let partition = ((key + self.rounds) % PARTITIONS as u32) as i32;
        let stamp = BASE + i64::from(key % 3_000_000);
        let value = format!(
            r#"{{"at":{stamp},"who":"{}","amount":{amount}}}"#,
            name(key)
        );
        Record {
            partition,
            offset: 0,
            timestamp_ms: stamp,
            key: None,
            value: Some(value.into_bytes()),
        }
    }

    pub fn fed(&self) -> u64 {
        self.fed
    }

    /// Different keys so far.
    pub fn keys(&self) -> usize {
        self.accounts
            .iter()
            .filter(|account| account.payments > 0)
            .count()
    }

    /// Waits until the state of these workers holds all that was fed, no more and no less.
    ///
    /// # Errors
    /// It does not come to that within the time.
    pub fn absorbed(&self, workers: &[&Worker], within: Duration) -> Result<()> {
        let fed = self.fed;
        let mut seen = 0;
        let what = format!(
            "{fed} rows are in the window's state (log: {})",
            workers.first().map_or("", |w| w.name())
        );
        let result = wait::until_true(&what, within, || {
            seen = 0;
            for worker in workers {
                seen += tasks(worker)?
                    .iter()
                    .filter_map(|task| task["counts"]["window"]["used"].as_u64())
                    .sum::<u64>();
            }
            ensure!(seen <= fed, "{seen} rows were taken, only {fed} were fed");
            Ok(seen == fed)
        });
        result.with_context(|| format!("{seen} rows are there"))
    }

    /// Closes the window: a later payment in every partition.
    ///
    /// # Errors
    /// Kafka refuses.
    pub fn close(&mut self, scenario: &Scenario) -> Result<()> {
        let later = BASE + HOUR + 60_000;
        let closer = |partition| {
            Record::json(
                partition,
                later,
                &json!({"at": later, "who": "closer", "amount": 0}),
            )
        };
        self.fed += PARTITIONS as u64;
        scenario.produce(&(0..PARTITIONS).map(closer).collect::<Vec<_>>())
    }

    /// Waits for a row of every key and compares all of them.
    ///
    /// # Errors
    /// Anomalies, or rows that do not come within the time.
    pub fn verdict(&self, scenario: &Scenario, within: Duration) -> Result<Verdict> {
        let verdict = self.compare(scenario, self.keys(), within)?;
        ensure!(
            verdict.keys == self.keys(),
            "{} of {} keys are there: {}",
            verdict.keys,
            self.keys(),
            scenario.home().display()
        );
        Ok(verdict)
    }

    /// Waits for `rows` rows and compares those that came: each exact and no key twice. Keys may be missing.
    ///
    /// # Errors
    /// As [`Ledger::verdict`].
    pub fn compare(&self, scenario: &Scenario, rows: usize, within: Duration) -> Result<Verdict> {
        let tail = Tail::start(&scenario.brokers, &scenario.output)?;
        let mut found: BTreeMap<u32, Account> = BTreeMap::new();
        let mut anomalies = Vec::new();
        let began = wait::now();
        let mut complete = None;
        let mut count = 0;
        loop {
            for record in tail.poll(Duration::from_millis(100))? {
                count += 1;
                let (key, account) = row(&record.document()?)?;
                if self.accounts.get(key as usize) != Some(&account) {
                    anomalies.push(format!(
                        "{}: {account:?} instead of {:?}",
                        name(key),
                        self.accounts.get(key as usize)
                    ));
                }
                if found.insert(key, account).is_some() {
                    anomalies.push(format!("{}: twice", name(key)));
                }
            }
            if count >= rows && complete.is_none() {
                complete = Some(wait::now());
            }
            match complete {
                Some(since) if since.elapsed() >= AFTERMATH => break,
                None if began.elapsed() > within => {
                    bail!(
                        "only {count} of {rows} rows within {} s; logs: {}",
                        within.as_secs(),
                        scenario.home().display()
                    )
                }
                _ => {}
            }
        }
        let shown = &anomalies[..anomalies.len().min(5)];
        ensure!(
            anomalies.is_empty(),
            "{} anomalies, as {shown:#?}; logs: {}",
            anomalies.len(),
            scenario.home().display()
        );
        Ok(Verdict { keys: found.len() })
    }
}

/// Long enough that many keys are much state.
fn name(key: u32) -> String {
    format!("customer-{key:09}")
}

fn row(document: &Value) -> Result<(u32, Account)> {
    let key = document["who"]
        .as_str()
        .and_then(|who| who.strip_prefix("customer-"))
        .and_then(|digits| digits.parse().ok());
    let key = key.with_context(|| format!("a row of nobody: {document}"))?;
    let number = |field: &str| {
        document[field]
            .as_i64()
            .with_context(|| format!("no {field}: {document}"))
    };
    Ok((
        key,
        Account {
            payments: number("payments")?,
            total: number("total")?,
        },
    ))
}

/// The tasks that a worker shows.
///
/// # Errors
/// It does not answer.
pub fn tasks(worker: &Worker) -> Result<Vec<Value>> {
    Ok(worker.status()?["tasks"]
        .as_array()
        .cloned()
        .unwrap_or_default())
}

/// The tasks with state that a worker shows.
///
/// # Errors
/// It does not answer.
pub fn keyed_tasks(worker: &Worker) -> Result<Vec<Value>> {
    Ok(tasks(worker)?
        .into_iter()
        .filter(|task| !task["state"].is_null())
        .collect())
}

/// The sum of a figure of `state` over a worker's tasks.
///
/// # Errors
/// It does not answer.
pub fn state_sum(worker: &Worker, figure: &str) -> Result<u64> {
    Ok(keyed_tasks(worker)?
        .iter()
        .filter_map(|task| task["state"][figure].as_u64())
        .sum())
}
