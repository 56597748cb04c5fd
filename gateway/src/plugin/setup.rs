//! What an attachment asks for while it is configured: what will be passed to its hooks, and under which keys.

use http::HeaderName;

/// What an attachment asked for in `configure`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// In the order of asking: a value's key is its place here.
    wants: Vec<Want>,
    /// Request headers that only this attachment may write.
    pub owned_headers: Vec<HeaderName>,
    /// Largest body that `whole-request` and `whole-response` take; `None` where nothing was said.
    pub buffer_request_bytes: Option<u32>,
    pub buffer_response_bytes: Option<u32>,
    /// Whether the hooks over heads have nothing to do.
    pub skips_request: bool,
    pub skips_response: bool,
    pub may_fail_open: bool,
}

/// One thing that an attachment reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    Method,
    Scheme,
    Authority,
    /// With the query.
    Path,
    Client,
    Route,
    RequestId,
    Param(Box<str>),
    RequestHeader(HeaderName),
    ResponseHeader(HeaderName),
    Attribute(Box<str>),
}

impl Setup {
    /// What is asked for, with the keys under which it is passed.
    pub fn wants(&self) -> impl Iterator<Item = (u16, &Want)> {
        (0..).zip(&self.wants)
    }

    /// The key of `want`, the first one when it is asked for again; `None` when there are [`WANTS_MAX`] already.
    pub(super) fn key(&mut self, want: Want) -> Option<u16> {
        let at = self.wants.iter().position(|known| *known == want).unwrap_or_else(|| {
            self.wants.push(want);
            self.wants.len() - 1
        });
        u16::try_from(at).ok().filter(|_| at < WANTS_MAX)
    }
}

/// How many values one attachment may ask for.
pub(super) const WANTS_MAX: usize = 256;
