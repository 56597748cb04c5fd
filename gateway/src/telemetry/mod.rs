//! Telemetry: what the gateway says about itself. So far, its log.

mod log;

pub use log::{LogFormat, init};
