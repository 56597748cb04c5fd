//! Who sent a request: the client's address behind trusted proxies, the request's id, and the header fields that carry both on.
//!
//! Fields that a peer may forge are believed from `trusted_proxies` only; from everybody else they are replaced.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::filter::{Connection, Exchange};
use crate::message::X_REQUEST_ID;
use crate::snapshot::Listener;

/// Finds out the client and the id, and writes the fields that tell them to the upstream.
pub(super) fn establish(exchange: &mut Exchange, listener: &Listener) {
    let connection = exchange.connection.clone();
    let trusted = is_trusted(listener, connection.peer);
    if trusted {
        exchange.client = client_behind(listener, &connection, &exchange.headers);
    }
    exchange.request_id = request_id(&exchange.headers, trusted);
    exchange.headers.insert(X_REQUEST_ID, exchange.request_id.clone());
    forward(&mut exchange.headers, &connection, trusted);
}

/// Whether what this peer says of others is believed.
pub(super) fn is_trusted(listener: &Listener, address: IpAddr) -> bool {
    listener.trusted_proxies.iter().any(|network| network.contains(&address))
}

/// The last address of `X-Forwarded-For` that is not itself a trusted proxy: what stands left of it, anybody may have
/// written.
fn client_behind(listener: &Listener, connection: &Connection, headers: &HeaderMap) -> IpAddr {
    let mut client = connection.peer;
    let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
    for address in values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(',')) {
        let Ok(address) = address.trim().parse() else { break };
        client = address;
        if !is_trusted(listener, address) {
            break;
        }
    }
    client
}

/// The peer's own id when it is trusted and sane, else a new UUIDv7 (RFC 9562): ids then sort by time.
fn request_id(headers: &HeaderMap, trusted: bool) -> HeaderValue {
    if trusted
        && let Some(id) = headers.get(X_REQUEST_ID)
        && id.len() <= REQUEST_ID_BYTES_MAX
        && id.as_bytes().iter().all(u8::is_ascii_graphic)
    {
        return id.clone();
    }
    let mut text = Uuid::encode_buffer();
    let id = Uuid::now_v7().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(id).expect("a UUID is ASCII")
}

/// `X-Forwarded-For/-Proto/-Host` and `Forwarded` (RFC 7239): appended to a trusted chain, begun anew otherwise.
fn forward(headers: &mut HeaderMap, connection: &Connection, trusted: bool) {
    let chain = if trusted { joined(headers, &X_FORWARDED_FOR) } else { None };
    let peers = match chain {
        Some(chain) => append(&chain, connection.peer_text.to_str().unwrap_or_default()),
        None => connection.peer_text.clone(),
    };
    headers.insert(X_FORWARDED_FOR, peers);
    let scheme = HeaderValue::from_static(connection.scheme);
    let host = headers.get(HOST).cloned();
    let elements = if trusted { joined(headers, &FORWARDED) } else { None };
    let element = forwarded_element(connection, host.as_ref());
    headers.insert(
        FORWARDED,
        match elements {
            Some(elements) => append(&elements, &element),
            None => HeaderValue::from_maybe_shared(Bytes::from(element)).expect("the element is made of checked parts"),
        },
    );
    // A trusted proxy knows how the client reached it; that is what the upstream wants to know.
    if !(trusted && headers.contains_key(X_FORWARDED_PROTO)) {
        headers.insert(X_FORWARDED_PROTO, scheme);
    }
    if !(trusted && headers.contains_key(X_FORWARDED_HOST)) {
        match host {
            Some(host) => drop(headers.insert(X_FORWARDED_HOST, host)),
            None => drop(headers.remove(X_FORWARDED_HOST)),
        }
    }
}

fn forwarded_element(connection: &Connection, host: Option<&HeaderValue>) -> String {
    let host = host.and_then(|host| host.to_str().ok());
    let mut element = String::with_capacity(connection.forwarded.len() + 8 + host.map_or(0, str::len));
    element.push_str(&connection.forwarded);
    if let Some(host) = host {
        // The host was checked to be an authority, so it holds no quote and no backslash.
        element.push_str(";host=\"");
        element.push_str(host);
        element.push('"');
    }
    element
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).peekable();
    values.peek()?;
    Some(values.collect::<Vec<_>>().join(", "))
}

fn append(chain: &str, last: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("{chain}, {last}")).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID_BYTES_MAX: usize = 128;
