//! `millstream audit`: reads input and output back, computes the output from the input, and compares.
//!
//! The parts: `shape` what is audited (with `sql` and `lexer`, which read its query); `row` and `value` the input,
//! `model` what must come out of it; `rejects` and `output` what did come out; `compare` both, in both directions;
//! `topics` reading; `report` the result. Everything but this file and `topics` is pure.
//!
//! Invariant: nothing of the engine's decoding, expressions or operators is used, so that a mistake there shows here.

mod compare;
mod lexer;
mod model;
mod output;
mod rejects;
mod report;
mod row;
mod shape;
mod sql;
#[cfg(test)]
mod testing;
mod topics;
mod value;

use super::load;
use super::options::{Format, Global};
use crate::clock::{Clock, SystemClock};
use crate::spec::duration::{self, DurationError};
use anyhow::bail;
use clap::Args;
use compare::{OutputRow, compare};
use model::{InputRecord, Model};
use rejects::RejectBook;
use report::Report;
use shape::Shape;
use std::path::PathBuf;
use std::time::Duration;
use topics::TopicReader;

/// Checks the output of a windowed topology against its input, row by row
///
/// Reads the source's topic, the sink's topic and the reject topic back (read_committed, to the ends of now), computes
/// from the input what the output must be, with an implementation of its own, and compares in both directions. It names
/// rows that are lost, duplicate, extra, wrong, out of order, and fails when there was nothing to compare.
///
/// Windows that the watermark at the end of the input has not closed may be missing; if they are there they must be
/// right. With `late: drop` nobody can know which late rows were dropped: such rows of the result are counted as undecided.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  millstream audit topologies/click-count.yaml
  millstream audit topologies/click-count.yaml --until-end --format json

Exit code: 0 ok, 1 anomalies or nothing to check, 2 the file is invalid or outside what can be audited")]
pub struct AuditArgs {
    /// The topology file
    file: PathBuf,
    /// How long to wait for rows that must be there and are not yet
    #[arg(long, default_value = "30s", value_name = "TIME")]
    timeout: String,
    /// The windowed node to audit, where the file has several
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The sink to audit, where the file has several
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// The application has run with --until-end to the end of the input: every window must be there
    #[arg(long)]
    until_end: bool,
    /// Partitions may have been idle, added, or resumed after an end: rows on time by their own partition may be late
    #[arg(long)]
    idle_sources: bool,
    /// Fail if rows of the result cannot be decided
    #[arg(long)]
    strict: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Between two looks at an output that is not complete.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub fn audit(args: &AuditArgs, global: &Global) -> anyhow::Result<u8> {
    let (spec, _) = load::topology(&args.file)?;
    let shape =
        Shape::of(&spec, args.node.as_deref(), args.sink.as_deref()).map_err(load::Usage)?;
    let timeout = duration::parse(&args.timeout).map_err(|cause| {
        load::Usage(format!(
            "--timeout: {cause}: write {}",
            DurationError::help()
        ))
    })?;
    let timeout = Duration::from_millis(timeout.unsigned_abs());
    let cluster = global.connect(&format!("{}-audit", spec.app.value))?;
    let open = |topic: &str| -> anyhow::Result<TopicReader> {
        TopicReader::open(
            cluster.admin.as_ref(),
            cluster.clients.consumer(topic)?,
            topic,
        )
    };
    let mut auditor = Auditor {
        input: open(&shape.input_topic)?,
        output: open(&shape.output_topic)?,
        rejects: open(&shape.rejects_topic)?,
        shape: &shape,
        cluster: &cluster,
        clock: SystemClock::new(),
        model: Model::default(),
        book: RejectBook::default(),
        rows: vec![],
        watermark: None,
    };
    auditor.check_starts()?;
    let report = auditor.run(args, timeout)?;
    match args.format {
        Format::Text => super::print(&report.text())?,
        Format::Json => super::print(&format!("{:#}\n", report.json()))?,
    }
    Ok(u8::from(!report.ok()))
}

struct Auditor<'a> {
    shape: &'a Shape,
    cluster: &'a super::options::Cluster,
    clock: SystemClock,
    input: TopicReader,
    output: TopicReader,
    rejects: TopicReader,
    model: Model,
    book: RejectBook,
    rows: Vec<OutputRow>,
    /// Windows up to here must be there: the watermark at the end of the input that the audit began with.
    watermark: Option<i64>,
}

impl Auditor<'_> {
    fn check_starts(&self) -> anyhow::Result<()> {
        for (reader, topic) in [
            (&self.input, &self.shape.input_topic),
            (&self.output, &self.shape.output_topic),
            (&self.rejects, &self.shape.rejects_topic),
        ] {
            if let Some((partition, start)) = reader.starts().iter().find(|(_, start)| **start > 0)
            {
                bail!(
                    "{topic}/{partition} begins at offset {start}: its first records were deleted, and without them \
                     nothing can be proved"
                );
            }
        }
        Ok(())
    }

    fn run(&mut self, args: &AuditArgs, timeout: Duration) -> anyhow::Result<Report> {
        let begin = self.clock.elapsed();
        loop {
            self.read_on()?;
            if self.watermark.is_none() {
                self.watermark = if args.until_end {
                    Some(i64::MAX)
                } else {
                    self.model.watermark(self.shape)
                };
            }
            let report = self.compare(args);
            let may_heal = !report.comparison.anomalies.is_empty()
                && report
                    .comparison
                    .anomalies
                    .iter()
                    .all(|anomaly| anomaly.kind.may_heal());
            let waited = self.clock.elapsed().saturating_sub(begin);
            if !may_heal || waited >= timeout {
                return Ok(report);
            }
            tracing::info!(
                anomalies = report.comparison.anomalies.len(),
                "the output is not complete yet; waiting"
            );
            std::thread::sleep(LOOK_AGAIN.min(timeout - waited));
        }
    }

    /// Output before rejects before input: whatever made a row of the output, the audit has read it too.
    fn read_on(&mut self) -> anyhow::Result<()> {
        let Auditor {
            shape,
            cluster,
            clock,
            input,
            output,
            rejects,
            model,
            book,
            rows,
            ..
        } = self;
        let admin = cluster.admin.as_ref();
        output.read_on(admin, clock, &mut |fetch, record| {
            let place = (fetch.at.partition, fetch.offset(record));
            rows.push(output::read(
                shape,
                place,
                fetch.key(record),
                fetch.value(record),
            ));
        })?;
        let mut contradicted = false;
        rejects.read_on(admin, clock, &mut |fetch, record| {
            let place = (fetch.at.partition, fetch.offset(record));
            if let Some(named) = book.read(shape, place, fetch.value(record)) {
                contradicted |= model.contradicted_by(named, input.next(named.0));
            }
        })?;
        if contradicted {
            *model = Model::default();
            input.rewind();
        }
        let now_ms = clock.wall_ms();
        input.read_on(admin, clock, &mut |fetch, record| {
            let record = InputRecord {
                place: (fetch.at.partition, fetch.offset(record)),
                timestamp: fetch.timestamp(record),
                value: fetch.value(record),
            };
            model.read(shape, book, &record, now_ms);
        })
    }

    fn compare(&self, args: &AuditArgs) -> Report {
        let shape = self.shape;
        let expected = self.model.expected(shape, &self.book, self.watermark);
        let columns: Vec<String> = shape.items.iter().map(|item| item.name.clone()).collect();
        let mut comparison = compare(&expected, &self.rows, &columns, shape.one_partition());
        comparison.check_derived(self.book.derived);
        comparison
            .anomalies
            .extend(self.model.judge_rejects(&self.book, args.idle_sources));
        comparison
            .anomalies
            .extend(self.book.anomalies.iter().cloned());
        Report {
            node: shape.node.clone(),
            input_topic: shape.input_topic.clone(),
            output_topic: shape.output_topic.clone(),
            input: self.model.counts,
            output_records: self.rows.len() as u64,
            late_rejects: self.book.late_records() as u64,
            derived_rejects: self.book.derived,
            comparison,
            strict: args.strict,
            drops_late: shape.late == crate::spec::LatePolicy::Drop,
        }
    }
}
