//! A consumer that speaks Kafka's protocol itself: one Fetch at a time per broker, decoded by the thread that polls.
//!
//! Invariant: no thread of its own touches the data; polling waits only for records, never for a name, a connection or metadata,
//! which errands bring. While what a broker has answered is handed out, its next answer is under way. It never joins a group.

use super::NativeConfig;
use super::broker::Broker;
use super::codec::Decoder;
use super::errand::{Errands, News};
use super::metadata::{Known, Metadata};
use super::request::{self, Question};
use super::slot::{Advice, Slot};
use super::view::describe;
use crate::broker::figures::{ClientFigures, INTERVAL, Queue};
use crate::broker::{Consumer, Error, Polled, Result, offsets_to_assign};
use crate::clock::{Clock, SystemClock};
use crate::fetch::TopicPartition;
use bytes::Bytes;
use kafka_protocol::messages::FetchResponse;
use mio::{Events, Poll, Token, Waker};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long an assignment waits to learn of a topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for sockets before errors that have had their time are tried again.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// Between two questions about topics that somebody waits for.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(20);
/// Not a broker's number.
const WAKER: Token = Token(usize::MAX);

/// Reads partitions over its own connections.
pub struct NativeConsumer {
    config: NativeConfig,
    clock: SystemClock,
    poll: Poll,
    events: Events,
    errands: Errands,
    metadata: Metadata,
    brokers: BTreeMap<i32, Broker>,
    slots: BTreeMap<TopicPartition, Slot>,
    generations: u64,
    answers: u64,
    /// Where the last round of handing out ended.
    turn: Option<TopicPartition>,
    decoder: Decoder,
    received: Queue,
    next_figures: Duration,
}

impl NativeConsumer {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Fatal`] where the system has no handles left.
    pub fn new(config: NativeConfig) -> Result<Self> {
        let made = || -> io::Result<(Poll, Waker)> {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            Ok((poll, waker))
        };
        let (poll, waker) = made().map_err(|error| Error::Fatal {
            call: "consumer",
            message: error.to_string(),
        })?;
        Ok(NativeConsumer {
            errands: Errands::new(&config.client_id, Arc::new(waker)),
            metadata: Metadata::new(config.bootstrap.clone()),
            config,
            clock: SystemClock::new(),
            poll,
            events: Events::with_capacity(64),
            brokers: BTreeMap::new(),
            slots: BTreeMap::new(),
            generations: 0,
            answers: 0,
            turn: None,
            decoder: Decoder::default(),
            received: Queue::default(),
            next_figures: Duration::ZERO,
        })
    }

    /// Waits until these topics are known.
    fn learn(&mut self, wanted: &BTreeSet<Arc<str>>) -> Result<()> {
        let call = "assign";
        let deadline = self.clock.elapsed() + METADATA_TIMEOUT;
        let mut why = "no broker has answered".to_string();
        self.metadata.forget(wanted);
        loop {
            match self.metadata.known(wanted) {
                Known::All => return Ok(()),
                Known::Refused(message) => return Err(Error::Refused { call, message }),
                Known::NotYet(told) => why = told.unwrap_or(why),
            }
            let now = self.clock.elapsed();
            if now >= deadline {
                let message = format!("no metadata after {METADATA_TIMEOUT:?}: {why}");
                return Err(Error::Retriable { call, message });
            }
            if !self.metadata.asking() {
                let topics = self.topics().chain(wanted.iter().cloned()).collect();
                self.metadata.ask(topics, &self.errands, now);
            }
            if let Some(news) = self.errands.wait(deadline - now) {
                why = self.hear(news).unwrap_or(why);
                if !self.metadata.asking() && self.metadata.known(wanted) != Known::All {
                    std::thread::sleep(BETWEEN_QUESTIONS);
                }
            }
        }
    }

    /// Of the assigned partitions.
    fn topics(&self) -> impl Iterator<Item = Arc<str>> {
        self.slots.keys().map(|at| at.topic.clone())
    }

    /// Takes news; returns why there is no metadata, if that is what they say.
    fn hear(&mut self, news: News) -> Option<String> {
        let now = self.clock.elapsed();
        let client = &self.config.client_id;
        match news {
            News::View(view) => {
                let failed = self.metadata.told(view, now).err();
                if let Some(why) = &failed {
                    tracing::warn!(client, "no metadata: {why}; asking again");
                }
                failed
            }
            News::Opened { broker, line } => {
                let entry = self.brokers.entry(broker).or_default();
                let opened = entry.opened(line, self.poll.registry(), Token(broker as usize), now);
                if let Err(why) = opened {
                    tracing::warn!(client, broker, "no connection: {why}; trying again");
                    self.metadata.want(now);
                }
                None
            }
        }
    }

    /// One look at everything that moves by itself, with a wait for sockets.
    fn exchange(&mut self, wait: Duration) -> Result<()> {
        match self
            .poll
            .poll(&mut self.events, Some(wait.min(LONGEST_WAIT)))
        {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let (call, message) = ("poll", error.to_string());
                return Err(Error::Fatal { call, message });
            }
        }
        let ready: Vec<i32> = self
            .events
            .iter()
            .filter(|event| event.token() != WAKER)
            .map(|event| event.token().0 as i32)
            .collect();
        let now = self.clock.elapsed();
        for id in ready {
            let Some(broker) = self.brokers.get_mut(&id) else {
                continue;
            };
            match broker.serve() {
                Ok(None) => {}
                Ok(Some((frame, version, questions))) => {
                    self.answered(id, frame, version, questions)
                }
                Err(error) => self.lost(id, &error),
            }
        }
        while let Some(news) = self.errands.news() {
            self.hear(news);
        }
        self.ask_brokers(now);
        if self.metadata.due(now) {
            let topics = self.topics().collect();
            self.metadata.ask(topics, &self.errands, now);
        }
        Ok(())
    }

    fn answered(&mut self, id: i32, frame: Bytes, version: i16, questions: Vec<Question>) {
        let now = self.clock.elapsed();
        let response = match super::wire::response(frame, version) {
            Ok(response) => response,
            Err(error) => return self.lost(id, &io::Error::other(error.to_string())),
        };
        let response: FetchResponse = response;
        if response.error_code != 0 {
            return self.lost(id, &io::Error::other(describe(response.error_code)));
        }
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.answered(&response, now);
        }
        self.answers += 1;
        let mut find = false;
        for (question, answer) in request::answers(response, questions) {
            let slot = self.slots.get_mut(&question.at);
            let asked = (question.offset, question.generation);
            let Some(slot) = slot.filter(|s| (s.next().0, s.generation) == asked && !s.paused())
            else {
                continue;
            };
            find |= slot.arrived(answer, now, self.answers) == Advice::FindLeader;
        }
        if find {
            self.metadata.want(now);
        }
    }

    fn lost(&mut self, id: i32, error: &io::Error) {
        let now = self.clock.elapsed();
        if let Some(broker) = self.brokers.get_mut(&id) {
            let address = broker.close(self.poll.registry(), now);
            let client = &self.config.client_id;
            tracing::info!(
                client,
                broker = id,
                address,
                "connection lost: {error}; connecting again"
            );
        }
        self.metadata.want(now);
    }

    /// Sends what each broker can be asked now; opens the connections that are missing.
    fn ask_brokers(&mut self, now: Duration) {
        let mut questions: BTreeMap<i32, Vec<(u64, Question)>> = BTreeMap::new();
        let mut full: BTreeSet<i32> = BTreeSet::new();
        let mut leaderless = false;
        for slot in self.slots.values() {
            let Some(leader) = self.metadata.leader(&slot.at) else {
                leaderless |= slot.wanted(now);
                continue;
            };
            if slot.full() {
                full.insert(leader.broker);
            } else if slot.wanted(now) {
                let (offset, fetched_epoch) = slot.next();
                let question = Question {
                    at: slot.at.clone(),
                    generation: slot.generation,
                    offset,
                    fetched_epoch,
                    leader_epoch: leader.epoch,
                };
                let asked = questions.entry(leader.broker).or_default();
                asked.push((slot.served, question));
            }
        }
        if leaderless {
            self.metadata.want(now);
        } else {
            self.metadata.settled();
        }
        for (id, mut asked) in questions {
            let broker = self.brokers.entry(id).or_default();
            if broker.overdue(now, self.config.limits.wait) {
                let error = io::Error::new(io::ErrorKind::TimedOut, "a request was not answered");
                self.lost(id, &error);
                continue;
            }
            if broker.wants_line(now) {
                match self.metadata.address(id) {
                    Some(address) => {
                        broker.opening();
                        self.errands.open(id, address.clone());
                    }
                    None => self.metadata.want(now),
                }
                continue;
            }
            // A request without a partition that has plenty could wait for records of the others when that has none left.
            if full.contains(&id) || !broker.idle(now) {
                continue;
            }
            asked.sort_by_key(|(served, _)| *served);
            let asked = asked.into_iter().map(|(_, question)| question).collect();
            let sent = broker.ask(asked, &self.config.limits, &self.config.client_id, now);
            if let Err(error) = sent {
                self.lost(id, &error);
            }
        }
    }

    /// What can be handed out now, beginning behind the partition that was served last.
    fn hand_out(&mut self, max_records: usize) -> Vec<Polled> {
        let now = self.clock.elapsed();
        let mut out = Vec::new();
        let (mut records, mut bytes) = (max_records.max(1), self.config.poll_bytes);
        let after = self.turn.clone();
        let (first, second): (Vec<_>, Vec<_>) = self
            .slots
            .iter_mut()
            .partition(|(at, _)| after.as_ref().is_none_or(|after| *at > after));
        for (at, slot) in first.into_iter().chain(second) {
            if records == 0 || bytes == 0 {
                break;
            }
            let from = out.len();
            let taken = slot.take((records, bytes), &mut self.decoder, now, &mut out);
            records -= taken.min(records);
            let fetched = out[from..].iter().map(|polled| match polled {
                Polled::Fetch(fetch) => fetch.bytes(),
                _ => 0,
            });
            let fetched: usize = fetched.sum();
            bytes = bytes.saturating_sub(fetched);
            self.received.messages += taken as u64;
            self.received.bytes += fetched as u64;
            if taken > 0 {
                self.turn = Some(at.clone());
            }
        }
        out
    }

    fn tell_figures(&mut self) {
        let now = self.clock.elapsed();
        if now < self.next_figures {
            return;
        }
        self.next_figures = now + INTERVAL;
        let Some((name, listener)) = self.config.figures.as_ref() else {
            return;
        };
        let brokers = self.brokers.iter_mut();
        let figures = ClientFigures {
            fetched: self.slots.values().map(Slot::held).sum(),
            received: self.received,
            brokers: brokers.map(|(id, broker)| broker.figures(*id)).collect(),
            ..ClientFigures::default()
        };
        listener.tell(name, &figures);
    }
}

impl Consumer for NativeConsumer {
    fn assign(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<()> {
        let wanted = offsets_to_assign(partitions)?;
        self.learn(&wanted.keys().map(|at| at.topic.clone()).collect())?;
        for (at, offset) in wanted {
            self.generations += 1;
            let paused = self.slots.get(&at).is_some_and(Slot::paused);
            let slot = Slot::new(at.clone(), offset, self.generations, paused);
            self.slots.insert(at, slot);
        }
        self.ask_brokers(self.clock.elapsed());
        Ok(())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for at in partitions {
            self.slots.remove(at);
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<()> {
        for at in partitions {
            if let Some(slot) = self.slots.get_mut(at).filter(|s| s.paused() != paused) {
                slot.pause(paused);
            }
        }
        Ok(())
    }

    fn high(&self, at: &TopicPartition) -> Option<i64> {
        self.slots.get(at)?.high()
    }

    fn poll(&mut self, timeout: Duration, max_records: usize) -> Result<Vec<Polled>> {
        let deadline = self.clock.elapsed() + timeout;
        let mut wait = Duration::ZERO;
        loop {
            self.exchange(wait)?;
            let out = self.hand_out(max_records);
            let now = self.clock.elapsed();
            if !out.is_empty() || now >= deadline {
                self.tell_figures();
                return Ok(out);
            }
            wait = deadline - now;
        }
    }
}
