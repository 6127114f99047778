//! `millstream run`: one worker process.
//!
//! Invariant: the file and the settings are checked before anything is connected, and the HTTP address is bound before the group is
//! joined: a start that fails disturbs no other worker. SIGTERM and Ctrl-C commit, close the tasks, leave the group and exit
//! with 0; a second one is not waited for, and one that comes before there is anything to close neither. A bounded run
//! that was stopped before its end exits with 1: whoever waits for its results must not take them for all.

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Run a topology: one worker process, which shares the work with all others of the same topology
///
/// Runs until SIGTERM or Ctrl-C: it then commits, leaves the group and exits with 0, or with 1 where --until-end has not
/// reached the end. Missing internal topics are made.
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
/// What a bounded run says that was told to stop.
const INTERRUPTED: &str = "stopped before the end was reached: what was processed is committed, and the same command goes on from there";

pub fn run(args: &RunArgs, global: &Global) -> anyhow::Result<u8> {
    let settings = global.settings()?;
    let (_, plan) = load::topology(&args.file)?;
    let stop = Arc::new(AtomicBool::new(false));
    let starting = Arc::new(AtomicBool::new(true));
    for signal in [SIGTERM, SIGINT] {
        let too_soon = i32::from(args.until_end);
        signal_hook::flag::register_conditional_shutdown(signal, too_soon, starting.clone())?;
        // The second signal ends the process at once: Kafka aborts what is open.
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let options = RunOptions {
        file: args.file.display().to_string(),
        until_end: args.until_end,
    };
    let status = Arc::new(Status {
        app: plan.app.clone(),
        shared: OnceLock::new(),
    });
    let server = Server::start(settings.http.bind, status.clone())?;
    let process = Process::start(plan, &settings, &options)?;
    // Set once, here: a second value cannot come.
    let _ = status.shared.set(process.shared.clone());
    starting.store(false, Ordering::Relaxed);
    let failure = watch(&process, &stop, args.until_end);
    process.stop();
    drop(server);
    match failure {
        None => Ok(0),
        Some(cause) => anyhow::bail!("{cause}"),
    }
}

/// Looks after the process until it has to stop; returns why, where that is no success.
fn watch(process: &Process, stop: &AtomicBool, until_end: bool) -> Option<String> {
    loop {
        if stop.load(Ordering::Relaxed) {
            tracing::info!("stopping: committing and leaving the group");
            return until_end.then(|| INTERRUPTED.to_owned());
        }
        if let Some(cause) = process.check() {
            return Some(cause);
        }
        if process.finished() {
            tracing::info!("every task has finished");
            return None;
        }
        std::thread::sleep(WATCH);
    }
}

/// Shows the board over HTTP; before there is one, that the process starts.
struct Status {
    app: String,
    shared: OnceLock<Arc<Shared>>,
}

const STARTING: &str = "starting: looking at Kafka's topics and the local state";

impl StatusSource for Status {
    fn status(&self) -> serde_json::Value {
        let tuning = self.shared.get().map(|shared| &shared.tuning);
        let tasks = self.shared.get().map(|shared| shared.board.tasks());
        json!({
            "app": self.app,
            "worker": tuning.map(|tuning| &tuning.worker_id),
            "threads": tuning.map(|tuning| tuning.threads),
            "ready": self.ready().is_ok(),
            "reason": self.ready().err(),
            "tasks": tasks.unwrap_or_default(),
        })
    }

    fn ready(&self) -> Result<(), String> {
        match self.shared.get() {
            Some(shared) => shared.board.ready(),
            None => Err(STARTING.to_owned()),
        }
    }

    fn metrics(&self) -> String {
        let shared = self.shared.get();
        shared.map_or_else(String::new, |shared| telemetry::page(shared))
    }
}
