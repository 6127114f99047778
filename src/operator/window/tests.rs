//! Tests of the window operator: scripts with every kind of restart after every event, and random runs against a
//! model.

mod behaviour;
mod harness;
mod memory;
mod random;
mod scripts;
