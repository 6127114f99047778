//! The command line: one file per command. Thin: a command reads its flags, calls the layer that does the work, prints.
//!
//! Invariant: exit code 0 is success, 1 a failure of the world or a check that did not pass, 2 a mistake of the user
//! (flags, settings, an invalid file). Results go to stdout, everything else to stderr. Nobody below knows of clap.

mod audit;
mod explain;
mod generate;
mod load;
pub mod logging;
mod options;
mod reset;
mod run;
mod topics;
mod validate;

use crate::broker;
use crate::broker::kafka::CONFIGURATION;
use crate::runtime::startup::StartError;
use clap::{Parser, Subcommand};
use options::Global;
use std::io::{ErrorKind, Write};

/// Kafka-native stream processor with exactly-once sinks
///
/// A topology file describes sources (topics), nodes (SQL) and sinks. `millstream run FILE` starts a worker process; start
/// more of them and they share the work. Everything durable is in Kafka.
#[derive(Debug, Parser)]
#[command(
    name = "millstream",
    version,
    max_term_width = 100,
    after_help = "Examples:
  millstream validate topologies/click-count.yaml
  millstream topics create topologies/click-count.yaml
  millstream run topologies/click-count.yaml

Settings come from defaults < --config files < MILLSTREAM__SECTION__KEY variables < --set.
MILLSTREAM_LOG sets what is logged, for example debug or warn,millstream::runtime=debug."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Validate(validate::ValidateArgs),
    Explain(explain::ExplainArgs),
    /// Topics of a topology
    #[command(subcommand)]
    Topics(topics::TopicsCommand),
    /// Test data
    #[command(subcommand)]
    Generate(generate::GenerateCommand),
    Audit(audit::AuditArgs),
    Reset(reset::ResetArgs),
}

impl Cli {
    /// Runs the command and returns the exit code; errors are printed.
    pub fn execute(&self) -> u8 {
        match self.dispatch() {
            Ok(code) => code,
            // The reader of our output has gone away, as `head` does: that is no failure.
            Err(error) if is_broken_pipe(&error) => 0,
            Err(error) => {
                say(&format!("error: {}", told(&error)));
                if let Some(hint) = self.hint(&error) {
                    say(&format!("hint: {hint}"));
                }
                if is_mistake(&error) { 2 } else { 1 }
            }
        }
    }

    /// What to look at when Kafka does not answer: librdkafka's own words name no address.
    fn hint(&self, error: &anyhow::Error) -> Option<String> {
        let broker::Error::Retriable { .. } = broker_error(error)? else {
            return None;
        };
        let brokers = self.global.settings().ok()?.kafka.bootstrap_servers;
        Some(format!(
            "no broker answered at {brokers}: it does not run, cannot be reached from here, or wants other security settings; \
             --brokers or kafka.bootstrap_servers says where it is"
        ))
    }

    fn dispatch(&self) -> anyhow::Result<u8> {
        match &self.command {
            Command::Run(args) => run::run(args, &self.global),
            Command::Validate(args) => validate::validate(args, &self.global),
            Command::Explain(args) => explain::explain(args, &self.global),
            Command::Topics(command) => topics::topics(command, &self.global),
            Command::Generate(command) => generate::generate(command, &self.global),
            Command::Audit(args) => audit::audit(args, &self.global),
            Command::Reset(args) => reset::reset(args, &self.global),
        }
    }
}

/// The error with its causes; a cause that its effect quotes is not said twice.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The user's mistake, as opposed to a failure of the world.
fn is_mistake(error: &anyhow::Error) -> bool {
    let refused = matches!(broker_error(error), Some(broker::Error::Refused { call, .. }) if *call == CONFIGURATION);
    refused || error.is::<load::Usage>()
}

fn broker_error(error: &anyhow::Error) -> Option<&broker::Error> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(StartError::Kafka(error)) => Some(error),
        _ => cause.downcast_ref(),
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Prints a line to stderr. Unlike `eprintln!` it does not panic when nobody reads any more.
pub fn say(line: &str) {
    // Nobody is left who could be told.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a result to stdout. Unlike `println!` it does not panic when nobody reads any more.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_and_help_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_found_with_its_flags() {
        for line in [
            "run t.yaml --until-end --brokers b:1 --config a.yaml --config b.yaml --set http.bind=off",
            "--brokers b:1 validate a.yaml b.yaml --format json",
            "explain a.yaml --format json",
            "topics create a.yaml --partitions 4 --replication 1",
            "generate clicks --topic input --windows 20 --pages 6 --per-page 1000 --speed 10 --disorder-ms 200 \
             --partitions 4 --seed 7",
            "generate clicks --count 10 --rate 5 --start-ms 1700000000000 --closing-ms 1000",
            "audit a.yaml --timeout 1m --node counts --sink output --format json --until-end --strict",
            "reset a.yaml --to latest --yes",
        ] {
            let words = std::iter::once("millstream").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_cause_is_said_once_and_settings_that_the_client_refuses_are_the_users_mistake() {
        let refused = broker::Error::Refused {
            call: CONFIGURATION,
            message: "no such property".to_owned(),
        };
        let error = anyhow::Error::from(StartError::Kafka(refused));
        assert_eq!(told(&error).matches("no such property").count(), 1);
        assert!(is_mistake(&error));
        let away = broker::Error::Retriable {
            call: "describe_topics",
            message: "timed out".to_owned(),
        };
        let error = anyhow::Error::from(away).context("looking");
        assert_eq!(told(&error), "looking: describe_topics: timed out");
        assert!(!is_mistake(&error) && broker_error(&error).is_some());
    }

    #[test]
    fn wrong_use_is_refused() {
        for line in [
            "",
            "validate",
            "run a.yaml b.yaml",
            "generate clicks --rate 5 --speed 5",
            "generate clicks --pages 0",
            "reset a.yaml --to middle",
            "topics create a.yaml --partitions 0",
        ] {
            let words = std::iter::once("millstream").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
