//! Telemetry: what the gateway says about itself: its log, its metrics, and what it tells of each request.
//!
//! ```text
//! log         diagnostics, on stderr
//! metrics     everything that is counted, in Prometheus's format
//! requests    what workers count of requests
//! flags       why a request ended as it did
//! access_log  a line for each request
//! traces      its part of a trace
//! ```

mod access_log;
mod flags;
mod log;
mod metrics;
mod requests;
mod traces;

pub use access_log::{
    AccessLog, Desk, Entry, FilterCall, FormatError, Only, Output, Pen, Queue, Redact, Statuses, Writer,
};
pub use flags::{Flag, Flags};
pub use log::{LogFormat, init};
pub use metrics::{
    CertificateSample, CircuitSample, EndpointSample, GuestSample, HandshakeSample, HookSample, KeySetSample,
    LimitSample, Metrics, MetricsFormat, Samples, UpstreamSample, VersionSample,
};
pub use requests::{
    Bounds, Ended, Meter, MetricRules, Names, RequestSamples, Requests, RouteNames, Table, UNKNOWN_METHOD, method_of,
};
pub use traces::{
    AttributeValue, CallSpan, OpenSpan, ParentTrust, RequestSpans, SpanBatch, SpanDesk, SpanOutcome, SpanQueue, Spans,
    TRACEPARENT, TRACESTATE, Trace, Tracer, TracingRules, TrySpan, TrySpanId,
};

use std::sync::Arc;

use tokio::sync::mpsc;

/// What all workers tell of requests with.
#[derive(Debug)]
pub struct Telemetry {
    pub requests: Arc<Requests>,
    pub access_log: Writer,
    pub spans: Arc<SpanQueue>,
}

/// What is told of requests, as a configuration wants it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TelemetryRules {
    pub metrics: MetricRules,
    /// `None`: there is no access log.
    pub access_log: Option<AccessLog>,
    /// `None`: requests are not traced.
    pub tracing: Option<Arc<TracingRules>>,
}

impl Telemetry {
    /// Nothing told so far; with the end where spans come out.
    ///
    /// # Errors
    /// The system gives no thread for the access log.
    pub fn start() -> std::io::Result<(Self, mpsc::UnboundedReceiver<SpanBatch>)> {
        let (spans, batches) = SpanQueue::new();
        Ok((Self { requests: Arc::default(), access_log: Writer::start()?, spans }, batches))
    }
}
