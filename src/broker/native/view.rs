//! The cluster as metadata tells it: who leads which partition, and where the brokers are.
//!
//! Invariant: a view is what one broker said at one moment; nothing of an earlier view is mixed into it.

use super::dial::{DialError, Line};
use crate::fetch::TopicPartition;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Versions of Metadata that tell all that is needed here; leader epochs come with the seventh.
const METADATA: (i16, i16) = (4, 12);

/// Who leads a partition, and since which election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    pub broker: i32,
    /// -1 where the broker does not tell.
    pub epoch: i32,
}

/// What is known of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicView {
    /// The leaders of its partitions, `None` where there is none now.
    Partitions(BTreeMap<i32, Option<Leader>>),
    /// Why nothing is known, and whether asking again may help.
    Unknown { passing: bool, message: String },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// host:port by broker id.
    pub brokers: BTreeMap<i32, String>,
    pub topics: BTreeMap<Arc<str>, TopicView>,
}

impl View {
    /// Asks for these topics; makes none.
    ///
    /// # Errors
    /// No answer, or none that can be read.
    pub fn ask(line: &mut Line, topics: &[Arc<str>]) -> Result<View, DialError> {
        let version = line.pick(ApiKey::Metadata, METADATA.0, METADATA.1)?;
        let wanted = topics.iter().map(|name| {
            let name = TopicName(StrBytes::from_string(name.to_string()));
            MetadataRequestTopic::default().with_name(Some(name))
        });
        let body = MetadataRequest::default()
            .with_topics(Some(wanted.collect()))
            .with_allow_auto_topic_creation(false);
        let answer: MetadataResponse = line.ask(ApiKey::Metadata, version, &body)?;
        Ok(View::of(&answer, topics))
    }

    fn of(answer: &MetadataResponse, topics: &[Arc<str>]) -> View {
        let address = |host: &str, port| match host.contains(':') {
            // An IPv6 address.
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let brokers = answer.brokers.iter();
        let brokers = brokers.map(|broker| (broker.node_id.0, address(&broker.host, broker.port)));
        let topic = |name: &Arc<str>| {
            let named = |topic: &&MetadataResponseTopic| {
                topic.name.as_ref().is_some_and(|found| *found.0 == **name)
            };
            let view = match answer.topics.iter().find(named) {
                Some(topic) => topic_view(topic),
                None => unknown(ResponseError::UnknownTopicOrPartition.code()),
            };
            (name.clone(), view)
        };
        View {
            brokers: brokers.collect(),
            topics: topics.iter().map(topic).collect(),
        }
    }

    /// The leader of a partition, if it has one.
    pub fn leader(&self, at: &TopicPartition) -> Option<Leader> {
        match self.topics.get(&at.topic)? {
            TopicView::Partitions(partitions) => *partitions.get(&at.partition)?,
            TopicView::Unknown { .. } => None,
        }
    }
}

fn topic_view(topic: &MetadataResponseTopic) -> TopicView {
    if topic.error_code != 0 {
        return unknown(topic.error_code);
    }
    let partitions = topic.partitions.iter().map(|partition| {
        let leader = Leader {
            broker: partition.leader_id.0,
            epoch: partition.leader_epoch,
        };
        (
            partition.partition_index,
            (leader.broker >= 0).then_some(leader),
        )
    });
    TopicView::Partitions(partitions.collect())
}

fn unknown(code: i16) -> TopicView {
    TopicView::Unknown {
        passing: ResponseError::try_from_code(code)
            .is_some_and(|e| e.is_retriable() && e != ResponseError::UnknownTopicOrPartition),
        message: describe(code),
    }
}

/// What an error code says.
pub fn describe(code: i16) -> String {
    match ResponseError::try_from_code(code) {
        Some(error) => error.to_string(),
        None => format!("error {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition,
    };

    fn named(name: &str) -> MetadataResponseTopic {
        let name = TopicName(StrBytes::from_string(name.to_string()));
        MetadataResponseTopic::default().with_name(Some(name))
    }

    #[test]
    fn leaders_and_the_lack_of_them_are_told_by_topic() {
        let partition = |index, leader: i32| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(leader.into())
                .with_leader_epoch(3)
        };
        let broker = |id: i32, host: &str| {
            MetadataResponseBroker::default()
                .with_node_id(id.into())
                .with_host(StrBytes::from_string(host.into()))
                .with_port(9092)
        };
        let answer = MetadataResponse::default()
            .with_brokers(vec![broker(1, "kafka"), broker(2, "fe80::1")])
            .with_topics(vec![
                named("a").with_partitions(vec![partition(0, 2), partition(1, -1)]),
                named("b").with_error_code(ResponseError::UnknownTopicOrPartition.code()),
                named("c").with_error_code(ResponseError::LeaderNotAvailable.code()),
            ]);
        let topics = ["a", "b", "c", "d"].map(Arc::from);
        let view = View::of(&answer, &topics);
        assert_eq!(view.brokers[&1], "kafka:9092");
        assert_eq!(view.brokers[&2], "[fe80::1]:9092");
        let leader = |topic: &str, partition| view.leader(&TopicPartition::new(topic, partition));
        let second = Leader {
            broker: 2,
            epoch: 3,
        };
        assert_eq!(leader("a", 0), Some(second));
        assert_eq!(
            (leader("a", 1), leader("a", 2), leader("b", 0)),
            (None, None, None)
        );
        let passing = |topic: &str| match &view.topics[topic] {
            TopicView::Unknown { passing, .. } => Some(*passing),
            TopicView::Partitions(_) => None,
        };
        assert_eq!(
            ["a", "b", "c", "d"].map(passing),
            [None, Some(false), Some(true), Some(false)]
        );
    }
}
