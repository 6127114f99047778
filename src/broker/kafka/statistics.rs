//! librdkafka's own statistics: our figures from its JSON document.
//!
//! Invariant: a document that cannot be read is dropped; the next one comes anyway.

use crate::broker::figures::{BrokerFigures, ClientFigures, Listener, Queue};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Hands the document's figures on.
pub(super) fn hear(listener: &Listener, client: &str, document: &[u8]) {
    match parse(document) {
        Ok(figures) => listener.tell(client, &figures),
        Err(error) => tracing::debug!(client, %error, "the client's statistics cannot be read"),
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
    use std::sync::{Arc, Mutex};

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
        hear(&listener, "consumer-0", b"{");
        hear(&listener, "consumer-1", DOCUMENT.as_bytes());
        assert_eq!(*heard.lock().unwrap(), ["consumer-1"]);
    }
}
