//! Where a task's changelog says that it stood: read for people, when a tool has overwritten the committed offset.
//!
//! Invariant: what is told stands in the last committed block that carries facts, or nothing is told. Nothing goes on
//! from it: only a reset does away with a tool's offset.

use crate::broker::{Consumer, Error, Polled};
use crate::fetch::Fetch;
use crate::protocol::TaskId;
use crate::protocol::facts::Facts;
use crate::protocol::takeover::Known;
use crate::runtime::shared::Shared;
use crate::state::block::{self, Body};
use std::time::Duration;

/// Facts stand in the last block of every commit: the log's end is read first, and all of it only where that holds none.
const TAILS: [i64; 2] = [64, i64::MAX];
/// How long other takeovers may wait for this one's message.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
const MAX_RECORDS: usize = 1000;

/// The task's position as its changelog has it.
pub(super) fn find(shared: &Shared, task: &TaskId) -> Known {
    match position(shared, task) {
        Ok(Some(position)) => Known::Changelog(position),
        Ok(None) => Known::Nowhere,
        Err(error) => {
            tracing::info!(%task, %error, "cannot see what the changelog says of the position");
            Known::Nowhere
        }
    }
}

fn position(shared: &Shared, task: &TaskId) -> Result<Option<i64>, Error> {
    let Some(at) = shared.changelog_at(task) else {
        return Ok(None);
    };
    let Some(range) = shared.admin.log_ranges(std::slice::from_ref(&at))?.pop() else {
        return Ok(None);
    };
    let client_id = format!("{}-scout", shared.tuning.worker_id);
    let mut consumer = shared.clients.consumer(&client_id)?;
    let began = shared.clock.elapsed();
    let late = || shared.clock.elapsed().saturating_sub(began) >= PATIENCE;
    for tail in TAILS {
        let from = range.stable.saturating_sub(tail).max(range.start);
        consumer.assign(&[(at.clone(), from)])?;
        let found = last_position(consumer.as_mut(), range.stable, &late)?;
        if found.is_some() || from == range.start {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Reads up to `end`; what was found before the patience is over is not the last, and so nothing.
fn last_position(
    consumer: &mut dyn Consumer,
    end: i64,
    late: &dyn Fn() -> bool,
) -> Result<Option<i64>, Error> {
    let mut found = None;
    while !late() {
        for polled in consumer.poll(POLL, MAX_RECORDS)? {
            match polled {
                Polled::Fetch(fetch) => found = position_in(&fetch).or(found),
                Polled::End { offset, .. } if offset >= end => return Ok(found),
                Polled::OutOfRange { .. } => return Ok(None),
                Polled::End { .. } | Polled::Failed { .. } => {}
            }
        }
    }
    Ok(None)
}

/// The position in the last facts of a fetch.
fn position_in(fetch: &Fetch) -> Option<i64> {
    (0..fetch.len()).rev().find_map(|record| {
        let (_, body) = block::decode(fetch.value(record)?, &[]).ok()?;
        let Body::Changes(changes) = body else {
            return None;
        };
        let facts = Facts::decode(&changes.facts?).ok()?;
        Some(facts.position)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::TopicPartition;
    use crate::protocol::facts::tests::sample;
    use crate::state::block::{Changes, Header, encode_changes};

    fn block(facts: Option<Facts>) -> Vec<u8> {
        let header = Header::sample("counts");
        let mut changes = Changes::default();
        changes.facts = facts.map(|f| f.encode());
        encode_changes(&header, &changes, 10_000).remove(0)
    }

    fn at(position: i64) -> Option<Facts> {
        Some(Facts {
            position,
            ..sample()
        })
    }

    #[test]
    fn the_last_facts_count() {
        let mut fetch = Fetch::new(TopicPartition::new("log", 0));
        assert_eq!(position_in(&fetch), None);
        for (offset, value) in (0..).zip([block(at(7)), block(at(9)), block(None), vec![1]]) {
            fetch.push(offset, 0, None, Some(&value));
        }
        assert_eq!(position_in(&fetch), Some(9));
    }
}
