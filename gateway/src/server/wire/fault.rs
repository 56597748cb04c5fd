//! What is wrong with the bytes of a client, and the answer that it gets before the connection is closed.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use uuid::Uuid;

use crate::proxy::ProxyError;

/// Why a message is not passed on. The words are for the client and name the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Malformed(&'static str),
    #[error("the protocol version is not one that this gateway speaks (RFC 9110 §2.5)")]
    Version,
    #[error("the request's target is longer than this listener allows")]
    TargetTooLong,
    #[error("{0}")]
    HeadTooLarge(&'static str),
    #[error("the request's head took too long")]
    TooSlow,
}

impl From<Fault> for ProxyError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed(why) => Self::BadRequest(why),
            Fault::Version => Self::VersionUnknown,
            Fault::TargetTooLong => Self::TargetTooLong,
            Fault::HeadTooLarge(why) => Self::HeadTooLarge(why),
            Fault::TooSlow => Self::HeadTooSlow,
        }
    }
}

/// The answer to a message that hyper must not see: it would answer in its own way, or not at all.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) request_id: HeaderValue,
    pub(super) bytes: Bytes,
}

pub(super) fn refusal(fault: Fault) -> Refusal {
    let mut text = Uuid::encode_buffer();
    let id = Uuid::now_v7().hyphenated().encode_lower(&mut text);
    let id = HeaderValue::from_str(id).expect("a UUID is ASCII");
    let reply = ProxyError::from(fault).reply(&id, "");
    let mut bytes = format!("HTTP/1.1 {}\r\n", reply.status).into_bytes();
    for (name, value) in &reply.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(format!("content-length: {}\r\nconnection: close\r\n\r\n", reply.body.len()).as_bytes());
    bytes.extend_from_slice(&reply.body);
    Refusal { status: reply.status, request_id: id, bytes: bytes.into() }
}
