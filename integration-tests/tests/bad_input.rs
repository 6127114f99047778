//! Broken records at known places: each one is a reject with its origin, its neighbours count, and the sums are exact.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::kafka;
use integration_tests::process::Worker;
use integration_tests::scenario::Scenario;
use integration_tests::topics::Record;
use serde_json::{Value, json};

const START: i64 = 1_700_000_010_000;

/// What stands between good records: the bytes and the cause that the reject must name.
fn broken() -> Vec<(Option<Vec<u8>>, &'static str)> {
    let text = |s: &str| Some(s.as_bytes().to_vec());
    let mut long = br#"{"timestamp": 1700000010000, "page": ""#.to_vec();
    long.extend(std::iter::repeat_n(b'x', 900_000));
    vec![
        (text(r#"{"timestamp": 1700000010000, "page""#), "malformed"),
        (
            text(
                r#"{"timestamp": 1700000010000, "page": "/a"} {"timestamp": 1700000010000, "page": "/b"}"#,
            ),
            "malformed",
        ),
        (text(r#"{"timestamp": 1700000010000, "#), "malformed"),
        (text(r#""page": "/a"}"#), "malformed"),
        (text(""), "malformed"),
        (None, "null_value"),
        (text(r#"{"timestamp": "soon", "page": "/a"}"#), "wrong_type"),
        (
            text(r#"{"timestamp": 1700000010000.5, "page": "/a"}"#),
            "wrong_type",
        ),
        (
            text(r#"{"timestamp": 1700000010000, "page": 7}"#),
            "wrong_type",
        ),
        (
            text(r#"{"timestamp": 1700000010000, "page": "/a", "page": "/b"}"#),
            "malformed",
        ),
        (text(r#"{"page": "/a"}"#), "bad_timestamp"),
        (text(r#"{"timestamp": -5, "page": "/a"}"#), "bad_timestamp"),
        (
            text(r#"{"timestamp": 99999999999999, "page": "/a"}"#),
            "bad_timestamp",
        ),
        (Some(long), "malformed"),
        (
            Some(b"{\"timestamp\": 1700000010000, \"page\": \"\xff\xfe\"}".to_vec()),
            "malformed",
        ),
        (text("[1, 2]"), "malformed"),
    ]
}

fn record(partition: i32, value: Option<Vec<u8>>) -> Record {
    Record {
        value,
        ..Record::json(partition, START, &json!({}))
    }
}

#[test]
fn broken_records_are_rejected_with_cause_and_origin_and_harm_nobody() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "broken")?;
    let mut records = Vec::new();
    let mut expected = BTreeSet::new();
    let mut offsets = [0i64; 4];
    for round in 0..50 {
        for (index, (value, cause)) in broken().into_iter().enumerate() {
            let partition = ((round + index) % 4) as i32;
            let good = json!({"timestamp": START + (round % 100) as i64, "page": "/a"});
            records.push(Record::json(partition, START, &good));
            offsets[partition as usize] += 1;
            if round == 7 {
                expected.insert((partition, offsets[partition as usize], cause.to_string()));
                records.push(record(partition, value));
                offsets[partition as usize] += 1;
            }
        }
    }
    let good = 50 * broken().len();
    scenario.produce(&records)?;
    let mut worker = scenario
        .worker("w1")
        .flag("--until-end")
        .start("w1", scenario.home())?;
    let status = worker.wait_exit(Duration::from_secs(90))?;
    ensure!(status.success(), "{status}: {}", worker.log()?);
    let rows = scenario.rows()?;
    ensure!(
        rows.len() == 1 && rows[0]["count"] == json!(good),
        "{rows:?}, wanted one row that counts {good}"
    );
    let found: BTreeSet<_> = scenario.rejects()?.iter().map(place).collect();
    ensure!(
        found == expected,
        "rejects: {found:?}\nwanted: {expected:?}"
    );
    scenario.audit()?;
    scenario.done()
}

fn place(reject: &Value) -> (i32, i64, String) {
    let number = |key: &str| reject[key].as_i64().unwrap_or(-1);
    (
        number("partition") as i32,
        number("offset"),
        reject["cause"].as_str().unwrap_or("").to_string(),
    )
}

/// The committed counts of the source's tasks: every record is either rejected or processed.
#[test]
fn the_identity_of_a_source_holds_in_the_committed_facts() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "identity")?;
    let mut records = Vec::new();
    for i in 0..400 {
        records.push(Record::json(
            i % 4,
            START,
            &json!({"timestamp": START + i64::from(i), "page": "/a"}),
        ));
        if i % 10 == 0 {
            records.push(record(i % 4, Some(b"{".to_vec())));
        }
    }
    scenario.produce(&records)?;
    let mut worker: Worker = scenario.start("w1")?;
    worker.wait_ready(Duration::from_secs(60))?;
    let sums = integration_tests::wait::until(
        "all records are committed",
        Duration::from_secs(60),
        || {
            let status = worker.status()?;
            let sum = |key: &str| -> u64 {
                let tasks = status["tasks"].as_array().into_iter().flatten();
                let sources =
                    tasks.filter(|t| t["task"].as_str().is_some_and(|t| t.starts_with("clicks/")));
                sources.filter_map(|t| t["counts"][key].as_u64()).sum()
            };
            let sent: u64 = status["tasks"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|t| t["counts"]["sent"].as_array())
                .flatten()
                .filter_map(Value::as_u64)
                .sum();
            let received: u64 = status["tasks"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|t| t["counts"]["window"]["received"].as_u64())
                .sum();
            let sums = (sum("records"), sum("rejected"), sent, received);
            Ok((sums.0 == 440 && sums.3 == 400).then_some(sums))
        },
    )?;
    ensure!(
        sums == (440, 40, 400, 400),
        "records, rejected, sent, received: {sums:?}"
    );
    worker.sigterm()?;
    ensure!(
        worker.wait_exit(Duration::from_secs(60))?.success(),
        "{}",
        worker.log()?
    );
    scenario.done()
}
