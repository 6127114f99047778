//! `millstream generate`: test data for a topic. This file knows the flags, paces and sends; what is sent is decided
//! in [`clicks`].
//!
//! Invariant: every click that was counted as sent was acknowledged by the broker before the command says so.

pub mod clicks;

use super::load::Usage;
use super::options::Global;
use crate::broker::kafka::PlainProducer;
use crate::clock::{Clock, SystemClock};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use clicks::{Clicks, Shape};
use std::time::Duration;

/// Which data set.
#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    Clicks(ClicksArgs),
}

/// Clicks on the pages of a web shop, as JSON: {"timestamp": <ms>, "page": "/shop"}
///
/// Each page gets exactly --per-page clicks in each 15 s window of event time. Clicks arrive out of order by at most
/// --disorder-ms of event time, and those of one page are spread over all partitions. Records are stamped with the
/// wall clock.
///
/// After the last window nothing more is sent, so watermarks do not pass its end: it closes when its partitions are
/// idle (`idle_after`), or by `run --until-end`. With --closing-ms clicks go on into the next window.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  millstream generate clicks --topic input --windows 20 --speed 10
  millstream generate clicks --topic input --windows 0 --rate 50000     # endless, until Ctrl-C
  millstream generate clicks --topic input --count 10000000 --speed 0   # as fast as the broker takes them")]
pub struct ClicksArgs {
    /// Topic to write to; it must exist
    #[arg(long, default_value = "input")]
    topic: String,
    /// Windows of 15 s of event time; 0 for endless [default: 20, or as many as --count needs]
    #[arg(long, value_name = "N")]
    windows: Option<u64>,
    /// Pages; the first six are those of Flink's playground
    #[arg(long, default_value_t = 6, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pages: u32,
    /// Clicks of each page in each window
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    per_page: u32,
    /// Seconds of event time per second of wall clock; 0 for as fast as possible
    #[arg(long, default_value_t = 1.0, value_name = "X", conflicts_with = "rate")]
    speed: f64,
    /// Clicks per second of wall clock, instead of --speed; 0 for as fast as possible
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// By how much a click may arrive out of order, in ms of event time
    #[arg(long, default_value_t = 200, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..=86_400_000))]
    disorder_ms: i64,
    /// Spread over partitions 0 to N-1; by default all that the topic has
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// The same seed gives the same clicks
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Stop after this many clicks, wherever that falls
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Event time of the first window, ms since 1970, rounded down to 15 s
    #[arg(long, default_value_t = 1_700_000_000_000, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..=253_402_300_799_999))]
    start_ms: i64,
    /// Send clicks for this much event time past the last window, so that it closes
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..))]
    closing_ms: i64,
}

/// When the clicks are due.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pace {
    Unlimited,
    /// Event time per wall-clock time.
    Speed(f64),
    /// Clicks per second.
    Rate(f64),
}

impl Pace {
    fn of(args: &ClicksArgs) -> anyhow::Result<Pace> {
        let value = args.rate.unwrap_or(args.speed);
        if !value.is_finite() || value < 0.0 {
            bail!(Usage(
                "--speed and --rate take a number of at least 0".to_owned()
            ));
        }
        Ok(match args.rate {
            _ if value == 0.0 => Pace::Unlimited,
            Some(rate) => Pace::Rate(rate),
            None => Pace::Speed(args.speed),
        })
    }

    /// Time after the beginning at which a click is due: number `sent`, arriving `into_ms` after the first window began.
    fn due(self, sent: u64, into_ms: i64) -> Duration {
        match self {
            Pace::Unlimited => Duration::ZERO,
            Pace::Speed(speed) => Duration::from_secs_f64(into_ms.max(0) as f64 / 1000.0 / speed),
            Pace::Rate(rate) => Duration::from_secs_f64(sent as f64 / rate),
        }
    }
}

const DEFAULT_WINDOWS: u64 = 20;
/// How long the producer may wait for the last acknowledgements.
const FLUSH: Duration = Duration::from_secs(60);
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(1);

pub fn generate(command: &GenerateCommand, global: &Global) -> anyhow::Result<u8> {
    match command {
        GenerateCommand::Clicks(args) => generate_clicks(args, global),
    }
}

fn generate_clicks(args: &ClicksArgs, global: &Global) -> anyhow::Result<u8> {
    let pace = Pace::of(args)?;
    let cluster = global.connect("millstream-generate")?;
    let topics = cluster.admin.topics(std::slice::from_ref(&args.topic))?;
    let Some(topic) = topics.into_iter().find(|topic| topic.name == args.topic) else {
        bail!(
            "topic {} does not exist; make it with `millstream topics create FILE`",
            args.topic
        );
    };
    let partitions = args.partitions.unwrap_or(topic.partitions);
    if partitions > topic.partitions {
        bail!(Usage(format!(
            "topic {} has {} partitions, not {partitions}",
            args.topic, topic.partitions
        )));
    }
    let clicks = Clicks::new(Shape {
        pages: args.pages,
        per_page: args.per_page,
        windows: match args.windows {
            Some(0) => None,
            Some(windows) => Some(windows),
            None => args.count.is_none().then_some(DEFAULT_WINDOWS),
        },
        closing_ms: args.closing_ms,
        disorder_ms: args.disorder_ms,
        partitions,
        start_ms: args.start_ms,
        seed: args.seed,
    });
    let mut producer = PlainProducer::new(&cluster.config)?;
    let sent = send(clicks, args, pace, &mut producer, &SystemClock::new())?;
    super::say(&format!(
        "{sent} clicks sent to {} and acknowledged",
        args.topic
    ));
    Ok(0)
}

/// Sends the clicks as they become due; returns how many the broker acknowledged, which is all of them.
fn send(
    clicks: Clicks,
    args: &ClicksArgs,
    pace: Pace,
    producer: &mut PlainProducer,
    clock: &dyn Clock,
) -> anyhow::Result<u64> {
    let names = clicks.page_names();
    let start_ms = clicks.start_ms();
    let begin = clock.elapsed();
    let mut last_progress = begin;
    let mut document = Vec::with_capacity(64);
    let mut sent = 0;
    for click in clicks.take(args.count.map_or(usize::MAX, |count| count as usize)) {
        let due = begin + pace.due(sent, click.arrival_ms - start_ms);
        loop {
            let now = clock.elapsed();
            if now.saturating_sub(last_progress) >= PROGRESS {
                last_progress = now;
                let windows = (click.event_time_ms - start_ms) / clicks::WINDOW_MS;
                super::say(&format!(
                    "{sent} clicks sent, {windows} windows of event time passed"
                ));
            }
            if now >= due {
                break;
            }
            producer.poll()?;
            std::thread::sleep((due - now).min(Duration::from_millis(20)));
        }
        click.write_json(&names, &mut document);
        producer.send(&args.topic, click.partition, &document)?;
        sent += 1;
    }
    producer
        .finish(FLUSH)
        .context("not every click was acknowledged")?;
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_scales_event_time_and_rate_counts_clicks() {
        assert_eq!(
            Pace::Speed(10.0).due(999, 15_000),
            Duration::from_millis(1500)
        );
        assert_eq!(
            Pace::Rate(100.0).due(250, 15_000),
            Duration::from_millis(2500)
        );
        assert_eq!(Pace::Unlimited.due(1_000_000, 15_000), Duration::ZERO);
        assert_eq!(Pace::Speed(10.0).due(0, -5), Duration::ZERO);
    }
}
