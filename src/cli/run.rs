//! `millstream run`: one worker process.
//!
//! Invariant: the file and the settings are checked before anything is connected.

use super::load;
use super::options::Global;
use crate::runtime::RunOptions;
use clap::Args;
use std::path::PathBuf;

/// Run a topology: one worker process, which shares the work with all others of the same topology
///
/// Runs until SIGTERM or Ctrl-C: it then commits, leaves the group and exits with 0. Missing internal topics are made.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  millstream run topologies/click-count.yaml
  millstream run topologies/click-count.yaml --brokers kafka-1:9092 --set worker.threads=4
  millstream run topologies/click-count.yaml --until-end     # process what is there, close all windows, exit")]
pub struct RunArgs {
    /// The topology file
    file: PathBuf,
    /// Stop at the ends that the source topics have now: all windows close, then the process exits with 0
    #[arg(long)]
    until_end: bool,
}

pub fn run(args: &RunArgs, global: &Global) -> anyhow::Result<u8> {
    let settings = global.settings()?;
    let (spec, plan) = load::topology(&args.file)?;
    tracing::info!(state_dir = %settings.state.dir.display(), app = %spec.app.value, "starting");
    crate::runtime::run(spec, plan, settings, RunOptions { until_end: args.until_end })
}
