//! What a hook decides: pass on, or answer in the upstream's place.

use serde_json::json;

use crate::wire;

/// What a hook decides about a request or a response.
///
/// ```
/// use witgate_plugin::{Reply, Verdict};
///
/// fn admit(is_member: bool) -> Verdict {
///     if is_member { Verdict::Next } else { Verdict::Respond(Reply::problem(403, "members only")) }
/// }
/// // Where a reply is at hand, `into` is shorter.
/// let verdict: Verdict = Reply::new(204).into();
/// assert!(matches!((verdict, admit(true)), (Verdict::Respond(_), Verdict::Next)));
/// ```
#[derive(Debug)]
pub enum Verdict {
    /// Pass it on, with the edits that were made to it.
    Next,
    /// Send this instead. Edits are dropped.
    Respond(Reply),
}

impl From<Reply> for Verdict {
    fn from(reply: Reply) -> Self {
        Verdict::Respond(reply)
    }
}

/// A whole answer to the client.
///
/// ```
/// use witgate_plugin::Reply;
///
/// let reply = Reply::new(302).header("location", "/login").body("log in first");
/// assert_eq!(reply.status(), 302);
/// assert_eq!(reply.value("location"), Some("/login"));
/// assert_eq!((reply.headers().len(), reply.bytes()), (1, &b"log in first"[..]));
/// ```
///
/// The gateway frames it (`content-length` and the like) and refuses one that is larger than the plugin's `limits.reply`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Reply {
    /// An answer with this status code (200 to 599), no header and no body.
    pub fn new(status: u16) -> Self {
        Reply { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An error as `application/problem+json` (RFC 9457), of the type `about:blank`: its title is the name of the status code, and
    /// `detail` tells the client what is wrong with this request. The gateway adds the member `request_id`, which it does to every problem
    /// that lacks it.
    ///
    /// ```
    /// let reply = witgate_plugin::Reply::problem(403, "the key has expired");
    /// assert_eq!(reply.value("content-type"), Some("application/problem+json"));
    /// ```
    pub fn problem(status: u16, detail: &str) -> Self {
        let mut problem = json!({ "type": "about:blank", "status": status, "detail": detail });
        if let Some(title) = title(status) {
            problem["title"] = title.into();
        }
        Reply::new(status).header("content-type", "application/problem+json").body(problem.to_string())
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

    pub(crate) fn into_wire(self) -> wire::Reply {
        wire::Reply { status: self.status, headers: self.headers, body: self.body }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn from_wire(reply: wire::Reply) -> Self {
        Reply { status: reply.status, headers: reply.headers, body: reply.body }
    }
}

/// The names of the error codes that plugins answer with (RFC 9110 §15, RFC 6585); a table of all would only grow components.
fn title(status: u16) -> Option<&'static str> {
    Some(match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_problem_is_json_whatever_its_detail() {
        let reply = Reply::problem(429, "slow \"down\"\n");
        let body: Value = serde_json::from_slice(reply.bytes()).unwrap();
        let expected =
            json!({ "type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "slow \"down\"\n" });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_problem_of_a_rare_status_has_no_title() {
        let body: Value = serde_json::from_slice(Reply::problem(418, "tea").bytes()).unwrap();
        assert_eq!(body.get("title"), None);
    }

    #[test]
    fn header_names_become_lower_case_and_repeat() {
        let reply = Reply::new(200).header("Set-Cookie", "a=1").header("set-cookie", "b=2");
        let names: Vec<_> = reply.headers().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["set-cookie", "set-cookie"]);
        assert_eq!(reply.value("SET-COOKIE"), Some("a=1"));
    }
}
