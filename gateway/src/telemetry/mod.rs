//! Telemetry: what the gateway says about itself: its log and its metrics.

mod log;
mod metrics;

pub use log::{LogFormat, init};
pub use metrics::{
    GuestSample, HookSample, KeySetSample, METRICS_TYPE, Metrics, PluginSamples, UpstreamSample, VersionSample,
};
