//! `forward-auth`: asks another server whether a request may pass.
//!
//! The server gets a GET with the fields that it is to judge by. A 2xx lets the request pass, with the fields that it wants the upstream
//! to see; any other answer goes to the client as it is, so that it can ask for a login. No answer is no leave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::runtime::{Handle, Id};

use super::Context;
use crate::config::scalar::{Size, Span};
use crate::filter::{Exchange, Filter, Reply, Step, Verdict};
use crate::message::{is_framing, strip_hop_by_hop};
use crate::outbound::{Client, Reach, Terms, Trust};

/// Who is asked, and what is said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ForwardAuth")]
pub(super) struct Options {
    /// `http://auth.internal:9000/check`.
    url: String,
    /// For the whole answer. Default: 1s.
    timeout: Option<Span>,
    /// Fields of the client's request that the server sees. Default: `authorization` and `cookie`.
    request_headers: Option<Vec<String>>,
    /// Fields of the server's answer that the upstream sees, in the place of the client's own.
    #[serde(default)]
    upstream_headers: Vec<String>,
    /// Fields of the server's answer that the client sees, such as `set-cookie`.
    #[serde(default)]
    client_headers: Vec<String>,
    /// The body of an answer that goes to the client. Default: 64KiB.
    body: Option<Size>,
}

/// The filter.
struct ForwardAuth {
    url: Uri,
    terms: Terms,
    request_headers: Vec<HeaderName>,
    upstream_headers: Vec<HeaderName>,
    client_headers: Vec<HeaderName>,
    trust: Trust,
    /// Connections belong to the runtime that they were made on: each worker has its own.
    clients: Mutex<HashMap<Id, Client>>,
}

/// What the client is to see of the answer.
struct ForClient(HeaderMap);

impl super::Options for Options {
    fn build(self, context: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        let url: Option<Uri> = self.url.parse().ok();
        let url = url.filter(|url| {
            let scheme = url.scheme();
            (scheme == Some(&Scheme::HTTP) || scheme == Some(&Scheme::HTTPS)) && url.host().is_some()
        });
        let url = url.ok_or("url: this is no URL: write it as in `http://auth.internal:9000/check`")?;
        let timeout = self.timeout.map_or(Duration::from_secs(1), |Span(timeout)| timeout);
        if timeout.is_zero() {
            return Err("timeout: a duration of zero would let nothing pass".to_owned());
        }
        let body_bytes_max = self.body.map_or(BODY_BYTES_MAX, |Size(body)| body.in_memory());
        let defaults = || vec!["authorization".to_owned(), "cookie".to_owned()];
        // Here, where waiting for files delays no request.
        context.offer.trust.prepare();
        Ok(Arc::new(ForwardAuth {
            url,
            terms: Terms { reach: Reach::Anywhere, timeout, body_bytes_max },
            request_headers: names("request_headers", &self.request_headers.unwrap_or_else(defaults))?,
            upstream_headers: names("upstream_headers", &self.upstream_headers)?,
            client_headers: names("client_headers", &self.client_headers)?,
            trust: context.offer.trust.clone(),
            clients: Mutex::default(),
        }))
    }
}

fn names(at: &str, names: &[String]) -> Result<Vec<HeaderName>, String> {
    let name = |(index, name): (usize, &String)| {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !is_framing(name));
        parsed
            .ok_or_else(|| format!("{at}[{index}]: `{name}` is no header name, or one that is the gateway's to write"))
    };
    names.iter().enumerate().map(name).collect()
}

impl Filter for ForwardAuth {
    fn name(&self) -> &'static str {
        "forward-auth"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        Step::Later(Box::pin(self.ask(exchange)))
    }

    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        if let Some(told) = exchange.unstash::<ForClient>() {
            let headers = &mut exchange.response.headers;
            for (name, value) in told.0.iter() {
                headers.append(name, value.clone());
            }
        }
        Step::Done(Verdict::Next)
    }
}

impl ForwardAuth {
    async fn ask(&self, exchange: &mut Exchange) -> Verdict {
        let client = self.client();
        let answer = match client.send(self.question(exchange), self.terms).await {
            Ok(answer) => answer,
            Err(error) => {
                let id = exchange.request_id.to_str().unwrap_or_default();
                tracing::warn!(request_id = id, route = &*exchange.route, %error, "forward-auth got no answer");
                let detail = "the gateway cannot tell whether this request may pass";
                let mut reply = Reply::problem(StatusCode::SERVICE_UNAVAILABLE, detail, &exchange.request_id);
                reply.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
                return Verdict::Respond(Box::new(reply));
            }
        };
        let (mut head, body) = answer.into_parts();
        if !head.status.is_success() {
            strip_hop_by_hop(&mut head.headers);
            return Verdict::Respond(Box::new(Reply { status: head.status, headers: head.headers, body }));
        }
        for name in &self.upstream_headers {
            // Also where the server does not tell it: the client must not do so in its place.
            exchange.headers.remove(name);
            copy(name, &head.headers, &mut exchange.headers);
        }
        let mut for_client = HeaderMap::new();
        self.client_headers.iter().for_each(|name| copy(name, &head.headers, &mut for_client));
        if !for_client.is_empty() {
            exchange.stash(ForClient(for_client));
        }
        Verdict::Next
    }

    fn question(&self, exchange: &Exchange) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        for name in &self.request_headers {
            copy(name, &exchange.headers, headers);
        }
        let uri = exchange.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let client = exchange.client.to_string();
        for (name, value) in [
            (X_FORWARDED_METHOD, exchange.method.as_str()),
            (X_FORWARDED_PROTO, exchange.connection.scheme),
            (X_FORWARDED_HOST, exchange.authority()),
            (X_FORWARDED_URI, uri),
            (X_FORWARDED_FOR, &client),
        ] {
            headers.insert(name, HeaderValue::from_str(value).expect("it was in a request's head"));
        }
        headers.insert(crate::message::X_REQUEST_ID, exchange.request_id.clone());
        request
    }

    fn client(&self) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(Handle::current().id()).or_insert_with(|| self.trust.client()).clone()
    }
}

fn copy(name: &HeaderName, from: &HeaderMap, to: &mut HeaderMap) {
    for value in from.get_all(name) {
        to.append(name, value.clone());
    }
}

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const BODY_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::filter::native::tests::faults;

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({}), "`url` is missing"),
            (json!({"url": "auth.internal"}), "url: this is no URL"),
            (json!({"url": "ftp://auth.internal/"}), "url: this is no URL"),
            (json!({"url": "http://a/", "timeout": "0s"}), "timeout: a duration of zero"),
            (json!({"url": "http://a/", "upstream_headers": ["x-user", "host"]}), "upstream_headers[1]: `host`"),
        ] {
            let error = faults("forward-auth", config);
            assert!(error.contains(expected), "{error}");
        }
    }
}
