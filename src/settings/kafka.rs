//! What is passed to the Kafka client: which properties the protocol owns, and which values are secrets.
//!
//! Invariant: `Debug` and [`KafkaSettings::shown`] never give a secret away. Whether a property exists, librdkafka
//! says when a client is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Who reads records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FetchKind {
    /// The engine itself, over Kafka's protocol.
    #[default]
    Native,
    Librdkafka,
}

/// Connection to the cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, with commas between several.
    pub bootstrap_servers: String,
    pub fetch: FetchKind,
    /// librdkafka's properties, passed on as they are.
    pub properties: BTreeMap<String, String>,
    /// Names of properties that came through `${…}`: they are not printed, whatever they are called.
    pub hidden: BTreeSet<String>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        KafkaSettings {
            bootstrap_servers: "localhost:9092".to_owned(),
            fetch: FetchKind::default(),
            properties: BTreeMap::new(),
            hidden: BTreeSet::new(),
        }
    }
}

impl KafkaSettings {
    /// The properties with `***` for secrets.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.iter().map(|(name, value)| {
            let secret = is_secret(name) || self.hidden.contains(name);
            (name.as_str(), if secret { "***" } else { value.as_str() })
        })
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<_, _> = self.shown().collect();
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("fetch", &self.fetch)
            .field("properties", &shown)
            .finish()
    }
}

/// Parts of names whose values are secrets.
const SECRET: [&str; 9] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "key.pem",
    "private.key",
    "jaas",
    "sasl.oauthbearer.config",
    "credential",
];

/// Whether a property's value must not be printed.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

const GROUP: &str = "the group is named after the application, and its protocol is part of ours";
const OFFSETS: &str = "positions are committed within transactions only";
const PRODUCER: &str = "exactly once needs an idempotent, transactional producer";
const NAMES: &str = "it is made from the application's name and `worker.id`";
const REPORTS: &str = "the commit protocol needs every delivery report";
const CALLBACKS: &str = "callbacks are the engine's";

/// Properties of the protocol and the reason why each is not the user's; a name that ends with `.` stands for all
/// that begin with it.
const OWNED: [(&str, &str); 31] = [
    ("acks", PRODUCER),
    ("request.required.acks", PRODUCER),
    ("enable.idempotence", PRODUCER),
    ("enable.gapless.guarantee", PRODUCER),
    ("max.in.flight", PRODUCER),
    ("max.in.flight.requests.per.connection", PRODUCER),
    ("transactional.id", NAMES),
    ("client.id", NAMES),
    ("group.instance.id", "set `worker.static_membership`"),
    ("group.id", GROUP),
    ("group.protocol", GROUP),
    ("group.protocol.type", GROUP),
    ("group.remote.assignor", GROUP),
    ("partition.assignment.strategy", GROUP),
    ("transaction.timeout.ms", "set `commit.transaction_timeout`"),
    ("session.timeout.ms", "set `group.session_timeout`"),
    ("heartbeat.interval.ms", "set `group.heartbeat_interval`"),
    ("enable.auto.commit", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("auto.commit.interval.ms", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("offset.store.", OFFSETS),
    (
        "auto.offset.reset",
        "positions come from commits; a topology's `start` is used where there is none",
    ),
    (
        "isolation.level",
        "reading uncommitted records would break exactly once",
    ),
    (
        "enable.partition.eof",
        "idle partitions and restore are told by the end of a partition",
    ),
    ("delivery.report.", REPORTS),
    ("dr_cb", REPORTS),
    ("dr_msg_cb", REPORTS),
    ("rebalance_cb", CALLBACKS),
    (
        "plugin.library.paths",
        "plugins could change any of the properties that the protocol owns",
    ),
    ("metadata.broker.list", "set `kafka.bootstrap_servers`"),
];

/// Why the property belongs to the protocol, if it does.
pub(super) fn owned(name: &str) -> Option<&'static str> {
    let matches = |owned: &str| match owned.ends_with('.') {
        true => name.starts_with(owned),
        false => name == owned,
    };
    let listed = OWNED
        .iter()
        .find(|(owned, _)| matches(owned))
        .map(|(_, reason)| *reason);
    listed.or_else(|| name.ends_with("_cb").then_some(CALLBACKS))
}
