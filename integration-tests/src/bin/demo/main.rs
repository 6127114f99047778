//! `make demo`: click-count on a real Kafka while workers are killed, and the proof that no count is wrong.
//!
//! Invariant: the verdict comes from what Kafka holds (a `read_committed` reader of the output, the raw log for aborted transactions,
//! `millstream audit`), never from what the workers say. A run in which nothing was killed or no window closed is a failure.

mod args;
mod fleet;
mod tally;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::aborts::{Aborted, Watch};
use integration_tests::kafka::Kafka;
use integration_tests::process::{Millstream, Worker};
use integration_tests::topics::{self, Isolation, Tail};
use integration_tests::wait;

use args::Args;
use fleet::Fleet;
use tally::{PAGES, PER_PAGE, Tally};

const PARTITIONS: &str = "4";
const DISORDER_MS: &str = "200";
/// Topics in which records of aborted transactions are looked for.
const WRITTEN_TOPICS: [&str; 2] = ["output", "click-count.counts.repartition"];
/// After the last click: how long without a new row until nothing more is awaited.
const QUIET: Duration = Duration::from_secs(15);
/// The bound on everything after the last click.
const PATIENCE: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    match args::parse(std::env::args().skip(1))
        .and_then(|args| args.map_or(Ok(true), |args| run(&args)))
    {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is seen while it runs, printed with the time since the start.
struct Scene {
    began: Instant,
    tail: Tail,
    tally: Tally,
    fleet: Fleet,
    generator: Worker,
    last_row: Instant,
}

fn say(began: Instant, line: &str) {
    println!("[{:6.1} s] {line}", began.elapsed().as_secs_f64());
}

fn run(args: &Args) -> Result<bool> {
    let began = wait::now();
    let topology = integration_tests::repository()?.join("topologies/click-count.yaml");
    say(
        began,
        "starting Kafka (the first time its jars are downloaded)",
    );
    let kafka = Kafka::start()?;
    let brokers = kafka.bootstrap();
    say(
        began,
        &format!(
            "Kafka answers at {brokers}; creating the topics of {}",
            topology.display()
        ),
    );
    let file = topology.to_string_lossy();
    Millstream::new(
        brokers,
        ["topics", "create", &file, "--partitions", PARTITIONS],
    )
    .succeed()?;
    for topic in ["input", "output"] {
        ensure!(
            topics::read(brokers, topic, Isolation::Uncommitted)?.is_empty(),
            "topic {topic} on {brokers} is not empty: the demo counts everything in it"
        );
    }
    // Kept after a failure: logs are what one wants to see then.
    let home = tempfile::Builder::new()
        .prefix("millstream-demo-")
        .tempdir()?
        .keep();
    let watch = Watch::start(brokers, &WRITTEN_TOPICS);
    let mut scene = Scene {
        began,
        tail: Tail::start(brokers, "output")?,
        tally: Tally::default(),
        generator: generate(brokers, args, &home)?,
        fleet: Fleet::start(brokers, &topology, args.workers, &home, args.seed)?,
        last_row: began,
    };
    scene.introduce(args, &home);
    scene.play(args)?;
    say(began, "stopping the workers (SIGTERM)");
    scene.fleet.stop()?;
    let right = scene.verdict(args, &watch.finish()?);
    let audited = audit(brokers, &file, began)?;
    if right && audited {
        std::fs::remove_dir_all(&home).with_context(|| format!("removing {}", home.display()))?;
    } else {
        say(
            began,
            &format!("FAILED; logs and state are kept in {}", home.display()),
        );
    }
    Ok(right && audited)
}

fn generate(brokers: &str, args: &Args, home: &Path) -> Result<Worker> {
    let number = |n: u64| n.to_string();
    let (windows, speed, seed) = (
        number(args.windows()),
        number(args.speed),
        number(args.seed),
    );
    let (pages, per_page) = (PAGES.to_string(), PER_PAGE.to_string());
    #[rustfmt::skip]
    let arguments = [
        "generate", "clicks", "--topic", "input", "--windows", &windows, "--pages", &pages, "--per-page", &per_page,
        "--speed", &speed, "--disorder-ms", DISORDER_MS, "--partitions", PARTITIONS, "--seed", &seed,
    ];
    Millstream::new(brokers, arguments).start("generator", home)
}

impl Scene {
    fn say(&self, line: &str) {
        say(self.began, line);
    }

    fn introduce(&self, args: &Args, home: &Path) {
        let windows = args.windows();
        self.say(&format!(
            "{windows} windows of 15 s, {PAGES} pages, {PER_PAGE} clicks each, {} times as fast as the clock (seed {})",
            args.speed, args.seed
        ));
        for address in self.fleet.addresses() {
            self.say(&address);
        }
        self.say(&format!("logs and state: {}", home.display()));
    }

    /// Until the generator is done and the output stands still.
    fn play(&mut self, args: &Args) -> Result<()> {
        let all = args.windows() as usize;
        let mut generated: Option<Instant> = None;
        loop {
            for row in self.tail.poll(Duration::from_millis(100))? {
                self.last_row = wait::now();
                if let Some(line) = self.tally.take(&row.document()?)? {
                    self.say(&line);
                }
            }
            for line in self.fleet.step(generated.is_none())? {
                self.say(&line);
            }
            if let (None, Some(status)) = (generated, self.generator.exited()?) {
                ensure!(
                    status.success(),
                    "the generator failed ({status}): {}",
                    self.generator.log()?
                );
                self.say("all clicks are generated; no more kills");
                generated = Some(wait::now());
            }
            let Some(since) = generated else { continue };
            // The last window stays open: no later click moves the watermark past its end.
            let quiet = self.tally.complete() + 1 >= all && self.last_row.elapsed() >= QUIET;
            if self.tally.complete() >= all || quiet || since.elapsed() >= PATIENCE {
                return Ok(());
            }
        }
    }

    /// Prints the summary; true if all is as it must be.
    fn verdict(&self, args: &Args, aborted: &Aborted) -> bool {
        let (closed, wrong) = (self.tally.windows(), self.tally.wrong());
        let expected = args.windows() as usize;
        println!();
        println!("windows closed        {closed} of {expected} (the last one may stay open)");
        println!("kills survived        {}", self.fleet.kills);
        println!("takeovers             {}", takeovers(&self.fleet.takeovers));
        println!(
            "transactions aborted  at least {}, holding {} records",
            aborted.transactions, aborted.records
        );
        if wrong.is_empty() && closed > 0 {
            println!(
                "counts                exactly {PER_PAGE} for each of the {PAGES} pages, in every window"
            );
        }
        for line in &wrong {
            println!("WRONG  {}  {}", line.window, line.what);
        }
        if closed + 1 < expected {
            println!("WRONG  only {closed} of {expected} windows closed");
        }
        if self.fleet.kills == 0 {
            println!("WRONG  nothing was killed, so nothing is shown: give it more --seconds");
        }
        wrong.is_empty() && closed > 0 && closed + 1 >= expected && self.fleet.kills > 0
    }
}

fn takeovers(durations: &[u64]) -> String {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    match (sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(median), Some(longest)) => {
            format!("{}, median {median} ms, longest {longest} ms", sorted.len())
        }
        _ => "none was seen".to_string(),
    }
}

fn audit(brokers: &str, file: &str, began: Instant) -> Result<bool> {
    println!();
    say(
        began,
        "auditing: the expected result is computed from the input read back",
    );
    let (status, report) = Millstream::new(brokers, ["audit", file]).output()?;
    print!("{report}");
    Ok(status.success())
}
