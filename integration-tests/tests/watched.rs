//! What a running worker shows at `/metrics`: every metric of the reference page, with figures that are true.
//!
//! Invariant: the names come from `docs/metrics.md`, so that a metric that is declared and never fed fails here.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::process::Worker;
use integration_tests::scenario::Scenario;
use integration_tests::topics::Record;
use integration_tests::{kafka, wait};
use serde_json::json;

const REFERENCE: &str = include_str!("../../docs/metrics.md");
/// Only faults, or logs longer than this test's, give these a value.
const RARE: [&str; 4] = [
    "millstream_aborts_total",
    "millstream_producers_replaced_total",
    "millstream_lost_state_total",
    "millstream_refreshed_bytes_total",
];
const WINDOWS: u32 = 4;
const CLICKS: f64 = 24_000.0;
const START: i64 = 1_700_000_010_000;
const MINUTE: Duration = Duration::from_secs(60);

/// The metrics' names with their kinds.
fn declared() -> Vec<(&'static str, &'static str)> {
    let rows = REFERENCE
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| {
        let (name, rest) = row.split_once("` | ")?;
        Some((name, rest.split_once(" |")?.0))
    })
    .collect()
}

/// The values of all series of a name; of a histogram, its counts.
fn values(page: &str, (name, kind): (&str, &str)) -> Vec<f64> {
    let name = match kind {
        "histogram" => format!("{name}_count"),
        _ => name.to_owned(),
    };
    let series = page.lines().filter(|line| {
        let rest = line.strip_prefix(&name);
        rest.is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    });
    series
        .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
        .collect()
}

fn sum(page: &str, name: &str) -> f64 {
    values(page, (name, "")).iter().sum()
}

/// Waits until nothing lags and the clients have told their figures, and returns the page.
fn settled(worker: &Worker) -> Result<String> {
    wait::until(
        "a worker without lag that shows its clients",
        MINUTE,
        || {
            let page = worker.metrics()?;
            let lags = values(&page, ("millstream_lag_records", ""));
            let settled = lags.len() == 8 && lags.iter().all(|lag| *lag == 0.0);
            let told = sum(&page, "millstream_kafka_round_trip_us") > 0.0;
            Ok((settled && told).then_some(page))
        },
    )
}

fn check_figures(page: &str) -> Result<()> {
    for (name, expected) in [
        ("millstream_records_in_total", CLICKS + 2.0),
        ("millstream_records_rejected_total", 2.0),
        ("millstream_records_late_total", 1.0),
        ("millstream_tasks", 8.0),
    ] {
        let found = sum(page, name);
        ensure!(
            found == expected,
            "{name} is {found}, not {expected}:\n{page}"
        );
    }
    for name in [
        "millstream_bytes_in_total",
        "millstream_bytes_out_total",
        "millstream_memory_used_bytes",
        "millstream_memory_budget_bytes",
        "millstream_kafka_message_bytes_total",
    ] {
        ensure!(sum(page, name) > 0.0, "{name} is 0:\n{page}");
    }
    Ok(())
}

#[test]
fn every_metric_of_the_reference_page_is_fed_and_says_what_happened() -> Result<()> {
    let scenario =
        Scenario::clicks(kafka::shared().bootstrap(), "watched")?.set("state.save_interval", "1s");
    let mut first = scenario.start("w1")?;
    first.wait_ready(MINUTE)?;
    let mut generator = scenario.generate(WINDOWS, 0)?;
    ensure!(
        generator.wait_exit(MINUTE)?.success(),
        "{}",
        generator.log()?
    );
    scenario.wait_rows(18, MINUTE)?;
    let bad = Record {
        value: Some(b"{".to_vec()),
        ..Record::json(0, START, &json!({}))
    };
    let late = Record::json(0, START, &json!({ "timestamp": START, "page": "/late" }));
    scenario.produce(&[bad, late])?;
    wait::until_true(
        "both rejects",
        MINUTE,
        || Ok(scenario.rejects()?.len() == 2),
    )?;
    let before = settled(&first)?;

    check_figures(&before)?;

    first.kill9()?;
    let mut second = scenario.start("w1")?;
    second.wait_ready(MINUTE)?;
    let after = settled(&second)?;
    let all = declared();
    ensure!(
        all.len() > 30,
        "the reference page was not understood: {all:?}"
    );
    let missing: Vec<&str> = all
        .into_iter()
        .filter(|metric| !RARE.contains(&metric.0))
        .filter(|metric| values(&before, *metric).is_empty() && values(&after, *metric).is_empty())
        .map(|(name, _)| name)
        .collect();
    ensure!(
        missing.is_empty(),
        "declared and never fed: {missing:?}\n{after}"
    );
    second.sigterm()?;
    let status = second.wait_exit(MINUTE)?;
    ensure!(status.success(), "{status}: {}", second.log()?);
    scenario.done().context("cleaning up")
}
