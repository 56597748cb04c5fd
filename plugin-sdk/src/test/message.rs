//! The messages of a test: requests and responses as the gateway holds them, written in one line.

use std::collections::BTreeMap;

use crate::Origin;

/// A request as the gateway holds it: what a test sends in, and what comes out after the edits.
///
/// ```
/// use witgate_plugin::test::TestRequest;
///
/// let request = TestRequest::new("POST", "/users?full=1").header("x-tenant", "a").client("203.0.113.9").param("id", "42");
/// assert_eq!((request.path.as_str(), request.query.as_deref()), ("/users", Some("full=1")));
/// assert_eq!(request.value("X-Tenant"), Some("a"));
/// assert_eq!(request.authority("api.example.com").traced(true).target(), "/users?full=1");
///
/// let request = TestRequest::get("/").attribute("user", "ada").header("vary", "a").header("vary", "b").piece("he").piece("llo");
/// assert_eq!((request.values("vary"), request.body.concat()), (vec!["a", "b"], b"hello".to_vec()));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TestRequest {
    /// The method token.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host and port.
    pub authority: String,
    /// The normalised path, without the query.
    pub path: String,
    /// The query, without `?`.
    pub query: Option<String>,
    /// The client's IP address.
    pub client: String,
    /// The name of the matched route.
    pub route: String,
    /// The value of `x-request-id`.
    pub request_id: String,
    /// The name of the listener.
    pub listener: String,
    /// Whether the trace that it belongs to is sampled; none where the gateway traces nothing.
    pub is_sampled: Option<bool>,
    /// What the route's path captured.
    pub params: Vec<(String, String)>,
    /// What filters have set.
    pub attributes: BTreeMap<String, String>,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The upstream that the plugin selected.
    pub upstream: Option<String>,
    /// The body, in the pieces in which it travels; none of them is empty.
    pub body: Vec<Vec<u8>>,
}

impl Default for TestRequest {
    /// `GET http://example.test/` of a client in a documentation network (RFC 5737).
    fn default() -> Self {
        TestRequest {
            method: "GET".to_owned(),
            scheme: "http".to_owned(),
            authority: "example.test".to_owned(),
            path: "/".to_owned(),
            query: None,
            client: "192.0.2.1".to_owned(),
            route: "test".to_owned(),
            request_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            listener: "http".to_owned(),
            is_sampled: None,
            params: Vec::new(),
            attributes: BTreeMap::new(),
            headers: Vec::new(),
            upstream: None,
            body: Vec::new(),
        }
    }
}

impl TestRequest {
    /// A `GET` of a path with an optional query.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A request of a path with an optional query.
    ///
    /// # Panics
    ///
    /// When the path does not begin with `/`: the gateway's normalised paths do.
    #[track_caller]
    pub fn new(method: &str, target: &str) -> Self {
        assert!(target.starts_with('/'), "the path of a test request begins with `/`, unlike {target:?}");
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        TestRequest { method: method.to_owned(), path: path.to_owned(), query, ..Self::default() }
    }

    /// Add a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.as_ref().to_vec()));
        self
    }

    /// Set the client's IP address.
    #[must_use]
    pub fn client(mut self, client: &str) -> Self {
        client.clone_into(&mut self.client);
        self
    }

    /// Set host and port.
    #[must_use]
    pub fn authority(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    /// Add what the route's path captured.
    #[must_use]
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Have it belong to a trace, that of the standard's own example (W3C Trace Context §3.2.2.3), which is sampled or not.
    #[must_use]
    pub fn traced(mut self, is_sampled: bool) -> Self {
        self.is_sampled = Some(is_sampled);
        self
    }

    /// Set an attribute, as an earlier filter would.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Add a piece to the body, as the network would cut it. An empty one is none.
    #[must_use]
    pub fn piece(mut self, bytes: impl AsRef<[u8]>) -> Self {
        push(&mut self.body, bytes.as_ref());
        self
    }

    /// The first value of a header, if it is UTF-8.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).into_iter().next()
    }

    /// All values of a header that are UTF-8, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        text_values(&self.headers, name)
    }

    /// Path and query as they stand in a request line.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// A response as the gateway holds it: what a test sends in, and what comes out after the edits.
///
/// ```
/// use witgate_plugin::{Origin, test::TestResponse};
///
/// let response = TestResponse::new(502).origin(Origin::Gateway).header("content-type", "application/problem+json");
/// assert_eq!(response.values("content-type"), ["application/problem+json"]);
/// let response = TestResponse::new(200).header("etag", "x").piece("he").piece("llo");
/// assert_eq!((response.value("ETag"), response.body.len()), (Some("x"), 2));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TestResponse {
    /// The status code.
    pub status: u16,
    /// Who made it.
    pub origin: Origin,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, in the pieces in which it travels; none of them is empty.
    pub body: Vec<Vec<u8>>,
}

impl TestResponse {
    /// A response of the upstream.
    pub fn new(status: u16) -> Self {
        TestResponse { status, origin: Origin::Upstream, headers: Vec::new(), body: Vec::new() }
    }

    /// Say who made it.
    #[must_use]
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Add a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.as_ref().to_vec()));
        self
    }

    /// Add a piece to the body, as the network would cut it. An empty one is none.
    #[must_use]
    pub fn piece(mut self, bytes: impl AsRef<[u8]>) -> Self {
        push(&mut self.body, bytes.as_ref());
        self
    }

    /// The first value of a header, if it is UTF-8.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).into_iter().next()
    }

    /// All values of a header that are UTF-8, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        text_values(&self.headers, name)
    }
}

pub(super) fn push(body: &mut Vec<Vec<u8>>, bytes: &[u8]) {
    if !bytes.is_empty() {
        body.push(bytes.to_vec());
    }
}

/// The values of a field, byte for byte, as `exchange` gives them to plugins.
pub(super) fn raw_values(headers: &[(String, Vec<u8>)], name: &str) -> Vec<Vec<u8>> {
    headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone()).collect()
}

fn text_values<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a str> {
    headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .filter_map(|(_, value)| str::from_utf8(value).ok())
        .collect()
}
