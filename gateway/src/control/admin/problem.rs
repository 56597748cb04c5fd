//! Problems: every error of the admin server, in the form of RFC 9457.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::control::OperationError;

/// An error with its status, told in `application/problem+json`.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    /// Each fault of a configuration, as `validate --format json` has them.
    faults: Option<serde_json::Value>,
    /// Of the process that was to take over.
    exit_code: Option<u8>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), faults: None, exit_code: None, fields: Vec::new() }
    }

    /// Something has all it may have at once.
    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// With one more field.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        let status = match error {
            OperationError::UnknownPlugin(_) => StatusCode::NOT_FOUND,
            OperationError::Invalid(_) => StatusCode::BAD_REQUEST,
            OperationError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            OperationError::Conflict(_) => StatusCode::CONFLICT,
            OperationError::Forbidden(_) => StatusCode::FORBIDDEN,
            OperationError::Stale(_) => StatusCode::PRECONDITION_FAILED,
            OperationError::Faults { by_plugin: true, .. } => StatusCode::UNPROCESSABLE_ENTITY,
            OperationError::Faults { by_plugin: false, .. } => StatusCode::BAD_REQUEST,
            OperationError::Draining => StatusCode::SERVICE_UNAVAILABLE,
            OperationError::Ended { .. } | OperationError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let problem = Self::new(status, error.to_string());
        match error {
            OperationError::Faults { faults, .. } => Self { faults: Some(faults), ..problem },
            OperationError::Ended { exit_code, .. } => Self { exit_code, ..problem },
            _ => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(faults) = self.faults {
            body["faults"] = faults;
        }
        if let Some(code) = self.exit_code {
            body["exit_code"] = code.into();
        }
        let mut response = (self.status, body.to_string()).into_response();
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, PROBLEM_TYPE);
        fields.extend(self.fields);
        response
    }
}

/// Errors of the library that routes requests, in the form of all others.
pub(super) fn reword(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.headers().get(CONTENT_TYPE) == Some(&PROBLEM_TYPE) || is_probe(&response) {
        return response;
    }
    let detail = match status {
        StatusCode::NOT_FOUND => "nothing is here",
        StatusCode::METHOD_NOT_ALLOWED => "this method means nothing here",
        _ => "the request cannot be understood",
    };
    let mut problem = Problem::new(status, detail);
    if let Some(allow) = response.headers().get(http::header::ALLOW) {
        problem = problem.with(http::header::ALLOW, allow.clone());
    }
    problem.into_response()
}

/// Whether this is the word of a probe that something is not ready, which is no error.
fn is_probe(response: &Response) -> bool {
    response.extensions().get::<super::probes::Word>().is_some()
}

const PROBLEM_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
