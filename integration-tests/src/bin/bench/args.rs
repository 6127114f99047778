//! The benchmark's flags. Without any it measures everything at full size, which takes hours on a small machine.

use anyhow::{Context, Result, bail, ensure};

const USAGE: &str = "\
usage: bench [--records N] [--runs N] [--only NAMES] [--seconds N] [--set KEY=VALUE]… [--write]

  --records N    size of the data sets (default 10000000): W1 is run with N and 2 N records, W2 with N / 2 and N,
                 W3 with N keys and N / 2 updates
  --runs N       how often each measurement is made; medians are reported (default 5)
  --only NAMES   some of w1,w2,w3,read,latency,hop,idle,restart,restore (default: all), see below
  --seconds N    how long latency and hop are measured in each run (default 30)
  --set K=V      one more worker setting, as in --set worker.threads=1; may be repeated
  --write        write the result into docs/bench.md

  w1, w2, w3     counts per page, sums per user, one large open window: the CPU and memory of a worker
  read           what librdkafka alone takes to read W1
  latency        from a record's sending to its arrival at a read_committed reader, without a window
  hop            from the sending of the record that closes a window to the arrival of the window's rows: two commits in a row
  idle           what a worker without input takes
  restart        kill -9 of a worker with N keys in one open window, started again on its state directory: time to /ready, to the
                 first commit, and to a commit of every task
  restore        the same state from the changelog alone, without the state directory: time to all tasks running

environment: MILLSTREAM_TEST_BROKERS names a broker to use instead of a local one; KAFKA_JVM holds the JVM options of the
local one; MILLSTREAM_BIN names the binary that is measured.";

/// What can be measured, in the order in which it is.
pub const NAMES: [&str; 9] = [
    "w1", "read", "w2", "w3", "latency", "hop", "idle", "restart", "restore",
];

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    pub records: u64,
    pub runs: usize,
    pub seconds: u64,
    pub write: bool,
    /// Worker settings that are tried out.
    pub settings: Vec<(String, String)>,
    only: Vec<String>,
}

impl Args {
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }
}

/// The flags, or `None` if the user asked for help, which has then been printed.
///
/// # Errors
/// An unknown flag or name, or a value that is no number above zero.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Args>> {
    let mut args = Args {
        records: 10_000_000,
        runs: 5,
        seconds: 30,
        write: false,
        settings: Vec::new(),
        only: Vec::new(),
    };
    while let Some(flag) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{flag} needs a value\n{USAGE}"))
        };
        match flag.as_str() {
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(None);
            }
            "--set" => args.settings.push(setting(&value()?)?),
            "--write" => args.write = true,
            "--records" => args.records = number(&value()?)?,
            "--runs" => args.runs = number(&value()?)? as usize,
            "--seconds" => args.seconds = number(&value()?)?,
            "--only" => args.only = names(&value()?)?,
            _ => bail!("unknown flag {flag}\n{USAGE}"),
        }
    }
    ensure!(
        !args.write || args.settings.is_empty(),
        "--write is for default settings, not for --set"
    );
    Ok(Some(args))
}

fn setting(text: &str) -> Result<(String, String)> {
    let (key, value) = text
        .split_once('=')
        .with_context(|| format!("--set {text}: not KEY=VALUE"))?;
    Ok((key.to_string(), value.to_string()))
}

fn number(text: &str) -> Result<u64> {
    let number = text
        .parse()
        .with_context(|| format!("{text}: not a number"))?;
    // The keys of W3 are stepped through by a prime below 2^31.
    ensure!(
        (1..=500_000_000).contains(&number),
        "{text}: from 1 to 500000000"
    );
    Ok(number)
}

fn names(text: &str) -> Result<Vec<String>> {
    let names: Vec<String> = text
        .split(',')
        .map(|name| name.trim().to_lowercase())
        .collect();
    match names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        Some(unknown) => bail!("--only {unknown}: there are {}", NAMES.join(", ")),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Args>> {
        parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn flags_override_defaults() {
        let args = parsed("--records 600000 --only W1,read --write")
            .unwrap()
            .unwrap();
        assert_eq!((args.records, args.runs, args.write), (600_000, 5, true));
        assert!(args.wants("w1") && args.wants("read") && !args.wants("w2"));
        assert!(
            NAMES
                .iter()
                .all(|name| parsed("").unwrap().unwrap().wants(name))
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "--only w4",
            "--runs 0",
            "--records many",
            "--records",
            "--fast",
            "--set worker.threads",
            "--write --set worker.threads=1",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
