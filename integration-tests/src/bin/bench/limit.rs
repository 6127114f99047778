//! The limit: what it costs to read a topic with librdkafka and do nothing, all its threads kept on one core.
//!
//! Invariant: the reading is done by a process of its own (this program with a hidden sub-command), which is pinned before
//! it makes its client, so that every thread inherits the core. On two cores its threads fight over the allocator.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::measure::{self, Meter, Usage};
use super::reader;

/// `bench read-limit BROKERS TOPIC`; not in the usage.
pub const SUB_COMMAND: &str = "read-limit";

/// Reads a topic in a child process; fails unless it has exactly `records`.
///
/// # Errors
/// The child fails, or sees another number of records.
pub fn run(brokers: &str, topic: &str, records: u64) -> Result<Usage> {
    let meter = Meter::start()?;
    let output = Command::new(std::env::current_exe()?)
        .args([SUB_COMMAND, brokers, topic])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let usage = meter.stop(0.0)?;
    ensure!(
        output.status.success(),
        "reading {topic}: {}",
        output.status
    );
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace();
    let seen: u64 = words.next().context("no count")?.parse()?;
    let peak_rss_mb = words.next().context("no memory figure")?.parse()?;
    ensure!(seen == records, "{topic} has {seen} records, not {records}");
    Ok(Usage {
        peak_rss_mb,
        ..usage
    })
}

/// The child's side: prints how many records there are, and its peak memory in MB.
///
/// # Errors
/// Kafka refuses, or the process cannot be pinned.
pub fn child(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let brokers = arguments.next().context("no brokers")?;
    let topic = arguments.next().context("no topic")?;
    pin()?;
    let mut bytes = 0;
    let records = reader::read(&brokers, &topic, |value| bytes += value.len())?;
    ensure!(bytes > 0, "{topic} is empty");
    let peak = measure::status_mb(std::process::id(), "VmHWM").unwrap_or(0.0);
    println!("{records} {peak}");
    Ok(())
}

/// Keeps this thread, and every thread it starts from now on, on the core where it runs.
#[cfg(target_os = "linux")]
fn pin() -> Result<()> {
    // SAFETY: all zeros is an empty set; the calls only read and write it.
    let result = unsafe {
        let core = libc::sched_getcpu();
        ensure!(core >= 0, "no core: {}", std::io::Error::last_os_error());
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    ensure!(result == 0, "pinning: {}", std::io::Error::last_os_error());
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn pin() -> Result<()> {
    Ok(())
}
