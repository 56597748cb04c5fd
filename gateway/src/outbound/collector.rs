//! Exports of spans to an OpenTelemetry collector: OTLP over HTTP, in protobuf.
//!
//! `opentelemetry-otlp` makes the messages; the connections, the time and the tries are ours.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use rustls::ClientConfig;

use super::address::Reach;
use super::connections::{Connections, connections, in_full};
use crate::telemetry::TracingRules;

/// A collector, as the configuration or the environment names it.
#[derive(Debug)]
pub struct Collector {
    exporter: SpanExporter,
    /// Why the last try failed: the exporter's own words say no more than that it did.
    why: Arc<Mutex<String>>,
}

/// How exports are sent.
struct Way {
    connections: Connections,
    timeout: Duration,
    why: Arc<Mutex<String>>,
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("no exporter can be made: {0}")]
    Setup(String),
    #[error("{0}")]
    Refused(String),
}

impl Collector {
    pub(super) fn new(tls: &ClientConfig, rules: &TracingRules) -> Result<Self, ExportError> {
        let why = Arc::<Mutex<String>>::default();
        let client = Way { connections: connections(tls, Reach::Anywhere), timeout: rules.timeout, why: why.clone() };
        let headers: HashMap<String, String> = rules.headers.clone().into_iter().collect();
        let mut builder = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_retry_policy(RetryPolicy::disabled())
            .with_headers(headers)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(rules.timeout);
        // The environment goes before the file, as everywhere.
        if !["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"].into_iter().any(is_set) {
            builder = builder.with_endpoint(&rules.endpoint);
        }
        let mut exporter = builder.build().map_err(|error| ExportError::Setup(error.to_string()))?;
        exporter.set_resource(&resource(rules));
        Ok(Self { exporter, why })
    }

    /// Sends spans, and awaits that they are taken.
    ///
    /// # Errors
    /// They were not, after a few tries within the time that the rules allow.
    pub async fn export(&self, spans: Vec<SpanData>) -> Result<(), ExportError> {
        let failed = |_| ExportError::Refused(std::mem::take(&mut *lock(&self.why)));
        self.exporter.export(spans).await.map_err(failed)
    }
}

impl Way {
    /// Tries until the collector answers, or has had its time.
    async fn send(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES_MAX {
            match self.send_once(request).await {
                Ok(response) if !is_worth_another_try(response.status()) => return Ok(response),
                Ok(response) => *lock(&self.why) = format!("the collector answered {}", response.status()),
                Err(error) => *lock(&self.why) = in_full(&*error),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.send_once(request).await
    }

    async fn send_once(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.connections.request(request.clone().map(Full::new)).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

impl HttpClient for Way {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let answer = match tokio::time::timeout(self.timeout, self.send(&request)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("the collector did not answer within {:?}", self.timeout).into()),
            };
            match &answer {
                Ok(response) if response.status().is_success() => {}
                Ok(response) => *lock(&self.why) = format!("the collector answered {}", response.status()),
                Err(error) => *lock(&self.why) = in_full(&**error),
            }
            answer
        })
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Who these spans are from. What the environment says of that goes before the file (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`).
fn resource(rules: &TracingRules) -> Resource {
    let attributes = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let is_named = is_set("OTEL_SERVICE_NAME") || attributes.contains("service.name=");
    let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if is_named { resource.build() } else { resource.with_service_name(rules.name.clone()).build() }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// The answers that the protocol calls temporary (OTLP 1.9, "Failures").
fn is_worth_another_try(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn lock(why: &Mutex<String>) -> MutexGuard<'_, String> {
    why.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of one export.
const TRIES_MAX: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// An answer says which spans were refused, at most.
const ANSWER_BYTES_MAX: usize = 64 << 10;
