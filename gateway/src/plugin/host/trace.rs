//! `trace`: where in a trace the running call stands, and what the guest says of it on its span.

use http::{HeaderName, HeaderValue};

use super::State;
use crate::plugin::bindings::witgate::plugin::trace::{AttributeValue as Value, Host, SpanContext};
use crate::plugin::declaration::Limits;
use crate::telemetry::{AttributeValue, OpenSpan, TRACEPARENT, TRACESTATE};

/// The trace as the guest sees it while a hook's call runs.
pub(super) struct TracePort {
    /// None between calls, and where nothing is traced.
    span: Option<OpenSpan>,
    state: Option<HeaderValue>,
    attributes_max: usize,
}

impl TracePort {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { span: None, state: None, attributes_max: limits.span_attributes }
    }

    pub(super) fn lend(&mut self, span: Option<OpenSpan>, state: Option<HeaderValue>) {
        (self.span, self.state) = (span, state);
    }

    pub(super) fn take_back(&mut self) {
        if self.span.is_some() {
            self.lend(None, None);
        }
    }

    /// What the guest's own requests say of the trace.
    pub(super) fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let parent = self.span.as_ref().map(|span| (TRACEPARENT, span.parent()));
        parent.into_iter().chain(self.state.clone().map(|state| (TRACESTATE, state)))
    }
}

impl Host for State {
    fn context(&mut self) -> wasmtime::Result<Option<SpanContext>> {
        self.host_call()?;
        Ok(self.trace.span.as_ref().map(|span| SpanContext {
            trace_id: span.trace_id(),
            span_id: span.span_id(),
            sampled: span.is_sampled(),
        }))
    }

    fn set_attribute(&mut self, name: String, value: Value) -> wasmtime::Result<()> {
        self.host_call()?;
        let Some(span) = &self.trace.span else { return Ok(()) };
        let value = match value {
            Value::Text(text) => AttributeValue::Text(text),
            Value::Whole(number) => AttributeValue::Whole(number),
            Value::Fraction(number) => AttributeValue::Fraction(number),
            Value::Truth(truth) => AttributeValue::Truth(truth),
        };
        if !span.say(&name, value, self.trace.attributes_max) {
            self.metrics.drop_one();
        }
        Ok(())
    }
}
