//! What crosses to a guest: the parts of the exchange that its attachment asked for.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::exchange::Exchange;
use crate::plugin::{Attachment, View, Want, types};
use crate::telemetry::{TRACEPARENT, TRACESTATE};

/// What crosses to the guest: keys and values.
pub(super) type Values<'e> = SmallVec<[(u16, &'e [u8]); 4]>;

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

/// The copy behind the guest's `exchange` and `http`, for components that import them only.
pub(super) fn view(attachment: &Attachment, exchange: &Exchange) -> Option<Box<View>> {
    let version = &attachment.declaration.version;
    let trace = match exchange.trail.trace() {
        Some(_) if version.imports_http => trace_fields(&exchange.headers),
        _ => Vec::new(),
    };
    if !version.imports_exchange {
        return (!trace.is_empty()).then(|| Box::new(View { trace, ..View::default() }));
    }
    Some(Box::new(View {
        request: exchange.headers.clone(),
        response: exchange.response.headers.clone(),
        trace,
        listener: exchange.connection.listener.clone(),
    }))
}

/// What the guest's own requests say of the trace.
fn trace_fields(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    [TRACEPARENT, TRACESTATE].into_iter().filter_map(|name| Some((name.clone(), headers.get(&name)?.clone()))).collect()
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
