//! The comparison: output rows against expected rows, in both directions. Pure.
//!
//! Invariant: every output row is looked at, none stands for another: a repeated row is an anomaly even if it is equal,
//! and a later row never replaces an earlier one. An audit that compared nothing has failed.

use super::value::{Value, show_time};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// One result row's identity: the window and the group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Exclusive, ms since 1970.
    pub end: i64,
    pub key: Vec<Value>,
}

impl GroupKey {
    fn show_key(&self) -> String {
        self.key
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExpectedRow {
    /// All columns of the row.
    Values(Vec<Value>),
    /// A result that does not fit its type: no row.
    Rejected,
    /// Rows were late, or not: only the engine's counts know.
    Undecided,
}

/// What must stand in the output for a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    pub row: ExpectedRow,
    /// The watermark at the end of the input has closed the window: the row must be there. Otherwise it may be.
    pub closed: bool,
}

/// A record of the output topic.
#[derive(Debug, Clone)]
pub struct OutputRow {
    pub partition: i32,
    pub offset: i64,
    /// What it is, or why it cannot be read.
    pub content: Result<OutputContent, String>,
}

#[derive(Debug, Clone)]
pub struct OutputContent {
    pub group: GroupKey,
    /// All columns of the row.
    pub values: Vec<Value>,
    /// The record's key is not what the row's key columns say.
    pub wrong_key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnomalyKind {
    Lost,
    Duplicate,
    Extra,
    WrongValue,
    OutOfOrder,
    Moved,
    WrongKey,
    Unreadable,
    NotRejected,
    WronglyRejected,
    DuplicateReject,
    LateOnTime,
}

impl AnomalyKind {
    pub fn as_str(self) -> &'static str {
        match self {
            AnomalyKind::Lost => "lost",
            AnomalyKind::Duplicate => "duplicate",
            AnomalyKind::Extra => "extra",
            AnomalyKind::WrongValue => "wrong value",
            AnomalyKind::OutOfOrder => "out of order",
            AnomalyKind::Moved => "moved",
            AnomalyKind::WrongKey => "wrong key",
            AnomalyKind::Unreadable => "unreadable",
            AnomalyKind::NotRejected => "not rejected",
            AnomalyKind::WronglyRejected => "wrongly rejected",
            AnomalyKind::DuplicateReject => "duplicate reject",
            AnomalyKind::LateOnTime => "late, but on time",
        }
    }

    /// Waiting may heal it: the row may still be on its way.
    pub fn may_heal(self) -> bool {
        matches!(
            self,
            AnomalyKind::Lost
                | AnomalyKind::WrongValue
                | AnomalyKind::Extra
                | AnomalyKind::NotRejected
        )
    }
}

impl fmt::Display for AnomalyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    pub kind: AnomalyKind,
    /// ms since 1970.
    pub window_end: Option<i64>,
    pub key: String,
    /// Partition and offset in the output (or reject) topic.
    pub place: Option<(i32, i64)>,
    pub detail: String,
}

/// What was compared, and what was wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Windows of which at least one row was compared value by value.
    pub windows: u64,
    /// Rows compared value by value.
    pub rows: u64,
    /// Groups that cannot be decided.
    pub undecided: u64,
    /// Groups whose window need not be there yet, and is not.
    pub open: u64,
    /// Groups of closed windows whose result must be a reject.
    pub rejected: u64,
    pub anomalies: Vec<Anomaly>,
}

impl Comparison {
    /// Whether the audit has succeeded: something was compared and nothing was wrong.
    pub fn ok(&self, strict: bool) -> bool {
        self.rows > 0 && self.anomalies.is_empty() && !(strict && self.undecided > 0)
    }
}

/// Compares. Rows of a partition come in the order of their offsets; `columns` names the values. `one_partition`: the
/// rows of a group must all stand on one partition.
pub fn compare(
    expected: &BTreeMap<GroupKey, Expected>,
    output: &[OutputRow],
    columns: &[String],
    one_partition: bool,
) -> Comparison {
    let mut comparison = Comparison::default();
    let mut windows = BTreeSet::new();
    let mut seen: BTreeMap<&GroupKey, &OutputContent> = BTreeMap::new();
    let mut places = Places::of(output);
    for row in output {
        let content = match &row.content {
            Ok(content) => content,
            Err(why) => {
                comparison.report(AnomalyKind::Unreadable, None, row, why.clone());
                continue;
            }
        };
        places.check_order(&mut comparison, row, &content.group);
        if one_partition {
            places.check_home(&mut comparison, row, &content.group);
        }
        if let Some(why) = &content.wrong_key {
            comparison.report(
                AnomalyKind::WrongKey,
                Some(&content.group),
                row,
                why.clone(),
            );
        }
        if let Some(first) = seen.get(&content.group) {
            let same = if first.values == content.values {
                "the same values"
            } else {
                "other values"
            };
            comparison.report(
                AnomalyKind::Duplicate,
                Some(&content.group),
                row,
                format!("stands there again, {same}"),
            );
            continue;
        }
        seen.insert(&content.group, content);
        match expected.get(&content.group).map(|expected| &expected.row) {
            Some(ExpectedRow::Values(values)) => {
                windows.insert(content.group.end);
                comparison.rows += 1;
                check_values(&mut comparison, row, content, values, columns);
            }
            Some(ExpectedRow::Undecided) => {}
            Some(ExpectedRow::Rejected) => {
                let detail = "its result does not fit its type and must be a reject".to_owned();
                comparison.report(AnomalyKind::Extra, Some(&content.group), row, detail);
            }
            None => {
                let detail = "the input has no row for it".to_owned();
                comparison.report(AnomalyKind::Extra, Some(&content.group), row, detail);
            }
        }
    }
    check_missing(&mut comparison, expected, &seen);
    comparison.windows = windows.len() as u64;
    comparison
}

impl Comparison {
    /// Results that must be rejects have one each in the reject topic; they have no record by which to be told apart.
    pub fn check_derived(&mut self, derived: u64) {
        if derived < self.rejected {
            self.anomalies.push(Anomaly {
                kind: AnomalyKind::NotRejected,
                window_end: None,
                key: String::new(),
                place: None,
                detail: format!(
                    "{} results do not fit their types, and the reject topic names {derived}",
                    self.rejected
                ),
            });
        }
    }

    fn report(
        &mut self,
        kind: AnomalyKind,
        group: Option<&GroupKey>,
        row: &OutputRow,
        detail: String,
    ) {
        self.anomalies.push(Anomaly {
            kind,
            window_end: group.map(|group| group.end),
            key: group.map(GroupKey::show_key).unwrap_or_default(),
            place: Some((row.partition, row.offset)),
            detail,
        });
    }
}

/// Where the rows of the groups stand. The partitions are read beside each other, so which of a group's rows was read first says
/// nothing: each partition has an order of its own, and a group belongs to the partition that holds most of its rows.
struct Places<'a> {
    rows: HashMap<&'a [Value], BTreeMap<i32, u64>>,
    /// By group and partition, the latest window end so far.
    latest: HashMap<(&'a [Value], i32), i64>,
}

impl<'a> Places<'a> {
    fn of(output: &'a [OutputRow]) -> Self {
        let mut rows: HashMap<&[Value], BTreeMap<i32, u64>> = HashMap::new();
        for row in output {
            if let Ok(content) = &row.content {
                let places = rows.entry(&content.group.key).or_default();
                *places.entry(row.partition).or_default() += 1;
            }
        }
        Self {
            rows,
            latest: HashMap::new(),
        }
    }

    /// The partition to which the group belongs.
    fn home(&self, group: &GroupKey) -> Option<i32> {
        let places = self.rows.get(group.key.as_slice())?;
        let most = places.values().max()?;
        let (partition, _) = places.iter().find(|(_, rows)| *rows == most)?;
        Some(*partition)
    }

    /// A row on another partition than its group's.
    fn check_home(&self, comparison: &mut Comparison, row: &OutputRow, group: &GroupKey) {
        if let Some(home) = self.home(group)
            && home != row.partition
        {
            let detail = format!("the rows of its key stand on partition {home}");
            comparison.report(AnomalyKind::Moved, Some(group), row, detail);
        }
    }

    /// A row behind one of a later window.
    fn check_order(&mut self, comparison: &mut Comparison, row: &OutputRow, group: &'a GroupKey) {
        let place = (group.key.as_slice(), row.partition);
        let latest = self.latest.entry(place).or_insert(group.end);
        if group.end < *latest {
            let detail = format!(
                "comes after the window that ends {}",
                show_time(i128::from(*latest) * 1000)
            );
            comparison.report(AnomalyKind::OutOfOrder, Some(group), row, detail);
        }
        *latest = group.end.max(*latest);
    }
}

fn check_values(
    comparison: &mut Comparison,
    row: &OutputRow,
    content: &OutputContent,
    expected: &[Value],
    columns: &[String],
) {
    let wrong: Vec<String> = expected
        .iter()
        .zip(&content.values)
        .zip(columns)
        .filter(|((expected, observed), _)| !expected.matches(observed))
        .map(|((expected, observed), name)| format!("{name} is {observed}, must be {expected}"))
        .collect();
    if !wrong.is_empty() {
        comparison.report(
            AnomalyKind::WrongValue,
            Some(&content.group),
            row,
            wrong.join("; "),
        );
    }
}

fn check_missing(
    comparison: &mut Comparison,
    expected: &BTreeMap<GroupKey, Expected>,
    seen: &BTreeMap<&GroupKey, &OutputContent>,
) {
    for (group, expected) in expected {
        if expected.row == ExpectedRow::Undecided {
            comparison.undecided += 1;
        }
        comparison.rejected += u64::from(expected.row == ExpectedRow::Rejected && expected.closed);
        if seen.contains_key(group) || expected.row == ExpectedRow::Rejected {
            continue;
        }
        if !expected.closed {
            comparison.open += 1;
            continue;
        }
        let detail = match &expected.row {
            ExpectedRow::Values(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                format!("must be there with {}", values.join(", "))
            }
            _ => "must be there, with values that cannot be decided".to_owned(),
        };
        comparison.anomalies.push(Anomaly {
            kind: AnomalyKind::Lost,
            window_end: Some(group.end),
            key: group.show_key(),
            place: None,
            detail,
        });
    }
}

#[cfg(test)]
mod tests;
