//! A request in a request hook: the parts that were asked for, and the edits made to it.

use crate::host::exchange;
use crate::values::Values;
use crate::wire::{self, RequestEdit};
use crate::{Attribute, Param, Part, PreparedEdits, RequestHeader};

/// A request on its way to the upstream.
///
/// Reading shows the request as it reached this plugin; an edit does not change what is read afterwards, and what
/// was read stays borrowed from the exchange, not from this value, so that it can go straight into an edit. Edits apply in
/// order when the hook returns [`Verdict::Next`](crate::Verdict::Next), and are dropped when it responds.
///
/// ```
/// # use witgate_plugin::{Error, PreparedEdits, Param, Part, Plugin, Request, RequestHeader, Setup, Verdict, config::NoConfig, export_plugin};
/// # struct Reader { method: Part, path: Part, id: Param, tenant: RequestHeader, edits: PreparedEdits }
/// # impl Plugin for Reader {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
/// #         let mut edits = PreparedEdits::default();
/// #         edits.set_header("x-fixed", "1");
/// #         let (method, path, id) = (setup.want_method(), setup.want_path(), setup.want_param("id"));
/// #         Ok(Reader { method, path, id, tenant: setup.want_request_header("x-tenant"), edits })
/// #     }
/// // Each key is one that `configure` got for asking.
/// fn on_request(&self, request: &mut Request) -> Verdict {
///     let tenants = request.headers(self.tenant).count();
///     let tenant = request.header_str(self.tenant).unwrap_or("nobody");
///     let id = request.param(self.id).unwrap_or("-");
///     let (method, path) = (request.part(self.method), request.path(self.path));
///     let query = request.query(self.path).unwrap_or("no query");
///     request.set_header("x-read", format!("{method} {path} {query} {id} {tenant} {tenants}"));
///     request.apply(&self.edits);
///     Verdict::Next
/// }
/// # }
/// # export_plugin!(Reader: request);
/// # use witgate_plugin::test::{Harness, TestRequest, json};
/// # let request = TestRequest::get("/u/7?full=1").param("id", "7").header("x-tenant", "a").header("x-tenant", "b");
/// # let outcome = Harness::<Reader>::new(json!({}))?.request(request);
/// # assert_eq!(outcome.passed().value("x-read"), Some("GET /u/7 full=1 7 a 2"));
/// # assert_eq!(outcome.passed().value("x-fixed"), Some("1"));
/// # Ok::<(), Error>(())
/// ```
///
/// And what else can be changed:
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, config::NoConfig, export_plugin};
/// # struct Everything;
/// # impl Plugin for Everything {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> { Ok(Everything) }
/// fn on_request(&self, request: &mut Request) -> Verdict {
///     request.remove_header("x-debug");
///     request.append_header("x-seen-by", "witgate");
///     request.set_method("PUT");
///     request.set_path("/v2/items");
///     request.set_query("full=1");
///     request.set_authority("items.internal");
///     request.set_attribute("tier", "gold");
///     request.select_upstream("items-v2");
///     // Seldom needed, so not asked for: each of these is a call to the gateway.
///     if request.fetch_listener() == "http" && request.fetch_header("x-early").is_empty() {
///         request.keep("late");
///     }
///     Verdict::Next
/// }
/// # }
/// # export_plugin!(Everything: request);
/// # use witgate_plugin::test::{Harness, TestRequest, json};
/// # let mut plugin = Harness::<Everything>::new(json!({}))?;
/// # let outcome = plugin.request(TestRequest::get("/items").header("x-debug", "1"));
/// # let passed = outcome.passed();
/// # assert_eq!((passed.method.as_str(), passed.target().as_str()), ("PUT", "/v2/items?full=1"));
/// # assert_eq!((passed.authority.as_str(), passed.upstream.as_deref()), ("items.internal", Some("items-v2")));
/// # assert_eq!((passed.value("x-debug"), passed.value("x-seen-by")), (None, Some("witgate")));
/// # assert_eq!((plugin.attribute("tier"), plugin.kept()), (Some("gold"), Some(&b"late"[..])));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Request<'a> {
    values: Values<'a>,
    edits: Vec<RequestEdit>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(head: &'a wire::RequestHead) -> Self {
        Request { values: Values::new(head.values.as_deref()), edits: Vec::new() }
    }

    pub(crate) fn into_edits(self) -> Vec<RequestEdit> {
        self.edits
    }

    /// A part that every request has: method, scheme, authority, path with query, client, route or request id. What each looks
    /// like stands at the `want` that gave the key, such as [`want_method`](crate::Setup::want_method).
    pub fn part(&self, key: Part) -> &'a str {
        self.values.text(key.0).expect("the gateway passes every part that was asked for")
    }

    /// The normalised path without its query, such as `/users/42`, by the key of [`want_path`](crate::Setup::want_path).
    /// [`part`](Self::part) gives both in one.
    pub fn path(&self, key: Part) -> &'a str {
        let whole = self.part(key);
        whole.split_once('?').map_or(whole, |(path, _)| path)
    }

    /// What stands after the first `?`, such as `full=1`, by the key of [`want_path`](crate::Setup::want_path). `/users?` has the
    /// empty one, `/users` none.
    pub fn query(&self, key: Part) -> Option<&'a str> {
        self.part(key).split_once('?').map(|(_, query)| query)
    }

    /// What the route's path captured; `None` where it captured nothing under this name.
    pub fn param(&self, key: Param) -> Option<&'a str> {
        self.values.text(key.0)
    }

    /// An attribute, if an earlier filter set it: text or JSON.
    pub fn attribute(&self, key: Attribute) -> Option<&'a str> {
        self.values.text(key.0)
    }

    /// The first value of a header, which need not be UTF-8 (RFC 9110 §5.5).
    pub fn header(&self, key: RequestHeader) -> Option<&'a [u8]> {
        self.headers(key).next()
    }

    /// The first value of a header if it is UTF-8. `None` when the header is absent, and also when the value is not text: where that
    /// difference matters, such as for a credential, read [`header`](Self::header).
    pub fn header_str(&self, key: RequestHeader) -> Option<&'a str> {
        self.header(key).and_then(|value| str::from_utf8(value).ok())
    }

    /// All values of a header, in order; a field that occurs twice gives two.
    pub fn headers(&self, key: RequestHeader) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.values.all(key.0)
    }

    /// All values of a header that was not asked for, at the price of a call to the gateway: some 300 ns. For what is only
    /// seldom needed, such as one header among many that a rule names.
    pub fn fetch_header(&self, name: &str) -> Vec<Vec<u8>> {
        exchange::request_header(name)
    }

    /// The name of the listener that accepted the connection, at the price of a call to the gateway.
    pub fn fetch_listener(&self) -> String {
        exchange::listener()
    }

    /// Make edits that were made ready before.
    pub fn apply(&mut self, edits: &PreparedEdits) {
        edits.apply_to_request(&mut self.edits);
    }

    /// Replace every value of a header by this one. The name is case-insensitive.
    pub fn set_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.edit(RequestEdit::SetHeader(wire::header(name, value.as_ref())));
    }

    /// Add a value to a header, and leave those that are there.
    pub fn append_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.edit(RequestEdit::AppendHeader(wire::header(name, value.as_ref())));
    }

    /// Remove every value of a header.
    pub fn remove_header(&mut self, name: &str) {
        self.edit(RequestEdit::RemoveHeader(name.to_ascii_lowercase()));
    }

    /// Replace the path, not the query. The gateway normalises it again; the route stays the one that matched.
    pub fn set_path(&mut self, path: impl Into<String>) {
        self.edit(RequestEdit::SetPath(path.into()));
    }

    /// Replace the query, given without its `?`; the empty one removes it.
    pub fn set_query(&mut self, query: impl Into<String>) {
        self.edit(RequestEdit::SetQuery(query.into()));
    }

    /// Replace the method.
    pub fn set_method(&mut self, method: impl Into<String>) {
        self.edit(RequestEdit::SetMethod(method.into()));
    }

    /// Replace the authority, which the upstream sees as `host`.
    pub fn set_authority(&mut self, authority: impl Into<String>) {
        self.edit(RequestEdit::SetAuthority(authority.into()));
    }

    /// Set an attribute, text or JSON, for later filters, logs and spans.
    pub fn set_attribute(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.edit(RequestEdit::SetAttribute((name.into(), value.into())));
    }

    /// Send the request to this upstream, which must be one that the route names.
    pub fn select_upstream(&mut self, name: impl Into<String>) {
        self.edit(RequestEdit::SelectUpstream(name.into()));
    }

    /// Hand bytes to the response hook of the same attachment, where [`Response::kept`](crate::Response::kept) reads them: at most
    /// 4 KiB. The last call wins.
    pub fn keep(&mut self, bytes: impl Into<Vec<u8>>) {
        self.edit(RequestEdit::Keep(bytes.into()));
    }

    fn edit(&mut self, edit: RequestEdit) {
        if self.edits.is_empty() {
            // Most hooks make one edit, and a vector's first push would make room for four.
            self.edits.reserve_exact(1);
        }
        self.edits.push(edit);
    }
}
