//! Telemetry: what the gateway says about itself: its log and its metrics.

mod log;
mod metrics;

pub use log::{LogFormat, init};
pub use metrics::{
    CertificateSample, CircuitSample, EndpointSample, GuestSample, HandshakeSample, HookSample, KeySetSample,
    LimitSample, METRICS_TYPE, Metrics, Samples, UpstreamSample, VersionSample,
};
