//! What crosses to a guest: the parts of the exchange that its attachment asked for.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::exchange::Exchange;
use crate::plugin::{Attachment, Copied, View, Want, types};
use crate::telemetry::TRACESTATE;

/// What crosses to the guest: keys and values.
pub(super) type Values<'e> = SmallVec<[(u16, &'e [u8]); 2]>;

/// The request's, for its hook. `client` is where the client's address is written, if it is asked for.
pub(super) fn of_request<'e>(attachment: &'e Attachment, exchange: &'e Exchange, client: &'e mut String) -> Values<'e> {
    let wants = &attachment.request_wants;
    if wants.iter().any(|(_, want)| *want == Want::Client) {
        *client = exchange.client.to_string();
    }
    let mut values = SmallVec::new();
    request_values(wants, exchange, client, &mut values);
    values
}

/// The response's, for its hook.
pub(super) fn of_response<'e>(attachment: &'e Attachment, exchange: &'e Exchange) -> Values<'e> {
    let mut values: Values<'_> = SmallVec::new();
    for (key, want) in &attachment.response_wants {
        match want {
            Want::ResponseHeader(name) => header_values(*key, name, &exchange.response.headers, &mut values),
            Want::Attribute(name) => values.extend(exchange.attribute(name).map(|value| (*key, value.as_bytes()))),
            _ => {}
        }
    }
    values
}

/// The head of a request, as it crosses.
pub(super) fn request_head<'v>(values: &'v Values<'_>) -> types::RequestHead<'v> {
    types::RequestHead { values: (!values.is_empty()).then_some(&values[..]) }
}

/// The head of a response, as it crosses.
pub(super) fn response_head<'v>(exchange: &'v Exchange, values: &'v Values<'_>) -> types::ResponseHead<'v> {
    types::ResponseHead {
        status: exchange.response.status.as_u16(),
        origin: exchange.response.origin.into(),
        values: (!values.is_empty()).then_some(&values[..]),
        kept: exchange.kept(),
    }
}

/// What the guest's imports show of the exchange; nothing for components that have no such imports.
pub(super) fn view(attachment: &Attachment, exchange: &Exchange) -> View {
    let version = &attachment.declaration.version;
    let span = if version.imports_trace { exchange.trail.open_span() } else { None };
    let trace_state = span.as_ref().filter(|_| version.imports_http).and_then(|_| exchange.headers.get(TRACESTATE));
    View::new(version.imports_exchange.then(|| copied(exchange)), span, trace_state.cloned())
}

fn copied(exchange: &Exchange) -> Box<Copied> {
    Box::new(Copied {
        request: exchange.headers.clone(),
        response: exchange.response.headers.clone(),
        listener: exchange.connection.listener.clone(),
    })
}

fn request_values<'e>(wants: &'e [(u16, Want)], exchange: &'e Exchange, client: &'e str, values: &mut Values<'e>) {
    for (key, want) in wants {
        let text = match want {
            Want::Method => exchange.method.as_str(),
            Want::Scheme => exchange.connection.scheme,
            Want::Authority => exchange.authority(),
            Want::Path => exchange.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            Want::Client => client,
            Want::Route => &exchange.route,
            Want::RequestId => exchange.request_id.to_str().unwrap_or_default(),
            Want::Param(name) => match exchange.params.iter().find(|(known, _)| **known == **name) {
                Some((_, value)) => value,
                None => continue,
            },
            Want::Attribute(name) => match exchange.attribute(name) {
                Some(value) => value,
                None => continue,
            },
            Want::RequestHeader(name) => {
                header_values(*key, name, &exchange.headers, values);
                continue;
            }
            Want::ResponseHeader(_) => continue,
        };
        values.push((*key, text.as_bytes()));
    }
}

fn header_values<'e>(key: u16, name: &HeaderName, headers: &'e HeaderMap, values: &mut Values<'e>) {
    values.extend(headers.get_all(name).iter().map(|value| (key, value.as_bytes())));
}
