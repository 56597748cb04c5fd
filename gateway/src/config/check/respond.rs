//! Checks of `respond`: a response that HTTP allows.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use super::super::fault::Fault;
use super::super::model::Respond;
use super::super::path::At;
use super::super::raw::{Entries, RawRespond};
use super::{Check, entries};

/// Headers that the gateway writes itself: framing, and those of one connection alone (RFC 9110 §7.6.1).
const OWN_HEADERS: [&str; 7] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

impl Check<'_> {
    pub(super) fn respond(&mut self, at: &At<'_>, raw: &RawRespond) -> Respond {
        // 1xx announces a final response and cannot be one (RFC 9110 §15.2).
        let status: u16 = self.whole(&at.key("status"), raw.status, 200, 200..=599);
        let body = raw.body.clone().unwrap_or_default();
        if !body.is_empty() && matches!(status, 204 | 205 | 304) {
            let message = format!("a response with status {status} has no body");
            self.fault(Fault::key(at.key("body"), message).help("remove the body, or change the status"));
        }
        Respond { status, headers: self.response_headers(&at.key("headers"), raw.headers.as_ref()), body }
    }

    fn response_headers(&mut self, at: &At<'_>, raw: Option<&Entries<String>>) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::new();
        for (name, value) in entries(raw) {
            let at = at.key(name);
            let Some(lower) = self.header_name(&at, name) else {
                continue;
            };
            if OWN_HEADERS.contains(&lower.as_str()) {
                let fault = Fault::key(at, format!("the gateway writes the header `{lower}` itself"));
                self.fault(fault.help("remove it"));
            }
            if HeaderValue::from_str(value).is_err() {
                self.fault(Fault::value(at, format!("the value of `{lower}` holds a character that no header may")));
            }
            if headers.insert(lower.clone(), value.clone()).is_some() {
                self.header_twice(&at, &lower);
            }
        }
        headers
    }

    /// The name of a header in lower case, if it is one: a token of RFC 9110 §5.1.
    pub(super) fn header_name(&mut self, at: &At<'_>, name: &str) -> Option<String> {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Some(name.as_str().to_owned()),
            Err(_) => {
                let fault = Fault::key(at, format!("`{name}` is not a valid header name"));
                self.fault(fault.help("letters, digits and any of ``!#$%&'*+-.^_`|~``"));
                None
            }
        }
    }

    pub(super) fn header_twice(&mut self, at: &At<'_>, lower: &str) {
        let fault = Fault::key(at, format!("the header `{lower}` is here twice"));
        self.fault(fault.help("capitals make no difference in header names (RFC 9110 §5.1)"));
    }
}
