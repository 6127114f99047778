//! librdkafka's own statistics: the few figures of its JSON document that tell whether a client is well.
//!
//! Invariant: nothing decides by these figures; a document that cannot be read is dropped and logged once in a while
//! by librdkafka's next one. They are handed out on the thread that serves the client, so a listener must be quick.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often a client tells its figures.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// What one client told of itself. Totals count since the client was made, and begin anew with the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFigures {
    /// Waiting to be sent or acknowledged.
    pub out: Queue,
    /// Fetched and not yet taken.
    pub fetched: Queue,
    /// Totals of records (messages) and of their bytes, as they were before compression.
    pub sent: Queue,
    pub received: Queue,
    pub brokers: Vec<BrokerFigures>,
}

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    pub messages: u64,
    pub bytes: u64,
}

/// One broker as one client sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerFigures {
    pub name: String,
    /// 99th percentile of the last interval; `None` where nothing was asked.
    pub round_trip_us: Option<u64>,
    /// Longest time that the broker asked this client to hold back, in the last interval.
    pub throttle_ms: u64,
    /// Totals.
    pub errors: u64,
    pub connects: u64,
    pub disconnects: u64,
}

/// Who hears the figures: the client's name (`consumer-0`, `producer-0`) and what it told.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<Hear>>);

type Hear = dyn Fn(&str, &ClientFigures) + Send + Sync;

impl Listener {
    pub fn new(hear: impl Fn(&str, &ClientFigures) + Send + Sync + 'static) -> Self {
        Listener(Some(Arc::new(hear)))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Hands the document's figures on.
    pub(super) fn hear(&self, client: &str, document: &[u8]) {
        let Some(hear) = &self.0 else { return };
        match parse(document) {
            Ok(figures) => hear(client, &figures),
            Err(error) => tracing::debug!(client, %error, "the client's statistics cannot be read"),
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Listener({})",
            if self.is_set() { "set" } else { "none" }
        )
    }
}

/// The parts of the document that are read; see librdkafka's STATISTICS.md. Signed, as the document's numbers are.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Document {
    msg_cnt: i64,
    msg_size: i64,
    txmsgs: i64,
    txmsg_bytes: i64,
    rxmsgs: i64,
    rxmsg_bytes: i64,
    brokers: BTreeMap<String, Broker>,
    topics: BTreeMap<String, Topic>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Broker {
    name: String,
    txerrs: i64,
    rxerrs: i64,
    req_timeouts: i64,
    connects: i64,
    disconnects: i64,
    rtt: Window,
    throttle: Window,
}

/// A histogram of the last interval.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Window {
    max: i64,
    p99: i64,
    cnt: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Topic {
    partitions: BTreeMap<String, Partition>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Partition {
    fetchq_cnt: i64,
    fetchq_size: i64,
}

fn parse(document: &[u8]) -> Result<ClientFigures, serde_json::Error> {
    let document: Document = serde_json::from_slice(document)?;
    let queue = |messages: i64, bytes: i64| Queue {
        messages: messages.max(0) as u64,
        bytes: bytes.max(0) as u64,
    };
    let partitions = document.topics.values().flat_map(|t| t.partitions.values());
    let fetched = partitions.fold((0, 0), |(messages, bytes), p| {
        (messages + p.fetchq_cnt, bytes + p.fetchq_size)
    });
    Ok(ClientFigures {
        out: queue(document.msg_cnt, document.msg_size),
        fetched: queue(fetched.0, fetched.1),
        sent: queue(document.txmsgs, document.txmsg_bytes),
        received: queue(document.rxmsgs, document.rxmsg_bytes),
        // librdkafka lists brokers that it knows and has never spoken to.
        brokers: document
            .brokers
            .into_values()
            .filter(|b| b.connects > 0)
            .map(broker)
            .collect(),
    })
}

fn broker(broker: Broker) -> BrokerFigures {
    let errors = broker.txerrs.max(0) + broker.rxerrs.max(0) + broker.req_timeouts.max(0);
    BrokerFigures {
        name: broker.name,
        round_trip_us: (broker.rtt.cnt > 0).then_some(broker.rtt.p99.max(0) as u64),
        throttle_ms: broker.throttle.max.max(0) as u64,
        errors: errors as u64,
        connects: broker.connects.max(0) as u64,
        disconnects: broker.disconnects.max(0) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const DOCUMENT: &str = r#"{
        "name": "w#consumer-1", "type": "consumer", "ts": 5016483227792, "replyq": 1,
        "msg_cnt": 22, "msg_size": 704, "txmsgs": 1000, "txmsg_bytes": 70000, "rxmsgs": 5, "rxmsg_bytes": 80,
        "brokers": {
            "b:9092/2": { "name": "b:9092/2", "state": "UP", "txerrs": 1, "rxerrs": 2, "req_timeouts": 3,
                          "connects": 4, "disconnects": 5, "rtt": { "max": 900, "p99": 700, "cnt": 9 },
                          "throttle": { "max": 12, "p99": 11, "cnt": 9 } },
            "b:9092/3": { "name": "b:9092/3", "connects": 1, "disconnects": 0, "rtt": { "p99": 0, "cnt": 0 } },
            "b:9092/bootstrap": { "name": "b:9092/bootstrap", "connects": 0 } },
        "topics": { "t": { "topic": "t", "partitions": {
            "0": { "fetchq_cnt": 3, "fetchq_size": 300 }, "1": { "fetchq_cnt": 4, "fetchq_size": 400 },
            "-1": { "fetchq_cnt": 0, "fetchq_size": 0 } } } } }"#;

    #[test]
    fn the_documents_figures_are_summed_over_partitions_and_told_per_broker() {
        let figures = parse(DOCUMENT.as_bytes()).unwrap();
        let queue = |messages, bytes| Queue { messages, bytes };
        assert_eq!(figures.out, queue(22, 704));
        assert_eq!(figures.fetched, queue(7, 700));
        assert_eq!(figures.sent, queue(1000, 70_000));
        assert_eq!(figures.received, queue(5, 80));
        let spoken_to = BrokerFigures {
            name: "b:9092/2".into(),
            round_trip_us: Some(700),
            throttle_ms: 12,
            errors: 6,
            connects: 4,
            disconnects: 5,
        };
        let silent = BrokerFigures {
            name: "b:9092/3".into(),
            connects: 1,
            ..BrokerFigures::default()
        };
        assert_eq!(figures.brokers, [spoken_to, silent]);
    }

    #[test]
    fn a_document_that_cannot_be_read_is_dropped() {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = Listener::new({
            let heard = heard.clone();
            move |client, _| heard.lock().unwrap().push(client.to_string())
        });
        listener.hear("consumer-0", b"{");
        listener.hear("consumer-1", DOCUMENT.as_bytes());
        assert_eq!(*heard.lock().unwrap(), ["consumer-1"]);
    }
}
