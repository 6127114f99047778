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
use super::measure::{Usage, median};

/// All runs of one workload at one size.
struct Line {
    workload: String,
    records: u64,
    runs: Vec<Usage>,
    /// Of the last run, or of the one that went wrong.
    result: String,
}

/// Figures that are not a workload's: latency, idle.
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
    exact: bool,
}

impl Report {
    pub fn new(brokers: &str, tried: &[(String, String)]) -> Self {
        Report {
            began: wait::now(),
            machine: machine(brokers, tried),
            lines: Vec::new(),
            figures: Vec::new(),
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
                "| {name} | {middle:.1} {unit} | {least:.1} to {most:.1} |"
            );
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
             Written by `make bench BENCH=--write` ({} runs of each, medians). {}.\n\n\
             Exactly once, commits every second (latency: every 100 ms), {} partitions, otherwise default settings (W3: a memory\n\
             budget of 256 MB). CPU is user and system time of the worker process, start and end included; *marginal* is the\n\
             difference between two sizes. W1: clicks per page in windows of 15 s. W2: count and sum for each of a million users\n\
             in windows of a minute. W3: each key once in one window of an hour, then half as many updates of random keys. read:\n\
             librdkafka alone, all its threads on one core, reading the topic of W1. Every row of output was compared with the\n\
             expected result. Latency is from a record's sending to its arrival at a `read_committed` reader, at 1000 records\n\
             per second.\n\n{}",
            args.runs,
            self.machine,
            super::data::PARTITIONS,
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

fn machine(brokers: &str, tried: &[(String, String)]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_string())
        });
    let version = Millstream::new(brokers, ["--version"])
        .succeed()
        .unwrap_or_default();
    let kafka = match std::env::var("MILLSTREAM_TEST_BROKERS") {
        Ok(_) => "Kafka elsewhere",
        Err(_) => "shared with Kafka 4.1.1",
    };
    let mut text = format!(
        "{} on {cores} cores ({}), {kafka}",
        version.trim(),
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
