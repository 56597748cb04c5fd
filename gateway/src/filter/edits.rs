//! Carrying out what guests say: every edit is checked here, whoever wrote the guest.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::exchange::{Exchange, Forwarding, Reply};
use crate::message::path;
use crate::plugin::{Failure, Field, Limits, Remembered, Repeated, field, field_name, types};
use crate::tls::Session;

/// Changes the request as a guest said, after what it repeated.
pub(super) fn change_request(
    exchange: &mut Exchange,
    repeated: &Repeated<types::RequestEdit>,
    said: Vec<types::RequestEdit>,
    limits: &Limits,
) -> Result<(), Failure> {
    repeat(exchange, |exchange| &mut exchange.headers, repeated, limits, apply_to_request)?;
    said.into_iter().try_for_each(|edit| apply_to_request(exchange, edit, limits))
}

/// Changes the response as a guest said, after what it repeated.
pub(super) fn change_response(
    exchange: &mut Exchange,
    repeated: &Repeated<types::ResponseEdit>,
    said: Vec<types::ResponseEdit>,
    limits: &Limits,
) -> Result<(), Failure> {
    repeat(exchange, |exchange| &mut exchange.response.headers, repeated, limits, apply_to_response)?;
    said.into_iter().try_for_each(|edit| apply_to_response(exchange, edit, limits))
}

/// Makes edits that were checked when they were remembered.
fn repeat<E: Clone>(
    exchange: &mut Exchange,
    headers: impl Fn(&mut Exchange) -> &mut HeaderMap,
    lists: &Repeated<E>,
    limits: &Limits,
    apply: impl Fn(&mut Exchange, E, &Limits) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for edit in lists.iter().flat_map(|list| list.iter()) {
        match edit {
            Remembered::SetHeader(field) => set(headers(exchange), field.clone())?,
            Remembered::AppendHeader(field) => append(headers(exchange), field.clone())?,
            Remembered::RemoveHeader(name) => drop(headers(exchange).remove(name)),
            Remembered::SetAttribute(name, value) => set_attribute(exchange, name.clone(), value.clone(), limits)?,
            Remembered::Other(edit) => apply(exchange, edit.clone(), limits)?,
        }
    }
    Ok(())
}

fn apply_to_request(exchange: &mut Exchange, edit: types::RequestEdit, limits: &Limits) -> Result<(), Failure> {
    use types::RequestEdit as Edit;
    match edit {
        Edit::SetHeader(header) => set(&mut exchange.headers, field(header)?)?,
        Edit::AppendHeader(header) => append(&mut exchange.headers, field(header)?)?,
        Edit::RemoveHeader(name) => drop(exchange.headers.remove(field_name(&name)?)),
        Edit::SetPath(wanted) => {
            let path = path::normalise(&wanted).map_err(|error| Failure::invalid("path", &wanted, &error))?;
            exchange.uri = with_path_and_query(&path, exchange.uri.query())?;
        }
        Edit::SetQuery(query) => {
            exchange.uri = with_path_and_query(exchange.uri.path(), (!query.is_empty()).then_some(&query))?;
        }
        Edit::SetMethod(method) => {
            Failure::at_most("bytes of a method", method.len(), METHOD_BYTES_MAX)?;
            exchange.method =
                Method::from_bytes(method.as_bytes()).map_err(|error| Failure::invalid("method", &method, &error))?;
        }
        Edit::SetAuthority(wanted) => {
            let host = authority(&wanted)?;
            exchange.headers.insert(HOST, host);
        }
        Edit::SetAttribute((name, value)) => set_attribute(exchange, name.into(), value.into(), limits)?,
        Edit::SelectUpstream(name) => exchange.forwarding = Forwarding::Upstream(name.into_boxed_str()),
        Edit::Keep(bytes) => exchange.keep(kept(bytes)?),
    }
    Ok(())
}

fn apply_to_response(exchange: &mut Exchange, edit: types::ResponseEdit, limits: &Limits) -> Result<(), Failure> {
    use types::ResponseEdit as Edit;
    match edit {
        Edit::SetHeader(header) => set(&mut exchange.response.headers, field(header)?),
        Edit::AppendHeader(header) => append(&mut exchange.response.headers, field(header)?),
        Edit::RemoveHeader(name) => {
            exchange.response.headers.remove(field_name(&name)?);
            Ok(())
        }
        Edit::SetStatus(status) => {
            exchange.response.status = final_status(status)?;
            Ok(())
        }
        Edit::SetAttribute((name, value)) => set_attribute(exchange, name.into(), value.into(), limits),
    }
}

fn set(headers: &mut HeaderMap, (name, value): Field) -> Result<(), Failure> {
    if headers.len() >= FIELDS_MAX && !headers.contains_key(&name) {
        return Err(too_many_fields());
    }
    headers.try_insert(name, value).map(drop).map_err(|_| too_many_fields())
}

fn append(headers: &mut HeaderMap, (name, value): Field) -> Result<(), Failure> {
    if headers.len() >= FIELDS_MAX {
        return Err(too_many_fields());
    }
    headers.try_append(name, value).map(drop).map_err(|_| too_many_fields())
}

fn set_attribute(exchange: &mut Exchange, name: Arc<str>, value: Arc<str>, limits: &Limits) -> Result<(), Failure> {
    Failure::at_most("bytes of an attribute", name.len() + value.len(), ATTRIBUTE_BYTES_MAX)?;
    if Session::owns_attribute(&name) {
        return Err(Failure::Verdict(format!(
            "the attribute `{name}` tells of the connection and is the gateway's to set"
        )));
    }
    exchange.set_attribute(name, value);
    Failure::at_most("limits.attributes", exchange.attributes.len(), limits.attributes)
}

/// What a guest hands to its response hook, if it is not too much.
pub(super) fn kept(bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
    Failure::at_most("bytes to keep", bytes.len(), KEPT_BYTES_MAX)?;
    Ok(bytes)
}

/// A guest's answer as one that can be sent. `bytes_max` is for its body (`limits.reply`).
pub(super) fn reply(answer: types::Reply, bytes_max: usize) -> Result<Box<Reply>, Failure> {
    Failure::at_most("limits.reply", answer.body.len(), bytes_max)?;
    let mut headers = HeaderMap::with_capacity(answer.headers.len().min(FIELDS_MAX));
    for header in answer.headers {
        // Its length is the body's; whatever the guest thinks it is.
        if !header.0.eq_ignore_ascii_case(CONTENT_LENGTH.as_str()) {
            append(&mut headers, field(header)?)?;
        }
    }
    Ok(Box::new(Reply { status: final_status(answer.status)?, headers, body: Bytes::from(answer.body) }))
}

/// A final status: 1xx would promise another answer that never comes (RFC 9110 §15.2).
fn final_status(status: u16) -> Result<StatusCode, Failure> {
    match StatusCode::from_u16(status) {
        Ok(code) if (200..600).contains(&status) => Ok(code),
        _ => Err(Failure::Verdict(format!("{status} is not a final status (200-599)"))),
    }
}

/// Host and port as `Host` carries them (RFC 9110 §7.2): no user, and a port that is a number.
fn authority(text: &str) -> Result<HeaderValue, Failure> {
    Failure::at_most("bytes of an authority", text.len(), AUTHORITY_BYTES_MAX)?;
    let parsed: http::uri::Authority = text.parse().map_err(|error| Failure::invalid("authority", text, &error))?;
    // What follows the host is nothing, or the port behind its colon.
    let behind_host = parsed.as_str().strip_prefix(parsed.host()).filter(|_| !parsed.host().is_empty());
    if behind_host.is_none_or(|rest| !rest.is_empty() && parsed.port_u16().is_none()) {
        return Err(Failure::invalid("authority", text, &"it is neither `HOST` nor `HOST:PORT`"));
    }
    HeaderValue::from_str(parsed.as_str()).map_err(|error| Failure::invalid("authority", text, &error))
}

fn with_path_and_query(path: &str, query: Option<&str>) -> Result<Uri, Failure> {
    let text = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    Failure::at_most("bytes of path and query", text.len(), PATH_BYTES_MAX)?;
    let parsed = PathAndQuery::from_maybe_shared(text).map_err(|error| Failure::invalid("path", path, &error))?;
    Ok(Uri::from(parsed))
}

fn too_many_fields() -> Failure {
    Failure::Limit { limit: "header fields of a message", detail: format!("more than {FIELDS_MAX}") }
}

const KEPT_BYTES_MAX: usize = 4 << 10;
const ATTRIBUTE_BYTES_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 256;
/// The longest registered one has 17 letters.
const METHOD_BYTES_MAX: usize = 64;
/// A name has 253 characters at most (RFC 1035 §2.3.4), and a port five digits.
const AUTHORITY_BYTES_MAX: usize = 260;
const PATH_BYTES_MAX: usize = 16 << 10;
