//! The auditor on real topics: a right output passes, each planted error is named by its kind, and an audit of nothing fails. It is the
//! judge of other tests, so it is judged here.
//!
//! One run of the engine makes the right output. Its records are copied, with one error each, into topics of their own, and the
//! auditor is given a topology file that names the copy.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::kafka;
use integration_tests::process::Millstream;
use integration_tests::scenario::{PARTITIONS, Scenario};
use integration_tests::topics::{self, Isolation, Record};
use serde_json::{Value, json};

const WINDOWS: u32 = 6;
const PAGES: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);

/// The engine's output of a bounded run, every window closed.
fn right_output(scenario: &Scenario) -> Result<Vec<Record>> {
    let mut generator = scenario.generate(WINDOWS, 0)?;
    ensure!(
        generator.wait_exit(PATIENCE)?.success(),
        "{}",
        generator.log()?
    );
    let mut worker = scenario
        .worker("w1")
        .flag("--until-end")
        .start("w1", scenario.home())?;
    let status = worker.wait_exit(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", worker.log()?);
    let rows = topics::read(&scenario.brokers, &scenario.output, Isolation::Committed)?;
    ensure!(
        rows.len() == WINDOWS as usize * PAGES,
        "{} rows",
        rows.len()
    );
    Ok(rows)
}

/// Asks the auditor about a copy of the output that holds these records.
fn audit(scenario: &Scenario, name: &str, rows: &[Record]) -> Result<(ExitStatus, Value)> {
    let copy = format!("{}-{name}", scenario.output);
    topics::create(&scenario.brokers, &copy, PARTITIONS, &[])?;
    topics::produce(&scenario.brokers, &copy, rows)?;
    let text = std::fs::read_to_string(&scenario.topology)?;
    let named = text.replace(&scenario.output, &copy);
    ensure!(named != text, "the topology does not name its output");
    let file = scenario.home().join(format!("{name}.yaml"));
    std::fs::write(&file, named)?;
    ask(scenario, &file.to_string_lossy())
}

/// Runs the auditor on a file, as after a bounded run.
fn ask(scenario: &Scenario, file: &str) -> Result<(ExitStatus, Value)> {
    let arguments = [
        "audit",
        file,
        "--until-end",
        "--timeout",
        "1s",
        "--format",
        "json",
    ];
    let (status, text) = Millstream::new(&scenario.brokers, arguments).output()?;
    let report =
        serde_json::from_str(&text).with_context(|| format!("{status}, no report: {text}"))?;
    Ok((status, report))
}

/// A copy of a row with other fields.
fn changed(row: &Record, change: impl FnOnce(&mut Value)) -> Result<Record> {
    let mut document = row.document()?;
    change(&mut document);
    let mut row = row.clone();
    row.value = Some(document.to_string().into_bytes());
    Ok(row)
}

/// The places of two rows of one key, the first of which must come first.
fn same_key(rows: &[Record]) -> Result<(usize, usize)> {
    let first = rows.len() / 2;
    let next = (first + 1..rows.len())
        .find(|at| rows[*at].key == rows[first].key && rows[*at].partition == rows[first].partition)
        .context("a key with one row only")?;
    Ok((first, next))
}

/// Each kind of error, as the auditor calls it, with an output that has it once.
fn planted(rows: &[Record]) -> Result<Vec<(&'static str, Vec<Record>)>> {
    let at = rows.len() / 2;
    let mut lost = rows.to_vec();
    lost.remove(at);
    let mut duplicate = rows.to_vec();
    duplicate.insert(at, rows[at].clone());
    // A page that nobody has clicked on, in the last window: neither late nor out of order.
    let mut extra = rows.to_vec();
    let mut foreign = changed(&rows[rows.len() - 1], |row| row["page"] = json!("/nobody"))?;
    foreign.key = Some(b"/nobody".to_vec());
    extra.push(foreign);
    let mut wrong = rows.to_vec();
    wrong[at] = changed(&rows[at], |row| row["count"] = json!(999))?;
    let mut disorder = rows.to_vec();
    let (first, next) = same_key(rows)?;
    disorder.swap(first, next);
    let mut moved = rows.to_vec();
    let last = moved.last_mut().context("no rows")?;
    last.partition = (last.partition + 1) % PARTITIONS;
    let mut key = rows.to_vec();
    key[at].key = Some(b"/another".to_vec());
    let mut broken = rows.to_vec();
    let mut torn = rows[at].clone();
    torn.value = Some(b"{\"count\": 10".to_vec());
    broken.push(torn);
    Ok(vec![
        ("lost", lost),
        ("duplicate", duplicate),
        ("extra", extra),
        ("wrong value", wrong),
        ("out of order", disorder),
        ("moved", moved),
        ("wrong key", key),
        ("unreadable", broken),
    ])
}

/// Bites: a kind of error that is not seen, is given another name, or drags others along; an exit code that is 0 in spite of it.
#[test]
fn every_planted_error_is_named_and_the_right_output_passes() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "audit")?;
    let rows = right_output(&scenario)?;
    let (status, report) = ask(&scenario, &scenario.file())?;
    ensure!(status.code() == Some(0), "{status}: {report:#}");
    ensure!(
        report["rows_checked"] == rows.len() && report["windows_checked"] == WINDOWS,
        "{report:#}"
    );
    // The copy itself plants nothing.
    let (status, report) = audit(&scenario, "copy", &rows)?;
    ensure!(status.code() == Some(0), "{status}: {report:#}");
    for (kind, rows) in planted(&rows)? {
        let (status, report) = audit(&scenario, &kind.replace(' ', "-"), &rows)?;
        eprintln!("{kind}: {status}, {}", report["summary"]);
        ensure!(status.code() == Some(1), "{kind}: {status}: {report:#}");
        ensure!(report["ok"] == false, "{kind}: {report:#}");
        let listed = &report["anomaly_counts"];
        let found = listed.as_object().context("no counts")?;
        ensure!(
            found.len() == 1 && found.get(kind) == Some(&json!(1)),
            "{kind} was planted once, found: {report:#}"
        );
    }
    scenario.done()
}

/// Bites: an auditor that takes "nothing wrong was found" for "right", the error of checkers that cannot fail.
#[test]
fn an_audit_that_has_checked_nothing_fails() -> Result<()> {
    let scenario = Scenario::clicks(kafka::shared().bootstrap(), "nothing")?;
    let rejects = format!("{}.rejects", scenario.app);
    topics::create(&scenario.brokers, &rejects, PARTITIONS, &[])?;
    let (status, report) = ask(&scenario, &scenario.file())?;
    ensure!(
        status.code() == Some(1),
        "no rows at all: {status}: {report:#}"
    );
    ensure!(
        report["ok"] == false && report["rows_checked"] == 0,
        "{report:#}"
    );
    // Input that no engine has ever read: all of it is lost.
    let mut generator = scenario.generate(1, 0)?;
    ensure!(
        generator.wait_exit(PATIENCE)?.success(),
        "{}",
        generator.log()?
    );
    let (status, report) = ask(&scenario, &scenario.file())?;
    ensure!(status.code() == Some(1), "no output: {status}: {report:#}");
    ensure!(report["anomaly_counts"]["lost"] == PAGES, "{report:#}");
    scenario.done()
}
