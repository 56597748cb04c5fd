//! The trace that a request belongs to, and the span of the running call in it. Needs no grant.
//!
//! The gateway makes a span of each call of a plugin's hook, where the trace is sampled; [`set_attribute`] says something there.
//! [`context`] tells the ids, for a log of the plugin's own. Requests that the plugin sends ([`http`](crate::http)) tell them already.
//!
//! ```
//! use witgate_plugin::test::{Harness, TestRequest, json};
//! use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, config::NoConfig, export_plugin, trace};
//!
//! struct Tenant;
//!
//! impl Plugin for Tenant {
//!     type Config = NoConfig;
//!
//!     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> {
//!         Ok(Tenant)
//!     }
//!
//!     fn on_request(&self, request: &mut Request) -> Verdict {
//!         trace::set_attribute("app.tenant", "acme");
//!         trace::set_attribute("app.cached", false);
//!         if let Some(context) = trace::context() {
//!             request.set_header("x-trace-id", &context.trace_id);
//!         }
//!         Verdict::Next
//!     }
//! }
//!
//! export_plugin!(Tenant: request);
//!
//! let mut plugin = Harness::<Tenant>::new(json!({}))?;
//! let outcome = plugin.request(TestRequest::get("/").traced(true));
//! assert_eq!(plugin.span_attribute("app.tenant"), Some("acme".into()));
//! assert_eq!(outcome.passed().value("x-trace-id"), Some("0af7651916cd43dd8448eb211c80319c"));
//!
//! // Nobody hears of a request that is not sampled; its ids are told all the same.
//! let outcome = plugin.request(TestRequest::get("/").traced(false));
//! assert_eq!(plugin.span_attribute("app.tenant"), None);
//! assert!(outcome.passed().value("x-trace-id").is_some());
//! # Ok::<(), Error>(())
//! ```

use crate::host::trace::{self, AttributeValue};

/// Where in a trace a call stands. The ids are hex digits, as `traceparent` has them (W3C Trace Context).
///
/// ```
/// use witgate_plugin::trace::Context;
///
/// /// What another system is told, in a field that the gateway does not write.
/// fn traceparent(context: &Context) -> String {
///     format!("00-{}-{}-{:02}", context.trace_id, context.span_id, u8::from(context.is_sampled))
/// }
/// # let context = Context { trace_id: "0af7".into(), span_id: "b7ad".into(), is_sampled: true };
/// # assert_eq!(traceparent(&context), "00-0af7-b7ad-01");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// 32 digits.
    pub trace_id: String,
    /// 16 digits: the span of the running call; where the trace is not sampled, that of the request, which the upstream is told.
    pub span_id: String,
    /// Whether spans are recorded. Where they are not, attributes go nowhere and need not be made.
    pub is_sampled: bool,
}

/// The value of an attribute: `"text".into()`, `7.into()`, `0.5.into()`, `true.into()`.
///
/// ```
/// use witgate_plugin::trace::Value;
///
/// assert_eq!(Value::from(7), Value::Whole(7));
/// assert_eq!(Value::from("a"), Value::Text("a".to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The gateway cuts it off after 1,024 bytes, and writes control characters out.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// Any other number.
    Fraction(f64),
    /// Yes or no.
    Truth(bool),
}

/// Where the running call stands; `None` where the gateway traces nothing, and outside a hook: in
/// [`Plugin::configure`](crate::Plugin::configure) and a [`Transform`](crate::Transform).
///
/// ```
/// use witgate_plugin::{info, trace};
///
/// # fn refuse(user: &str) {
/// let id = trace::context().map(|context| context.trace_id).unwrap_or_default();
/// info!("{user} was refused, trace {id}");
/// # }
/// ```
pub fn context() -> Option<Context> {
    let context = trace::context()?;
    Some(Context { trace_id: context.trace_id, span_id: context.span_id, is_sampled: context.sampled })
}

/// Say something of the running call on its span; a later value under a name replaces the earlier one.
///
/// A name is `[a-z][a-z0-9_.-]*`, of 64 bytes at most, and does not begin as the gateway's own (`witgate.`, `http.`, `url.`,
/// `server.`, `client.`, `network.`, `user_agent.`, `error.`, `exception.`, `service.`, `telemetry.`, `otel.`). The gateway drops, and
/// counts, what is said under other names, and more than a call may say (`limits.span_attributes`).
///
/// ```
/// use witgate_plugin::trace;
///
/// # fn found(count: usize, rule: &str) {
/// trace::set_attribute("app.rule", rule);
/// trace::set_attribute("app.matches", count as i64);
/// # }
/// ```
pub fn set_attribute(name: &str, value: impl Into<Value>) {
    let value = match value.into() {
        Value::Text(text) => AttributeValue::Text(text),
        Value::Whole(number) => AttributeValue::Whole(number),
        Value::Fraction(number) => AttributeValue::Fraction(number),
        Value::Truth(truth) => AttributeValue::Truth(truth),
    };
    trace::set_attribute(name, &value);
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Whole(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Fraction(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Truth(truth)
    }
}
