//! `millstream explain`: what a topology becomes: sub-topologies, nodes, topics, keys, state.
//!
//! Invariant: connects only where `--brokers` is given, to ask how many partitions the sources have; otherwise the same
//! file prints the same text.

use super::load;
use super::options::{Format, Global};
use super::topics::source_partitions;
use crate::plan::explain;
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Show what a topology becomes: sub-topologies, nodes, topics with their settings, keys and state
///
/// With --brokers the partitions of the source topics are asked for; otherwise they count as 1.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  millstream explain topologies/click-count.yaml
  millstream explain topologies/click-count.yaml --format json")]
pub struct ExplainArgs {
    /// The topology file
    file: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub fn explain(args: &ExplainArgs, global: &Global) -> anyhow::Result<u8> {
    // Not needed without --brokers, but what is wrong with them would otherwise be heard of at `run` only.
    global.settings()?;
    let (spec, plan) = load::topology(&args.file)?;
    let partitions = match global.brokers {
        Some(_) => {
            let names: Vec<String> = spec
                .sources
                .iter()
                .map(|source| source.topic.value.clone())
                .collect();
            source_partitions(&spec, &global.connect(&plan.app)?.admin.topics(&names)?)
        }
        None => BTreeMap::new(),
    };
    match args.format {
        Format::Text => super::print(&explain::explain(&plan, &partitions))?,
        Format::Json => super::print(&format!(
            "{:#}\n",
            explain::explain_json(&plan, &partitions)
        ))?,
    }
    Ok(0)
}
