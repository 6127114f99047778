//! Options that every command takes, and what is made from them: settings, and clients for the cluster.
//!
//! Invariant: settings are layered as `settings` says, `--brokers` being the strongest; nothing is connected before a
//! command asks for it.

use super::load::Usage;
use crate::broker::kafka::{KafkaClients, KafkaConfig};
use crate::broker::{Admin, Group};
use crate::settings::Settings;
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
pub struct Global {
    /// Worker settings, YAML; several files are layered, the last is the strongest
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    pub config: Vec<PathBuf>,
    /// One setting, as in --set commit.interval=1s; stronger than files and MILLSTREAM__… variables
    #[arg(
        long,
        global = true,
        value_name = "KEY=VALUE",
        help_heading = "Settings"
    )]
    pub set: Vec<String>,
    /// Kafka brokers, host:port with commas between several; short for --set kafka.bootstrap_servers=…
    #[arg(long, global = true, value_name = "BROKERS", help_heading = "Settings")]
    pub brokers: Option<String>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Clients of the Kafka cluster for commands.
pub struct Cluster {
    pub config: KafkaConfig,
    pub clients: Box<dyn crate::broker::Clients>,
    pub admin: Arc<dyn Admin>,
    pub group: Arc<dyn Group>,
}

impl Global {
    /// The settings of all layers.
    ///
    /// # Errors
    /// Every mistake in them, as a [`Usage`] error.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        // Variables that are no Unicode cannot be ours.
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut overrides = self.set.clone();
        overrides.extend(
            self.brokers
                .iter()
                .map(|brokers| format!("kafka.bootstrap_servers={brokers}")),
        );
        Ok(Settings::load(&self.config, &environment, &overrides)
            .map_err(|errors| Usage(errors.to_string()))?)
    }

    /// Clients for a command; `group` is the consumer group that it asks about.
    ///
    /// # Errors
    /// The settings are wrong, or librdkafka refuses them.
    pub fn connect(&self, group: &str) -> anyhow::Result<Cluster> {
        let settings = self.settings()?;
        let mut config = KafkaConfig::new(
            settings.kafka.bootstrap_servers.clone(),
            group,
            format!("cli-{}", std::process::id()),
        );
        config.properties = settings.kafka.properties;
        let clients = KafkaClients::new(config.clone());
        let admin = clients.admin()?;
        let group = clients.group(admin.clone())?;
        Ok(Cluster {
            config,
            clients: Box::new(clients),
            admin,
            group,
        })
    }
}
