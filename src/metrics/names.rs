//! Every metric of the engine: name, labels, help, in one place.
//!
//! Invariant: figures that several tasks of a process report carry the task's partition as a label, so that no two
//! writers share a gauge. Gauges of tasks are filled when somebody looks ([`Metrics::page`]), so that none is stale.
//! Labels have few values: names of the file, partitions, causes; never keys of rows.

use super::family::{Builder, CounterFamily, Definition, GaugeFamily, HistogramFamily};
use prometheus::{Registry, TextEncoder};
use std::sync::{Mutex, PoisonError};

/// Commits: from a millisecond to a minute.
const COMMIT_SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0,
];
/// Restores, takeovers and saves: from ten milliseconds to an hour.
const TASK_SECONDS: [f64; 12] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0,
];

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
    definitions: Vec<Definition>,
    /// One page at a time: gauges are cleared and filled for it.
    looking: Mutex<()>,
    pub flow: Flow,
    pub commits: Commits,
    pub tasks: Tasks,
    pub state: State,
    pub client: Client,
}

/// Rows and time on their way through.
pub struct Flow {
    pub records_in: CounterFamily<2>,
    pub bytes_in: CounterFamily<2>,
    pub records_out: CounterFamily<1>,
    pub bytes_out: CounterFamily<1>,
    pub rows: CounterFamily<2>,
    pub rejected: CounterFamily<2>,
    pub late: CounterFamily<1>,
    pub lag: GaugeFamily<2>,
    pub watermark: GaugeFamily<2>,
    pub watermark_lag: GaugeFamily<2>,
    pub idle: GaugeFamily<2>,
}

/// Transactions.
pub struct Commits {
    pub duration: HistogramFamily<0>,
    pub bytes: CounterFamily<0>,
    pub outcomes: CounterFamily<1>,
    pub aborts: CounterFamily<1>,
    pub producers_replaced: CounterFamily<1>,
}

/// Tasks and who runs them.
pub struct Tasks {
    pub phases: GaugeFamily<1>,
    pub rebalances: CounterFamily<1>,
    pub takeover: HistogramFamily<0>,
    pub restore: HistogramFamily<1>,
    pub restored_bytes: CounterFamily<1>,
    pub lost_state: CounterFamily<1>,
}

/// The three layers of state and its log.
pub struct State {
    pub rows: GaugeFamily<3>,
    pub bytes: GaugeFamily<3>,
    pub store_reads: CounterFamily<2>,
    pub store_writes: CounterFamily<2>,
    pub save: HistogramFamily<0>,
    pub changelog_bytes: CounterFamily<1>,
    pub refreshed_bytes: CounterFamily<1>,
    pub memory_used: GaugeFamily<1>,
    pub memory_budget: GaugeFamily<0>,
}

/// The Kafka clients' own figures.
pub struct Client {
    pub queued_messages: GaugeFamily<2>,
    pub queued_bytes: GaugeFamily<2>,
    pub messages: CounterFamily<2>,
    pub message_bytes: CounterFamily<2>,
    pub round_trip: GaugeFamily<2>,
    pub throttle: GaugeFamily<2>,
    pub request_errors: CounterFamily<2>,
    pub connects: CounterFamily<2>,
    pub disconnects: CounterFamily<2>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut builder = Builder::new();
        let flow = Flow::new(&mut builder);
        let commits = Commits::new(&mut builder);
        let tasks = Tasks::new(&mut builder);
        let state = State::new(&mut builder);
        let client = Client::new(&mut builder);
        Metrics {
            registry: builder.registry,
            definitions: builder.definitions,
            looking: Mutex::default(),
            flow,
            commits,
            tasks,
            state,
            client,
        }
    }

    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// All values in the Prometheus text format.
    pub fn render(&self) -> String {
        // Encoding fails only for families without a name or a value; `gather` hands out none.
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }

    /// The page that is served: `fill` sets the gauges that are true at this moment only.
    pub fn page(&self, fill: impl FnOnce(&Metrics)) -> String {
        let _one = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        for family in [
            &self.flow.lag,
            &self.flow.watermark,
            &self.flow.watermark_lag,
            &self.flow.idle,
        ] {
            family.clear();
        }
        self.state.rows.clear();
        self.state.bytes.clear();
        fill(self);
        self.render()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Flow {
    fn new(b: &mut Builder) -> Self {
        let partition = ["source", "partition"];
        let task = ["node", "partition"];
        Flow {
            records_in: b.counter(
                "millstream_records_in_total",
                partition,
                "Records of a source's topic that committed transactions have taken.",
            ),
            bytes_in: b.counter(
                "millstream_bytes_in_total",
                partition,
                "Bytes of keys and values of these records.",
            ),
            records_out: b.counter(
                "millstream_records_out_total",
                ["sink"],
                "Records written to a sink by committed transactions.",
            ),
            bytes_out: b.counter(
                "millstream_bytes_out_total",
                ["sink"],
                "Bytes of keys and values written to a sink by committed transactions.",
            ),
            rows: b.counter(
                "millstream_node_rows_total",
                ["node", "outcome"],
                "Rows that a node took in committed transactions, each under one outcome: `used`, `filtered`, `rejected`, \
                 `late`; and the result rows that a window has `emitted`.",
            ),
            rejected: b.counter(
                "millstream_records_rejected_total",
                ["node", "cause"],
                "Records and rows that a source, node or sink rejected, in committed transactions.",
            ),
            late: b.counter(
                "millstream_records_late_total",
                ["node"],
                "Rows whose window was closed, in committed transactions, whether rejected (`late: reject`) or dropped.",
            ),
            lag: b.gauge(
                "millstream_lag_records",
                task,
                "Offsets between the committed position of a source's or node's task and the end of its input (of its \
                 stable part), as of the last look, every 5 s.",
            ),
            watermark: b.gauge(
                "millstream_watermark_ms",
                task,
                "Watermark of a source partition or of a node's task, in ms since 1970.",
            ),
            watermark_lag: b.gauge(
                "millstream_watermark_lag_ms",
                task,
                "Wall clock less the watermark, in ms; large by nature for historical data.",
            ),
            idle: b.gauge(
                "millstream_idle",
                task,
                "1 while a source partition or a node's task is idle and holds no watermark back.",
            ),
        }
    }
}

impl Commits {
    fn new(b: &mut Builder) -> Self {
        Commits {
            duration: b.histogram(
                "millstream_commit_duration_seconds",
                [],
                "Time from sealing to the acknowledged end of a committed transaction.",
                &COMMIT_SECONDS,
            ),
            bytes: b.counter("millstream_commit_bytes_total", [], "Bytes written in committed transactions."),
            outcomes: b.counter(
                "millstream_commits_total",
                ["outcome"],
                "Ended transactions: `committed`, `aborted`, or `unknown` (only Kafka knows, tasks are taken over again).",
            ),
            aborts: b.counter(
                "millstream_aborts_total",
                ["cause"],
                "Aborted transactions by cause: `not_owned` (tasks moved), `fenced_or_fatal` (another producer took the id, a \
                 transaction timed out, or the client failed), `overdue` (the deadline came first), `refused` (the broker never \
                 will), `broker` (the rest).",
            ),
            producers_replaced: b.counter(
                "millstream_producers_replaced_total",
                ["cause"],
                "Transactional producers that were closed and made anew: `disturbed` (a commit's end may have been sent \
                 twice), `fenced_or_fatal`, `overdue`, `unknown_outcome`.",
            ),
        }
    }
}

impl Tasks {
    fn new(b: &mut Builder) -> Self {
        Tasks {
            phases: b.gauge(
                "millstream_tasks",
                ["phase"],
                "Tasks of this process by phase: `assigned`, `positioning`, `restoring`, `claiming`, `running`, `parked`.",
            ),
            rebalances: b.counter(
                "millstream_rebalances_total",
                ["kind"],
                "Changes of this process's assignment: `assigned`, `revoked`, `lost` (also without any task).",
            ),
            takeover: b.histogram(
                "millstream_takeover_duration_seconds",
                [],
                "Time from the assignment of a task to its first commit.",
                &TASK_SECONDS,
            ),
            restore: b.histogram(
                "millstream_restore_duration_seconds",
                ["from"],
                "Time to restore a task's state: from the local `store` and the log's tail, or from the `log` alone.",
                &TASK_SECONDS,
            ),
            restored_bytes: b.counter(
                "millstream_restored_bytes_total",
                ["node"],
                "Bytes of changelog blocks replayed.",
            ),
            lost_state: b.counter(
                "millstream_lost_state_total",
                ["node"],
                "Tasks that were stopped because their changelog does not hold their state any more.",
            ),
        }
    }
}

impl State {
    fn new(b: &mut Builder) -> Self {
        let layer = ["node", "partition", "layer"];
        State {
            rows: b.gauge(
                "millstream_state_rows",
                layer,
                "Rows of a node's state in a layer: `overlay` (changed by the last commit), `hot`, `store` (estimated).",
            ),
            bytes: b.gauge("millstream_state_bytes", layer, "Bytes of a node's state in a layer; of the overlay, as they go into the changelog."),
            store_reads: b.counter("millstream_store_reads_total", ["node", "partition"], "Rows read from RocksDB."),
            store_writes: b.counter("millstream_store_writes_total", ["node", "partition"], "Rows written to RocksDB."),
            save: b.histogram(
                "millstream_save_duration_seconds",
                [],
                "Time to save unsaved rows into RocksDB.",
                &TASK_SECONDS,
            ),
            changelog_bytes: b.counter(
                "millstream_changelog_bytes_total",
                ["node"],
                "Bytes of changes written to the changelog, without refresh.",
            ),
            refreshed_bytes: b.counter(
                "millstream_refreshed_bytes_total",
                ["node"],
                "Bytes of unchanged rows written to the changelog again, so that its head can be deleted.",
            ),
            memory_used: b.gauge(
                "millstream_memory_used_bytes",
                ["part"],
                "Memory held: `process` all of it (anonymous resident memory); of that `hot` layers, `store` (RocksDB's block \
                 cache and write buffers), `clients` (the Kafka clients' queues).",
            ),
            memory_budget: b.gauge("millstream_memory_budget_bytes", [], "The memory budget of the process."),
        }
    }
}

impl Client {
    fn new(b: &mut Builder) -> Self {
        let broker = ["client", "broker"];
        Client {
            queued_messages: b.gauge(
                "millstream_kafka_queued_messages",
                ["client", "queue"],
                "Messages in the Kafka clients' queues: `out` (to be sent or acknowledged), `in` (fetched, not yet taken).",
            ),
            queued_bytes: b.gauge(
                "millstream_kafka_queued_bytes",
                ["client", "queue"],
                "Bytes in the Kafka clients' queues; what is fetched, as the broker compressed it.",
            ),
            messages: b.counter(
                "millstream_kafka_messages_total",
                ["client", "direction"],
                "Messages that a client has `sent` or `received`; a block of rows is one message.",
            ),
            message_bytes: b.counter(
                "millstream_kafka_message_bytes_total",
                ["client", "direction"],
                "Bytes of these messages, before compression.",
            ),
            round_trip: b.gauge(
                "millstream_kafka_round_trip_us",
                broker,
                "99th percentile of the broker's round trip in the last 5 s, in microseconds.",
            ),
            throttle: b.gauge(
                "millstream_kafka_throttle_ms",
                broker,
                "Longest time for which the broker's quota held the client back in the last 5 s.",
            ),
            request_errors: b.counter("millstream_kafka_request_errors_total", broker, "Requests that failed or timed out."),
            connects: b.counter("millstream_kafka_connects_total", broker, "Connections that were tried."),
            disconnects: b.counter("millstream_kafka_disconnects_total", broker, "Connections that ended."),
        }
    }
}
