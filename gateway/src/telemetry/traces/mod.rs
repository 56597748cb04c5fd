//! Traces: where a request belongs, what of it is told, and its spans on their way to whoever collects them.
//!
//! ```text
//! context  header fields, as the W3C has them
//! rules    which requests are traced
//! trace    one request's place in its trace
//! call     the span of a plugin's call while it runs, and what the plugin says there
//! span     a request and its parts as spans, in the words of OpenTelemetry's conventions for HTTP
//! otlp     spans as they are sent
//! tracer   a worker's end: spans are gathered
//! queue    the way to the exporter
//! ```
//!
//! Spans are made when their request is over, from what was noted of it; nothing is recorded of requests that nobody will hear of.
//! Sending them is for the control plane.

mod context;
mod rules;
mod trace;
mod call;
mod span;
mod otlp;
mod tracer;
mod queue;

pub use call::{AttributeValue, OpenSpan};
pub use context::{TRACEPARENT, TRACESTATE};
pub use otlp::Spans;
pub use queue::{SpanBatch, SpanOutcome, SpanQueue};
pub use rules::{ParentTrust, TracingRules};
pub use span::{CallSpan, RequestSpans, TrySpan};
pub use trace::{Trace, TrySpanId};
pub use tracer::{SpanDesk, Tracer};
