//! The figures as they come and the table at the end, which is also `docs/bench.md`.
//!
//! Invariant: a figure in the table is the median of all its runs, with the least and the most beside it; nothing is left
//! out. A result that was not exact is said in the table, too.

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, Result};
use integration_tests::process::Millstream;
use integration_tests::wait;

use super::args::Args;
use super::latency::Latency;
use super::measure::{Usage, median};
use super::standing::{self, Restart, Restore};
use super::verify::Verdict;
use super::{data, hop};

/// All runs of one workload at one size.
struct Line {
    workload: String,
    records: u64,
    runs: Vec<Usage>,
    /// Of the last run, or of the one that went wrong.
    result: String,
}

/// Figures that are not a workload's: latency, idle, restart.
struct Figure {
    name: String,
    unit: &'static str,
    values: Vec<f64>,
}

pub struct Report {
    began: Instant,
    machine: String,
    lines: Vec<Line>,
    figures: Vec<Figure>,
    /// Results that no line stands for.
    checks: Vec<String>,
    exact: bool,
}

impl Report {
    pub fn new(version: &str, tried: &[(String, String)]) -> Self {
        Report {
            began: wait::now(),
            machine: machine(version, tried),
            lines: Vec::new(),
            figures: Vec::new(),
            checks: Vec::new(),
            exact: true,
        }
    }

    /// A line of progress, with the time since the start.
    pub fn say(&self, line: &str) {
        println!("[{:7.1} s] {line}", self.began.elapsed().as_secs_f64());
    }

    /// Whether all results were exact.
    pub fn exact(&self) -> bool {
        self.exact
    }

    /// Takes and prints one run.
    pub fn run(&mut self, workload: &str, records: u64, usage: Usage, result: String, exact: bool) {
        self.say(&format!(
            "{workload:<5} {records:>9} records  {:>7.2} CPU-s ({:.3} per 1 M)  {:>6.0} MB  {:>6.2} s  (elsewhere {:.1} CPU-s)  {result}",
            usage.cpu_s,
            per_million(usage.cpu_s, records),
            usage.peak_rss_mb,
            usage.wall_s,
            usage.elsewhere_s,
        ));
        let same = |line: &&mut Line| line.workload == workload && line.records == records;
        match self.lines.iter_mut().find(same) {
            Some(line) => {
                line.runs.push(usage);
                if !line.result.contains("NOT") {
                    line.result = result;
                }
            }
            None => self.lines.push(Line {
                workload: workload.to_string(),
                records,
                runs: vec![usage],
                result,
            }),
        }
        self.exact &= exact;
    }

    /// Takes and prints one figure.
    pub fn figure(&mut self, name: &str, unit: &'static str, value: f64) {
        self.say(&format!("{name}: {value:.2} {unit}"));
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.values.push(value),
            None => self.figures.push(Figure {
                name: name.to_string(),
                unit,
                values: vec![value],
            }),
        }
    }

    pub fn latency(&mut self, name: &str, seen: Latency) {
        self.figure(&format!("{name}, p50"), "ms", seen.p50_ms);
        self.figure(&format!("{name}, p99"), "ms", seen.p99_ms);
        self.figure(&format!("{name}, longest"), "ms", seen.max_ms);
    }

    pub fn restart(&mut self, seen: Restart) {
        self.figure("restart, ready", "s", seen.ready_s);
        self.figure("restart, first commit", "s", seen.first_s);
        self.figure("restart, commits of all tasks", "s", seen.all_s);
    }

    pub fn restore(&mut self, seen: Restore) {
        let per_second = |amount: f64| amount / seen.ready_s;
        let rows = per_second(seen.rows as f64);
        self.figure("restore, all tasks run", "s", seen.ready_s);
        self.figure("restore, rows of state", "per s", rows);
        self.figure(
            "restore, changelog",
            "MB per s",
            per_second(seen.bytes / 1e6),
        );
    }

    /// Takes and prints a result that is no run's own.
    pub fn check(&mut self, what: &str, verdict: &Verdict) {
        let text = format!("{what}: {verdict}");
        self.say(&text);
        self.checks.push(text);
        self.exact &= verdict.exact();
    }

    /// The tables, as Markdown.
    pub fn table(&self) -> String {
        let mut text = String::new();
        if !self.lines.is_empty() {
            text.push_str(
                "| workload | records | CPU-s per 1 M (least to most) | marginal | peak RSS, MB | wall, s | records per s | result |\n\
                 |---|---:|---:|---:|---:|---:|---:|---|\n",
            );
        }
        for line in &self.lines {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{}", self.row(line));
        }
        if !self.figures.is_empty() {
            text.push_str("\n| figure | median | least to most |\n|---|---:|---:|\n");
        }
        for Figure { name, unit, values } in &self.figures {
            let (least, most) = range(values.iter().copied());
            let middle = median(values.iter().copied());
            let _ = writeln!(
                text,
                "| {name} | {} {unit} | {} to {} |",
                short(middle),
                short(least),
                short(most)
            );
        }
        for check in &self.checks {
            let _ = writeln!(text, "\nRows {check}.");
        }
        text
    }

    fn row(&self, line: &Line) -> String {
        let cost = || {
            line.runs
                .iter()
                .map(|run| per_million(run.cpu_s, line.records))
        };
        let (least, most) = range(cost());
        let marginal = self
            .marginal(line)
            .map_or(String::new(), |cost| format!("{cost:.3}"));
        let wall = median(line.runs.iter().map(|run| run.wall_s));
        format!(
            "| {} | {} | {:.3} ({least:.3} to {most:.3}) | {marginal} | {:.0} | {wall:.1} | {:.0} | {} |",
            line.workload,
            line.records,
            median(cost()),
            median(line.runs.iter().map(|run| run.peak_rss_mb)),
            line.records as f64 / wall,
            line.result,
        )
    }

    /// What a further million costs: the difference to the smaller size of the same workload.
    fn marginal(&self, line: &Line) -> Option<f64> {
        let smaller = self
            .lines
            .iter()
            .find(|other| other.workload == line.workload && other.records < line.records)?;
        let cpu = |line: &Line| median(line.runs.iter().map(|run| run.cpu_s));
        Some(per_million(
            cpu(line) - cpu(smaller),
            line.records - smaller.records,
        ))
    }

    /// Writes `docs/bench.md`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, args: &Args) -> Result<()> {
        let path = integration_tests::repository()?.join("docs/bench.md");
        let text = format!(
            "# What it costs\n\n\
             Written by `make bench BENCH=--write` ({} runs of each, medians). {}.\n\n{}\n{}",
            args.runs,
            self.machine,
            explanation(args.records),
            self.table()
        );
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }

    pub fn machine(&self) -> &str {
        &self.machine
    }
}

fn per_million(cpu_s: f64, records: u64) -> f64 {
    cpu_s * 1e6 / records as f64
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(value), most.max(value)),
    )
}

/// How the figures are to be read.
fn explanation(records: u64) -> String {
    format!(
        "Exactly once, commits every second (latency and hop: every 100 ms; restart and restore: every 500 ms), {} partitions,\n\
         otherwise default settings (W3: a memory budget of 256 MB). CPU is user and system time of the worker process, start and\n\
         end included; *marginal* is the difference between two sizes. W1: clicks per page in windows of 15 s. W2: count and sum\n\
         for each of a million users in windows of a minute. W3: each key once in one window of an hour, then half as many updates\n\
         of random keys. read: librdkafka alone, all its threads on one core, reading the topic of W1. Every row of output was\n\
         compared with the expected result. Latency is from a record's sending to its arrival at a `read_committed` reader, at\n\
         1000 records per second.\n\n\
         hop: from the sending of the records that close a window, some for each partition, to the arrival of the window's rows at a\n\
         `read_committed` reader; {} windows a second, not in step with commits, {} keys. Two commits in a row: the source tasks',\n\
         which make the watermark visible to the window tasks (the slowest of them counts), and the window task's, which makes the\n\
         row visible to the reader. At an interval of 100 ms, half of one is waited for the first and up to one for the second.\n\n\
         restart: `kill -9` of a worker that holds {records} keys in one open window, amid {} updates of random keys per second, with\n\
         `worker.static_membership=true` and `state.save_interval=5s`, started again on its state directory within its session. From\n\
         process start to `/ready`, to the first committed offset that has moved (records processed and their transaction ended, as\n\
         the consumer group shows it), and to those of all tasks. restore: stopped with SIGTERM, the state directory deleted,\n\
         started again, no input meanwhile: from process start until all tasks run; start and joining the group are in the time by\n\
         which rows of state and bytes of changelog are divided. It replays the log with the updates of the restarts before. After\n\
         the last one the window was closed and every row compared.\n",
        data::PARTITIONS,
        hop::PER_SECOND,
        hop::LANES,
        standing::PER_SECOND,
    )
}

/// What the binary under test calls itself.
///
/// # Errors
/// There is none, or it does not run.
pub fn version() -> Result<String> {
    let binary = integration_tests::process::binary()?;
    let version = Millstream::new("", ["--version"]).succeed();
    let version = version.with_context(|| format!("asking {}", binary.display()))?;
    Ok(version.trim().to_string())
}

/// Two digits behind the point where they say something.
fn short(value: f64) -> String {
    if value.abs() < 10.0 {
        format!("{value:.2}")
    } else if value.abs() < 10_000.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn machine(version: &str, tried: &[(String, String)]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_string())
        });
    let kafka = match std::env::var("MILLSTREAM_TEST_BROKERS") {
        Ok(_) => "Kafka elsewhere",
        Err(_) => "shared with Kafka 4.1.1",
    };
    let mut text = format!(
        "{version} on {cores} cores ({}), {kafka}",
        model.unwrap_or_else(|| "unknown CPU".into())
    );
    for (key, value) in tried {
        let _ = write!(text, ", {key}={value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_median_range_and_marginal_cost() {
        let mut report = Report {
            began: wait::now(),
            machine: String::new(),
            lines: Vec::new(),
            figures: Vec::new(),
            checks: Vec::new(),
            exact: true,
        };
        let usage = |cpu_s| Usage {
            cpu_s,
            wall_s: 2.0,
            elsewhere_s: 0.0,
            peak_rss_mb: 100.0,
        };
        for cpu_s in [3.0, 1.0, 2.0] {
            report.run("W1", 1_000_000, usage(cpu_s), "6 rows, exact".into(), true);
        }
        report.run("W1", 2_000_000, usage(2.5), "NOT EXACT".into(), false);
        report.run("W1", 2_000_000, usage(2.5), "12 rows, exact".into(), true);
        let table = report.table();
        assert!(
            table.contains(
                "| W1 | 1000000 | 2.000 (1.000 to 3.000) |  | 100 | 2.0 | 500000 | 6 rows, exact |"
            ),
            "{table}"
        );
        assert!(table.contains("| W1 | 2000000 | 1.250 (1.250 to 1.250) | 0.500 | 100 | 2.0 | 1000000 | NOT EXACT |"), "{table}");
        assert!(!report.exact());
    }
}
