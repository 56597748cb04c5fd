//! What a route asks of a request beside host and path: listener, method, headers, query.

use std::borrow::Cow;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderName, Method};

use super::fields::FieldTest;
use super::{Request, query};

/// All must hold; an empty list asks nothing.
pub(super) struct Predicates {
    pub(super) listeners: Box<[u16]>,
    pub(super) methods: Box<[Method]>,
    pub(super) headers: Box<[(HeaderName, FieldTest)]>,
    pub(super) query: Box<[(String, FieldTest)]>,
}

impl Predicates {
    /// What every request holds.
    pub(super) fn none() -> Self {
        Self { listeners: [].into(), methods: [].into(), headers: [].into(), query: [].into() }
    }

    /// `method` is what [`method_to_match`] made of the request. The cheap tests come first.
    pub(super) fn admit(&self, request: &Request<'_>, method: &Method) -> bool {
        self.admit_listener(request)
            && self.admit_method(method)
            && self.admit_headers(request)
            && self.admit_query(request)
    }

    fn admit_listener(&self, request: &Request<'_>) -> bool {
        self.listeners.is_empty() || self.listeners.contains(&request.listener)
    }

    fn admit_method(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    fn admit_headers(&self, request: &Request<'_>) -> bool {
        self.headers.iter().all(|(name, test)| test.admits(request.headers.get_all(name)))
    }

    fn admit_query(&self, request: &Request<'_>) -> bool {
        let given = request.query.unwrap_or_default();
        self.query.iter().all(|(name, test)| test.admits(query::values(given, name)))
    }
}

/// The method that routes are asked for: of a CORS preflight, the method of the request it announces, so that it takes the same route.
///
/// A preflight is an `OPTIONS` request with `Origin` and `Access-Control-Request-Method` (Fetch standard, CORS-preflight request).
pub(super) fn method_to_match<'r>(request: &Request<'r>) -> Cow<'r, Method> {
    if *request.method != Method::OPTIONS || !request.headers.contains_key(ORIGIN) {
        return Cow::Borrowed(request.method);
    }
    request
        .headers
        .get(ACCESS_CONTROL_REQUEST_METHOD)
        .and_then(|announced| Method::from_bytes(announced.as_bytes()).ok())
        .map_or(Cow::Borrowed(request.method), Cow::Owned)
}
