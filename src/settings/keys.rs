//! Every key of the settings but Kafka's own properties: how its value is read, checked and shown.
//!
//! Invariant: what `show` gives, `set` takes to the same settings; the table and `config/worker.yaml` name the same
//! keys (a test compares them).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{FetchKind, Settings, StoreKind};
use crate::spec::{duration, size};

/// One key, by its path `section.key`.
pub(super) struct Key {
    pub path: &'static str,
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
    pub show: fn(&Settings) -> String,
}

/// Expands to a [`Key`]: path, place in [`Settings`], reader, writer.
macro_rules! key {
    ($path:literal, $section:ident . $field:ident, $read:expr, $show:expr) => {
        Key {
            path: $path,
            set: |settings, text| {
                settings.$section.$field = $read(text)?;
                Ok(())
            },
            show: |settings| $show(&settings.$section.$field),
        }
    };
}

pub(super) const KEYS: &[Key] = &[
    key!(
        "kafka.bootstrap_servers",
        kafka.bootstrap_servers,
        text,
        String::clone
    ),
    key!("kafka.fetch", kafka.fetch, fetch, show_fetch),
    key!("worker.id", worker.id, worker_id, |id: &Option<String>| id
        .clone()
        .unwrap_or_else(|| AUTO.to_owned())),
    key!("worker.threads", worker.threads, threads, usize::to_string),
    key!(
        "worker.static_membership",
        worker.static_membership,
        flag,
        bool::to_string
    ),
    key!(
        "worker.pin_threads",
        worker.pin_threads,
        flag,
        bool::to_string
    ),
    key!("commit.interval", commit.interval, time, show_time),
    key!("commit.max_bytes", commit.max_bytes, bytes, show_bytes),
    key!("commit.deadline", commit.deadline, time, show_time),
    key!(
        "commit.transaction_timeout",
        commit.transaction_timeout,
        time,
        show_time
    ),
    key!(
        "group.session_timeout",
        group.session_timeout,
        time,
        show_time
    ),
    key!(
        "group.heartbeat_interval",
        group.heartbeat_interval,
        time,
        show_time
    ),
    key!(
        "group.release_deadline",
        group.release_deadline,
        time,
        show_time
    ),
    key!("state.dir", state.dir, directory, |dir: &PathBuf| dir
        .display()
        .to_string()),
    key!("state.store", state.store, store, show_store),
    key!("state.save_interval", state.save_interval, time, show_time),
    key!("changelog.keep", changelog.keep, any_time, show_time),
    key!(
        "changelog.refresh_min_log",
        changelog.refresh_min_log,
        bytes,
        show_bytes
    ),
    key!("memory.budget", memory.budget, budget, show_bytes),
    key!("http.bind", http.bind, bind, |bind: &Option<SocketAddr>| {
        bind.map_or_else(|| OFF.to_owned(), |at| at.to_string())
    }),
    key!(
        "topics.replication",
        topics.replication,
        replicas,
        show_replicas
    ),
    key!(
        "topics.min_insync_replicas",
        topics.min_insync_replicas,
        replicas,
        show_replicas
    ),
];

/// `worker.id`: the process makes one and keeps it.
const AUTO: &str = "auto";
/// `http.bind`: no server.
const OFF: &str = "off";
/// `topics.*`: the broker's default.
const BROKER: &str = "broker";

/// Below this nothing runs: client queues and write buffers alone take most of it.
const LEAST_BUDGET: u64 = 128_000_000;

/// More threads than this in one process is a slip of the pen.
const MOST_THREADS: usize = 256;

pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

fn text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("the value is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn worker_id(given: &str) -> Result<Option<String>, String> {
    if given == AUTO {
        return Ok(None);
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match (1..=60).contains(&given.len()) && given.chars().all(legal) {
        true => Ok(Some(given.to_owned())),
        false => Err(format!(
            "`{given}` is not `{AUTO}` and not 1 to 60 letters, digits, `.`, `_` and `-`"
        )),
    }
}

fn threads(given: &str) -> Result<usize, String> {
    match given.trim().parse() {
        Ok(threads) if (1..=MOST_THREADS).contains(&threads) => Ok(threads),
        _ => Err(format!(
            "`{given}` is not a number from 1 to {MOST_THREADS}"
        )),
    }
}

fn flag(given: &str) -> Result<bool, String> {
    match given.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("`{given}` is not true or false")),
    }
}

fn any_time(given: &str) -> Result<Duration, String> {
    let ms = duration::parse(given)
        .map_err(|cause| format!("{cause}: write {}", duration::DurationError::help()))?;
    Ok(Duration::from_millis(ms.unsigned_abs()))
}

fn time(given: &str) -> Result<Duration, String> {
    let time = any_time(given)?;
    match time.is_zero() {
        true => Err("must be longer than 0s".to_owned()),
        false => Ok(time),
    }
}

fn show_time(time: &Duration) -> String {
    duration::print(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

fn bytes(given: &str) -> Result<u64, String> {
    size::parse(given).map_err(|cause| cause.to_string())
}

fn budget(given: &str) -> Result<u64, String> {
    match bytes(given)? {
        budget if budget < LEAST_BUDGET => {
            Err(format!("the least budget is {}", size::print(LEAST_BUDGET)))
        }
        budget => Ok(budget),
    }
}

fn show_bytes(bytes: &u64) -> String {
    size::print(*bytes)
}

fn directory(given: &str) -> Result<PathBuf, String> {
    text(given).map(PathBuf::from)
}

fn fetch(given: &str) -> Result<FetchKind, String> {
    match given.trim() {
        "native" => Ok(FetchKind::Native),
        "librdkafka" => Ok(FetchKind::Librdkafka),
        _ => Err(format!("`{given}` is not `native` or `librdkafka`")),
    }
}

fn show_fetch(fetch: &FetchKind) -> String {
    match fetch {
        FetchKind::Native => "native",
        FetchKind::Librdkafka => "librdkafka",
    }
    .to_owned()
}

fn store(given: &str) -> Result<StoreKind, String> {
    match given.trim() {
        "rocksdb" => Ok(StoreKind::RocksDb),
        "memory" => Ok(StoreKind::Memory),
        _ => Err(format!("`{given}` is not `rocksdb` or `memory`")),
    }
}

fn show_store(store: &StoreKind) -> String {
    match store {
        StoreKind::RocksDb => "rocksdb",
        StoreKind::Memory => "memory",
    }
    .to_owned()
}

fn bind(given: &str) -> Result<Option<SocketAddr>, String> {
    match given.trim() {
        OFF => Ok(None),
        address => address.parse().map(Some).map_err(|_| {
            format!(
                "`{given}` is not `{OFF}` and not an address with a port, such as 127.0.0.1:8080"
            )
        }),
    }
}

fn replicas(given: &str) -> Result<Option<i32>, String> {
    match given.trim() {
        BROKER => Ok(None),
        number => match number.parse() {
            Ok(number) if (1..=i32::from(i16::MAX)).contains(&number) => Ok(Some(number)),
            _ => Err(format!(
                "`{given}` is not `{BROKER}` and not a number of replicas"
            )),
        },
    }
}

fn show_replicas(replicas: &Option<i32>) -> String {
    replicas.map_or_else(|| BROKER.to_owned(), |number| number.to_string())
}
