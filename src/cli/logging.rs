//! Logs: text on a terminal, JSON otherwise, to stderr; `MILLSTREAM_LOG` filters.
//!
//! Invariant: a filter that cannot be understood is an error that names the variable, never silence.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "MILLSTREAM_LOG";

/// Begins to log.
///
/// # Errors
/// The filter in `MILLSTREAM_LOG` is wrong.
pub fn start() -> Result<(), String> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let filter = if text.trim().is_empty() {
        "info"
    } else {
        text.trim()
    };
    // What a library tells of every token is never meant by `debug`; naming it brings it back.
    let quiet = format!("sqlparser=info,{filter}");
    let filter =
        EnvFilter::try_new(quiet).map_err(|error| format!("{VARIABLE}={filter}: {error}"))?;
    let terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would say on stderr that stderr is closed, and panic for it: inside a callback of librdkafka that ends the process.
        .log_internal_errors(false)
        .with_ansi(terminal);
    let started = if terminal {
        logs.with_target(false).try_init()
    } else {
        logs.json().flatten_event(true).try_init()
    };
    started.map_err(|error| format!("logging: {error}"))
}
