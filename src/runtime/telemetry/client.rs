//! librdkafka's figures as metrics: gauges as told, totals as what was added since the last telling.
//!
//! Invariant: a metric's total never falls. A client that was replaced begins its own totals anew, so a total that is
//! smaller than before is all new.

use crate::broker::figures::{BrokerFigures, ClientFigures, Listener, Queue};
use crate::metrics::{Counter, Metrics};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Client, what, and about which broker or direction.
type TotalName = (String, &'static str, String);

#[derive(Default)]
struct Clients {
    totals: BTreeMap<TotalName, u64>,
    /// Bytes in each client's queues.
    held: BTreeMap<String, u64>,
}

/// Feeds the metrics with what the clients of a process tell.
pub fn of_clients(metrics: Arc<Metrics>) -> Listener {
    let clients: Mutex<Clients> = Mutex::default();
    Listener::new(move |client, figures| {
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.hear(&metrics, client, figures);
    })
}

impl Clients {
    fn hear(&mut self, metrics: &Metrics, client: &str, figures: &ClientFigures) {
        let family = &metrics.client;
        for (queue, figure) in [("out", figures.out), ("in", figures.fetched)] {
            let (messages, bytes) = (figure.messages as i64, figure.bytes as i64);
            family.queued_messages.with([client, queue]).set(messages);
            family.queued_bytes.with([client, queue]).set(bytes);
        }
        let held = figures.out.bytes + figures.fetched.bytes;
        self.held.insert(client.to_string(), held);
        let all: u64 = self.held.values().sum();
        metrics.state.memory_used.with(["clients"]).set(all as i64);
        for (direction, figure) in [("sent", figures.sent), ("received", figures.received)] {
            let Queue { messages, bytes } = figure;
            let count = family.messages.with([client, direction]);
            self.total(&count, (client, "messages", direction), messages);
            let count = family.message_bytes.with([client, direction]);
            self.total(&count, (client, "bytes", direction), bytes);
        }
        for broker in &figures.brokers {
            self.hear_broker(metrics, client, broker);
        }
    }

    fn hear_broker(&mut self, metrics: &Metrics, client: &str, broker: &BrokerFigures) {
        let family = &metrics.client;
        let at = [client, broker.name.as_str()];
        // Silence says nothing about the way to the broker: the last figure stays.
        if let Some(round_trip) = broker.round_trip_us {
            family.round_trip.with(at).set(round_trip as i64);
        }
        family.throttle.with(at).set(broker.throttle_ms as i64);
        for (what, counters, total) in [
            ("errors", &family.request_errors, broker.errors),
            ("connects", &family.connects, broker.connects),
            ("disconnects", &family.disconnects, broker.disconnects),
        ] {
            self.total(&counters.with(at), (client, what, at[1]), total);
        }
    }

    fn total(&mut self, counter: &Counter, name: (&str, &'static str, &str), now: u64) {
        let name = (name.0.to_string(), name.1, name.2.to_string());
        let before = self.totals.insert(name, now).unwrap_or(0);
        counter.inc_by(now.checked_sub(before).unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(sent: u64, disconnects: u64) -> ClientFigures {
        let broker = BrokerFigures {
            name: "b:9092/1".into(),
            round_trip_us: Some(700),
            disconnects,
            ..BrokerFigures::default()
        };
        ClientFigures {
            out: Queue {
                messages: 3,
                bytes: 40,
            },
            sent: Queue {
                messages: sent,
                bytes: 0,
            },
            brokers: vec![broker],
            ..ClientFigures::default()
        }
    }

    #[test]
    fn totals_go_on_where_a_client_was_replaced() {
        let metrics = Metrics::new();
        let mut clients = Clients::default();
        for (sent, disconnects) in [(10, 1), (25, 1), (4, 0)] {
            clients.hear(&metrics, "producer-0", &figures(sent, disconnects));
        }
        let client = &metrics.client;
        assert_eq!(client.messages.with(["producer-0", "sent"]).get(), 29);
        assert_eq!(client.disconnects.with(["producer-0", "b:9092/1"]).get(), 1);
        assert_eq!(
            client.round_trip.with(["producer-0", "b:9092/1"]).get(),
            700
        );
    }

    #[test]
    fn memory_in_queues_is_summed_over_clients() {
        let metrics = Metrics::new();
        let mut clients = Clients::default();
        for client in ["producer-0", "producer-1", "producer-1"] {
            clients.hear(&metrics, client, &figures(1, 0));
        }
        assert_eq!(metrics.state.memory_used.with(["clients"]).get(), 80);
    }
}
