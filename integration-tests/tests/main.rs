//! The one binary of the integration tests: real Kafka, real `millstream` processes. Each module is one subject of the guarantees.
//!
//! Tests share a broker ([`integration_tests::kafka::shared`]) and use topic names of their own; run them two at a time.

mod bad_input;
mod commit_faults;
mod event_time;
mod exactly_once;
mod faults;
mod restore;
mod smoke;
mod until_end;
mod watched;
