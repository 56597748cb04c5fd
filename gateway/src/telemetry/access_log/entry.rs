//! What is known of a request when it is over.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Version};

/// A request and what became of it, borrowed from whoever served it.
#[derive(Debug, Clone)]
pub struct Entry<'e> {
    /// When its head had arrived.
    pub began: SystemTime,
    pub request_id: &'e [u8],
    /// Hex digits; none where it is not traced.
    pub trace_id: Option<&'e str>,
    pub client: IpAddr,
    pub scheme: &'static str,
    pub method: &'e str,
    /// As the client wrote it, as are path and query.
    pub host: &'e [u8],
    pub path: &'e str,
    pub query: Option<&'e str>,
    pub version: Version,
    pub status: u16,
    /// Of the request's body.
    pub bytes_in: u64,
    /// Of the response's body.
    pub bytes_out: u64,
    pub duration: Duration,
    /// The gateway's own time.
    pub overhead: Duration,
    pub listener: &'e str,
    /// Empty where no route matched.
    pub route: &'e str,
    pub generation: u64,
    pub upstream: Option<&'e str>,
    /// A host with its port, or the path of a socket file.
    pub endpoint: Option<(&'e str, Option<u16>)>,
    /// Tries at upstreams.
    pub attempts: u32,
    /// In the order of their calls.
    pub filters: &'e [FilterCall<'e>],
    /// Short words, separated by commas; empty where nothing went wrong.
    pub flags: &'e str,
    pub attributes: &'e [(Arc<str>, Arc<str>)],
    /// Values of the fields that [`AccessLog::request_headers`](super::AccessLog::request_headers) names, in that order.
    pub request_headers: &'e [Option<HeaderValue>],
    /// As `request_headers`.
    pub response_headers: &'e [Option<HeaderValue>],
}

/// A filter's calls for one request, taken together.
#[derive(Debug, Clone, Copy)]
pub struct FilterCall<'e> {
    pub name: &'e str,
    /// Of a plugin: the first digits of its digest.
    pub version: Option<[u8; 12]>,
    pub took: Duration,
    pub outcome: &'static str,
}

impl Entry<'_> {
    /// All the time that is not the gateway's own; none where no upstream was tried.
    pub(super) fn upstream_time(&self) -> Option<Duration> {
        (self.attempts > 0).then(|| self.duration.saturating_sub(self.overhead))
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    pub(crate) fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        }
    }
}
