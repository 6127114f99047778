//! The settings of every librdkafka client: defaults per role, the user's properties, and what must not be changed.
//!
//! Invariant: a setting that exactly-once or the protocol rests on is `Fixed`, and a user property of that name is
//! refused; everything else is a default that user properties override. This file makes no client.

use crate::broker::figures::{self, Listener};
use crate::broker::native::NativeConfig;
use crate::broker::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The call that errors name where the user's properties are at fault.
pub const CONFIGURATION: &str = "kafka configuration";

/// What the clients of one process share.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    pub bootstrap_servers: String,
    /// librdkafka properties of the user (TLS, SASL, tuning), for every client.
    pub properties: BTreeMap<String, String>,
    /// The consumer group of the application.
    pub group: String,
    /// Begins the `client.id` of every client except the member.
    pub client_id_prefix: String,
    /// The `client.id` of the member: takeovers look for it in the group's member list.
    pub worker_id: String,
    pub session_timeout_ms: u32,
    pub heartbeat_ms: u32,
    pub transaction_timeout_ms: u32,
    /// `group.instance.id` of a static member; `None` for a dynamic one.
    pub static_instance: Option<String>,
    /// Fetched and not yet polled, per consumer.
    pub fetch_queue_bytes: usize,
    /// Sent and not yet acknowledged, per producer.
    pub produce_queue_bytes: usize,
    /// Records are read by ourselves where that can be done.
    pub native: bool,
    /// Hears the figures of data consumers and transactional producers.
    pub statistics: Listener,
}

impl KafkaConfig {
    /// The notes' recommendations: session 10 s, heartbeat 300 ms, transactions 10 s, 32 MB queues.
    pub fn new(
        bootstrap_servers: impl Into<String>,
        group: impl Into<String>,
        worker_id: impl Into<String>,
    ) -> Self {
        let group = group.into();
        KafkaConfig {
            bootstrap_servers: bootstrap_servers.into(),
            properties: BTreeMap::new(),
            client_id_prefix: group.clone(),
            group,
            worker_id: worker_id.into(),
            session_timeout_ms: 10_000,
            heartbeat_ms: 300,
            transaction_timeout_ms: 10_000,
            static_instance: None,
            fetch_queue_bytes: 32 << 20,
            produce_queue_bytes: 32 << 20,
            native: true,
            statistics: Listener::default(),
        }
    }
}

impl KafkaConfig {
    /// The settings of the native reader.
    ///
    /// # Errors
    /// Why librdkafka has to read.
    pub(super) fn reader(&self, client_id: &str) -> Result<NativeConfig, String> {
        let role = Role::Data {
            client_id: client_id.to_string(),
        };
        let mut config = NativeConfig::of(
            &self.bootstrap_servers,
            &self.properties,
            self.fetch_queue_bytes,
        )?;
        config.client_id = self.client_id(&role);
        config.figures = role
            .statistics_name()
            .map(|name| (name, self.statistics.clone()));
        Ok(config)
    }

    fn client_id(&self, role: &Role) -> String {
        match role {
            Role::Member => self.worker_id.clone(),
            _ => format!("{}-{}", self.client_id_prefix, role.name()),
        }
    }
}

/// The C heap holds about this much per small message besides its bytes: queue limits in records are derived from it,
/// since librdkafka's limits in bytes count keys and values only.
const MESSAGE_OVERHEAD: usize = 512;

/// What a client is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// Reads assigned partitions.
    Data {
        client_id: String,
    },
    /// Owns the group membership.
    Member,
    /// Asks for committed offsets: only for stable ones, or past an undecided transaction.
    Offsets {
        stable: bool,
    },
    /// Admin requests.
    Admin,
    Transactional {
        transactional_id: String,
    },
    /// Registers a transactional id once, to end what another producer left open.
    Settle {
        transactional_id: String,
    },
}

impl Role {
    pub fn is_producer(&self) -> bool {
        matches!(
            self,
            Role::Admin | Role::Transactional { .. } | Role::Settle { .. }
        )
    }

    /// The name in figures, where it tells any: the number of its thread stands behind the last `-`.
    pub fn statistics_name(&self) -> Option<String> {
        let number = |id: &str| id.rsplit('-').next().unwrap_or_default().to_string();
        match self {
            Role::Data { client_id } => Some(format!("consumer-{}", number(client_id))),
            Role::Transactional { transactional_id } => {
                Some(format!("producer-{}", number(transactional_id)))
            }
            _ => None,
        }
    }

    /// For logs and thread names.
    pub fn name(&self) -> &str {
        match self {
            Role::Data { client_id } => client_id,
            Role::Member => "member",
            Role::Offsets { stable: true } => "offsets",
            Role::Offsets { stable: false } => "offsets-unstable",
            Role::Admin => "admin",
            Role::Transactional { transactional_id } => transactional_id,
            Role::Settle { .. } => "settle",
        }
    }
}

/// Collects the properties of one client.
struct Settings {
    values: BTreeMap<String, String>,
    fixed: BTreeSet<&'static str>,
}

impl Settings {
    fn default(&mut self, name: &'static str, value: impl ToString) {
        self.values.insert(name.to_string(), value.to_string());
    }

    fn fixed(&mut self, name: &'static str, value: impl ToString) {
        self.fixed.insert(name);
        self.default(name, value);
    }
}

/// Fixed for every role, so that a user's property is refused whichever client it was meant for.
const NEVER: [&str; 13] = [
    "metadata.broker.list",
    "client.id",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "transactional.id",
    "isolation.level",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "acks",
    "delivery.report.only.error",
];

/// The properties of a client of this role, in the order in which they are set.
///
/// # Errors
/// [`Error::Refused`] for a user property that is fixed.
pub(super) fn properties(config: &KafkaConfig, role: &Role) -> Result<BTreeMap<String, String>> {
    let mut settings = Settings {
        values: BTreeMap::new(),
        fixed: NEVER.into_iter().collect(),
    };
    settings.fixed("bootstrap.servers", &config.bootstrap_servers);
    settings.fixed("client.id", config.client_id(role));
    settings.default("socket.keepalive.enable", true);
    settings.default("reconnect.backoff.max.ms", 2000);
    // Disconnects are logged, and the log is how a disturbed transaction is noticed.
    settings.fixed("log.connection.close", true);
    settings.fixed("log.queue", false);
    settings.fixed("log_level", 6);
    // Statistics wait in a queue until the client is polled: of a client that nobody polls they would pile up.
    let told = config.statistics.is_set() && role.statistics_name().is_some();
    let interval = if told {
        figures::INTERVAL.as_millis()
    } else {
        0
    };
    settings.fixed("statistics.interval.ms", interval);
    match role {
        Role::Data { .. } => data(&mut settings, config),
        Role::Member => member(&mut settings, config),
        Role::Offsets { stable } => offsets(&mut settings, config, *stable),
        // ListOffsets asks with the leader epoch that the cache holds, and after an election is refused for it until the entry has
        // expired: by default 15 minutes.
        Role::Admin => settings.default("metadata.max.age.ms", 2000),
        Role::Transactional { transactional_id } => {
            transactional(&mut settings, config, transactional_id)
        }
        Role::Settle { transactional_id } => {
            transactional(&mut settings, config, transactional_id);
            // A takeover waits for this one answer.
            settings.default("retry.backoff.ms", 20);
            settings.default("retry.backoff.max.ms", 50);
        }
    }
    for (name, value) in &config.properties {
        if settings.fixed.contains(name.as_str()) {
            let message = format!("property \"{name}\" cannot be set: the engine sets it itself");
            return Err(Error::Refused {
                call: CONFIGURATION,
                message,
            });
        }
        settings.values.insert(name.clone(), value.clone());
    }
    Ok(settings.values)
}

fn manual_offsets(settings: &mut Settings, config: &KafkaConfig) {
    // Even manual assignment needs a group (else _UNKNOWN_GROUP); this consumer never joins it.
    settings.fixed("group.id", &config.group);
    settings.fixed("enable.auto.commit", false);
    settings.fixed("enable.auto.offset.store", false);
    settings.fixed("allow.auto.create.topics", false);
    // Used by the member only, but librdkafka checks them against the user's max.poll.interval.ms everywhere.
    settings.fixed("session.timeout.ms", config.session_timeout_ms);
    settings.fixed("heartbeat.interval.ms", config.heartbeat_ms);
}

fn data(settings: &mut Settings, config: &KafkaConfig) {
    let budget = config.fetch_queue_bytes;
    manual_offsets(settings, config);
    settings.fixed("isolation.level", "read_committed");
    // The default, latest, would skip data silently.
    settings.fixed("auto.offset.reset", "error");
    settings.fixed("enable.partition.eof", true);
    // The default of one second stalls reading each time the queue limit was reached.
    settings.default("fetch.queue.backoff.ms", 2);
    settings.default("fetch.error.backoff.ms", 100);
    // A broker holds a Fetch back this long when nothing is there, and only one Fetch is in flight per broker: a
    // partition that is assigned meanwhile waits for it. Records end the wait at once, so it costs no latency else.
    settings.default("fetch.wait.max.ms", 50);
    // A fetch that is under way comes on top, and the records of both have an overhead.
    settings.default(
        "queued.max.messages.kbytes",
        (budget / 4096).clamp(64, 2_097_151),
    );
    settings.default(
        "queued.min.messages",
        (budget / MESSAGE_OVERHEAD).clamp(1000, 20_000),
    );
    // Counts compressed bytes: small records may take fifty times that in the client's queue, and the kernel's zeroing of fresh pages
    // was the largest single cost of reading with megabytes here.
    settings.default("fetch.message.max.bytes", 128 << 10);
    let fetch = (budget / 32).clamp(128 << 10, 2 << 20);
    settings.default("fetch.max.bytes", fetch);
    // Nothing is produced here, but a fetch is never smaller than this.
    settings.default("message.max.bytes", fetch);
}

fn member(settings: &mut Settings, config: &KafkaConfig) {
    manual_offsets(settings, config);
    settings.fixed("partition.assignment.strategy", "cooperative-sticky");
    // The member reads nothing; with read_committed its start would wait for stable offsets.
    settings.fixed("isolation.level", "read_uncommitted");
    settings.fixed("auto.offset.reset", "latest");
    // New partitions of a tasks topic are new tasks: the client's own 5 minutes are long for that.
    settings.default("topic.metadata.refresh.interval.ms", 10_000);
    if let Some(instance) = &config.static_instance {
        settings.fixed("group.instance.id", instance);
    }
}

fn offsets(settings: &mut Settings, config: &KafkaConfig, stable: bool) {
    manual_offsets(settings, config);
    // read_committed makes OffsetFetch ask for stable offsets.
    settings.fixed(
        "isolation.level",
        if stable {
            "read_committed"
        } else {
            "read_uncommitted"
        },
    );
    settings.default("retry.backoff.ms", 20);
    settings.default("retry.backoff.max.ms", 50);
}

fn transactional(settings: &mut Settings, config: &KafkaConfig, transactional_id: &str) {
    let budget = config.produce_queue_bytes;
    settings.fixed("transactional.id", transactional_id);
    settings.fixed("enable.idempotence", true);
    settings.fixed("acks", "all");
    settings.fixed("transaction.timeout.ms", config.transaction_timeout_ms);
    // A record that is later than its transaction is of no use.
    settings.fixed("message.timeout.ms", config.transaction_timeout_ms);
    // send_offsets waits this long when the previous transaction's markers are still being written.
    settings.default("retry.backoff.ms", 2);
    settings.default("retry.backoff.max.ms", 20);
    settings.default("linger.ms", 5);
    settings.default("batch.num.messages", 100_000);
    settings.default("compression.codec", "lz4");
    // The topics' own limits decide; the sinks check against them.
    settings.default("message.max.bytes", 100_000_000);
    settings.default(
        "queue.buffering.max.kbytes",
        (budget / 1024).clamp(1, 2_147_483_647),
    );
    settings.default(
        "queue.buffering.max.messages",
        (budget / MESSAGE_OVERHEAD).clamp(10_000, 10_000_000),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new("localhost:9092", "app", "worker-1");
        config.properties.insert(name.into(), value.into());
        config
    }

    #[test]
    fn user_properties_override_defaults_but_not_what_exactly_once_rests_on() {
        let data = Role::Data {
            client_id: "w0".into(),
        };
        let set = properties(
            &with("linger.ms", "50"),
            &Role::Transactional {
                transactional_id: "t".into(),
            },
        )
        .unwrap();
        assert_eq!(set["linger.ms"], "50");
        for name in [
            "isolation.level",
            "acks",
            "transactional.id",
            "auto.offset.reset",
            "group.instance.id",
        ] {
            for role in [&data, &Role::Member, &Role::Admin] {
                let error = properties(&with(name, "x"), role).unwrap_err();
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }

    #[test]
    fn only_polled_clients_with_a_listener_tell_statistics() {
        let mut config = KafkaConfig::new("b", "app", "worker-1");
        let data = Role::Data {
            client_id: "worker-1-3".into(),
        };
        let interval = |config: &KafkaConfig, role: &Role| {
            properties(config, role).unwrap()["statistics.interval.ms"].clone()
        };
        assert_eq!(interval(&config, &data), "0");
        config.statistics = Listener::new(|_, _| {});
        assert_eq!(interval(&config, &data), "5000");
        assert_eq!(interval(&config, &Role::Admin), "0");
        assert_eq!(data.statistics_name().as_deref(), Some("consumer-3"));
    }

    #[test]
    fn the_member_carries_the_worker_id_and_only_data_consumers_read_committed() {
        let config = KafkaConfig::new("b", "app", "worker-1");
        assert_eq!(
            properties(&config, &Role::Member).unwrap()["client.id"],
            "worker-1"
        );
        let data = properties(
            &config,
            &Role::Data {
                client_id: "w0".into(),
            },
        )
        .unwrap();
        assert_eq!(data["client.id"], "app-w0");
        assert_eq!(data["isolation.level"], "read_committed");
        assert_eq!(data["auto.offset.reset"], "error");
    }
}
