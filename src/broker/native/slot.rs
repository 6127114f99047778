//! An assigned partition: where it is read, what was fetched ahead, and what is to be told of it. Pure.
//!
//! Invariant: records are handed out once and in order, from the assigned offset on; an end is told only when everything below it
//! was handed out. A slot is made anew by every assignment, so answers to requests of an earlier one find another generation.

use super::batch::Batches;
use super::codec::Decoder;
use super::request::Answer;
use super::view::describe;
use crate::broker::Polled;
use crate::broker::figures::Queue;
use crate::fetch::{Fetch, TopicPartition};
use kafka_protocol::ResponseError;
use std::collections::VecDeque;
use std::time::Duration;

/// Answers that are held at most; with the second the next request waits.
const AHEAD: usize = 2;
/// After an error that may pass by itself.
const SOON: Duration = Duration::from_millis(100);
/// After one that somebody has to mend.
const LATER: Duration = Duration::from_secs(1);

/// What an answer asks of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    GoOn,
    /// Somebody else leads the partition now.
    FindLeader,
}

pub struct Slot {
    pub at: TopicPartition,
    pub generation: u64,
    /// Of the next record that may be handed out.
    position: i64,
    /// Where the next request begins.
    next: i64,
    paused: bool,
    fetched: VecDeque<Batches>,
    /// As of the last answer; negative before the first.
    high: i64,
    stable: i64,
    /// Leader epoch of the last batch, by which the broker sees that the log was cut since. -1 before the first.
    epoch: i32,
    /// The end that was told.
    ended: Option<i64>,
    event: Option<Polled>,
    /// What was told of it last.
    trouble: String,
    /// Nothing is asked until it is assigned anew.
    stopped: bool,
    /// Nothing is asked before.
    retry_at: Duration,
    /// The number of the last answer that brought records: who got none is asked first.
    pub served: u64,
}

impl Slot {
    pub fn new(at: TopicPartition, offset: i64, generation: u64, paused: bool) -> Self {
        Slot {
            at,
            generation,
            position: offset,
            next: offset,
            paused,
            fetched: VecDeque::new(),
            high: -1,
            stable: -1,
            epoch: -1,
            ended: None,
            event: None,
            trouble: String::new(),
            stopped: false,
            retry_at: Duration::ZERO,
            served: 0,
        }
    }

    /// Offset and leader epoch with which the next request begins.
    pub fn next(&self) -> (i64, i32) {
        (self.next, self.epoch)
    }

    pub fn high(&self) -> Option<i64> {
        (self.high >= 0).then_some(self.high)
    }

    /// What is held.
    pub fn held(&self) -> Queue {
        let held = self.fetched.iter().map(|batches| Queue {
            messages: batches.records() as u64,
            bytes: batches.bytes() as u64,
        });
        held.sum()
    }

    pub fn paused(&self) -> bool {
        self.paused
    }

    /// What was fetched ahead goes: it would pin memory for as long as the pause lasts.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.fetched.clear();
        self.next = self.position;
        // An end is told again, and only after another look.
        (self.stable, self.ended) = (-1, None);
    }

    /// To be asked about now.
    pub fn wanted(&self, now: Duration) -> bool {
        !self.paused && !self.stopped && self.retry_at <= now
    }

    /// Has so much that a request without it would leave it behind.
    pub fn full(&self) -> bool {
        !self.paused && self.fetched.len() >= AHEAD
    }

    /// Takes the answer to a request that began at [`Self::next`].
    pub fn arrived(&mut self, answer: Answer, now: Duration, turn: u64) -> Advice {
        match ResponseError::try_from_code(answer.code) {
            None if answer.code == 0 => {}
            Some(ResponseError::OffsetOutOfRange) => {
                self.stop();
                return Advice::GoOn;
            }
            Some(error) if moved(error) => {
                self.retry_at = now + SOON;
                if error == ResponseError::UnknownTopicOrPartition {
                    self.trouble(describe(answer.code));
                }
                return Advice::FindLeader;
            }
            // The leader is new and does not know yet what is committed.
            Some(ResponseError::OffsetNotAvailable) => {
                self.retry_at = now + SOON;
                return Advice::GoOn;
            }
            _ => {
                self.retry_at = now + LATER;
                self.trouble(describe(answer.code));
                return Advice::GoOn;
            }
        }
        if answer.diverged {
            tracing::warn!(partition = %self.at, position = self.next, "the log was cut since it was read");
            self.stop();
            return Advice::GoOn;
        }
        if answer.bytes == 0 {
            self.trouble.clear();
        }
        (self.high, self.stable) = (answer.high, answer.stable);
        if let Some(next) = answer.batches.next_offset() {
            self.next = self.next.max(next);
            self.epoch = answer.batches.leader_epoch().unwrap_or(-1);
            self.served = turn;
        }
        if !answer.batches.is_done() {
            // Also where no batch is whole: taking says what is wrong.
            self.fetched.push_back(answer.batches);
        } else if answer.bytes > 0 && answer.batches.next_offset().is_none() {
            // A broker cuts batches only behind a whole one.
            self.retry_at = now + LATER;
            self.trouble(format!(
                "{} bytes without a whole record batch",
                answer.bytes
            ));
        }
        Advice::GoOn
    }

    /// No record of this position will come.
    fn stop(&mut self) {
        self.stopped = true;
        self.event = Some(Polled::OutOfRange {
            at: self.at.clone(),
        });
    }

    /// Tells a trouble once, as long as it stays the same.
    fn trouble(&mut self, message: String) {
        if self.trouble != message {
            self.trouble.clone_from(&message);
            let at = self.at.clone();
            self.event = Some(Polled::Failed { at, message });
        }
    }

    /// Hands out what was fetched, at most so many records; about so many bytes.
    pub fn take(
        &mut self,
        (max_records, max_bytes): (usize, usize),
        decoder: &mut Decoder,
        now: Duration,
        out: &mut Vec<Polled>,
    ) -> usize {
        if self.paused {
            return 0;
        }
        let taken = self.take_records(max_records, max_bytes, decoder, now, out);
        if !self.fetched.is_empty() {
            return taken;
        }
        out.extend(self.event.take());
        let at_end = self.position == self.next && (0..=self.position).contains(&self.stable);
        if at_end && self.ended != Some(self.position) {
            self.ended = Some(self.position);
            out.push(Polled::End {
                at: self.at.clone(),
                offset: self.position,
                high: self.high.max(self.position),
            });
        }
        taken
    }

    fn take_records(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        decoder: &mut Decoder,
        now: Duration,
        out: &mut Vec<Polled>,
    ) -> usize {
        let mut fetch = Fetch::new(self.at.clone());
        while let Some(batches) = self.fetched.front_mut() {
            if fetch.len() >= max_records || fetch.bytes() >= max_bytes {
                break;
            }
            match batches.take(self.position, max_records, max_bytes, decoder, &mut fetch) {
                Ok(position) => self.position = self.position.max(position),
                Err(error) => {
                    self.fetched.clear();
                    self.next = self.position;
                    self.stable = -1;
                    self.retry_at = now + LATER;
                    self.trouble(error.to_string());
                    break;
                }
            }
            if batches.is_done() {
                let next = batches.next_offset().unwrap_or(self.position);
                self.position = self.position.max(next);
                self.fetched.pop_front();
            } else if fetch.is_empty() {
                // Nothing was taken although there was room: it would stay so.
                break;
            }
        }
        let taken = fetch.len();
        if taken > 0 {
            self.trouble.clear();
            out.push(Polled::Fetch(fetch));
        }
        taken
    }
}

/// The partition is led by another broker, or by none.
fn moved(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::NotLeaderOrFollower
            | ResponseError::LeaderNotAvailable
            | ResponseError::ReplicaNotAvailable
            | ResponseError::ListenerNotFound
            | ResponseError::KafkaStorageError
            | ResponseError::FencedLeaderEpoch
            | ResponseError::UnknownLeaderEpoch
            | ResponseError::UnknownTopicOrPartition
            | ResponseError::UnknownTopicId
    )
}

#[cfg(test)]
mod tests;
