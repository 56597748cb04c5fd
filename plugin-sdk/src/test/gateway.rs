//! The gateway's side of a test: records what a plugin asks for and logs, and shows it exactly that much of a message.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::grants::Grants;
use super::message::{TestRequest, TestResponse, raw_values};
use crate::Origin;
use crate::host::{Capabilities, Host, Want, log::Level, trace};
use crate::wire::{self, RequestEdit, ResponseEdit, Value};

/// What a plugin asked for through [`Setup`](crate::Setup). Names are in the order of asking, those of headers in lower case.
///
/// ```
/// # use witgate_plugin::test::Asked;
/// /// A plugin that sets fixed headers needs nothing of the request.
/// fn is_blind(asked: &Asked) -> bool {
///     *asked == Asked { owned_headers: asked.owned_headers.clone(), ..Asked::default() }
/// }
/// # assert!(is_blind(&Asked::default()));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// [`want_method`](crate::Setup::want_method)
    pub method: bool,
    /// [`want_scheme`](crate::Setup::want_scheme)
    pub scheme: bool,
    /// [`want_authority`](crate::Setup::want_authority)
    pub authority: bool,
    /// [`want_path`](crate::Setup::want_path)
    pub path: bool,
    /// [`want_client`](crate::Setup::want_client)
    pub client: bool,
    /// [`want_route`](crate::Setup::want_route)
    pub route: bool,
    /// [`want_request_id`](crate::Setup::want_request_id)
    pub request_id: bool,
    /// [`want_param`](crate::Setup::want_param)
    pub params: Vec<String>,
    /// [`want_request_header`](crate::Setup::want_request_header)
    pub request_headers: Vec<String>,
    /// [`want_response_header`](crate::Setup::want_response_header)
    pub response_headers: Vec<String>,
    /// [`want_attribute`](crate::Setup::want_attribute)
    pub attributes: Vec<String>,
    /// [`own_header`](crate::Setup::own_header)
    pub owned_headers: Vec<String>,
    /// [`buffer_request`](crate::Setup::buffer_request)
    pub buffer_request: Option<u32>,
    /// [`buffer_response`](crate::Setup::buffer_response)
    pub buffer_response: Option<u32>,
    /// [`skip_request`](crate::Setup::skip_request)
    pub skip_request: bool,
    /// [`skip_response`](crate::Setup::skip_response)
    pub skip_response: bool,
    /// [`may_fail_open`](crate::Setup::may_fail_open)
    pub may_fail_open: bool,
}

/// A line that a plugin wrote to the gateway's log.
///
/// ```
/// use witgate_plugin::test::{Level, LogLine};
///
/// let line = LogLine { level: Level::Warn, message: "odd".to_owned() };
/// assert_eq!(line.level, Level::Warn);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
}

#[derive(Default)]
pub(super) struct TestGateway {
    /// In the order of asking, without repeats: a key is a position here.
    wants: RefCell<Vec<Want>>,
    owned_headers: RefCell<Vec<String>>,
    buffer_request: Cell<Option<u32>>,
    buffer_response: Cell<Option<u32>>,
    skip_request: Cell<bool>,
    skip_response: Cell<bool>,
    may_fail_open: Cell<bool>,
    log: RefCell<Vec<LogLine>>,
    grants: Grants,
    /// The lists of edits that it remembers, by their numbers, and those that the running call repeats.
    remembered: RefCell<BTreeMap<u64, Edits>>,
    repeated: RefCell<Vec<u64>>,
    /// What was said on the span of the running call.
    span_attributes: RefCell<BTreeMap<String, trace::AttributeValue>>,
    /// The messages of the running exchange, for the calls of `exchange`.
    request: RefCell<TestRequest>,
    response_headers: RefCell<Vec<(String, Vec<u8>)>>,
}

#[derive(Clone)]
enum Edits {
    Request(Vec<RequestEdit>),
    Response(Vec<ResponseEdit>),
}

impl TestGateway {
    pub(super) fn with(grants: Grants) -> Self {
        TestGateway { grants, ..TestGateway::default() }
    }

    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    pub(super) fn asked(&self) -> Asked {
        let mut asked = Asked {
            owned_headers: self.owned_headers.borrow().clone(),
            buffer_request: self.buffer_request.get(),
            buffer_response: self.buffer_response.get(),
            skip_request: self.skip_request.get(),
            skip_response: self.skip_response.get(),
            may_fail_open: self.may_fail_open.get(),
            ..Asked::default()
        };
        for want in self.wants.borrow().iter().cloned() {
            match want {
                Want::Method => asked.method = true,
                Want::Scheme => asked.scheme = true,
                Want::Authority => asked.authority = true,
                Want::Path => asked.path = true,
                Want::Client => asked.client = true,
                Want::Route => asked.route = true,
                Want::RequestId => asked.request_id = true,
                Want::Param(name) => asked.params.push(name),
                Want::RequestHeader(name) => asked.request_headers.push(name),
                Want::ResponseHeader(name) => asked.response_headers.push(name),
                Want::Attribute(name) => asked.attributes.push(name),
            }
        }
        asked
    }

    pub(super) fn log(&self) -> Vec<LogLine> {
        self.log.borrow().clone()
    }

    pub(super) fn span_attribute(&self, name: &str) -> Option<trace::AttributeValue> {
        self.span_attributes.borrow().get(name).cloned()
    }

    /// What the hooks over one message say stands on one span.
    pub(super) fn begin_span(&self) {
        self.span_attributes.take();
    }

    /// What the call before repeated, and did not make because it responded or panicked, is no concern of the next one.
    pub(super) fn begin_call(&self) {
        self.repeated.take();
    }

    /// What a hook over a request said, with what it repeated before.
    #[track_caller]
    pub(super) fn request_edits(&self, said: Vec<RequestEdit>) -> Vec<RequestEdit> {
        let repeated = self.take_repeated().into_iter().flat_map(|edits| match edits {
            Edits::Request(edits) => edits,
            Edits::Response(_) => panic!("edits of a response are repeated in a hook over a request"),
        });
        repeated.chain(said).collect()
    }

    /// The same for a response.
    #[track_caller]
    pub(super) fn response_edits(&self, said: Vec<ResponseEdit>) -> Vec<ResponseEdit> {
        let repeated = self.take_repeated().into_iter().flat_map(|edits| match edits {
            Edits::Response(edits) => edits,
            Edits::Request(_) => panic!("edits of a request are repeated in a hook over a response"),
        });
        repeated.chain(said).collect()
    }

    fn take_repeated(&self) -> Vec<Edits> {
        let remembered = self.remembered.borrow();
        self.repeated.take().iter().map(|number| remembered[number].clone()).collect()
    }

    fn remember(&self, edits: Edits) -> Option<u64> {
        // Of all gateways, so that none takes another's number for its own: plugins may keep edits in statics.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.remembered.borrow_mut().insert(number, edits);
        Some(number)
    }

    /// Strip what clients may not send, as every listener does, and hold the rest for `exchange`.
    pub(super) fn begin_request(&self, request: &mut TestRequest) {
        // `_` counts as `-`: some upstreams take one for the other, and would trust a forged header.
        let canonical = |name: &str| name.to_ascii_lowercase().replace('_', "-");
        let owned: Vec<_> = self.owned_headers.borrow().iter().map(|name| canonical(name)).collect();
        request.headers.retain(|(name, _)| !owned.contains(&canonical(name)));
        self.request.replace(request.clone());
        self.response_headers.take();
    }

    pub(super) fn begin_response(&self, request: &TestRequest, response: &TestResponse) {
        self.request.replace(request.clone());
        self.response_headers.replace(response.headers.clone());
    }

    pub(super) fn request_head(&self, request: &TestRequest) -> wire::RequestHead {
        let text = |text: &str| vec![text.as_bytes().to_vec()];
        let values = self.values(|want| match want {
            Want::Method => text(&request.method),
            Want::Scheme => text(&request.scheme),
            Want::Authority => text(&request.authority),
            Want::Path => text(&request.target()),
            Want::Client => text(&request.client),
            Want::Route => text(&request.route),
            Want::RequestId => text(&request.request_id),
            Want::Param(name) => {
                request.params.iter().filter(|(key, _)| key == name).flat_map(|(_, v)| text(v)).collect()
            }
            Want::RequestHeader(name) => raw_values(&request.headers, name),
            Want::ResponseHeader(_) => Vec::new(),
            Want::Attribute(name) => attribute(request, name),
        });
        wire::RequestHead { values }
    }

    pub(super) fn response_head(
        &self,
        request: &TestRequest,
        response: &TestResponse,
        kept: Option<Vec<u8>>,
    ) -> wire::ResponseHead {
        let values = self.values(|want| match want {
            Want::ResponseHeader(name) => raw_values(&response.headers, name),
            Want::Attribute(name) => attribute(request, name),
            _ => Vec::new(),
        });
        let origin = match response.origin {
            Origin::Upstream => wire::Origin::Upstream,
            Origin::Filter => wire::Origin::Filter,
            Origin::Gateway => wire::Origin::Gateway,
        };
        wire::ResponseHead { status: response.status, origin, values, kept }
    }

    /// Everything that was asked for, as far as `read` finds it in a message; none where it finds nothing.
    fn values(&self, read: impl Fn(&Want) -> Vec<Vec<u8>>) -> Option<Vec<Value>> {
        let wants = self.wants.borrow();
        let keyed = (0..).zip(wants.iter());
        let values: Vec<_> =
            keyed.flat_map(|(key, want)| read(want).into_iter().map(move |value| (key, value))).collect();
        (!values.is_empty()).then_some(values)
    }
}

impl Host for TestGateway {
    fn want(&self, want: Want) -> u16 {
        let key = position(&mut self.wants.borrow_mut(), want);
        u16::try_from(key).expect("a plugin asks for no more than 65,536 things")
    }

    fn own_header(&self, name: &str) {
        position(&mut self.owned_headers.borrow_mut(), name.to_ascii_lowercase());
    }

    fn buffer_request(&self, bytes_max: u32) {
        self.buffer_request.set(Some(bytes_max));
    }

    fn buffer_response(&self, bytes_max: u32) {
        self.buffer_response.set(Some(bytes_max));
    }

    fn skip_request(&self) {
        self.skip_request.set(true);
    }

    fn skip_response(&self) {
        self.skip_response.set(true);
    }

    fn may_fail_open(&self) {
        self.may_fail_open.set(true);
    }

    fn remember_request(&self, edits: &[RequestEdit]) -> Option<u64> {
        self.remember(Edits::Request(edits.to_vec()))
    }

    fn remember_response(&self, edits: &[ResponseEdit]) -> Option<u64> {
        self.remember(Edits::Response(edits.to_vec()))
    }

    fn repeat(&self, number: u64) -> bool {
        let is_remembered = self.remembered.borrow().contains_key(&number);
        if is_remembered {
            self.repeated.borrow_mut().push(number);
        }
        is_remembered
    }

    fn request_header(&self, name: &str) -> Vec<Vec<u8>> {
        raw_values(&self.request.borrow().headers, name)
    }

    fn response_header(&self, name: &str) -> Vec<Vec<u8>> {
        raw_values(&self.response_headers.borrow(), name)
    }

    fn listener(&self) -> String {
        self.request.borrow().listener.clone()
    }

    fn write(&self, level: Level, message: &str) {
        self.log.borrow_mut().push(LogLine { level, message: message.to_owned() });
    }

    fn span_context(&self) -> Option<trace::SpanContext> {
        let sampled = self.request.borrow().is_sampled?;
        Some(trace::SpanContext { trace_id: TRACE_ID.to_owned(), span_id: SPAN_ID.to_owned(), sampled })
    }

    fn set_span_attribute(&self, name: &str, value: &trace::AttributeValue) {
        if self.request.borrow().is_sampled == Some(true) && is_attribute_name(name) {
            self.span_attributes.borrow_mut().insert(name.to_owned(), value.clone());
        }
    }

    fn capabilities(&self) -> &dyn Capabilities {
        &self.grants
    }
}

/// The position in the order of asking; asking twice gives the first again.
pub(super) fn position<T: PartialEq>(all: &mut Vec<T>, one: T) -> usize {
    all.iter().position(|known| *known == one).unwrap_or_else(|| {
        all.push(one);
        all.len() - 1
    })
}

fn attribute(request: &TestRequest, name: &str) -> Vec<Vec<u8>> {
    request.attributes.get(name).map(|value| value.clone().into_bytes()).into_iter().collect()
}

/// As the gateway has it: plain, and none of the names that it writes itself.
fn is_attribute_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte))
        && !RESERVED.iter().any(|prefix| name.starts_with(prefix))
}

const RESERVED: [&str; 12] = [
    "witgate.",
    "http.",
    "url.",
    "server.",
    "client.",
    "network.",
    "user_agent.",
    "error.",
    "otel.",
    "service.",
    "telemetry.",
    "exception.",
];
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID: &str = "b7ad6b7169203331";
