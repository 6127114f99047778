//! Logs: text on a terminal, JSON otherwise, to stderr; `MILLSTREAM_LOG` filters.
//!
//! Invariant: a filter that cannot be understood is an error that names the variable, never silence.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "MILLSTREAM_LOG";
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Begins to log.
///
/// # Errors
/// The filter in `MILLSTREAM_LOG` is wrong.
pub fn start() -> Result<(), String> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let filter = filter(&text)?;
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

/// The filter that a text means. `tracing` takes any word for the name of a part of the program, and a filter that names
/// none that exists logs nothing at all: a word alone has to be a level, and parts without one log at `info`.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let named = |error: String| format!("{VARIABLE}={}: {error}", text.trim());
    let directives = text.split(',').map(str::trim).filter(|d| !d.is_empty());
    let mut base = "info".to_owned();
    let mut parts = Vec::new();
    for directive in directives {
        if directive.contains(['=', '[']) {
            parts.push(directive);
        } else if LEVELS.contains(&directive.to_ascii_lowercase().as_str()) {
            base = directive.to_ascii_lowercase();
        } else {
            return Err(named(format!(
                "{directive} is no level ({}); a part of the program takes one, as in {directive}=debug",
                LEVELS.join(", ")
            )));
        }
    }
    let mut all = vec![base.as_str()];
    if ["debug", "trace"].contains(&base.as_str()) {
        // What a library tells of every token is never meant by `debug`; naming it brings it back.
        all.push("sqlparser=info");
    }
    all.extend(parts);
    EnvFilter::try_new(all.join(",")).map_err(|error| named(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::filter::LevelFilter;

    #[test]
    fn what_is_no_filter_is_named_and_silence_has_to_be_asked_for() {
        for (text, expected) in [
            ("", LevelFilter::INFO),
            (" warn ", LevelFilter::WARN),
            ("OFF", LevelFilter::OFF),
            ("warn,millstream::runtime=debug", LevelFilter::DEBUG),
            ("millstream::cli=trace", LevelFilter::TRACE),
            ("librdkafka=error", LevelFilter::INFO),
        ] {
            let found = filter(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(found.max_level_hint(), Some(expected), "{text}");
        }
        for text in ["loud", "inof", "warn,millstream", "millstream=loud"] {
            let error = filter(text).expect_err(text);
            assert!(error.contains(&format!("{VARIABLE}={text}")), "{error}");
        }
    }
}
