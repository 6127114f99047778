//! The one binary of the integration tests: real Kafka, real `millstream` processes. Each module is one subject of the guarantees.
//!
//! Tests share a broker ([`integration_tests::kafka::shared`]) and use topic names of their own; run them two at a time.

mod audit;
mod bad_input;
mod commit_deadline;
mod commit_faults;
mod event_time;
mod exactly_once;
mod faults;
#[cfg(target_os = "linux")]
mod frozen_thread;
mod restore;
mod smoke;
mod until_end;
mod watched;
