//! The engine at work: worker threads, their tasks, and the process around them.
//!
//! Invariant: decisions come from `protocol/`, algorithms from `operator/`; this layer carries them out, and is the only
//! one with threads and channels. It reads time only through the clock it is given.

mod aside;
pub mod board;
mod budget;
pub mod error;
mod holders;
mod janitor;
mod observer;
mod outbox;
mod patience;
mod pause;
mod pressure;
pub mod process;
mod progress;
mod rebalance;
mod runs;
mod scout;
pub mod shared;
mod sight;
pub mod startup;
pub mod task;
pub mod telemetry;
mod twin;
mod worker;
