//! The answer of an echoing upstream: what it received, as JSON, and the same read back.
//!
//! One description serves both sides, so that tests over HTTP/1.1 and HTTP/2 ask the same questions.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::upstream::Request;
use crate::wire::Fields;

/// A request as the upstream received it.
#[derive(Clone, Debug)]
pub struct Echo {
    pub method: String,
    pub target: String,
    pub fields: Fields,
    pub trailers: Fields,
    pub body_bytes: usize,
    /// Lower-case hexadecimal.
    pub body_sha256: String,
}

impl Echo {
    /// Read an echoed answer.
    ///
    /// # Panics
    /// When the body is not one.
    pub fn read(body: &[u8]) -> Echo {
        let value: Value =
            serde_json::from_slice(body).unwrap_or_else(|_| panic!("no echo: {:?}", String::from_utf8_lossy(body)));
        let text = |key: &str| value[key].as_str().expect("an echo has all its keys").to_owned();
        let fields = |key: &str| Fields(serde_json::from_value(value[key].clone()).expect("an echo has all its keys"));
        Echo {
            method: text("method"),
            target: text("target"),
            fields: fields("fields"),
            trailers: fields("trailers"),
            body_bytes: serde_json::from_value(value["body_bytes"].clone()).expect("an echo has all its keys"),
            body_sha256: text("body_sha256"),
        }
    }
}

/// The whole response that tells a client what `request` was.
pub(crate) fn answer(request: &Request) -> Vec<u8> {
    let body = json!({
        "method": request.method,
        "target": request.target,
        "fields": request.fields.0,
        "trailers": request.trailers.0,
        "body_bytes": request.body.len(),
        "body_sha256": sha256(&request.body),
    })
    .to_string();
    let mut response =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    if request.method != "HEAD" {
        response.push_str(&body);
    }
    response.into_bytes()
}

/// The digest by which a test recognises a body that is too large to compare in a message.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
