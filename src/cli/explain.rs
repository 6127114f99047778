//! `millstream explain`: what a topology becomes: sub-topologies, nodes, topics, keys, state.
//!
//! Invariant: opens no connection; the same file prints the same text.

use super::load;
use super::options::Format;
use clap::Args;
use std::path::PathBuf;

/// Show what a topology becomes: sub-topologies, nodes, topics with their settings, keys and state
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

pub fn explain(args: &ExplainArgs) -> anyhow::Result<u8> {
    let (_, plan) = load::topology(&args.file)?;
    match args.format {
        Format::Text => super::print(&crate::plan::explain::text(&plan))?,
        Format::Json => super::print(&format!("{:#}\n", crate::plan::explain::json(&plan)))?,
    }
    Ok(0)
}
