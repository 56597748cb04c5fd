//! The only place that turns an error into a status: what the client is told, and what the log is told.

use http::StatusCode;
use http::header::{CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE};

use super::upgrade::WEBSOCKET_VERSION;
use crate::filter::{FilterError, Flag, Reply};
use crate::message::path::PathError;
use crate::message::upgrade::WEBSOCKET;
use crate::message::{BodyError, BodyFault, CollectError, problem};
use crate::plugin::Failure;
use crate::upstream::{Loss, SendError};

/// Why a request was not answered by its upstream.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("{0}")]
    Path(PathError),
    #[error("the protocol version is not one that this gateway speaks (RFC 9110 §2.5)")]
    VersionUnknown,
    #[error("the request's target is longer than this listener allows")]
    TargetTooLong,
    #[error("{0}")]
    HeadTooLarge(&'static str),
    #[error("the request's head took too long")]
    HeadTooSlow,
    #[error("the request's body is larger than this listener allows")]
    BodyTooLarge,
    #[error("this host has another certificate than the one this connection was made with: use another connection")]
    Misdirected,
    #[error("this route takes no upgrade to `{protocol}`")]
    UpgradeRefused { protocol: String },
    #[error("this gateway speaks version 13 of WebSocket (RFC 6455 §4.4)")]
    WebSocketVersion,
    #[error("upstream `{upstream}` is believed no upgrade: {fault}")]
    BadSwitch { upstream: String, fault: &'static str },
    #[error("the answer to a request for a tunnel was neither a tunnel nor an error")]
    NotSwitched,
    #[error("the gateway is busy")]
    Overloaded,
    #[error("no route matches")]
    NoRoute,
    #[error("no endpoint has weight")]
    NoEndpoint,
    #[error("a filter chose upstream `{upstream}`, which the route does not name")]
    NotOfThisRoute { upstream: String },
    #[error(transparent)]
    Filter(#[from] Box<FilterError>),
    #[error("upstream `{upstream}`, {endpoint}: {error}")]
    Upstream { upstream: String, endpoint: String, error: SendError },
    #[error("upstream `{upstream}`, {endpoint}: no response within {seconds} s")]
    TryTimeout { upstream: String, endpoint: String, seconds: f64 },
    #[error("upstream `{upstream}`, {endpoint}: no response before the route's time was over")]
    RouteTimeout { upstream: String, endpoint: String },
}

/// What the client may know of a [`ProxyError`].
struct Told {
    status: StatusCode,
    detail: String,
    /// RFC 9209 §2.3: the type of a failure beyond the gateway.
    proxy_status: Option<&'static str>,
}

impl ProxyError {
    /// Whether the request is refused for its head, or because there is no time for it: before anything was done about it.
    pub(super) fn is_of_head(&self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::Path(_)
                | Self::TargetTooLong
                | Self::HeadTooLarge(_)
                | Self::BodyTooLarge
                | Self::Overloaded
        )
    }

    /// The reason, in the access log's words.
    pub fn flag(&self) -> Option<Flag> {
        match self {
            Self::Overloaded => Some(Flag::Overload),
            Self::NoRoute => Some(Flag::NoRoute),
            Self::NoEndpoint => Some(Flag::NoEndpoint),
            Self::Filter(error) if matches!(**error, FilterError::Failed { .. }) => Some(Flag::PluginError),
            Self::Upstream { error, .. } => match error {
                error if error.is_connect_failure() => Some(Flag::ConnectFailure),
                SendError::Full(_) => Some(Flag::Overload),
                SendError::RequestBody(BodyFault::Gone) => Some(Flag::ClientGone),
                SendError::RequestBody(_) | SendError::NoUpgrade => None,
                _ => Some(Flag::UpstreamReset),
            },
            Self::TryTimeout { .. } | Self::RouteTimeout { .. } => Some(Flag::UpstreamTimeout),
            Self::BadSwitch { .. } | Self::NotSwitched => Some(Flag::UpstreamReset),
            error if error.is_of_head() => Some(Flag::BadRequest),
            _ => None,
        }
    }

    /// The answer to the client, and a line in the log when the fault was not the client's.
    pub fn reply(&self, request_id: &HeaderValue, trace_id: &str) -> Reply {
        let told = self.told();
        // Of what comes in floods a line for each would only make it worse.
        if told.status.is_server_error() && !matches!(self, Self::VersionUnknown | Self::Overloaded) {
            let id = request_id.to_str().unwrap_or_default();
            let flag = self.flag().map_or("", Flag::code);
            let trace_id = (!trace_id.is_empty()).then_some(trace_id);
            tracing::warn!(request_id = id, trace_id, status = told.status.as_u16(), flag, error = %self, "request failed");
        }
        let (mut headers, body) = problem(told.status, &told.detail, request_id);
        if let Some(error) = told.proxy_status {
            let value = format!("witgate; error={error}");
            headers.insert(PROXY_STATUS, HeaderValue::from_str(&value).expect("error types are tokens"));
        }
        if told.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if told.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(WEBSOCKET_VERSION));
        }
        Reply { status: told.status, headers, body }
    }

    fn told(&self) -> Told {
        let plain = |status, detail: String| Told { status, detail, proxy_status: None };
        match self {
            Self::BadRequest(_) | Self::Path(_) => plain(StatusCode::BAD_REQUEST, self.to_string()),
            Self::VersionUnknown => plain(StatusCode::HTTP_VERSION_NOT_SUPPORTED, self.to_string()),
            Self::TargetTooLong => plain(StatusCode::URI_TOO_LONG, self.to_string()),
            Self::HeadTooSlow => plain(StatusCode::REQUEST_TIMEOUT, self.to_string()),
            Self::HeadTooLarge(_) => plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, self.to_string()),
            Self::BodyTooLarge => plain(StatusCode::PAYLOAD_TOO_LARGE, self.to_string()),
            Self::Misdirected => plain(StatusCode::MISDIRECTED_REQUEST, self.to_string()),
            Self::Overloaded => Told {
                status: StatusCode::SERVICE_UNAVAILABLE,
                detail: self.to_string(),
                proxy_status: Some("proxy_internal_error"),
            },
            Self::NoRoute => plain(StatusCode::NOT_FOUND, self.to_string()),
            Self::UpgradeRefused { .. } => plain(StatusCode::FORBIDDEN, self.to_string()),
            Self::WebSocketVersion => plain(StatusCode::UPGRADE_REQUIRED, self.to_string()),
            Self::BadSwitch { .. } | Self::NotSwitched => beyond(StatusCode::BAD_GATEWAY, "http_upgrade_failed"),
            Self::Filter(error) => filter_told(error),
            Self::NotOfThisRoute { .. } => filter_failed(),
            Self::NoEndpoint => beyond(StatusCode::SERVICE_UNAVAILABLE, "destination_unavailable"),
            Self::Upstream { error, .. } => upstream_told(error),
            Self::TryTimeout { .. } | Self::RouteTimeout { .. } => {
                beyond(StatusCode::GATEWAY_TIMEOUT, "http_response_timeout")
            }
        }
    }
}

/// A plugin's words are for the log; the client learns that it was a filter, not which or why.
fn filter_told(error: &FilterError) -> Told {
    let failure = match error {
        FilterError::Failed { failure, .. } => failure,
        FilterError::RequestBody { error: CollectError::Body(error), .. } => return request_body_told(error.fault()),
        FilterError::RequestBody { error: CollectError::TooLarge { .. }, .. } => {
            let detail = "the request's body is larger than a filter of this route takes".to_owned();
            return Told { status: StatusCode::PAYLOAD_TOO_LARGE, detail, proxy_status: None };
        }
        FilterError::ResponseBody { error: CollectError::Body(BodyError::Late), .. } => {
            return beyond(StatusCode::GATEWAY_TIMEOUT, "http_response_timeout");
        }
        FilterError::ResponseBody { error: CollectError::Body(BodyError::BrokenOff), .. } => return filter_failed(),
        FilterError::ResponseBody { error: CollectError::Body(_), .. } => {
            return beyond(StatusCode::BAD_GATEWAY, "http_response_incomplete");
        }
        FilterError::ResponseBody { error: CollectError::TooLarge { .. }, .. } => {
            return beyond(StatusCode::BAD_GATEWAY, "http_response_body_size");
        }
    };
    match failure {
        Failure::Limit { limit: "limits.instances" | "limits.parked" | "runtime.slots", .. } => Told {
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail: "the gateway is busy".to_owned(),
            proxy_status: Some("proxy_internal_error"),
        },
        _ => filter_failed(),
    }
}

fn filter_failed() -> Told {
    Told {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        detail: "a filter of this route failed".to_owned(),
        proxy_status: Some("proxy_internal_error"),
    }
}

fn upstream_told(error: &SendError) -> Told {
    match error {
        SendError::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            beyond(StatusCode::BAD_GATEWAY, "connection_refused")
        }
        SendError::Connect(_) => beyond(StatusCode::BAD_GATEWAY, "destination_unavailable"),
        SendError::ConnectTimeout(_) => beyond(StatusCode::GATEWAY_TIMEOUT, "connection_timeout"),
        SendError::Tls(error) => beyond(StatusCode::BAD_GATEWAY, tls_told(error)),
        SendError::NotHttp2 | SendError::Framing | SendError::Connection { loss: Loss::Garbled, .. } => {
            beyond(StatusCode::BAD_GATEWAY, "http_protocol_error")
        }
        SendError::NoUpgrade => Told {
            status: StatusCode::NOT_IMPLEMENTED,
            detail: "this route's upstream takes no upgrades".to_owned(),
            proxy_status: Some("http_upgrade_failed"),
        },
        SendError::Full(_) => beyond(StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached"),
        SendError::Connection { .. } => beyond(StatusCode::BAD_GATEWAY, "connection_terminated"),
        SendError::RequestBody(fault) => request_body_told(*fault),
    }
}

fn tls_told(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => "tls_certificate_error",
        rustls::Error::AlertReceived(_) => "tls_alert_received",
        _ => "tls_protocol_error",
    }
}

fn request_body_told(fault: BodyFault) -> Told {
    let status = match fault {
        BodyFault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        BodyFault::Slow => StatusCode::REQUEST_TIMEOUT,
        BodyFault::Gone | BodyFault::Malformed => StatusCode::BAD_REQUEST,
        BodyFault::BrokenOff => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Told { status, detail: format!("the request's body failed: {fault}"), proxy_status: None }
}

fn beyond(status: StatusCode, proxy_status: &'static str) -> Told {
    let detail = match status {
        StatusCode::GATEWAY_TIMEOUT => "the upstream did not answer in time",
        StatusCode::SERVICE_UNAVAILABLE => "no upstream is available",
        _ => "the upstream gave no usable response",
    };
    Told { status, detail: detail.to_owned(), proxy_status: Some(proxy_status) }
}

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
