//! What an attachment asks for while it is configured, and the keys under which it then reads it.

use crate::host::setup;

/// The key of a part that every request has, such as its method; read it with [`Request::part`](crate::Request::part).
///
/// ```
/// # use witgate_plugin::{Part, Request};
/// /// By the key of `want_method`.
/// fn is_safe(request: &Request, method: Part) -> bool {
///     matches!(request.part(method), "GET" | "HEAD" | "OPTIONS")
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(pub(crate) u16);

/// The key of a parameter that [`Setup::want_param`] asked for; read it with [`Request::param`](crate::Request::param).
///
/// ```
/// # use witgate_plugin::{Param, Request};
/// fn order(request: &Request, id: Param) -> Option<u64> {
///     request.param(id)?.parse().ok()
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param(pub(crate) u16);

/// The key of a request header that [`Setup::want_request_header`] asked for; read it with [`Request::header`](crate::Request::header).
///
/// ```
/// # use witgate_plugin::{Request, RequestHeader};
/// fn wants_json(request: &Request, accept: RequestHeader) -> bool {
///     request.header_str(accept).is_some_and(|types| types.contains("application/json"))
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader(pub(crate) u16);

/// The key of a response header that [`Setup::want_response_header`] asked for; read it with [`Response::header`](crate::Response::header).
///
/// ```
/// # use witgate_plugin::{Response, ResponseHeader};
/// fn is_page(response: &Response, content_type: ResponseHeader) -> bool {
///     response.header(content_type).is_some_and(|kind| kind.starts_with(b"text/html"))
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader(pub(crate) u16);

/// The key of an attribute that [`Setup::want_attribute`] asked for, to be read in either hook.
///
/// ```
/// # use witgate_plugin::{Attribute, Request};
/// /// Whom an earlier filter, such as `jwt`, let in.
/// fn user<'a>(request: &Request<'a>, user: Attribute) -> &'a str {
///     request.attribute(user).unwrap_or("nobody")
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute(pub(crate) u16);

/// Asks the gateway for what the hooks of one attachment will read.
///
/// Each `want` returns the key that reads the value, so a hook cannot read what nobody asked for. What nobody asks for crosses no
/// boundary and costs nothing: ask only for what this configuration needs. Writing needs no asking. Asking twice gives the same key.
///
/// ```
/// # use witgate_plugin::{Attribute, Error, Param, Part, Plugin, Request, Response, ResponseHeader, Setup, Verdict, config::NoConfig, export_plugin};
/// struct Everything {
///     parts: [Part; 6],
///     id: Param,
///     user: Attribute,
///     age: ResponseHeader,
/// }
///
/// impl Plugin for Everything {
///     type Config = NoConfig;
///
///     fn configure(_config: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
///         setup.own_header("x-user-id");
///         setup.buffer_request(64 << 10);
///         setup.buffer_response(1 << 20);
///         setup.may_fail_open();
///         Ok(Everything {
///             parts: [
///                 setup.want_method(),
///                 setup.want_scheme(),
///                 setup.want_authority(),
///                 setup.want_client(),
///                 setup.want_route(),
///                 setup.want_request_id(),
///             ],
///             id: setup.want_param("id"),
///             user: setup.want_attribute("user"),
///             age: setup.want_response_header("age"),
///         })
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         let parts = self.parts.map(|part| request.part(part));
///         let id = request.param(self.id).unwrap_or("-");
///         request.set_header("x-all", format!("{parts:?} {id} {:?}", request.attribute(self.user)));
///         Verdict::Next
///     }
///
///     fn on_response(&self, response: &mut Response) -> Verdict {
///         response.set_header("x-old", if response.header(self.age).is_some() { "yes" } else { "no" });
///         Verdict::Next
///     }
/// }
/// # export_plugin!(Everything: request, response);
/// # use witgate_plugin::test::{Harness, TestRequest, TestResponse, json};
/// # let mut plugin = Harness::<Everything>::new(json!({}))?;
/// # let outcome = plugin.request(TestRequest::get("/").param("id", "7").attribute("user", "ada"));
/// # let all = outcome.passed().value("x-all").unwrap();
/// # assert!(all.starts_with(r#"["GET", "http", "example.test", "192.0.2.1", "test", "#) && all.ends_with(r#" 7 Some("ada")"#), "{all}");
/// # assert_eq!(plugin.response(TestResponse::new(200).header("age", "1")).passed().value("x-old"), Some("yes"));
/// # Ok::<(), Error>(())
/// ```
///
/// A key belongs to the attachment that asked. Keep it in the plugin:
///
/// ```
/// # use witgate_plugin::{Error, Part, Plugin, Request, RequestHeader, Setup, Verdict, config::NoConfig};
/// struct Tenant {
///     path: Part,
///     tenant: RequestHeader,
/// }
///
/// impl Plugin for Tenant {
///     type Config = NoConfig;
///
///     fn configure(_config: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
///         Ok(Tenant { path: setup.want_path(), tenant: setup.want_request_header("x-tenant") })
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         if let Some(tenant) = request.header_str(self.tenant) {
///             request.set_path(format!("/{tenant}{}", request.path(self.path)));
///         }
///         Verdict::Next
///     }
/// }
/// ```
///
/// A hook that has nothing to do for this configuration need not be called:
///
/// ```
/// # use witgate_plugin::{HeaderRewrite, Setup};
/// fn skip(setup: &mut Setup, on_requests: &HeaderRewrite, on_responses: &HeaderRewrite) {
///     if on_requests.is_empty() && !on_responses.reads_requests() {
///         setup.skip_request();
///     }
///     if on_responses.is_empty() {
///         setup.skip_response();
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Setup {
    // Only `glue` makes one, and only while it configures: elsewhere the gateway would trap.
    pub(crate) _private: (),
}

impl Setup {
    /// Ask for the method token, such as `GET`.
    pub fn want_method(&mut self) -> Part {
        Part(setup::want_method())
    }

    /// Ask for the scheme: `http` or `https`, as the client reached the gateway.
    pub fn want_scheme(&mut self) -> Part {
        Part(setup::want_scheme())
    }

    /// Ask for host and port that the client asked for, such as `example.com:8080`.
    pub fn want_authority(&mut self) -> Part {
        Part(setup::want_authority())
    }

    /// Ask for the normalised path with its query, such as `/users/42?full=1`. [`Request::path`](crate::Request::path) and
    /// [`Request::query`](crate::Request::query) read one of the two.
    pub fn want_path(&mut self) -> Part {
        Part(setup::want_path())
    }

    /// Ask for the client's IP address, after trusted proxies.
    pub fn want_client(&mut self) -> Part {
        Part(setup::want_client())
    }

    /// Ask for the name of the matched route.
    pub fn want_route(&mut self) -> Part {
        Part(setup::want_route())
    }

    /// Ask for the value of `x-request-id`, which the gateway has made sure of.
    pub fn want_request_id(&mut self) -> Part {
        Part(setup::want_request_id())
    }

    /// Ask for what the route's path template or regex captures under this name, such as `id` of `/users/{id}`.
    pub fn want_param(&mut self, name: &str) -> Param {
        Param(setup::want_param(name))
    }

    /// Ask for every value of a request header, in the request hook. The name is case-insensitive.
    pub fn want_request_header(&mut self, name: &str) -> RequestHeader {
        RequestHeader(setup::want_request_header(name))
    }

    /// Ask for every value of a response header, in the response hook. The name is case-insensitive.
    pub fn want_response_header(&mut self, name: &str) -> ResponseHeader {
        ResponseHeader(setup::want_response_header(name))
    }

    /// Ask, in both hooks, for what an earlier filter set about the exchange, such as `user`.
    pub fn want_attribute(&mut self, name: &str) -> Attribute {
        Attribute(setup::want_attribute(name))
    }

    /// Declare that this attachment writes a request header which the upstream trusts, such as `x-user-id`. Every listener
    /// then strips that header from what clients send, on every route.
    pub fn own_header(&mut self, name: &str) {
        setup::own_header(name);
    }

    /// Take bodies of at most so many bytes in [`Plugin::on_whole_request`](crate::Plugin::on_whole_request): the gateway answers larger ones with
    /// 413. Without this it is 64 KiB. The operator's `limits.body` may be lower, and then counts.
    pub fn buffer_request(&mut self, bytes_max: u32) {
        setup::buffer_request(bytes_max);
    }

    /// Take bodies of at most so many bytes in [`Plugin::on_whole_response`](crate::Plugin::on_whole_response): the gateway answers 502 in the
    /// place of larger ones. Without this it is 64 KiB. The operator's `limits.body` may be lower, and then counts.
    pub fn buffer_response(&mut self, bytes_max: u32) {
        setup::buffer_response(bytes_max);
    }

    /// Declare that [`Plugin::on_request`](crate::Plugin::on_request) has nothing to do for this configuration: the gateway does not call it,
    /// which is cheaper than a hook that returns at once.
    pub fn skip_request(&mut self) {
        setup::skip_request();
    }

    /// The same of [`Plugin::on_response`](crate::Plugin::on_response).
    pub fn skip_response(&mut self) {
        setup::skip_response();
    }

    /// Declare that a request may pass when this plugin fails, if the configuration says so too (`on_error: open`). A plugin
    /// that decides who may pass must not call this.
    pub fn may_fail_open(&mut self) {
        setup::may_fail_open();
    }
}
