//! `millstream run`: one worker process.
//!
//! Invariant: the file and the settings are checked before anything is connected. SIGTERM and Ctrl-C commit, close the
//! tasks, leave the group and exit with 0; a second one is not waited for.

use super::load;
use super::options::Global;
use crate::http::{Server, StatusSource};
use crate::runtime::process::{Process, RunOptions};
use crate::runtime::shared::Shared;
use crate::runtime::telemetry;
use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// How often the process looks after its threads and signals.
const WATCH: Duration = Duration::from_millis(50);

pub fn run(args: &RunArgs, global: &Global) -> anyhow::Result<u8> {
    let settings = global.settings()?;
    let (_, plan) = load::topology(&args.file)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The second signal ends the process at once: Kafka aborts what is open.
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let options = RunOptions {
        file: args.file.display().to_string(),
        until_end: args.until_end,
    };
    let process = Process::start(plan, &settings, &options)?;
    let server = Server::start(
        settings.http.bind,
        Arc::new(Status {
            shared: process.shared.clone(),
        }),
    )?;
    let failure = loop {
        if stop.load(Ordering::Relaxed) {
            tracing::info!("stopping: committing and leaving the group");
            break None;
        }
        if let Some(cause) = process.check() {
            break Some(cause);
        }
        if process.finished() {
            tracing::info!("every task has finished");
            break None;
        }
        std::thread::sleep(WATCH);
    };
    process.stop();
    drop(server);
    match failure {
        None => Ok(0),
        Some(cause) => anyhow::bail!("{cause}"),
    }
}

/// Shows the board over HTTP.
struct Status {
    shared: Arc<Shared>,
}

impl StatusSource for Status {
    fn status(&self) -> serde_json::Value {
        let tuning = &self.shared.tuning;
        json!({
            "app": tuning.app,
            "worker": tuning.worker_id,
            "threads": tuning.threads,
            "ready": self.ready().is_ok(),
            "reason": self.ready().err(),
            "tasks": self.shared.board.tasks(),
        })
    }

    fn ready(&self) -> Result<(), String> {
        self.shared.board.ready()
    }

    fn metrics(&self) -> String {
        telemetry::page(&self.shared)
    }
}
