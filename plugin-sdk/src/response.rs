//! A response in a response hook: the parts that were asked for, and the edits made to it.

use crate::host::exchange;
use crate::values::Values;
use crate::wire::{self, ResponseEdit};
use crate::{Attribute, PreparedEdits, ResponseHeader};

/// Who made a response.
///
/// ```
/// # use witgate_plugin::{Origin, Response};
/// # fn sign(response: &mut Response) {
/// if response.origin() == Origin::Upstream {
///     response.set_header("x-signed", "1");
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The upstream answered.
    Upstream,
    /// A filter answered in the upstream's place, or the route itself.
    Filter,
    /// The gateway made it, because something failed.
    Gateway,
}

/// A response on its way to the client.
///
/// Reading shows the response as it reached this plugin; an edit does not change what is read afterwards, and what
/// was read stays borrowed from the exchange, not from this value, so that it can go straight into an edit. Edits apply in
/// order when the hook returns [`Verdict::Next`](crate::Verdict::Next), and are dropped when it responds.
///
/// ```
/// # use witgate_plugin::{Error, PreparedEdits, Origin, Plugin, Response, ResponseHeader, Setup, Verdict, config::NoConfig, export_plugin};
/// # struct Reader { content_type: ResponseHeader, edits: PreparedEdits }
/// # impl Plugin for Reader {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
/// #         let mut edits = PreparedEdits::default();
/// #         edits.set_header("x-fixed", "1");
/// #         Ok(Reader { content_type: setup.want_response_header("content-type"), edits })
/// #     }
/// // The key is one that `configure` got for asking; what was kept, the request hook of this attachment kept.
/// fn on_response(&self, response: &mut Response) -> Verdict {
///     if response.origin() == Origin::Gateway {
///         return Verdict::Next;
///     }
///     let types = response.headers(self.content_type).count();
///     let kind = response.header_str(self.content_type).unwrap_or("none");
///     let kept = String::from_utf8_lossy(response.kept().unwrap_or(b"nothing"));
///     response.set_header("x-read", format!("{kind} {types} {kept}"));
///     response.apply(&self.edits);
///     Verdict::Next
/// }
/// # }
/// # export_plugin!(Reader: response);
/// # use witgate_plugin::test::{Harness, TestResponse, json};
/// # let outcome = Harness::<Reader>::new(json!({}))?.response(TestResponse::new(200).header("content-type", "text/css"));
/// # assert_eq!(outcome.passed().value("x-read"), Some("text/css 1 nothing"));
/// # assert_eq!(outcome.passed().value("x-fixed"), Some("1"));
/// # Ok::<(), Error>(())
/// ```
///
/// And what else can be changed:
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Response, Setup, Verdict, config::NoConfig, export_plugin};
/// # struct Everything;
/// # impl Plugin for Everything {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> { Ok(Everything) }
/// fn on_response(&self, response: &mut Response) -> Verdict {
///     response.remove_header("server");
///     response.append_header("vary", "accept");
///     if response.status() == 404 {
///         response.set_status(410);
///     }
///     response.set_attribute("age", "old");
///     // Seldom needed, so not asked for: each of these is a call to the gateway.
///     if response.fetch_header("etag").is_empty() && response.fetch_request_header("x-plain").is_empty() {
///         response.set_header("x-listener", response.fetch_listener());
///     }
///     Verdict::Next
/// }
/// # }
/// # export_plugin!(Everything: response);
/// # use witgate_plugin::test::{Harness, TestResponse, json};
/// # let mut plugin = Harness::<Everything>::new(json!({}))?;
/// # let outcome = plugin.response(TestResponse::new(404).header("server", "x"));
/// # let passed = outcome.passed();
/// # assert_eq!((passed.status, passed.value("server"), passed.value("vary")), (410, None, Some("accept")));
/// # assert_eq!((passed.value("x-listener"), plugin.attribute("age")), (Some("http"), Some("old")));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Response<'a> {
    head: &'a wire::ResponseHead,
    edits: Vec<ResponseEdit>,
}

impl<'a> Response<'a> {
    pub(crate) fn new(head: &'a wire::ResponseHead) -> Self {
        Response { head, edits: Vec::new() }
    }

    pub(crate) fn into_edits(self) -> Vec<ResponseEdit> {
        self.edits
    }

    /// The status code, such as 200.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Who made the response. A plugin that changes what the upstream says may want to leave errors of the gateway alone.
    pub fn origin(&self) -> Origin {
        match self.head.origin {
            wire::Origin::Upstream => Origin::Upstream,
            wire::Origin::Filter => Origin::Filter,
            wire::Origin::Gateway => Origin::Gateway,
        }
    }

    /// What the request hook of this attachment handed over with [`Request::keep`](crate::Request::keep), if it did.
    pub fn kept(&self) -> Option<&'a [u8]> {
        self.head.kept.as_deref()
    }

    /// An attribute, if a filter set it: text or JSON.
    pub fn attribute(&self, key: Attribute) -> Option<&'a str> {
        self.values().text(key.0)
    }

    /// The first value of a header, which need not be UTF-8 (RFC 9110 §5.5).
    pub fn header(&self, key: ResponseHeader) -> Option<&'a [u8]> {
        self.headers(key).next()
    }

    /// The first value of a header if it is UTF-8. `None` when the header is absent, and also when the value is not text.
    pub fn header_str(&self, key: ResponseHeader) -> Option<&'a str> {
        self.header(key).and_then(|value| str::from_utf8(value).ok())
    }

    /// All values of a header, in order; a field that occurs twice gives two.
    pub fn headers(&self, key: ResponseHeader) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.values().all(key.0)
    }

    /// All values of a response header that was not asked for, at the price of a call to the gateway: some 300 ns.
    pub fn fetch_header(&self, name: &str) -> Vec<Vec<u8>> {
        exchange::response_header(name)
    }

    /// All values of a header of the request that this answers, at the price of a call to the gateway.
    pub fn fetch_request_header(&self, name: &str) -> Vec<Vec<u8>> {
        exchange::request_header(name)
    }

    /// The name of the listener that accepted the connection, at the price of a call to the gateway.
    pub fn fetch_listener(&self) -> String {
        exchange::listener()
    }

    /// Make edits that were made ready before.
    pub fn apply(&mut self, edits: &PreparedEdits) {
        edits.apply_to_response(&mut self.edits);
    }

    /// Replace every value of a header by this one. The name is case-insensitive.
    pub fn set_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.edit(ResponseEdit::SetHeader(wire::header(name, value.as_ref())));
    }

    /// Add a value to a header, and leave those that are there.
    pub fn append_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.edit(ResponseEdit::AppendHeader(wire::header(name, value.as_ref())));
    }

    /// Remove every value of a header.
    pub fn remove_header(&mut self, name: &str) {
        self.edit(ResponseEdit::RemoveHeader(name.to_ascii_lowercase()));
    }

    /// Replace the status code.
    pub fn set_status(&mut self, status: u16) {
        self.edit(ResponseEdit::SetStatus(status));
    }

    /// Set an attribute, text or JSON, for later filters, logs and spans.
    pub fn set_attribute(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.edit(ResponseEdit::SetAttribute((name.into(), value.into())));
    }

    fn values(&self) -> Values<'a> {
        Values::new(self.head.values.as_deref())
    }

    fn edit(&mut self, edit: ResponseEdit) {
        if self.edits.is_empty() {
            // Most hooks make one edit, and a vector's first push would make room for four.
            self.edits.reserve_exact(1);
        }
        self.edits.push(edit);
    }
}
