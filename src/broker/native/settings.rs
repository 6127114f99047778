//! What the native reader takes from the user's Kafka settings, and where it has to leave reading to librdkafka.
//!
//! Invariant: a property that would change what is read, from whom, or who may hear it is honoured or named as the reason; it is
//! never ignored.

use super::request::Limits;
use crate::broker::figures::Listener;
use std::collections::BTreeMap;
use std::time::Duration;

/// A broker holds a Fetch back this long when nothing is there. A partition that is assigned meanwhile waits for it; records end
/// the wait at once, so it costs no latency else.
const WAIT: Duration = Duration::from_millis(50);
const DEFAULT_PORT: u16 = 9092;

/// How a consumer reads.
#[derive(Debug, Clone)]
pub struct NativeConfig {
    /// host:port of brokers to begin with.
    pub bootstrap: Vec<String>,
    pub client_id: String,
    pub limits: Limits,
    /// Bytes of decompressed records after which a poll takes no further batch.
    pub poll_bytes: usize,
    /// The name in figures, and who hears them.
    pub figures: Option<(String, Listener)>,
}

/// What only librdkafka does, and the value with which it is not asked for.
const BEYOND: [(&str, &str); 3] = [
    ("security.protocol", "plaintext"),
    ("client.rack", ""),
    ("broker.address.family", "any"),
];

impl NativeConfig {
    /// From librdkafka's property names; `budget` is what may be fetched ahead, in bytes.
    ///
    /// # Errors
    /// Why these settings are beyond this reader.
    pub fn of(
        bootstrap_servers: &str,
        properties: &BTreeMap<String, String>,
        budget: usize,
    ) -> Result<NativeConfig, String> {
        for (name, neutral) in BEYOND {
            if let Some(value) = properties.get(name)
                && !value.eq_ignore_ascii_case(neutral)
            {
                return Err(format!("the native reader does not know {name}={value}"));
            }
        }
        let number = |names: &[&str], default: usize| {
            let given = names.iter().find_map(|name| properties.get(*name));
            given.map_or(Ok(default), |text| {
                let number = text.trim().parse();
                number.map_err(|_| format!("{}: `{text}` is not a number", names[0]))
            })
        };
        // Three answers at most are held: one that is handed out, one that waits, one that arrives.
        let partition = (budget / 16).clamp(128 << 10, 1 << 20);
        let all = (budget / 8).clamp(256 << 10, 4 << 20);
        let limits = Limits {
            wait: Duration::from_millis(
                number(&["fetch.wait.max.ms"], WAIT.as_millis() as usize)? as u64
            ),
            min_bytes: number(&["fetch.min.bytes"], 1)?,
            max_bytes: number(&["fetch.max.bytes"], all)?,
            max_partition_bytes: number(
                &["fetch.message.max.bytes", "max.partition.fetch.bytes"],
                partition,
            )?,
        };
        Ok(NativeConfig {
            bootstrap: addresses(bootstrap_servers),
            client_id: String::new(),
            limits,
            poll_bytes: all,
            figures: None,
        })
    }
}

/// `host:port` of each server, as librdkafka writes them: with commas between, perhaps with `PLAINTEXT://` before or no port behind.
fn addresses(servers: &str) -> Vec<String> {
    let servers = servers.split(',').map(str::trim).filter(|s| !s.is_empty());
    let address = |server: &str| {
        let host = server.split_once("://").map_or(server, |(_, host)| host);
        let bare = match host.rsplit_once(':') {
            None => true,
            // The colons of an IPv6 address.
            Some((_, end)) => end.contains(']') || end.parse::<u16>().is_err(),
        };
        match bare {
            true => format!("{host}:{DEFAULT_PORT}"),
            false => host.to_string(),
        }
    };
    servers.map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<NativeConfig, String> {
        let properties = BTreeMap::from([(name.to_string(), value.to_string())]);
        NativeConfig::of("a:1", &properties, 32 << 20)
    }

    #[test]
    fn servers_are_read_as_librdkafka_writes_them() {
        assert_eq!(
            addresses("a:1, PLAINTEXT://b:2,c,,[::1]:9,[::1]"),
            ["a:1", "b:2", "c:9092", "[::1]:9", "[::1]:9092"]
        );
    }

    #[test]
    fn what_changes_reading_is_honoured_or_is_the_reason_for_librdkafka() {
        assert_eq!(with("fetch.min.bytes", "7").unwrap().limits.min_bytes, 7);
        let partition = with("max.partition.fetch.bytes", "9").unwrap();
        assert_eq!(partition.limits.max_partition_bytes, 9);
        assert!(with("security.protocol", "PLAINTEXT").is_ok());
        assert!(with("linger.ms", "9").is_ok());
        for (name, value) in [
            ("security.protocol", "SASL_SSL"),
            ("client.rack", "a"),
            ("fetch.max.bytes", "many"),
        ] {
            let why = with(name, value).unwrap_err();
            assert!(why.contains(name), "{why}");
        }
    }
}
