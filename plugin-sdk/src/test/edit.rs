//! Applies the edits of a hook to the message of a test, and panics where the gateway refuses one.

use super::message::{TestRequest, TestResponse};
use crate::Reply;
use crate::wire::{Header, RequestEdit, ResponseEdit};

/// What a request hook may hand to the response hook (`keep` in the WIT).
const KEPT_BYTES_MAX: usize = 4 * 1024;

#[track_caller]
pub(super) fn apply_to_request(edit: RequestEdit, request: &mut TestRequest, kept: &mut Option<Vec<u8>>) {
    match edit {
        RequestEdit::SetHeader(header) => set(&mut request.headers, header),
        RequestEdit::AppendHeader(header) => append(&mut request.headers, header),
        RequestEdit::RemoveHeader(name) => remove(&mut request.headers, &name),
        RequestEdit::SetPath(path) => {
            let clean = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
            require(path.starts_with('/') && clean, "a path", &path);
            request.path = path;
        }
        RequestEdit::SetQuery(query) => {
            require(query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "a query", &query);
            request.query = (!query.is_empty()).then_some(query);
        }
        RequestEdit::SetMethod(method) => {
            require(is_token(&method), "a method", &method);
            request.method = method;
        }
        RequestEdit::SetAuthority(authority) => {
            let clean = authority.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte));
            require(!authority.is_empty() && clean, "an authority", &authority);
            request.authority = authority;
        }
        RequestEdit::SetAttribute((name, value)) => {
            request.attributes.insert(name, value);
        }
        RequestEdit::SelectUpstream(name) => request.upstream = Some(name),
        RequestEdit::Keep(bytes) => *kept = Some(check_kept(bytes)),
    }
}

#[track_caller]
pub(super) fn apply_to_response(edit: ResponseEdit, request: &mut TestRequest, response: &mut TestResponse) {
    match edit {
        ResponseEdit::SetHeader(header) => set(&mut response.headers, header),
        ResponseEdit::AppendHeader(header) => append(&mut response.headers, header),
        ResponseEdit::RemoveHeader(name) => remove(&mut response.headers, &name),
        ResponseEdit::SetStatus(status) => {
            require(is_final(status), "a status", &status.to_string());
            response.status = status;
        }
        ResponseEdit::SetAttribute((name, value)) => {
            request.attributes.insert(name, value);
        }
    }
}

#[track_caller]
pub(super) fn check_kept(bytes: Vec<u8>) -> Vec<u8> {
    let length = bytes.len();
    assert!(length <= KEPT_BYTES_MAX, "the gateway keeps {KEPT_BYTES_MAX} bytes at most, not {length}");
    bytes
}

#[track_caller]
pub(super) fn check_reply(reply: Reply) -> Reply {
    require(is_final(reply.status()), "a status", &reply.status().to_string());
    reply.headers().iter().for_each(check);
    reply
}

#[track_caller]
fn set(headers: &mut Vec<Header>, header: Header) {
    remove(headers, &header.0);
    append(headers, header);
}

#[track_caller]
fn append(headers: &mut Vec<Header>, header: Header) {
    check(&header);
    headers.push(header);
}

#[track_caller]
fn remove(headers: &mut Vec<Header>, name: &str) {
    require(is_token(name), "a header name", name);
    headers.retain(|(key, _)| key != name);
}

#[track_caller]
fn check((name, value): &Header) {
    require(is_token(name), "a header name", name);
    let clean = value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    require(clean, "a header value", &String::from_utf8_lossy(value));
}

#[track_caller]
fn require(holds: bool, what: &str, value: &str) {
    assert!(holds, "the gateway refuses this edit: {value:?} is not {what}");
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A response that ends an exchange: not an interim one (RFC 9110 §15.2).
fn is_final(status: u16) -> bool {
    (200..=599).contains(&status)
}
