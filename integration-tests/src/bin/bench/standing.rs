//! A worker with much state in one open window: killed and started again on its store, or restored from the changelog alone.
//!
//! Time runs from just before the process is started, and is read off from outside, every 20 ms: from `/ready` and from the
//! offsets that the consumer group has committed. Takeovers commit, too, but unchanged offsets: only one that has moved says
//! that records were processed and their transaction has ended.
//!
//! Invariant: nothing but the processes is interfered with; the state is never closed in between, so the rows that come out
//! at the very end are those of the state that went through every restart and restore, and each of them is checked.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::ledger::{state_sum, tasks};
use integration_tests::process::Worker;
use integration_tests::wait;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, TopicPartitionList};

use super::data::{Set, Writer};
use super::latency::{self, READY};
use super::run::{self, App, Job};
use super::verify::{Expected, Verdict};

/// Updates of random keys that go on while a worker is killed and comes back.
pub const PER_SECOND: u64 = 1000;
/// Longer than the save interval of the measured job: a kill then meets a store that is behind, as it would any day.
const BUSY: Duration = Duration::from_secs(8);
/// A transaction whose end was asked for just before the kill is ended by then.
const SETTLE: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(20);
const REQUEST: Duration = Duration::from_secs(15);

/// Seconds since the start of the process.
#[derive(Debug, Clone, Copy)]
pub struct Restart {
    /// Until `/ready` said 200.
    pub ready_s: f64,
    /// Until a committed offset had moved.
    pub first_s: f64,
    /// Until the committed offsets of all tasks had moved.
    pub all_s: f64,
}

#[derive(Debug, Clone, Copy)]
pub struct Restore {
    /// Until `/ready` said 200 and all tasks ran.
    pub ready_s: f64,
    /// Of the state.
    pub rows: u64,
    /// Of changelog blocks that were replayed.
    pub bytes: f64,
}

/// An application with a running worker, and all keys in its state.
pub struct Standing<'a> {
    brokers: &'a str,
    input: &'a str,
    set: Set,
    /// Records of the input so far.
    written: u64,
    /// Dropped before its application, so that the group is empty and nobody needs the topics.
    worker: Worker,
    app: App,
    /// Topic and partition that each task reads.
    inputs: Vec<(String, i32)>,
}

impl<'a> Standing<'a> {
    /// Starts a worker on an input with so many records, and waits until all are in its store.
    ///
    /// # Errors
    /// The worker or Kafka fails.
    pub fn new(
        brokers: &'a str,
        job: Job<'_>,
        input: &'a str,
        set: Set,
        written: u64,
    ) -> Result<Self> {
        let app = App::new(brokers, job, input)?;
        let mut worker = app.start(&[])?;
        worker.wait_ready(READY)?;
        let mut standing = Standing {
            brokers,
            input,
            set,
            written,
            app,
            worker,
            inputs: Vec::new(),
        };
        standing.absorbed()?;
        standing.inputs = tasks(&standing.worker)?
            .iter()
            .map(|task| {
                let input = task["input"].as_str().context("a task without input")?;
                let (topic, partition) = input.rsplit_once('/').context("no partition")?;
                Ok((topic.to_string(), partition.parse()?))
            })
            .collect::<Result<_>>()?;
        Ok(standing)
    }

    /// Waits until all that was written is in the state, and saved.
    fn absorbed(&self) -> Result<()> {
        let written = self.written;
        let what = format!("{written} records are in the window's state, and saved");
        wait::until_true(&what, run::patience(written), || {
            let used = tasks(&self.worker)?
                .iter()
                .filter_map(|task| task["counts"]["window"]["used"].as_u64())
                .sum::<u64>();
            ensure!(used <= written, "{used} rows of {written} records");
            ensure!(used == written, "{used} are");
            Ok(state_sum(&self.worker, "unsaved_bytes")? == 0)
        })
    }

    /// Kills the worker in the midst of updates and starts it again on its state directory.
    ///
    /// # Errors
    /// The worker does not come back, or Kafka fails.
    pub fn restart(&mut self) -> Result<Restart> {
        let updates = Updates::start(self.brokers, self.input, self.set, self.written)?;
        thread::sleep(BUSY);
        self.worker.kill9()?;
        thread::sleep(SETTLE);
        let group = self.group()?;
        let before = self.positions(&group)?;
        let began = wait::now();
        self.worker = self.app.start(&[])?;
        let seen = self.back(&group, &before, began);
        self.written = updates.stop()?;
        let seen = seen?;
        self.absorbed()?;
        Ok(seen)
    }

    fn back(&self, group: &BaseConsumer, before: &[i64], began: Instant) -> Result<Restart> {
        let (mut ready_s, mut first_s) = (None, None);
        let patience = run::patience(self.written);
        loop {
            let now = self.positions(group)?;
            let passed = || began.elapsed().as_secs_f64();
            ensure!(
                began.elapsed() < patience,
                "the worker is not back: ready after {ready_s:?} s, first commit after {first_s:?} s, offsets were {before:?}, are {now:?}",
            );
            self.worker.alive()?;
            // A connection is refused until the server is up.
            if ready_s.is_none() && self.worker.get("/ready").is_ok_and(|a| a.status == 200) {
                ready_s = Some(passed());
            }
            let moved = now.iter().zip(before).filter(|(now, then)| now > then);
            let moved = moved.count();
            if moved > 0 {
                first_s.get_or_insert_with(passed);
            }
            match (ready_s, first_s) {
                (Some(ready_s), Some(first_s)) if moved == before.len() => {
                    let all_s = passed();
                    return Ok(Restart {
                        ready_s,
                        first_s,
                        all_s,
                    });
                }
                _ => thread::sleep(POLL),
            }
        }
    }

    /// Not subscribed: it never becomes a member. Asks without waiting for transactions that are open.
    fn group(&self) -> Result<BaseConsumer> {
        Ok(ClientConfig::new()
            .set("bootstrap.servers", self.brokers)
            .set("group.id", self.app.group())
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_uncommitted")
            .create()?)
    }

    /// The committed offset of each task.
    fn positions(&self, group: &BaseConsumer) -> Result<Vec<i64>> {
        let mut wanted = TopicPartitionList::new();
        for (topic, partition) in &self.inputs {
            wanted.add_partition(topic, *partition);
        }
        let found = group.committed_offsets(wanted, REQUEST)?;
        let offset = |(topic, partition): &(String, i32)| {
            let found = found.find_partition(topic, *partition);
            found
                .and_then(|found| found.offset().to_raw())
                // Kafka answers for what it does not know with an offset below zero.
                .filter(|offset| *offset >= 0)
                .with_context(|| format!("no offset of {topic}/{partition}"))
        };
        self.inputs.iter().map(offset).collect()
    }

    /// Stops the worker, takes its state directory away and starts it again; nothing is written meanwhile.
    ///
    /// # Errors
    /// The worker does not come back, or Kafka fails.
    pub fn restore(&mut self) -> Result<Restore> {
        latency::stop(&mut self.worker)?;
        fs::remove_dir_all(self.app.state())?;
        let began = wait::now();
        self.worker = self.app.start(&[])?;
        let patience = run::patience(self.written);
        while !self.all_run()? {
            ensure!(
                began.elapsed() < patience,
                "the worker is not back: {}",
                self.worker.log()?
            );
            thread::sleep(POLL);
        }
        let ready_s = began.elapsed().as_secs_f64();
        let bytes = run::sum_of(&self.worker.metrics()?, "millstream_restored_bytes_total");
        let bytes = bytes.context("the worker does not say what it has restored")?;
        ensure!(bytes > 0.0, "nothing was restored");
        self.absorbed()?;
        Ok(Restore {
            ready_s,
            rows: self.set.keys(),
            bytes,
        })
    }

    /// Whether it is ready, and has all tasks.
    fn all_run(&self) -> Result<bool> {
        self.worker.alive()?;
        // A connection is refused until the server is up.
        if !self.worker.get("/ready").is_ok_and(|a| a.status == 200) {
            return Ok(false);
        }
        let tasks = tasks(&self.worker)?;
        let running = |task: &serde_json::Value| task["phase"] == "running";
        Ok(tasks.len() == self.inputs.len() && tasks.iter().all(running))
    }

    /// Closes the window and checks its rows.
    ///
    /// # Errors
    /// The worker or Kafka fails. A wrong result is in the verdict.
    pub fn close(mut self) -> Result<Verdict> {
        latency::stop(&mut self.worker)?;
        self.worker = self.app.start(&["--until-end"])?;
        let status = self.worker.wait_exit(run::patience(self.written))?;
        ensure!(status.success(), "{status}: {}", self.worker.log()?);
        Expected::new(self.set, self.written).check(self.brokers, &self.app.output)
    }
}

/// A thread that writes updates until it is stopped.
struct Updates {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Updates {
    /// Begins with the record of this number.
    fn start(brokers: &str, topic: &str, set: Set, from: u64) -> Result<Self> {
        let mut writer = Writer::new(brokers, topic, set)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (began, mut next) = (wait::now(), from);
            while !stopped.load(Ordering::Relaxed) {
                ensure!(
                    next < set.room(),
                    "{next} records fill the window: more --records are needed"
                );
                writer.write(next)?;
                next += 1;
                let due = Duration::from_micros((next - from) * 1_000_000 / PER_SECOND);
                thread::sleep(due.saturating_sub(began.elapsed()));
            }
            writer.finish()?;
            Ok(next)
        });
        Ok(Updates { stop, thread })
    }

    /// The number of the record that would have come next; all before it are acknowledged.
    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the writer panicked")?
    }
}
