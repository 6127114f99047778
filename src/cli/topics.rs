//! `millstream topics`: making the topics that a topology needs.
//!
//! Invariant: a topic that exists is never changed: what differs is said, and what to do about it.

use super::load;
use super::options::Global;
use crate::broker::{Admin, NewTopic, TopicInfo};
use crate::plan::graph::Plan;
use crate::plan::topics::{InternalTopic, TopicKind, internal_topics};
use crate::settings::TopicSettings;
use crate::spec::TopologySpec;
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    Create(CreateArgs),
}

/// Make the topics of sources and sinks and all internal ones, as far as they are missing
///
/// `millstream run` makes missing internal topics by itself; topics of sources and sinks it leaves to you.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  millstream topics create topologies/click-count.yaml
  millstream topics create topologies/click-count.yaml --partitions 12 --replication 3

Exit code: 0 all topics are there and fit, 1 one differs from what the topology needs")]
pub struct CreateArgs {
    /// The topology file
    file: PathBuf,
    /// Partitions of source and sink topics that are made; internal topics follow from sources and `shards`
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100_000))]
    partitions: i32,
    /// Replicas of every topic that is made [default: topics.replication, or the broker's]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(i32).range(1..=1000))]
    replication: Option<i32>,
}

/// A topic that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    /// For people: source, sink, changelog, …
    role: String,
    partitions: Need,
    config: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Any number will do; this one if it is made.
    Any(i32),
    AtLeast(i32),
    Exactly(i32),
}

impl Need {
    fn to_make(self) -> i32 {
        match self {
            Need::Any(n) | Need::AtLeast(n) | Need::Exactly(n) => n,
        }
    }

    fn fits(self, found: i32) -> bool {
        match self {
            Need::Any(_) => true,
            Need::AtLeast(n) => found >= n,
            Need::Exactly(n) => found == n,
        }
    }
}

pub fn topics(command: &TopicsCommand, global: &Global) -> anyhow::Result<u8> {
    match command {
        TopicsCommand::Create(args) => create(args, global),
    }
}

fn create(args: &CreateArgs, global: &Global) -> anyhow::Result<u8> {
    let settings = global.settings()?;
    let (spec, plan) = load::topology(&args.file)?;
    let cluster = global.connect(&plan.app)?;
    let admin = cluster.admin.as_ref();
    let mut topics = settings.topics;
    topics.replication = args.replication.or(topics.replication);
    let external = external(&spec, args.partitions);
    let mut fits = make(admin, &external, &topics)?;
    // Tasks of a source follow the partitions that its topic really has.
    let names: Vec<String> = spec
        .sources
        .iter()
        .map(|source| source.topic.value.clone())
        .collect();
    let mut partitions = source_partitions(&spec, &admin.topics(&names)?);
    for source in &spec.sources {
        // A topic that was just made may not be described yet.
        partitions
            .entry(source.name.value.clone())
            .or_insert(args.partitions);
    }
    let internal = internal(&plan, &partitions);
    fits &= make(admin, &internal, &topics)?;
    Ok(u8::from(!fits))
}

/// Partition counts of the sources' topics that are described, by the source's name.
pub(super) fn source_partitions(spec: &TopologySpec, found: &[TopicInfo]) -> BTreeMap<String, i32> {
    let partitions = |topic: &str| {
        found
            .iter()
            .find(|info| info.name == topic)
            .map(|info| info.partitions)
    };
    let by_source = spec
        .sources
        .iter()
        .map(|source| (source.name.value.clone(), partitions(&source.topic.value)));
    by_source
        .filter_map(|(source, partitions)| Some((source, partitions?)))
        .collect()
}

fn external(spec: &TopologySpec, partitions: i32) -> Vec<Wanted> {
    let sources = spec
        .sources
        .iter()
        .map(|source| ("source", &source.topic.value));
    let sinks = spec.sinks.iter().map(|sink| ("sink", &sink.topic.value));
    let mut wanted: Vec<Wanted> = vec![];
    for (role, topic) in sources.chain(sinks) {
        if !wanted.iter().any(|other| other.name == *topic) {
            let partitions = Need::Any(partitions);
            wanted.push(Wanted {
                name: topic.clone(),
                role: role.to_owned(),
                partitions,
                config: vec![],
            });
        }
    }
    wanted
}

fn internal(plan: &Plan, source_partitions: &BTreeMap<String, i32>) -> Vec<Wanted> {
    let wanted = |topic: InternalTopic| Wanted {
        name: topic.name,
        role: topic.kind.to_string(),
        partitions: match topic.kind {
            // Sources may grow while the application runs.
            TopicKind::Tasks | TopicKind::Rejects => Need::AtLeast(topic.partitions),
            TopicKind::Changelog | TopicKind::Repartition => Need::Exactly(topic.partitions),
        },
        config: topic.config,
    };
    internal_topics(plan, source_partitions)
        .into_iter()
        .map(wanted)
        .collect()
}

/// Makes what is missing and says per topic what was found; returns whether everything fits.
fn make(admin: &dyn Admin, wanted: &[Wanted], settings: &TopicSettings) -> anyhow::Result<bool> {
    let names: Vec<String> = wanted.iter().map(|topic| topic.name.clone()).collect();
    let found = admin.topics(&names)?;
    let mut fits = true;
    for topic in wanted {
        let text = match found.iter().find(|info| info.name == topic.name) {
            None => {
                admin.create_topics(&[new_topic(topic, settings)])?;
                format!(
                    "created  {} ({}): {} partitions",
                    topic.name,
                    topic.role,
                    topic.partitions.to_make()
                )
            }
            Some(info) => {
                let config = if topic.config.is_empty() {
                    BTreeMap::new()
                } else {
                    admin.topic_config(&topic.name)?
                };
                let differences = differences(topic, info.partitions, &config);
                fits &= differences.is_empty();
                let about = format!(
                    "{} ({}) with {} partitions",
                    topic.name, topic.role, info.partitions
                );
                match differences.as_slice() {
                    [] => format!("exists   {about}"),
                    some => format!("differs  {about}: {}", some.join("; ")),
                }
            }
        };
        super::print(&format!("{text}\n"))?;
    }
    Ok(fits)
}

fn new_topic(topic: &Wanted, settings: &TopicSettings) -> NewTopic {
    let mut config = topic.config.clone();
    // Only internal topics have settings of ours.
    if let (false, Some(replicas)) = (config.is_empty(), settings.min_insync_replicas) {
        config.push(("min.insync.replicas".to_owned(), replicas.to_string()));
    }
    let partitions = topic.partitions.to_make();
    NewTopic {
        name: topic.name.clone(),
        partitions,
        replication: settings.replication,
        config,
    }
}

/// What of an existing topic does not fit.
fn differences(topic: &Wanted, partitions: i32, config: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = vec![];
    if !topic.partitions.fits(partitions) {
        found.push(format!(
            "needs {} partitions: `shards` is set once; set it back, or begin anew with `millstream reset`",
            topic.partitions.to_make()
        ));
    }
    for (key, wanted) in &topic.config {
        // Larger segments only free space later.
        let matters = key != "segment.bytes";
        if let Some(value) = config.get(key).filter(|value| matters && *value != wanted) {
            found.push(format!(
                "{key} is {value}, must be {wanted}, or state is lost: set it with kafka-configs"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changelog() -> Wanted {
        Wanted {
            name: "a.counts.changelog".to_owned(),
            role: "changelog".to_owned(),
            partitions: Need::Exactly(16),
            config: vec![
                ("retention.ms".to_owned(), "-1".to_owned()),
                ("segment.bytes".to_owned(), "33554432".to_owned()),
            ],
        }
    }

    fn config(retention: &str, segment: &str) -> BTreeMap<String, String> {
        let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        BTreeMap::from([
            entry("retention.ms", retention),
            entry("segment.bytes", segment),
        ])
    }

    #[test]
    fn a_topic_that_would_lose_state_or_has_other_shards_differs() {
        assert_eq!(
            differences(&changelog(), 16, &config("-1", "1073741824")),
            [] as [String; 0]
        );
        assert!(
            differences(&changelog(), 16, &config("604800000", "33554432"))[0]
                .contains("retention.ms")
        );
        assert!(
            differences(&changelog(), 8, &config("-1", "33554432"))[0].contains("16 partitions")
        );
    }

    #[test]
    fn sources_may_have_any_number_of_partitions_and_tasks_may_have_more() {
        assert!(Need::Any(4).fits(1) && Need::AtLeast(4).fits(5) && !Need::AtLeast(4).fits(3));
    }

    #[test]
    fn only_internal_topics_get_the_engines_settings() {
        let settings = TopicSettings {
            replication: Some(3),
            min_insync_replicas: Some(2),
        };
        let made = new_topic(&changelog(), &settings);
        assert_eq!((made.partitions, made.replication), (16, Some(3)));
        assert!(
            made.config
                .contains(&("min.insync.replicas".to_owned(), "2".to_owned()))
        );
        let source = Wanted {
            partitions: Need::Any(4),
            config: vec![],
            ..changelog()
        };
        assert_eq!(new_topic(&source, &settings).config, []);
    }
}
