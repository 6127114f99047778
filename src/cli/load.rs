//! Reading and checking a topology file for commands that need it whole.
//!
//! Invariant: a file that is not valid ends the command with exit code 2, after all of its errors were shown.

use crate::plan::graph::Plan;
use crate::spec::TopologySpec;
use crate::spec::diagnostic::{self, Diagnostic};
use std::io::IsTerminal;
use std::path::Path;

/// The user's mistake: exit code 2, where a failure of the world is 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A file that was read and may be wrong.
pub struct Checked {
    pub file: String,
    pub text: String,
    pub result: Result<(TopologySpec, Plan), Vec<Diagnostic>>,
}

impl Checked {
    /// The diagnostics for people, in colour on a terminal.
    pub fn rendered(&self, found: &[Diagnostic], colour: bool) -> String {
        match colour {
            true => diagnostic::render_coloured(&self.file, &self.text, found),
            false => diagnostic::render_text(&self.file, &self.text, found),
        }
    }
}

/// Reads the file and checks it, SQL included.
///
/// # Errors
/// The file cannot be read.
pub fn check(path: &Path) -> anyhow::Result<Checked> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Usage(format!("{file}: {error}")))?;
    let result = crate::spec::read(&file, &text).and_then(|spec| {
        let plan = crate::plan::plan(&spec)?;
        Ok((spec, plan))
    });
    Ok(Checked { file, text, result })
}

/// Reads a file that must be valid; its errors are printed to stderr.
///
/// # Errors
/// The file cannot be read or is not valid.
pub fn topology(path: &Path) -> anyhow::Result<(TopologySpec, Plan)> {
    let mut checked = check(path)?;
    match std::mem::replace(&mut checked.result, Err(vec![])) {
        Ok(found) => Ok(found),
        Err(found) => {
            let rendered = checked.rendered(&found, std::io::stderr().is_terminal());
            super::say(rendered.trim_end());
            let errors = if found.len() == 1 {
                "1 error".to_owned()
            } else {
                format!("{} errors", found.len())
            };
            Err(Usage(format!("{} is not valid: {errors}", checked.file)).into())
        }
    }
}
