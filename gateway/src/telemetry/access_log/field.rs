//! What a line can hold, and how the configuration calls it.

use http::HeaderName;

/// A field of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Plain(Plain),
    RequestHeader(HeaderName),
    ResponseHeader(HeaderName),
    Attribute(Box<str>),
}

/// A field that needs nothing but its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Ts,
    /// The same in the form of the Common Log Format.
    Time,
    RequestId,
    TraceId,
    Client,
    User,
    Method,
    Scheme,
    Host,
    Path,
    Query,
    Protocol,
    Status,
    BytesIn,
    BytesOut,
    DurationMs,
    OverheadMs,
    UpstreamMs,
    Listener,
    Route,
    Generation,
    Upstream,
    Endpoint,
    Attempts,
    Filters,
    Flags,
}

impl Field {
    /// The field that the configuration calls `name`.
    pub(super) fn named(name: &str) -> Option<Self> {
        if let Some((_, plain)) = NAMES.iter().chain(&ALIASES).find(|(known, _)| *known == name) {
            return Some(Self::Plain(*plain));
        }
        let header = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
        if let Some(name) = name.strip_prefix("request.header.") {
            return header(name).map(Self::RequestHeader);
        }
        if let Some(name) = name.strip_prefix("response.header.") {
            return header(name).map(Self::ResponseHeader);
        }
        let attribute = name.strip_prefix("attribute.").filter(|name| !name.is_empty())?;
        Some(Self::Attribute(attribute.into()))
    }

    /// As the key of a JSON line.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Plain(plain) => plain.name().to_owned(),
            Self::RequestHeader(name) => format!("request.header.{name}"),
            Self::ResponseHeader(name) => format!("response.header.{name}"),
            Self::Attribute(name) => format!("attribute.{name}"),
        }
    }
}

impl Plain {
    fn name(self) -> &'static str {
        NAMES.iter().find(|(_, plain)| *plain == self).map_or("", |(name, _)| name)
    }

    /// What a JSON line holds unless the configuration says otherwise.
    pub(super) const ALL_OF_JSON: [Self; 23] = [
        Self::Ts,
        Self::RequestId,
        Self::TraceId,
        Self::Client,
        Self::User,
        Self::Method,
        Self::Host,
        Self::Path,
        Self::Protocol,
        Self::Status,
        Self::BytesIn,
        Self::BytesOut,
        Self::DurationMs,
        Self::OverheadMs,
        Self::UpstreamMs,
        Self::Listener,
        Self::Route,
        Self::Generation,
        Self::Upstream,
        Self::Endpoint,
        Self::Attempts,
        Self::Filters,
        Self::Flags,
    ];
}

/// The names of all plain fields, for messages.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

const NAMES: [(&str, Plain); 26] = [
    ("ts", Plain::Ts),
    ("time", Plain::Time),
    ("request_id", Plain::RequestId),
    ("trace_id", Plain::TraceId),
    ("client", Plain::Client),
    ("user", Plain::User),
    ("method", Plain::Method),
    ("scheme", Plain::Scheme),
    ("host", Plain::Host),
    ("path", Plain::Path),
    ("query", Plain::Query),
    ("protocol", Plain::Protocol),
    ("status", Plain::Status),
    ("bytes_in", Plain::BytesIn),
    ("bytes_out", Plain::BytesOut),
    ("duration_ms", Plain::DurationMs),
    ("overhead_ms", Plain::OverheadMs),
    ("upstream_ms", Plain::UpstreamMs),
    ("listener", Plain::Listener),
    ("route", Plain::Route),
    ("generation", Plain::Generation),
    ("upstream", Plain::Upstream),
    ("endpoint", Plain::Endpoint),
    ("attempts", Plain::Attempts),
    ("filters", Plain::Filters),
    ("flags", Plain::Flags),
];

/// What other places of the configuration call the same.
const ALIASES: [(&str, Plain); 2] = [("client.ip", Plain::Client), ("request.path", Plain::Path)];
