//! Exports of spans to an OpenTelemetry collector: OTLP over HTTP, in protobuf (OTLP 1.9).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;

use super::caller::{AGENT, CallError, Caller};
use crate::telemetry::{Spans, TracingRules};

/// A collector, as the configuration or the environment names it.
pub struct Collector {
    caller: Caller,
    settings: Settings,
}

/// What is sent where.
#[derive(Debug, PartialEq)]
struct Settings {
    endpoint: Uri,
    headers: HeaderMap,
    timeout: Duration,
    /// Whose spans these are.
    resource: Vec<(String, String)>,
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("`{0}` is no URL of a collector")]
    Endpoint(String),
    #[error("`{0}` is no header field, or its value is none")]
    Header(String),
    #[error("the collector answered {0}")]
    Refused(StatusCode),
    #[error("the collector did not answer within {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Collector {
    pub(super) fn new(tls: &ClientConfig, rules: &TracingRules) -> Result<Self, ExportError> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Ok(Self { caller: Caller::new(tls), settings: Settings::of(rules, &environment)? })
    }

    /// Sends spans, and awaits that they are taken.
    ///
    /// # Errors
    /// They were not, after a few tries within the time that the rules allow.
    pub async fn export(&self, spans: &Spans) -> Result<(), ExportError> {
        let Settings { endpoint, headers, timeout, resource } = &self.settings;
        let resource = resource.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut request =
            Request::post(endpoint.clone()).body(Bytes::from(spans.request(resource))).unwrap_or_default();
        *request.headers_mut() = headers.clone();
        let mut why = None;
        let tries = tokio::time::timeout(*timeout, self.send(&request, &mut why)).await;
        tries.unwrap_or_else(|_| Err(why.unwrap_or(ExportError::Late(*timeout))))
    }

    /// Tries until the collector says yes or no. `why` is what it said last.
    async fn send(&self, request: &Request<Bytes>, why: &mut Option<ExportError>) -> Result<(), ExportError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES_MAX {
            match self.send_once(request).await {
                Err(error) if error.is_worth_another_try() => *why = Some(error),
                answer => return answer,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.send_once(request).await
    }

    async fn send_once(&self, request: &Request<Bytes>) -> Result<(), ExportError> {
        let status = self.caller.exchange(request.clone(), ANSWER_BYTES_MAX).await?.status();
        if status.is_success() { Ok(()) } else { Err(ExportError::Refused(status)) }
    }
}

impl ExportError {
    /// The answers that the protocol calls temporary (OTLP 1.9, "Failures"), and no answer at all.
    fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            error => matches!(error, Self::Call(_)),
        }
    }
}

impl Settings {
    /// What the environment says goes before the rules (OpenTelemetry, "OpenTelemetry Protocol Exporter" and "Environment Variable
    /// Specification"); of two variables the one for traces counts.
    fn of(rules: &TracingRules, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ExportError> {
        let exporter = |name: &str| {
            let of_traces = environment(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            of_traces.or_else(|| environment(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        // The one for traces is whole; the other has no path yet.
        let endpoint = environment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| {
            let base = environment("OTEL_EXPORTER_OTLP_ENDPOINT")?;
            Some(format!("{}/v1/traces", base.trim_end_matches('/')))
        });
        let endpoint = endpoint.unwrap_or_else(|| rules.endpoint.clone());
        let is_url = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        let endpoint = endpoint.parse().ok().filter(is_url).ok_or(ExportError::Endpoint(endpoint))?;
        let timeout = exporter("TIMEOUT").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let of_environment = exporter("HEADERS").map_or_else(Vec::new, |list| pairs(&list));
        for (name, value) in rules.headers.clone().into_iter().chain(of_environment) {
            let field = HeaderName::try_from(&name).ok().zip(HeaderValue::try_from(value).ok());
            let (name, mut value) = field.ok_or(ExportError::Header(name))?;
            // They carry the collector's tokens.
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self {
            endpoint,
            headers,
            timeout: timeout.unwrap_or(rules.timeout),
            resource: resource(rules, environment),
        })
    }
}

/// Who these spans are from.
fn resource(rules: &TracingRules, environment: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let mut resource = environment("OTEL_RESOURCE_ATTRIBUTES").map_or_else(Vec::new, |list| pairs(&list));
    let mut put = |key: &str, value: Option<String>| {
        let Some(value) = value else { return };
        resource.retain(|(known, _)| known != key);
        resource.push((key.to_owned(), value));
    };
    put("service.version", Some(env!("CARGO_PKG_VERSION").to_owned()));
    put("service.name", environment("OTEL_SERVICE_NAME"));
    if !resource.iter().any(|(key, _)| key == "service.name") {
        resource.push(("service.name".to_owned(), rules.name.clone()));
    }
    resource
}

/// `a=1,b=2`, values percent-encoded where they have to be.
fn pairs(list: &str) -> Vec<(String, String)> {
    let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8_lossy().into_owned();
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

/// Of one export.
const TRIES_MAX: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// An answer says which spans were refused, at most.
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rules: &TracingRules, environment: &[(&str, &str)]) -> Result<Settings, String> {
        let named = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::of(rules, &named).map_err(|error| error.to_string())
    }

    fn of<'s>(settings: &'s Settings, key: &str) -> Vec<&'s str> {
        settings.resource.iter().filter(|(known, _)| known == key).map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn the_environment_goes_before_the_rules() {
        let rules = TracingRules { headers: [("x-a".to_owned(), "file".to_owned())].into(), ..TracingRules::default() };
        let file = settings(&rules, &[]).expect("the rules are good");
        assert_eq!((file.endpoint.to_string(), file.timeout), (rules.endpoint.clone(), rules.timeout));
        assert_eq!((file.headers["x-a"].to_str().ok(), of(&file, "service.name")), (Some("file"), vec!["witgate"]));
        let both = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-a=from%20environment, x-b=2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%2Cb,broken"),
            ("OTEL_SERVICE_NAME", "edge"),
        ];
        let told = settings(&rules, &both).expect("the environment is good");
        assert_eq!(told.endpoint, "https://collector.example:4318/v1/traces");
        assert_eq!(
            (told.headers["x-a"].to_str().ok(), told.headers["x-b"].to_str().ok()),
            (Some("from environment"), Some("2"))
        );
        assert_eq!(told.timeout, Duration::from_millis(1500));
        assert_eq!((of(&told, "service.name"), of(&told, "deployment.environment.name")), (vec!["edge"], vec!["a,b"]));
        let told = settings(&rules, &both[..4]).expect("the environment is good");
        assert_eq!(of(&told, "service.name"), ["other"]);
        let of_traces = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a/b"), both[0]];
        assert_eq!(settings(&rules, &of_traces).expect("it is good").endpoint, "http://a/b");
    }

    #[test]
    fn what_cannot_be_sent_to_is_named() {
        let rules = TracingRules::default();
        let endpoint = settings(&rules, &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318")]);
        assert_eq!(endpoint, Err("`collector:4318` is no URL of a collector".to_owned()));
        let header = settings(&rules, &[("OTEL_EXPORTER_OTLP_HEADERS", "a b=1")]);
        assert_eq!(header, Err("`a b` is no header field, or its value is none".to_owned()));
    }
}
