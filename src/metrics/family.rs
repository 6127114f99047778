//! Families of counters, gauges and histograms with a fixed number of labels.
//!
//! Invariant: a family is registered with exactly the labels that `with` takes: a wrong number does not compile.
//! This file names no metric.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// A number that only grows. Cheap to clone and to count with.
pub type Counter = prometheus::IntCounter;
/// A number that goes up and down.
pub type Gauge = prometheus::IntGauge;
/// A distribution, in seconds.
pub type Histogram = prometheus::Histogram;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// What a metric is called and means.
#[derive(Debug, Clone)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: Vec<&'static str>,
    pub help: &'static str,
}

/// Counters told apart by `N` labels.
pub struct CounterFamily<const N: usize>(IntCounterVec);

impl<const N: usize> CounterFamily<N> {
    /// The counter with these label values; keep it where it is used often.
    pub fn with(&self, labels: [&str; N]) -> Counter {
        self.0.with_label_values(&labels)
    }
}

/// Gauges told apart by `N` labels.
pub struct GaugeFamily<const N: usize>(IntGaugeVec);

impl<const N: usize> GaugeFamily<N> {
    pub fn with(&self, labels: [&str; N]) -> Gauge {
        self.0.with_label_values(&labels)
    }

    /// Takes all gauges away, for a family that is filled anew whenever somebody looks.
    pub fn clear(&self) {
        self.0.reset();
    }
}

/// Histograms of seconds told apart by `N` labels.
pub struct HistogramFamily<const N: usize>(HistogramVec);

impl<const N: usize> HistogramFamily<N> {
    pub fn with(&self, labels: [&str; N]) -> Histogram {
        self.0.with_label_values(&labels)
    }
}

/// Registers families and remembers what they are called. A name that is invalid or used twice is a mistake in
/// the program, found by the first test that makes a [`super::Metrics`].
pub(super) struct Builder {
    pub registry: Registry,
    pub definitions: Vec<Definition>,
}

const WRONG: &str = "metric names are valid and used once";

impl Builder {
    pub fn new() -> Self {
        Builder {
            registry: Registry::new(),
            definitions: vec![],
        }
    }

    fn define<const N: usize>(
        &mut self,
        kind: Kind,
        name: &'static str,
        labels: [&'static str; N],
        help: &'static str,
    ) {
        self.definitions.push(Definition {
            name,
            kind,
            labels: labels.to_vec(),
            help,
        });
    }

    pub fn counter<const N: usize>(
        &mut self,
        name: &'static str,
        labels: [&'static str; N],
        help: &'static str,
    ) -> CounterFamily<N> {
        self.define(Kind::Counter, name, labels, help);
        let family = IntCounterVec::new(Opts::new(name, help), &labels).expect(WRONG);
        self.registry
            .register(Box::new(family.clone()))
            .expect(WRONG);
        CounterFamily(family)
    }

    pub fn gauge<const N: usize>(
        &mut self,
        name: &'static str,
        labels: [&'static str; N],
        help: &'static str,
    ) -> GaugeFamily<N> {
        self.define(Kind::Gauge, name, labels, help);
        let family = IntGaugeVec::new(Opts::new(name, help), &labels).expect(WRONG);
        self.registry
            .register(Box::new(family.clone()))
            .expect(WRONG);
        GaugeFamily(family)
    }

    /// `buckets`: upper bounds in seconds, ascending.
    pub fn histogram<const N: usize>(
        &mut self,
        name: &'static str,
        labels: [&'static str; N],
        help: &'static str,
        buckets: &[f64],
    ) -> HistogramFamily<N> {
        self.define(Kind::Histogram, name, labels, help);
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let family = HistogramVec::new(options, &labels).expect(WRONG);
        self.registry
            .register(Box::new(family.clone()))
            .expect(WRONG);
        HistogramFamily(family)
    }
}
