//! A collector of spans: takes OTLP over HTTP, and shows what it was sent.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;

use crate::upstream::{Request, Upstream};
use crate::within;

/// A collector on a port of its own.
pub struct Collector(Upstream);

/// A span, as it arrived.
#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    /// `SERVER`, `CLIENT`, `INTERNAL`.
    pub kind: &'static str,
    /// Ids in hex digits; that of the parent is empty where there is none.
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub state: String,
    /// Trace and span that it points to beside its parent.
    pub links: Vec<(String, String)>,
    pub attributes: BTreeMap<String, String>,
    /// Attributes that did not make it.
    pub dropped: u32,
    pub is_error: bool,
    pub began_ns: u64,
    pub ended_ns: u64,
    /// Of whoever sent it.
    pub resource: BTreeMap<String, String>,
}

impl Collector {
    /// A collector that takes everything.
    pub async fn start() -> Collector {
        Collector(Upstream::with(|_| TAKEN.to_vec()).await)
    }

    /// A collector that is not there, until [`Collector::restart`].
    pub async fn down() -> Collector {
        let mut collector = Collector::start().await;
        collector.0.kill().await;
        collector
    }

    /// Come back on the same port.
    pub fn restart(&mut self) {
        self.0.restart();
    }

    /// The requests that exports were made by.
    pub fn exports(&self) -> Vec<Request> {
        self.0.requests()
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Span> {
        self.exports().iter().flat_map(|export| read(&export.body)).collect()
    }

    /// Wait until there are so many spans.
    pub async fn wait(&self, count: usize) -> Vec<Span> {
        within(&format!("{count} spans to be exported"), async {
            loop {
                let spans = self.spans();
                if spans.len() >= count {
                    return spans;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }
}

/// `HOST:PORT`.
impl fmt::Display for Collector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl Span {
    /// An attribute as text; empty when it has none of that name.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

fn read(export: &[u8]) -> Vec<Span> {
    let export = ExportTraceServiceRequest::decode(export).expect("an export is a message of OTLP");
    let mut spans = Vec::new();
    for group in export.resource_spans {
        let resource = attributes(&group.resource.unwrap_or_default().attributes);
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                kind: match span.kind {
                    1 => "INTERNAL",
                    2 => "SERVER",
                    3 => "CLIENT",
                    _ => "other",
                },
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                state: span.trace_state,
                links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
                attributes: attributes(&span.attributes),
                dropped: span.dropped_attributes_count,
                is_error: span.status.is_some_and(|status| status.code == 2),
                began_ns: span.start_time_unix_nano,
                ended_ns: span.end_time_unix_nano,
                name: span.name,
                resource: resource.clone(),
            });
        }
    }
    spans
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &AnyValue| match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    list.iter().filter_map(|pair| Some((pair.key.clone(), text(pair.value.as_ref()?)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An answer without a body is one that refuses nothing.
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
