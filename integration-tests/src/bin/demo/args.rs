//! The demo's flags. Everything has a default: `make demo` needs none.

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: demo [--seconds N] [--seed N] [--workers N] [--speed N]

  --seconds N   how long clicks are generated and workers killed (default 60)
  --seed N      seed of the clicks and of the choice whom to kill, and when (default 1)
  --workers N   worker processes (default 3)
  --speed N     event time runs N times as fast as the clock (default 10: a window of 15 s closes every 1.5 s)

environment: MILLSTREAM_TEST_BROKERS names a broker to use instead of a local one; its topics `input` and `output` must be empty.";

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    pub seconds: u64,
    pub seed: u64,
    pub workers: usize,
    pub speed: u64,
}

impl Args {
    /// Windows of 15 s of event time that fit into the running time.
    pub fn windows(&self) -> u64 {
        (self.seconds * self.speed / 15).max(2)
    }
}

/// The flags, or `None` if the user asked for help, which has then been printed.
///
/// # Errors
/// An unknown flag, or a value that is no number above zero.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Args>> {
    let mut args = Args {
        seconds: 60,
        seed: 1,
        workers: 3,
        speed: 10,
    };
    while let Some(flag) = arguments.next() {
        if flag == "--help" || flag == "-h" {
            println!("{USAGE}");
            return Ok(None);
        }
        let mut number = || -> Result<u64> {
            let text = arguments
                .next()
                .with_context(|| format!("{flag} needs a value\n{USAGE}"))?;
            text.parse()
                .with_context(|| format!("{flag} {text}: not a number"))
        };
        match flag.as_str() {
            "--seconds" => args.seconds = number()?.max(1),
            "--seed" => args.seed = number()?,
            "--workers" => args.workers = number()?.max(1) as usize,
            "--speed" => args.speed = number()?.max(1),
            _ => bail!("unknown flag {flag}\n{USAGE}"),
        }
    }
    Ok(Some(args))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Args>> {
        parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn flags_override_defaults() {
        let args = parsed("--seed 9 --seconds 30").unwrap().unwrap();
        assert_eq!(
            args,
            Args {
                seconds: 30,
                seed: 9,
                workers: 3,
                speed: 10
            }
        );
        assert_eq!(args.windows(), 20);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(parsed("--sede 9").is_err());
        assert!(parsed("--seed nine").is_err());
        assert!(parsed("--seed").is_err());
    }
}
