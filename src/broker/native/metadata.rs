//! What a consumer knows of the cluster, and when it asks again. Pure but for the errand that it sends.
//!
//! Invariant: at most one question is under way; they come at least [`BETWEEN`] apart, and further as long as what is missed stays
//! away.

use super::Backoff;
use super::errand::Errands;
use super::view::{Leader, TopicView, View};
use crate::fetch::TopicPartition;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Between two questions at the least.
const BETWEEN: Duration = Duration::from_millis(50);

pub struct Metadata {
    bootstrap: Vec<String>,
    view: View,
    asking: bool,
    /// When to ask; nothing is missed where there is no such time.
    ask_at: Option<Duration>,
    asked_at: Duration,
    backoff: Backoff,
    questions: usize,
}

/// What is known of some topics.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    All,
    /// Not yet, and why if that was told.
    NotYet(Option<String>),
    /// There is no such topic, or it is not for us.
    Refused(String),
}

impl Metadata {
    pub fn new(bootstrap: Vec<String>) -> Self {
        Metadata {
            bootstrap,
            view: View::default(),
            asking: false,
            ask_at: None,
            asked_at: Duration::ZERO,
            backoff: Backoff::default(),
            questions: 0,
        }
    }

    pub fn leader(&self, at: &TopicPartition) -> Option<Leader> {
        self.view.leader(at)
    }

    /// host:port of a broker.
    pub fn address(&self, broker: i32) -> Option<&String> {
        self.view.brokers.get(&broker)
    }

    pub fn asking(&self) -> bool {
        self.asking
    }

    pub fn known(&self, topics: &BTreeSet<Arc<str>>) -> Known {
        let mut known = Known::All;
        for topic in topics {
            match self.view.topics.get(topic) {
                Some(TopicView::Partitions(_)) => {}
                Some(TopicView::Unknown {
                    passing: false,
                    message,
                }) => return Known::Refused(format!("{topic}: {message}")),
                Some(TopicView::Unknown { message, .. }) => {
                    known = Known::NotYet(Some(format!("{topic}: {message}")));
                }
                None if known == Known::All => known = Known::NotYet(None),
                None => {}
            }
        }
        known
    }

    /// What was refused is asked about again by the next one who wants it.
    pub fn forget(&mut self, topics: &BTreeSet<Arc<str>>) {
        let told = &mut self.view.topics;
        told.retain(|name, told| {
            matches!(told, TopicView::Partitions(_)) || !topics.contains(name)
        });
    }

    /// Something is missed, or not as it was told.
    pub fn want(&mut self, now: Duration) {
        if !self.asking && self.ask_at.is_none() {
            // Soon after a long quiet, later while it goes on.
            let at = self.asked_at + BETWEEN + self.backoff.next();
            self.ask_at = Some(at.max(now));
        }
    }

    /// Nothing is missed.
    pub fn settled(&mut self) {
        if !self.asking && self.ask_at.is_none() {
            self.backoff = Backoff::default();
        }
    }

    pub fn due(&self, now: Duration) -> bool {
        self.ask_at.is_some_and(|at| at <= now)
    }

    pub fn ask(&mut self, topics: BTreeSet<Arc<str>>, errands: &Errands, now: Duration) {
        let mut addresses: Vec<String> = self.view.brokers.values().cloned().collect();
        addresses.extend(self.bootstrap.iter().cloned());
        // The broker that was asked last may be the one that is ill.
        let first = self.questions % addresses.len().max(1);
        addresses.rotate_left(first);
        self.questions += 1;
        self.asking = true;
        self.ask_at = None;
        self.asked_at = now;
        errands.view(addresses, topics.into_iter().collect());
    }

    /// Takes the answer; after a failure it wants another.
    pub fn told(&mut self, answer: Result<View, String>, now: Duration) -> Result<(), String> {
        self.asking = false;
        match answer {
            Ok(view) => {
                self.view = view;
                Ok(())
            }
            Err(why) => {
                self.want(now);
                Err(why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn topics(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn what_stays_away_is_asked_for_less_and_less_often() {
        let mut metadata = Metadata::new(vec![]);
        let (mut now, mut waits) = (Duration::ZERO, vec![]);
        for _ in 0..5 {
            let from = now;
            metadata.want(now);
            while !metadata.due(now) {
                now += MS;
            }
            waits.push((now - from).as_millis());
            (metadata.ask_at, metadata.asked_at) = (None, now);
        }
        assert_eq!(waits, [100, 150, 250, 450, 850]);
        metadata.settled();
        now += 5000 * MS;
        metadata.want(now);
        assert!(metadata.due(now), "after a long quiet at once");
    }

    #[test]
    fn one_question_at_a_time_and_a_failed_one_is_asked_again() {
        let mut metadata = Metadata::new(vec![]);
        metadata.asking = true;
        metadata.want(Duration::ZERO);
        assert!(!metadata.due(1000 * MS), "it is under way");
        let failed = metadata.told(Err("nobody".into()), MS);
        assert_eq!(failed, Err("nobody".to_string()));
        assert!(metadata.due(1000 * MS) && !metadata.asking());
    }

    #[test]
    fn topics_are_known_refused_or_still_awaited() {
        let mut metadata = Metadata::new(vec![]);
        let unknown = |passing| TopicView::Unknown {
            passing,
            message: "why".into(),
        };
        metadata.view.topics = [
            ("a", TopicView::Partitions(Default::default())),
            ("b", unknown(true)),
            ("c", unknown(false)),
        ]
        .map(|(name, view)| (Arc::from(name), view))
        .into();
        let table = [
            (topics(&["a"]), Known::All),
            (topics(&["a", "new"]), Known::NotYet(None)),
            (
                topics(&["a", "b", "new"]),
                Known::NotYet(Some("b: why".into())),
            ),
            (topics(&["a", "b", "c"]), Known::Refused("c: why".into())),
        ];
        for (wanted, expected) in table {
            assert_eq!(metadata.known(&wanted), expected);
        }
        metadata.forget(&topics(&["a", "c"]));
        assert_eq!(metadata.known(&topics(&["a", "c"])), Known::NotYet(None));
    }
}
