//! `make bench`: what a record costs, exactly once, on a real Kafka: CPU, memory, latency, beside the bare cost of reading.
//!
//! Invariant: a figure counts only with its result: every row of output is compared with what must come out, and one that is
//! wrong makes the exit code 1. One process is measured at a time, and nothing of one run is there in the next.

mod args;
mod data;
mod hop;
mod latency;
mod limit;
mod measure;
mod reader;
mod report;
mod run;
mod standing;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use integration_tests::kafka::{BROKERS_VARIABLE, Kafka};
use integration_tests::topics;

use args::Args;
use data::{PARTITIONS, Set};
use report::Report;
use run::Job;
use standing::Standing;
use verify::Expected;

/// The broker is not what is measured: the JVM's own choice of compiler and collector, and room for the page cache.
const KAFKA_JVM: (&str, &str) = ("KAFKA_JVM", "-Xmx1g");

/// Nobody kills this broker. A short session would let a busy machine fence it, and an election be measured.
const BROKER_SESSION: (&str, &str) = ("broker.session.timeout.ms", "30000");

const CLICKS: Job<'_> = Job {
    name: "w1",
    topology: include_str!("clicks.yaml"),
    settings: &[("commit.interval", "1s")],
    tried: &[],
};
const USERS: Job<'_> = Job {
    name: "w2",
    topology: include_str!("users.yaml"),
    settings: &[("commit.interval", "1s")],
    tried: &[],
};
const KEYS: Job<'_> = Job {
    name: "w3",
    topology: include_str!("keys.yaml"),
    settings: &[("commit.interval", "1s"), ("memory.budget", "256MB")],
    tried: &[],
};
const PASS: Job<'_> = Job {
    name: "latency",
    topology: include_str!("pass.yaml"),
    settings: &[("commit.interval", "100ms")],
    tried: &[],
};
const HOP: Job<'_> = Job {
    name: "hop",
    topology: include_str!("hop.yaml"),
    settings: &[("commit.interval", "100ms")],
    tried: &[],
};
/// A fixed id, because the one that is made up is lost with the state directory.
const STANDING: Job<'_> = Job {
    name: "standing",
    topology: include_str!("keys.yaml"),
    settings: &[
        ("worker.id", "bench"),
        ("worker.static_membership", "true"),
        ("state.save_interval", "5s"),
    ],
    tried: &[],
};
const IDLE: Job<'_> = Job {
    name: "idle",
    topology: include_str!("clicks.yaml"),
    settings: &[("commit.interval", "1s")],
    tried: &[],
};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let result = match arguments.peek().map(String::as_str) {
        Some(limit::SUB_COMMAND) => limit::child(arguments.skip(1)).map(|()| true),
        _ => args::parse(arguments).and_then(|args| args.map_or(Ok(true), |args| bench(&args))),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &Args) -> Result<bool> {
    // A missing binary is said at once, not after a broker was started.
    let version = report::version()?;
    let kafka = start_kafka()?;
    let mut bench = Bench {
        brokers: kafka.bootstrap(),
        args,
        report: Report::new(&version, &args.settings),
    };
    bench.report.say(bench.report.machine());
    // The read limit is that of W1's topic.
    if args.wants("w1") || args.wants("read") {
        bench.clicks()?;
    }
    if args.wants("w2") {
        bench.users()?;
    }
    if args.wants("w3") {
        bench.keys()?;
    }
    if args.wants("latency") {
        bench.latency()?;
    }
    if args.wants("hop") {
        bench.hop()?;
    }
    if args.wants("idle") {
        bench.idle()?;
    }
    if args.wants("restart") || args.wants("restore") {
        bench.standing()?;
    }
    println!("\n{}", bench.report.table());
    if args.write {
        bench.report.write(args)?;
    }
    Ok(bench.report.exact())
}

fn start_kafka() -> Result<Kafka> {
    if std::env::var_os(BROKERS_VARIABLE).is_some() {
        return Kafka::start();
    }
    if std::env::var_os(KAFKA_JVM.0).is_none() {
        // SAFETY: no other thread exists yet that could read the environment.
        unsafe { std::env::set_var(KAFKA_JVM.0, KAFKA_JVM.1) };
    }
    Kafka::local(&[BROKER_SESSION])
}

/// A topic that exists as long as this.
struct Input<'a> {
    brokers: &'a str,
    topic: String,
    written: u64,
}

impl<'a> Input<'a> {
    fn new(brokers: &'a str, name: &str) -> Result<Self> {
        let topic = topics::unique(&format!("bench-{name}-in"));
        topics::create(brokers, &topic, PARTITIONS, &[])?;
        Ok(Input {
            brokers,
            topic,
            written: 0,
        })
    }
}

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if let Err(error) = run::delete_topics(self.brokers, &[&self.topic]) {
            eprintln!("bench: {} is left behind: {error:#}", self.topic);
        }
    }
}

struct Bench<'a> {
    brokers: &'a str,
    args: &'a Args,
    report: Report,
}

impl<'a> Bench<'a> {
    fn clicks(&mut self) -> Result<()> {
        let mut input = Input::new(self.brokers, "clicks")?;
        for records in [self.args.records, self.args.records * 2] {
            let records = Set::Clicks.whole(records);
            self.extend(&mut input, Set::Clicks, records)?;
            if self.args.wants("w1") {
                self.measure(CLICKS, "W1", Set::Clicks, &input)?;
            }
            for _ in 0..self.args.runs {
                if self.args.wants("read") {
                    let usage = limit::run(self.brokers, &input.topic, records)?;
                    self.report
                        .run("read", records, usage, "all records seen".into(), true);
                }
            }
        }
        Ok(())
    }

    fn users(&mut self) -> Result<()> {
        let mut input = Input::new(self.brokers, "users")?;
        for records in [self.args.records.div_ceil(2), self.args.records] {
            self.extend(&mut input, Set::Users, records)?;
            self.measure(USERS, "W2", Set::Users, &input)?;
        }
        Ok(())
    }

    fn keys(&mut self) -> Result<()> {
        let keys = self.args.records;
        let (set, mut input) = (Set::Keys { keys }, Input::new(self.brokers, "keys")?);
        self.extend(&mut input, set, keys + keys / 2)?;
        self.measure(KEYS, "W3", set, &input)
    }

    /// With the settings of the command line.
    fn job(&self, job: Job<'a>) -> Job<'a> {
        Job {
            tried: &self.args.settings,
            ..job
        }
    }

    /// Writes what is missing up to so many records.
    fn extend(&mut self, input: &mut Input<'a>, set: Set, records: u64) -> Result<()> {
        self.report.say(&format!(
            "writing {} to {}",
            records - input.written,
            input.topic
        ));
        data::write(self.brokers, &input.topic, set, input.written..records)?;
        input.written = records;
        Ok(())
    }

    fn measure(&mut self, job: Job<'a>, name: &str, set: Set, input: &Input<'_>) -> Result<()> {
        let records = input.written;
        let expected = Expected::new(set, records);
        let job = self.job(job);
        let ask = matches!(set, Set::Keys { .. });
        let runs = self.args.runs;
        self.report
            .say(&format!("{name}: {runs} runs over {records} records"));
        for _ in 0..runs {
            let outcome = run::to_the_end(self.brokers, job, &input.topic, &expected, ask)?;
            let mut result = outcome.verdict.to_string();
            if ask {
                let per_record = |count: Option<f64>| {
                    count.map_or("unknown".into(), |count| {
                        format!("{:.2}", count / records as f64)
                    })
                };
                let (reads, writes) = (
                    per_record(outcome.store.reads),
                    per_record(outcome.store.writes),
                );
                result += &format!("; reads and writes of RocksDB per record: {reads}, {writes}");
            }
            self.report.run(
                name,
                records,
                outcome.usage,
                result,
                outcome.verdict.exact(),
            );
        }
        Ok(())
    }

    fn latency(&mut self) -> Result<()> {
        for _ in 0..self.args.runs {
            let input = Input::new(self.brokers, "latency")?;
            let seen = latency::pass(
                self.brokers,
                self.job(PASS),
                &input.topic,
                self.args.seconds,
            )?;
            self.report.latency("latency", seen);
        }
        Ok(())
    }

    fn hop(&mut self) -> Result<()> {
        for _ in 0..self.args.runs {
            let input = Input::new(self.brokers, "hop")?;
            let seconds = self.args.seconds;
            let seen = hop::measure(self.brokers, self.job(HOP), &input.topic, seconds)?;
            self.report.latency("hop", seen);
        }
        Ok(())
    }

    /// Restarts and restores of one and the same state, whose rows are checked after all of them.
    fn standing(&mut self) -> Result<()> {
        let (set, runs) = (
            Set::Keys {
                keys: self.args.records,
            },
            self.args.runs,
        );
        let mut input = Input::new(self.brokers, "standing")?;
        self.extend(&mut input, set, set.keys())?;
        let job = self.job(STANDING);
        self.report.say("waiting until all is in the store");
        let mut standing = Standing::new(self.brokers, job, &input.topic, set, input.written)?;
        for _ in 0..if self.args.wants("restart") { runs } else { 0 } {
            self.report.restart(standing.restart()?);
        }
        for _ in 0..if self.args.wants("restore") { runs } else { 0 } {
            self.report.restore(standing.restore()?);
        }
        let verdict = standing.close()?;
        self.report
            .check("after all restarts and restores", &verdict);
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        let input = Input::new(self.brokers, "idle")?;
        for _ in 0..self.args.runs {
            let idle = latency::idle(self.brokers, self.job(IDLE), &input.topic)?;
            self.report.figure("idle worker, RSS", "MB", idle.rss_mb);
            self.report
                .figure("idle worker, CPU", "% of a core", idle.cpu_percent);
        }
        Ok(())
    }
}
