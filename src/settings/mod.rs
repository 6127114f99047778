//! Settings of a worker process: brokers, threads, commit, memory, directories; apart from the topology.
//!
//! Layers, weakest first: defaults, files, environment (`MILLSTREAM__COMMIT__INTERVAL`), overrides from the command
//! line. `config/worker.yaml` documents every key.
//! Invariant: settings that are returned are typed and within bounds, and printing them never shows a secret.
//! This file reads files only while loading, and connects to nothing.

mod interpolate;
mod kafka;
mod keys;
mod layers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

pub use kafka::{FetchKind, KafkaSettings};

use crate::spec::diagnostic::closest;

/// All settings of a worker process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    pub kafka: KafkaSettings,
    pub worker: WorkerSettings,
    pub commit: CommitSettings,
    pub group: GroupSettings,
    pub state: StateSettings,
    pub changelog: ChangelogSettings,
    pub memory: MemorySettings,
    pub http: HttpSettings,
    pub topics: TopicSettings,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Part of the transactional ids; `None`: made once and kept in the state directory.
    pub id: Option<String>,
    /// Worker threads.
    pub threads: usize,
    /// Whether the process is a static member of the group.
    pub static_membership: bool,
    /// Whether each worker thread is bound to a core of its own.
    pub pin_threads: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSettings {
    /// Time between two commits of a thread.
    pub interval: Duration,
    /// Uncommitted bytes after which a commit comes earlier.
    pub max_bytes: u64,
    /// After this long in one commit the worker is not ready and its tasks are released.
    pub deadline: Duration,
    /// After this long the broker aborts an open transaction.
    pub transaction_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// Silence after which the broker gives a member's tasks to others.
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// How long a revoked task's thread may take to close it before its producer is fenced.
    pub release_deadline: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSettings {
    pub dir: PathBuf,
    pub store: StoreKind,
    /// Time between two saves of the hot layer into the store.
    pub save_interval: Duration,
}

/// Where saved state lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    RocksDb,
    Memory,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangelogSettings {
    /// How long dead log is kept, so that a returning worker can use its store.
    pub keep: Duration,
    /// Bytes of log below which nothing is refreshed.
    pub refresh_min_log: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySettings {
    /// Bytes that the process may use, all together.
    pub budget: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// `None` for `off`.
    pub bind: Option<SocketAddr>,
}

/// Internal topics; `None` leaves the value to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicSettings {
    pub replication: Option<i32>,
    pub min_insync_replicas: Option<i32>,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        WorkerSettings {
            id: None,
            threads: 2,
            static_membership: false,
            pin_threads: false,
        }
    }
}

impl Default for CommitSettings {
    fn default() -> Self {
        CommitSettings {
            interval: Duration::from_millis(500),
            max_bytes: 16_000_000,
            deadline: Duration::from_secs(30),
            transaction_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for GroupSettings {
    fn default() -> Self {
        GroupSettings {
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_millis(300),
            release_deadline: Duration::from_secs(20),
        }
    }
}

impl Default for StateSettings {
    fn default() -> Self {
        StateSettings {
            dir: PathBuf::from(".millstream/state"),
            store: StoreKind::RocksDb,
            save_interval: Duration::from_secs(30),
        }
    }
}

impl Default for ChangelogSettings {
    fn default() -> Self {
        ChangelogSettings {
            keep: Duration::from_secs(3600),
            refresh_min_log: 64_000_000,
        }
    }
}

impl Default for MemorySettings {
    fn default() -> Self {
        MemorySettings {
            budget: 512_000_000,
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            bind: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
        }
    }
}

/// One mistake in the settings. Values are shown only where they cannot be secrets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    #[error("{path}: {cause}")]
    File { path: String, cause: String },
    #[error("{origin}: there is no setting `{key}`{}", hint(.closest.as_ref()))]
    UnknownKey {
        key: String,
        origin: String,
        closest: Option<String>,
    },
    #[error("{origin}: `{key}`: {cause}")]
    Invalid {
        key: String,
        origin: String,
        cause: String,
    },
    #[error("{origin}: `{key}` cannot be set: {reason}")]
    Owned {
        key: String,
        origin: String,
        reason: &'static str,
    },
    #[error("--set, the one of number {number}: not of the form key=value")]
    Override {
        /// Counted from 1; the text is not shown, it may be a secret.
        number: usize,
    },
    #[error("{0}")]
    Together(String),
}

fn hint(closest: Option<&String>) -> String {
    closest.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// Every mistake of all layers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct SettingsErrors(pub Vec<SettingsError>);

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Settings {
    /// Puts the layers together: defaults, then `files` in their order, `environment`, and `overrides` (`key=value`).
    /// `environment` is also where `${NAME}` is looked up.
    ///
    /// # Errors
    /// Every unreadable file, unknown key, wrong value, missing variable and refused Kafka property.
    pub fn load(
        files: &[PathBuf],
        environment: &BTreeMap<String, String>,
        overrides: &[String],
    ) -> Result<Settings, SettingsErrors> {
        let mut errors = Vec::new();
        let mut settings = Settings::default();
        for given in layers::merged(files, environment, overrides, &mut errors) {
            if let Err(error) = settings.apply(&given, environment) {
                errors.push(error);
            }
        }
        settings.check_together(&mut errors);
        match errors.is_empty() {
            true => Ok(settings),
            false => Err(SettingsErrors(errors)),
        }
    }

    fn apply(
        &mut self,
        given: &layers::Given,
        environment: &BTreeMap<String, String>,
    ) -> Result<(), SettingsError> {
        let invalid = |cause: String| SettingsError::Invalid {
            key: given.key.clone(),
            origin: given.origin.clone(),
            cause,
        };
        let value = interpolate::interpolate(&given.value, environment)
            .map_err(|error| invalid(error.to_string()))?;
        let interpolated = value != given.value;
        // A value that came from elsewhere may be a secret in the wrong place: it is not repeated.
        let shown = |cause: String| match interpolated {
            true => invalid(format!("the value behind `{}` does not fit", given.value)),
            false => invalid(cause),
        };
        if let Some(key) = keys::find(&given.key) {
            return (key.set)(self, &value).map_err(shown);
        }
        let Some(property) = given
            .key
            .strip_prefix("kafka.")
            .filter(|name| !name.is_empty())
        else {
            let names = keys::KEYS.iter().map(|key| key.path);
            return Err(SettingsError::UnknownKey {
                key: given.key.clone(),
                origin: given.origin.clone(),
                closest: closest(&given.key, names).map(str::to_owned),
            });
        };
        if let Some(reason) = kafka::owned(property) {
            return Err(SettingsError::Owned {
                key: given.key.clone(),
                origin: given.origin.clone(),
                reason,
            });
        }
        if interpolated {
            self.kafka.hidden.insert(property.to_owned());
        }
        self.kafka.properties.insert(property.to_owned(), value);
        Ok(())
    }

    /// Values that are right alone and wrong together.
    fn check_together(&self, errors: &mut Vec<SettingsError>) {
        let mut refuse = |wrong: bool, message: &str| {
            if wrong {
                errors.push(SettingsError::Together(message.to_owned()));
            }
        };
        refuse(
            self.group.heartbeat_interval * 3 > self.group.session_timeout,
            "`group.heartbeat_interval` must be at most a third of `group.session_timeout`: a lost heartbeat or two \
             must not cost the tasks",
        );
        refuse(
            self.commit.interval >= self.commit.transaction_timeout,
            "`commit.interval` must be shorter than `commit.transaction_timeout`: the broker would abort every \
             transaction",
        );
        refuse(
            matches!(
                (self.topics.replication, self.topics.min_insync_replicas),
                (Some(replicas), Some(in_sync)) if in_sync > replicas
            ),
            "`topics.min_insync_replicas` is more than `topics.replication`: nothing could be written",
        );
    }
}

/// Every setting as `key = value`, one a line, without secrets.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in keys::KEYS {
            writeln!(f, "{} = {}", key.path, (key.show)(self))?;
        }
        for (name, value) in self.kafka.shown() {
            writeln!(f, "kafka.{name} = {value}")?;
        }
        Ok(())
    }
}
