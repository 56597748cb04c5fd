//! Requests of the plugin's own, to origins that the gateway's configuration grants it: another service that knows who a
//! client is, an audit log.
//!
//! Needs `grants: { http: ["https://audit.example.com"] }`, and `private_addresses: true` beside it for an origin on a
//! loopback or private address. A request ends when the client's does, redirects are not followed, and time that
//! it takes counts against `limits.timeout`, not against `limits.deadline`. It may be sent in hooks, not in
//! [`Plugin::configure`](crate::Plugin::configure).
//!
//! ```
//! use witgate_plugin::{Reply, Verdict, http};
//!
//! # fn check(key: &str) -> Verdict {
//! match http::Request::get("https://auth.example.com/check").header("x-key", key).send() {
//!     Ok(response) if response.status() == 200 => Verdict::Next,
//!     Ok(_) => Reply::problem(403, "the key is not known").into(),
//!     // A service that is down must not open the door.
//!     Err(_) => Reply::problem(503, "keys cannot be checked now").into(),
//! }
//! # }
//! ```

use std::fmt;
use std::time::Duration;

use crate::host::http::{self, HttpError, OutboundRequest};
use crate::wire;

/// A request to a granted origin.
///
/// ```
/// use witgate_plugin::http::Request;
///
/// let request = Request::new("PATCH", "https://users.example.com/42").header("content-type", "application/json").body("{}");
/// // What a test's own server sees of it:
/// assert_eq!((request.method(), request.url()), ("PATCH", "https://users.example.com/42"));
/// assert_eq!((request.value("Content-Type"), request.bytes()), (Some("application/json"), &b"{}"[..]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
}

/// The answer, whole.
///
/// ```
/// use witgate_plugin::http::Response;
///
/// let response = Response::new(200).header("x-user-id", "42").header("vary", "x").body("hello");
/// assert_eq!((response.status(), response.value("X-User-Id")), (200, Some("42")));
/// assert_eq!(response.headers()[1], ("vary".to_owned(), b"x".to_vec()));
/// assert_eq!(response.bytes(), response.clone().into_bytes());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// Why there is no answer.
///
/// ```
/// use witgate_plugin::{Reply, http::SendError};
///
/// fn reply(error: SendError) -> Reply {
///     match error {
///         SendError::Timeout | SendError::Unavailable | SendError::Busy => Reply::problem(503, "try again"),
///         error => {
///             witgate_plugin::error!("users cannot be looked up: {error}");
///             Reply::problem(500, "users cannot be looked up")
///         }
///     }
/// }
/// assert_eq!(reply(SendError::Busy).status(), 503);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The URL or a header is malformed, or is one that the gateway writes itself, such as `host`.
    Invalid,
    /// The origin is not granted, or its name leads to an address that is not.
    Denied,
    /// There was no time for more.
    Timeout,
    /// The origin cannot be reached, or broke off.
    Unavailable,
    /// The response has more bytes than the plugin may take.
    TooLarge,
    /// The plugin has as many requests under way as it may.
    Busy,
}

impl Request {
    /// A request with this method to an absolute URL.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Request { method: method.to_owned(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// `GET` an absolute URL.
    ///
    /// ```
    /// # use witgate_plugin::http;
    /// assert_eq!(http::Request::get("https://auth.example.com/").method(), "GET");
    /// ```
    pub fn get(url: impl Into<String>) -> Self {
        Request::new("GET", url)
    }

    /// `POST` a body to an absolute URL.
    ///
    /// ```
    /// # use witgate_plugin::http;
    /// let request = http::Request::post("https://audit.example.com/", "{}").header("content-type", "application/json");
    /// assert_eq!(request.bytes(), b"{}");
    /// ```
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Request::new("POST", url).body(body)
    }

    /// Add a header. A name that is given twice is sent twice.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(wire::header(name, value.as_ref()));
        self
    }

    /// Set the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Wait no longer than this, in whole milliseconds. Without it, and at most, as long as the hook itself may take.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use witgate_plugin::http::{Request, SendError};
    /// # fn page() -> Result<Vec<u8>, SendError> {
    /// let page = Request::get("https://pages.example.com/").timeout(Duration::from_millis(200)).send()?;
    /// Ok(page.into_bytes())
    /// # }
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Send it, and wait for the whole answer. Meanwhile the gateway does other things.
    ///
    /// # Errors
    ///
    /// There was no whole answer; an answer such as 404 or 500 is no error here.
    ///
    /// ```
    /// # use witgate_plugin::http::{Request, SendError};
    /// # fn user(token: &str) -> Result<Option<String>, SendError> {
    /// let response = Request::get("https://users.example.com/me").header("authorization", token).send()?;
    /// Ok(response.value("x-user-id").map(str::to_owned))
    /// # }
    /// ```
    pub fn send(self) -> Result<Response, SendError> {
        let timeout_ms = self.timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        let Request { method, url, headers, body, .. } = self;
        match http::send(&OutboundRequest { method, url, headers, body, timeout_ms }) {
            Ok(answer) => Ok(Response { status: answer.status, headers: answer.headers, body: answer.body }),
            Err(error) => Err(error.into()),
        }
    }

    /// The method token.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The absolute URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The first value of a header, if it is UTF-8.
    pub fn value(&self, name: &str) -> Option<&str> {
        wire::value(&self.headers, name)
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn from_wire(request: &OutboundRequest) -> Self {
        let OutboundRequest { method, url, headers, body, timeout_ms } = request.clone();
        Request { method, url, headers, body, timeout: timeout_ms.map(|timeout| Duration::from_millis(timeout.into())) }
    }
}

impl Response {
    /// An answer of a test's own server, with no header and no body.
    pub fn new(status: u16) -> Self {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Add a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(wire::header(name, value.as_ref()));
        self
    }

    /// Set the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first value of a header, if it is UTF-8.
    pub fn value(&self, name: &str) -> Option<&str> {
        wire::value(&self.headers, name)
    }

    /// All headers, in order: names in lower case, and values.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as the caller's own.
    pub fn into_bytes(self) -> Vec<u8> {
        self.body
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Invalid => "the request is malformed",
            SendError::Denied => "the origin is not granted",
            SendError::Timeout => "the origin did not answer in time",
            SendError::Unavailable => "the origin cannot be reached",
            SendError::TooLarge => "the response is too large",
            SendError::Busy => "too many requests are under way",
        })
    }
}

impl std::error::Error for SendError {}

impl From<HttpError> for SendError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Invalid => SendError::Invalid,
            HttpError::Denied => SendError::Denied,
            HttpError::Timeout => SendError::Timeout,
            HttpError::Unavailable => SendError::Unavailable,
            HttpError::TooLarge => SendError::TooLarge,
            HttpError::Busy => SendError::Busy,
        }
    }
}
