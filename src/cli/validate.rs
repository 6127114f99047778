//! `millstream validate`: all errors of topology files.
//!
//! Invariant: every file is checked, whatever was wrong with those before it.

use super::load::{self, Checked};
use super::options::{Format, Global};
use crate::spec::diagnostic;
use anyhow::Context;
use clap::Args;
use serde_json::Value as Json;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Check topology files and show every error with its place and a remedy
///
/// Needs no Kafka: names, types, SQL and what the engine supports are checked, not whether topics exist.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  millstream validate topologies/*.yaml
  millstream validate topologies/click-count.yaml --format json

Exit code: 0 all are valid, 2 one is not or cannot be read")]
pub struct ValidateArgs {
    /// Topology files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub fn validate(args: &ValidateArgs, global: &Global) -> anyhow::Result<u8> {
    // Not needed here, but what is wrong with them would otherwise be heard of at `run` only.
    global.settings()?;
    let mut valid = true;
    let mut json = vec![];
    for path in &args.files {
        let checked = match load::check(path) {
            Ok(checked) => checked,
            Err(error) => {
                super::say(&format!("error: {error}"));
                valid = false;
                continue;
            }
        };
        valid &= checked.result.is_ok();
        match args.format {
            Format::Text => super::print(&text(&checked))?,
            Format::Json => json.extend(diagnostics_json(&checked)?),
        }
    }
    if args.format == Format::Json {
        super::print(&format!("{:#}\n", Json::Array(json)))?;
    }
    Ok(if valid { 0 } else { 2 })
}

fn text(checked: &Checked) -> String {
    match &checked.result {
        Ok(_) => format!("{}: ok\n", checked.file),
        Err(found) => {
            let rendered = checked.rendered(found, std::io::stdout().is_terminal());
            format!("{}\n", rendered.trim_end())
        }
    }
}

/// One array for all files: each diagnostic names its own.
fn diagnostics_json(checked: &Checked) -> anyhow::Result<Vec<Json>> {
    match &checked.result {
        Ok(_) => Ok(vec![]),
        Err(found) => serde_json::from_str(&diagnostic::render_json(&checked.file, found))
            .context("the diagnostics are no JSON array"),
    }
}
