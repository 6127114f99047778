//! Event time: how far each input has come. Pure values; nothing here reads a clock.

pub mod watermark;
