//! State from the changelog: after any loss of local state, every count and sum is what it was.

mod bounded;
mod damaged;
#[cfg(target_os = "linux")]
mod full_disk;
mod lost;
mod memory;
mod overtaken;
mod replay;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use integration_tests::process::Worker;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// The log's events that say this.
fn events(log: &str, message: &str) -> Vec<Value> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|event| {
            event["message"]
                .as_str()
                .is_some_and(|said| said.contains(message))
        })
        .collect()
}

/// Changelog blocks that the worker's restores have replayed, over all its lives.
fn replayed(worker: &Worker) -> Result<u64> {
    Ok(events(&worker.log()?, "restored")
        .iter()
        .filter_map(|event| event["blocks"].as_u64())
        .sum())
}

/// Bytes of all files below a directory.
fn size(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
