//! How long a window's rows take after the record that closes it, through one repartition topic.
//!
//! Two commits in a row are measured: that of the source task, which makes the new watermark visible to the window task, and
//! that of the window task, which makes the row visible to the reader. Every source partition has to say that the window is
//! over, so the slowest source task counts. At a commit interval of I one waits I / 2 for the first commit on average, up to
//! I for the second, and for both to be done.
//!
//! Invariant: one monotonic clock in one process; a round is stamped before its first record is sent, of which the last one
//! closes the window before; every row must come exactly once and hold its round's records, all of them and no others. The
//! event time of a round has nothing to do with the clock: rounds are scattered, so that they do not march in step with commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::wait;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;

use super::data::{BEGIN_MS, PARTITIONS, scramble};
use super::latency::{self, Latency, PATIENCE, READY, Sender, WARM_UP_SECONDS};
use super::run::{App, Job};

/// Keys: enough that each shard has some.
pub const LANES: u64 = 16;
/// Windows that are closed in a second of the clock.
pub const PER_SECOND: u64 = 5;
const WINDOW_MS: i64 = 1000;
const GAP_US: u64 = 1_000_000 / PER_SECOND;

/// When each round was sent, in µs since the beginning.
type Sent = Arc<Vec<AtomicU64>>;

/// Closes five windows a second for `seconds` after a warm-up, and waits for every row.
///
/// # Errors
/// The worker or Kafka fails; a row is missing, wrong, or comes twice.
pub fn measure(brokers: &str, job: Job<'_>, input: &str, seconds: u64) -> Result<Latency> {
    let app = App::new(brokers, job, input)?;
    let mut worker = app.start(&[])?;
    worker.wait_ready(READY)?;
    let reader = latency::follow(brokers, &app.output)?;
    // The last round only closes the one before.
    let rounds = PER_SECOND * (WARM_UP_SECONDS + seconds) + 1;
    let sent: Sent = Arc::new((0..rounds).map(|_| AtomicU64::new(0)).collect());
    let began = wait::now();
    let sender = {
        let (brokers, input, sent) = (brokers.to_string(), input.to_string(), Arc::clone(&sent));
        thread::spawn(move || send(&brokers, &input, began, &sent))
    };
    let received = receive(&reader, began, &sent);
    let outcome = sender.join().ok().context("the sender panicked")?;
    latency::stop(&mut worker)?;
    outcome?;
    Latency::of(received?)
}

/// A round is a record for each lane in each partition, all of one window.
fn send(brokers: &str, topic: &str, began: Instant, sent: &Sent) -> Result<()> {
    let sender = Sender::new(brokers, topic)?;
    for (round, sent) in sent.iter().enumerate() {
        let round = round as u64;
        let due = Duration::from_micros(round * GAP_US + scramble(round) % (GAP_US / 2));
        thread::sleep(due.saturating_sub(began.elapsed()));
        sent.store(began.elapsed().as_micros() as u64, Ordering::Release);
        let at = BEGIN_MS + round as i64 * WINDOW_MS;
        for lane in 0..LANES {
            let text = format!(r#"{{"at":{at},"lane":{lane},"round":{round}}}"#);
            for partition in 0..PARTITIONS {
                sender.send(partition, &text)?;
            }
        }
    }
    sender.finish()
}

/// Latencies in ms of the rows of all windows that were closed after the warm-up.
fn receive(reader: &BaseConsumer, began: Instant, sent: &Sent) -> Result<Vec<f64>> {
    let closed = sent.len() as u64 - 1;
    let end = Duration::from_micros((closed + 1) * GAP_US) + PATIENCE;
    let mut seen = vec![false; (closed * LANES) as usize];
    let (mut left, mut latencies) = (seen.len(), Vec::new());
    while left > 0 {
        ensure!(
            began.elapsed() < end,
            "{left} of {} rows did not arrive",
            seen.len()
        );
        let message = match reader.poll(Duration::from_millis(100)) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
            Some(message) => message?,
        };
        let now = began.elapsed().as_micros() as u64;
        let (round, lane) = row(message.payload().unwrap_or_default())?;
        let first = round < closed
            && lane < LANES
            && !std::mem::replace(&mut seen[(round * LANES + lane) as usize], true);
        ensure!(first, "round {round}, lane {lane}: twice, or nobody's");
        left -= 1;
        if round >= PER_SECOND * WARM_UP_SECONDS {
            let closing = sent[round as usize + 1].load(Ordering::Acquire);
            ensure!(
                closing > 0 && closing <= now,
                "round {round} came before it was closed"
            );
            latencies.push((now - closing) as f64 / 1000.0);
        }
    }
    Ok(latencies)
}

/// The round and the lane of a row, which must hold one record of each partition, all of one round.
fn row(text: &[u8]) -> Result<(u64, u64)> {
    let row: serde_json::Value = serde_json::from_slice(text)?;
    let number = |name: &str| {
        row[name]
            .as_u64()
            .with_context(|| format!("no {name}: {row}"))
    };
    let (round, count) = (number("most")?, number("count")?);
    ensure!(
        count == PARTITIONS as u64 && number("least")? == round,
        "a wrong row: {row}"
    );
    Ok((round, number("lane")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_row_of_one_whole_round_is_right() {
        let row = |text: &str| row(text.as_bytes()).ok();
        let right = r#"{"lane":3,"count":4,"least":7,"most":7}"#;
        assert_eq!(row(right), Some((7, 3)));
        assert_eq!(row(&right.replace(r#""count":4"#, r#""count":3"#)), None);
        assert_eq!(row(&right.replace(r#""least":7"#, r#""least":6"#)), None);
        assert_eq!(row("{}"), None);
    }
}
