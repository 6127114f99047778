//! Before anything runs: do the topics exist, have the internal ones the right shape, and what do they look like?
//!
//! Invariant: a process starts only on topics that fit its plan; what is missing is made (internal topics) or named
//! together with the command that makes it (topics of sources and sinks).

use super::shared::{Cluster, Topic};
use super::task::sink::StampLimits;
use crate::broker::{Admin, NewTopic, TopicInfo};
use crate::plan::graph::{Input, NodeKind, Plan};
use crate::plan::topics::{InternalTopic, TopicKind, internal_topics};
use std::collections::BTreeMap;

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("Kafka: {0}")]
    Kafka(#[from] crate::broker::Error),
    #[error(
        "these topics do not exist: {}. Make them yourself, or with `millstream topics create {file}`",
        .missing.join(", ")
    )]
    MissingTopics { missing: Vec<String>, file: String },
    #[error("the topic {name} has {found} partitions, this topology needs {wanted}: {remedy}")]
    Partitions {
        name: String,
        found: i32,
        wanted: i32,
        remedy: &'static str,
    },
    #[error(
        "the topic {name} has {key}={found}, and the engine would lose state with it: it must be {wanted}. \
         Set it back (kafka-configs --alter) before starting"
    )]
    Config {
        name: String,
        key: String,
        found: String,
        wanted: String,
    },
    #[error("state directory: {0}")]
    Directory(#[from] crate::state::directory::DirectoryError),
    #[error(transparent)]
    State(#[from] crate::state::Error),
    #[error("{0}")]
    Other(String),
}

/// The user's topics of a plan: sources and sinks.
pub fn external_topics(plan: &Plan) -> Vec<String> {
    let mut names = Vec::new();
    for sub in &plan.sub_topologies {
        if let Input::Source(source) = &sub.input {
            names.push(source.spec.topic.value.clone());
        }
        for node in &sub.nodes {
            if let NodeKind::Sink(sink) = &node.kind {
                names.push(sink.spec.topic.value.clone());
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// How often to prepare the topics where Kafka says "not now" (a controller that is being elected, a broker that starts): a failed
/// call has waited for its own timeout already.
pub const TRIES: u32 = 5;

/// Checks the user's topics, makes the internal ones, and describes all of them.
pub fn prepare(
    admin: &dyn Admin,
    plan: &Plan,
    file: &str,
    replication: Option<i32>,
    min_insync: Option<i32>,
    cluster: &Cluster,
) -> Result<(), StartError> {
    let external = external_topics(plan);
    let found = admin.topics(&external)?;
    let missing: Vec<String> = external
        .iter()
        .filter(|name| !found.iter().any(|t| t.name == **name))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(StartError::MissingTopics {
            missing,
            file: file.to_string(),
        });
    }
    describe(admin, cluster, &found)?;
    let internal = wanted_internal(plan, cluster);
    create(admin, &internal, replication, min_insync)?;
    let names: Vec<String> = internal.iter().map(|t| t.name.clone()).collect();
    let found = settle_topics(admin, &names)?;
    for topic in &internal {
        check(admin, topic, &found)?;
    }
    describe(admin, cluster, &found)
}

/// The internal topics that the plan wants, for the sources' partitions as described.
pub fn wanted_internal(plan: &Plan, cluster: &Cluster) -> Vec<InternalTopic> {
    let mut partitions = BTreeMap::new();
    for sub in &plan.sub_topologies {
        if let Input::Source(source) = &sub.input {
            partitions.insert(
                sub.name.clone(),
                cluster.partitions(&source.spec.topic.value),
            );
        }
    }
    internal_topics(plan, &partitions)
}

fn create(
    admin: &dyn Admin,
    internal: &[InternalTopic],
    replication: Option<i32>,
    min_insync: Option<i32>,
) -> Result<(), StartError> {
    let new: Vec<NewTopic> = internal
        .iter()
        .map(|topic| {
            let mut config = topic.config.clone();
            if let Some(min_insync) = min_insync {
                config.push(("min.insync.replicas".into(), min_insync.to_string()));
            }
            NewTopic {
                name: topic.name.clone(),
                partitions: topic.partitions,
                replication,
                config,
            }
        })
        .collect();
    Ok(admin.create_topics(&new)?)
}

/// A topic that was just made may take a moment until every broker describes it.
fn settle_topics(admin: &dyn Admin, names: &[String]) -> Result<Vec<TopicInfo>, StartError> {
    let mut found = Vec::new();
    for _ in 0..50 {
        found = admin.topics(names)?;
        if found.len() == names.len() && found.iter().all(|t| t.partitions > 0) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(found)
}

fn check(admin: &dyn Admin, topic: &InternalTopic, found: &[TopicInfo]) -> Result<(), StartError> {
    let Some(info) = found.iter().find(|t| t.name == topic.name) else {
        return Err(StartError::Other(format!(
            "the internal topic {} was made but does not appear",
            topic.name
        )));
    };
    let fits = match topic.kind {
        // A source may have lost no partitions; more tasks than partitions would wait for input for ever.
        TopicKind::Tasks | TopicKind::Rejects => info.partitions >= topic.partitions,
        TopicKind::Changelog | TopicKind::Repartition => info.partitions == topic.partitions,
    };
    if !fits {
        return Err(StartError::Partitions {
            name: topic.name.clone(),
            found: info.partitions,
            wanted: topic.partitions,
            remedy: "`shards` is set once; set it back, or `millstream reset` to start anew",
        });
    }
    if matches!(topic.kind, TopicKind::Changelog | TopicKind::Repartition) {
        let config = admin.topic_config(&topic.name)?;
        for (key, wanted) in &topic.config {
            let keeps =
                ["cleanup.policy", "retention.ms", "retention.bytes"].contains(&key.as_str());
            if keeps && let Some(found) = config.get(key).filter(|found| *found != wanted) {
                let (name, key) = (topic.name.clone(), key.clone());
                return Err(StartError::Config {
                    name,
                    key,
                    found: found.clone(),
                    wanted: wanted.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Remembers what the topics look like.
pub fn describe(
    admin: &dyn Admin,
    cluster: &Cluster,
    found: &[TopicInfo],
) -> Result<(), StartError> {
    for info in found {
        let known = cluster.get(&info.name);
        let (max_message_bytes, stamps) = match known {
            Some(topic) => (topic.max_message_bytes, topic.stamps),
            None => {
                let config = admin.topic_config(&info.name)?;
                (max_message_bytes(&config), StampLimits::of(&config))
            }
        };
        cluster.set(
            &info.name,
            Topic {
                id: info.id.clone(),
                partitions: info.partitions,
                max_message_bytes,
                stamps,
            },
        );
    }
    Ok(())
}

fn max_message_bytes(config: &BTreeMap<String, String>) -> usize {
    config
        .get("max.message.bytes")
        .and_then(|v| v.parse().ok())
        .unwrap_or(1_048_588)
}
