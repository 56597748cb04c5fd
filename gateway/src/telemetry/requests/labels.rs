//! What requests are told apart by in metrics: few values, whatever clients and upstreams write.

use http::{Method, StatusCode};

/// Names of the label `method`. A method that is none of them is the last.
pub(crate) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"];

/// Names of the label `code_class`.
pub(crate) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// Places in the counts by code: the known ones, and each class for those that are not.
pub(super) const CODES: usize = KNOWN.len() + CLASSES.len();

/// The place of a method that nobody knows.
pub const UNKNOWN_METHOD: usize = METHODS.len() - 1;

/// A method's place among [`METHODS`].
pub fn method_of(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::CONNECT => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::PATCH => 8,
        _ => UNKNOWN_METHOD,
    }
}

/// A status's place among [`CLASSES`].
pub(super) fn class_of(status: StatusCode) -> usize {
    (usize::from(status.as_u16() / 100) - 1).min(CLASSES.len() - 1)
}

/// A status's place in the counts by code.
pub(super) fn code_of(status: StatusCode) -> usize {
    match KNOWN.binary_search(&status.as_u16()) {
        Ok(place) => place,
        Err(_) => KNOWN.len() + class_of(status),
    }
}

/// The label `code` of a place in the counts. That of an unknown code fits the same patterns as its class: `5..`.
pub(crate) fn code_name(place: usize) -> String {
    match KNOWN.get(place) {
        Some(code) => code.to_string(),
        None => CLASSES[place - KNOWN.len()].to_owned(),
    }
}

/// Codes of the registry (RFC 9110 §16.2), and 499 for clients that went away before they were answered.
const KNOWN: [u16; 63] = [
    100, 101, 102, 103, 104, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308,
    400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 424, 425,
    426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn code(status: u16) -> String {
        code_name(code_of(StatusCode::from_u16(status).expect("a status")))
    }

    #[test]
    fn codes_that_nobody_knows_are_counted_by_their_class() {
        assert!(KNOWN.is_sorted(), "they are searched");
        for (status, label) in [(100, "100"), (200, "200"), (404, "404"), (499, "499"), (511, "511")] {
            assert_eq!(code(status), label);
        }
        for (status, label) in [(199, "1xx"), (299, "2xx"), (420, "4xx"), (599, "5xx"), (600, "other"), (999, "other")]
        {
            assert_eq!(code(status), label);
        }
    }

    #[test]
    fn methods_that_nobody_knows_are_one() {
        for (place, name) in METHODS.iter().enumerate() {
            let method = Method::from_bytes(name.as_bytes()).expect("a token");
            assert_eq!(method_of(&method), place, "{name}");
        }
        assert_eq!(METHODS[method_of(&Method::from_bytes(b"M12345").expect("a token"))], "other");
    }
}
