//! A store on a bad disk: it is noticed, wiped and restored; nothing that it says is believed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use integration_tests::kafka;
use integration_tests::ledger::Ledger;
use integration_tests::process::Worker;
use integration_tests::scenario::Scenario;

use super::{PATIENCE, events};

const KEYS: u32 = 20_000;
const SHARDS: usize = 2;

/// Files of the stores whose names a predicate accepts.
fn files(directory: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, wanted)?);
        } else if path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(wanted)
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// Flips bytes here and there, as a bad disk does; the length stays.
fn flip(path: &Path, places: impl Iterator<Item = usize>) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let length = bytes.len();
    places
        .filter(|at| *at < length)
        .for_each(|at| bytes[at] ^= 0x5a);
    Ok(fs::write(path, bytes)?)
}

/// Twice started, so that rows stand in sorted files and in a log; then stopped, damaged and brought back.
fn damaged(
    name: &str,
    harm: impl Fn(&Path) -> Result<usize>,
) -> Result<(Scenario, Ledger, Worker)> {
    let scenario = Ledger::scenario(kafka::shared().bootstrap(), name, SHARDS as u32)?;
    let mut ledger = Ledger::default();
    for round in 0..2 {
        let worker = scenario.start("w1")?;
        ledger.feed(&scenario, 0..KEYS)?;
        ledger.absorbed(&[&worker], PATIENCE)?;
        ensure!(
            round == 0 || !worker.log()?.contains("wiped"),
            "wiped without need: {}",
            worker.log()?
        );
        worker.stop()?;
    }
    let harmed = harm(&scenario.state("w1"))?;
    ensure!(harmed >= SHARDS, "only {harmed} files were damaged");
    let worker = scenario.start("w1")?;
    // Every key is touched: rows come back from the store, or from the log.
    ledger.feed(&scenario, 0..KEYS)?;
    ledger.close(&scenario)?;
    ledger.absorbed(&[&worker], PATIENCE)?;
    ledger.verdict(&scenario, PATIENCE)?;
    Ok((scenario, ledger, worker))
}

/// The log has a warning for each of the stores that names what is done about it.
fn said(worker: &Worker) -> Result<()> {
    let log = worker.log()?;
    let warnings: Vec<_> = ["wiped", "wiping"]
        .iter()
        .flat_map(|word| events(&log, word))
        .filter(|event| event["level"] == "WARN")
        .collect();
    eprintln!("{warnings:#?}");
    ensure!(
        !warnings.is_empty(),
        "the log does not say that a store was damaged: {log}"
    );
    Ok(())
}

/// Bites: values without checksums, an error of the store that parks the task or ends the worker.
#[test]
fn flipped_bytes_in_sorted_files_are_noticed_and_mended() -> Result<()> {
    let (scenario, _, worker) = damaged("sst", |state| {
        let tables = files(state, &|name| name.ends_with(".sst"))?;
        for table in &tables {
            flip(table, (40..usize::MAX).step_by(997).take(100_000))?;
        }
        Ok(tables.len())
    })?;
    said(&worker)?;
    worker.stop()?;
    scenario.done()
}

/// Only rows in the middle: the store opens, its bookkeeping is whole, and the damage shows when the rows are read.
#[test]
fn damage_that_shows_only_when_rows_are_read_is_mended_too() -> Result<()> {
    let (scenario, _, worker) = damaged("rows", |state| {
        let tables = files(state, &|name| name.ends_with(".sst"))?;
        let mut harmed = 0;
        for table in &tables {
            let length = fs::metadata(table)?.len() as usize;
            // The small ones hold the position.
            if length > 100_000 {
                flip(
                    table,
                    (length / 2 - 50_000..length / 2 + 50_000).step_by(4001),
                )?;
                harmed += 1;
            }
        }
        Ok(harmed)
    })?;
    said(&worker)?;
    worker.stop()?;
    scenario.done()
}

/// Bites: a store that cannot be opened ends the worker instead of costing a restore.
#[test]
fn a_damaged_manifest_costs_a_restore() -> Result<()> {
    let (scenario, _, worker) = damaged("manifest", |state| {
        let manifests = files(state, &|name| name.starts_with("MANIFEST"))?;
        for manifest in &manifests {
            flip(manifest, (10..usize::MAX).step_by(13).take(100_000))?;
        }
        Ok(manifests.len())
    })?;
    said(&worker)?;
    worker.stop()?;
    scenario.done()
}

/// What a power cut leaves of an unsynced log. Bites: a position that survives without the rows that it stands for.
#[test]
fn a_write_ahead_log_cut_in_the_middle_loses_nothing() -> Result<()> {
    let (scenario, _, worker) = damaged("wal", |state| {
        let logs = files(state, &|name| name.ends_with(".log"))?;
        let mut harmed = 0;
        for log in &logs {
            let length = fs::metadata(log)?.len();
            if length > 1000 {
                fs::File::options()
                    .write(true)
                    .open(log)?
                    .set_len(length / 2)?;
                harmed += 1;
            }
        }
        Ok(harmed)
    })?;
    let blocks = super::replayed(&worker)?;
    eprintln!("{blocks} blocks replayed");
    worker.stop()?;
    scenario.done()
}
