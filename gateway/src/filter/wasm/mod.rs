//! A plugin on a route, as a filter: passes what the plugin asked for, applies what it answers, and rules what its
//! failure means. What it does to bodies stands in `bodies` and `transform`.

mod bodies;
mod transform;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use smallvec::SmallVec;

use super::exchange::{Exchange, Forwarding, Origin, Reply};
use super::{Filter, FilterError, Step, Verdict};
use crate::message::{is_framing, path};
use crate::plugin::types;
use crate::plugin::{Attachment, Failure, FailureKind, Hook, View, Want};

/// An attachment in a chain.
pub struct PluginFilter {
    attachment: Arc<Attachment>,
    /// The declaration's place among the snapshot's plugins, and so its pool's on each worker.
    pool: usize,
    policy: Policy,
    request_wants: Box<[(u16, Want)]>,
    response_wants: Box<[(u16, Want)]>,
    wants_client: bool,
    /// Whether it exports a hook that sees bodies of requests, or of responses.
    sees_request_bodies: bool,
    sees_response_bodies: bool,
}

/// What each kind of failure means; a limit that is hit is always closed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    pub load: OnError,
    pub trap: OnError,
    pub deadline: OnError,
}

/// Whether the request ends or passes when its plugin fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    #[default]
    Closed,
    Open,
}

impl PluginFilter {
    /// `pool` is the declaration's place among the snapshot's plugins.
    pub fn new(attachment: Arc<Attachment>, pool: usize, policy: Policy) -> Self {
        let wants: Vec<(u16, Want)> = attachment.setup.wants().map(|(key, want)| (key, want.clone())).collect();
        let has = |hook| attachment.declaration.version.has(hook);
        let of = |kind: fn(&Want) -> bool| wants.iter().filter(|(_, want)| kind(want)).cloned().collect();
        Self {
            pool,
            policy,
            request_wants: of(|want| !matches!(want, Want::ResponseHeader(_))),
            response_wants: of(|want| matches!(want, Want::ResponseHeader(_) | Want::Attribute(_))),
            wants_client: wants.iter().any(|(_, want)| *want == Want::Client),
            sees_request_bodies: has(Hook::WholeRequest) || has(Hook::RequestBody),
            sees_response_bodies: has(Hook::WholeResponse) || has(Hook::ResponseBody),
            attachment,
        }
    }

    async fn request(&self, exchange: &mut Exchange) -> Verdict {
        let verdict = match self.call_request(exchange).await {
            Ok(verdict) => verdict,
            Err(failure) => self.failed(failure, exchange),
        };
        match verdict {
            Verdict::Next if self.sees_request_bodies => Box::pin(self.request_body(exchange)).await,
            verdict => verdict,
        }
    }

    async fn response(&self, exchange: &mut Exchange) -> Verdict {
        exchange.take_up_report();
        let verdict = match self.call_response(exchange).await {
            Ok(verdict) => verdict,
            Err(failure) => self.failed(failure, exchange),
        };
        match verdict {
            Verdict::Next if self.sees_response_bodies => Box::pin(self.response_body(exchange)).await,
            verdict => verdict,
        }
    }

    async fn call_request(&self, exchange: &mut Exchange) -> Result<Verdict, Failure> {
        if !self.attachment.declaration.version.has(Hook::Request) {
            return Ok(Verdict::Next);
        }
        let pool = exchange.pools[self.pool].clone();
        let view = self.view(exchange);
        let verdict = {
            let mut client = None;
            let values = self.request_values(exchange, &mut client);
            pool.on_request(&self.attachment, request_head(&values), view.as_ref()).await?
        };
        match verdict {
            types::RequestVerdict::Next(edits) => {
                edits.into_iter().try_for_each(|edit| apply_request_edit(exchange, edit))?;
                Ok(Verdict::Next)
            }
            types::RequestVerdict::Respond(answer) => reply(answer).map(Verdict::Respond),
        }
    }

    async fn call_response(&self, exchange: &mut Exchange) -> Result<Verdict, Failure> {
        if !self.attachment.declaration.version.has(Hook::Response) {
            return Ok(Verdict::Next);
        }
        let pool = exchange.pools[self.pool].clone();
        let view = self.view(exchange);
        let verdict = {
            let values = self.response_values(exchange);
            pool.on_response(&self.attachment, response_head(exchange, &values), view.as_ref()).await?
        };
        match verdict {
            types::ResponseVerdict::Next(edits) => {
                edits.into_iter().try_for_each(|edit| apply_response_edit(exchange, edit))?;
                Ok(Verdict::Next)
            }
            types::ResponseVerdict::Respond(answer) => reply(answer).map(Verdict::Respond),
        }
    }

    /// What the guest asked for of a request. `client` holds the text of its address meanwhile.
    fn request_values<'e>(&'e self, exchange: &'e Exchange, client: &'e mut Option<String>) -> Values<'e> {
        let mut values: Values<'_> = SmallVec::new();
        if !self.request_wants.is_empty() {
            *client = self.wants_client.then(|| exchange.client.to_string());
            request_values(&self.request_wants, exchange, client.as_deref().unwrap_or_default(), &mut values);
        }
        values
    }

    fn response_values<'e>(&'e self, exchange: &'e Exchange) -> Values<'e> {
        let mut values: Values<'_> = SmallVec::new();
        response_values(&self.response_wants, exchange, &mut values);
        values
    }

    /// The copy behind `exchange`, for components that import it only.
    fn view(&self, exchange: &Exchange) -> Option<View> {
        self.attachment.declaration.version.imports_exchange.then(|| View {
            request: exchange.headers.clone(),
            response: exchange.response.headers.clone(),
            listener: exchange.connection.listener.clone(),
        })
    }

    fn failed(&self, failure: Failure, exchange: &Exchange) -> Verdict {
        let plugin = self.name();
        let open = match failure.kind() {
            FailureKind::Load => self.policy.load,
            FailureKind::Trap => self.policy.trap,
            FailureKind::Deadline => self.policy.deadline,
            FailureKind::Limit => OnError::Closed,
        } == OnError::Open;
        if !open {
            // `proxy/respond` logs it with the answer.
            return Verdict::Fail(FilterError::Failed { filter: plugin.to_owned(), failure });
        }
        let version = self.attachment.declaration.version.digest().label();
        let request_id = exchange.request_id.to_str().unwrap_or_default();
        tracing::warn!(plugin, version, route = &*exchange.route, request_id, %failure, "a plugin failed open");
        Verdict::Next
    }
}

impl Filter for PluginFilter {
    fn name(&self) -> &str {
        &self.attachment.declaration.name
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        if self.sees_request_bodies || self.attachment.declaration.version.has(Hook::Request) {
            Step::Later(Box::pin(self.request(exchange)))
        } else {
            Step::Done(Verdict::Next)
        }
    }

    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        if self.sees_response_bodies || self.attachment.declaration.version.has(Hook::Response) {
            Step::Later(Box::pin(self.response(exchange)))
        } else {
            Step::Done(Verdict::Next)
        }
    }
}

/// What crosses to the guest: keys and values.
type Values<'e> = SmallVec<[(u16, &'e [u8]); 4]>;

fn request_head<'v>(values: &'v Values<'_>) -> types::RequestHead<'v> {
    types::RequestHead { values: (!values.is_empty()).then_some(&values[..]) }
}

fn response_head<'v>(exchange: &'v Exchange, values: &'v Values<'_>) -> types::ResponseHead<'v> {
    types::ResponseHead {
        status: exchange.response.status.as_u16(),
        origin: match exchange.response.origin {
            Origin::Upstream => types::Origin::Upstream,
            Origin::Filter => types::Origin::Filter,
            Origin::Gateway => types::Origin::Gateway,
        },
        values: (!values.is_empty()).then_some(&values[..]),
        kept: exchange.kept(),
    }
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

fn response_values<'e>(wants: &'e [(u16, Want)], exchange: &'e Exchange, values: &mut Values<'e>) {
    for (key, want) in wants {
        match want {
            Want::ResponseHeader(name) => header_values(*key, name, &exchange.response.headers, values),
            Want::Attribute(name) => values.extend(exchange.attribute(name).map(|value| (*key, value.as_bytes()))),
            _ => {}
        }
    }
}

fn header_values<'e>(key: u16, name: &HeaderName, headers: &'e HeaderMap, values: &mut Values<'e>) {
    values.extend(headers.get_all(name).iter().map(|value| (key, value.as_bytes())));
}

fn apply_request_edit(exchange: &mut Exchange, edit: types::RequestEdit) -> Result<(), Failure> {
    use types::RequestEdit as Edit;
    match edit {
        Edit::SetHeader(header) => set(&mut exchange.headers, header)?,
        Edit::AppendHeader(header) => append(&mut exchange.headers, header)?,
        Edit::RemoveHeader(name) => drop(exchange.headers.remove(field_name(&name)?)),
        Edit::SetPath(wanted) => {
            let path = path::normalise(&wanted).map_err(|error| invalid("path", &wanted, &error))?;
            exchange.uri = with_path_and_query(&path, exchange.uri.query())?;
        }
        Edit::SetQuery(query) => {
            exchange.uri = with_path_and_query(exchange.uri.path(), (!query.is_empty()).then_some(&query))?;
        }
        Edit::SetMethod(method) => {
            exchange.method =
                Method::from_bytes(method.as_bytes()).map_err(|error| invalid("method", &method, &error))?;
        }
        Edit::SetAuthority(authority) => {
            let parsed: http::uri::Authority =
                authority.parse().map_err(|error| invalid("authority", &authority, &error))?;
            let value =
                HeaderValue::from_str(parsed.as_str()).map_err(|error| invalid("authority", &authority, &error))?;
            exchange.headers.insert(HOST, value);
        }
        Edit::SetAttribute(attribute) => set_attribute(exchange, attribute)?,
        Edit::SelectUpstream(name) => exchange.forwarding = Forwarding::Upstream(name.into_boxed_str()),
        Edit::Keep(bytes) => exchange.keep(kept(bytes)?),
    }
    Ok(())
}

fn apply_response_edit(exchange: &mut Exchange, edit: types::ResponseEdit) -> Result<(), Failure> {
    use types::ResponseEdit as Edit;
    match edit {
        Edit::SetHeader(header) => set(&mut exchange.response.headers, header),
        Edit::AppendHeader(header) => append(&mut exchange.response.headers, header),
        Edit::RemoveHeader(name) => {
            exchange.response.headers.remove(field_name(&name)?);
            Ok(())
        }
        Edit::SetStatus(status) => {
            exchange.response.status = final_status(status)?;
            Ok(())
        }
        Edit::SetAttribute(attribute) => set_attribute(exchange, attribute),
    }
}

fn set(headers: &mut HeaderMap, (name, value): types::Header) -> Result<(), Failure> {
    let name = field_name(&name)?;
    let value = field_value(&name, value)?;
    headers.try_insert(name, value).map(drop).map_err(|_| too_many_fields())
}

fn append(headers: &mut HeaderMap, (name, value): types::Header) -> Result<(), Failure> {
    let name = field_name(&name)?;
    let value = field_value(&name, value)?;
    if headers.len() >= FIELDS_MAX {
        return Err(too_many_fields());
    }
    headers.try_append(name, value).map(drop).map_err(|_| too_many_fields())
}

fn set_attribute(exchange: &mut Exchange, (name, value): (String, String)) -> Result<(), Failure> {
    at_most("bytes of an attribute", name.len() + value.len(), ATTRIBUTE_BYTES_MAX)?;
    exchange.set_attribute(name.into_boxed_str(), value.into_boxed_str());
    at_most("attributes of a request", exchange.attributes.len(), ATTRIBUTES_MAX)
}

/// What a guest wants to keep, if it is not too much.
fn kept(bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
    at_most("bytes to keep", bytes.len(), KEPT_BYTES_MAX)?;
    Ok(bytes)
}

fn reply(answer: types::Reply) -> Result<Reply, Failure> {
    let mut headers = HeaderMap::with_capacity(answer.headers.len().min(FIELDS_MAX));
    for header in answer.headers {
        // Its length is the body's; whatever the guest thinks it is.
        if !header.0.eq_ignore_ascii_case(CONTENT_LENGTH.as_str()) {
            append(&mut headers, header)?;
        }
    }
    Ok(Reply { status: final_status(answer.status)?, headers, body: Bytes::from(answer.body) })
}

/// A final status: 1xx would promise another answer that never comes (RFC 9110 §15.2).
fn final_status(status: u16) -> Result<StatusCode, Failure> {
    match StatusCode::from_u16(status) {
        Ok(code) if (200..600).contains(&status) => Ok(code),
        _ => Err(Failure::Verdict(format!("{status} is not a final status (200-599)"))),
    }
}

fn field_name(name: &str) -> Result<HeaderName, Failure> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|error| invalid("header name", name, &error))?;
    if is_framing(&parsed) {
        return Err(Failure::Verdict(format!("`{parsed}` frames or routes the message and is the gateway's to write")));
    }
    Ok(parsed)
}

fn field_value(name: &HeaderName, value: Vec<u8>) -> Result<HeaderValue, Failure> {
    HeaderValue::from_maybe_shared(Bytes::from(value))
        .map_err(|_| Failure::Verdict(format!("the value of `{name}` has bytes that no header may carry")))
}

fn with_path_and_query(path: &str, query: Option<&str>) -> Result<Uri, Failure> {
    let text = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    at_most("bytes of path and query", text.len(), PATH_BYTES_MAX)?;
    let parsed = PathAndQuery::from_maybe_shared(text).map_err(|error| invalid("path", path, &error))?;
    Ok(Uri::from(parsed))
}

fn invalid(what: &str, value: &str, error: &dyn std::fmt::Display) -> Failure {
    let shown: String = value.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_default).collect();
    Failure::Verdict(format!("invalid {what} `{shown}`: {error}"))
}

fn at_most(limit: &'static str, found: usize, max: usize) -> Result<(), Failure> {
    if found > max {
        return Err(Failure::Limit { limit, detail: format!("{found}, of at most {max}") });
    }
    Ok(())
}

fn too_many_fields() -> Failure {
    Failure::Limit { limit: "header fields of a message", detail: format!("more than {FIELDS_MAX}") }
}

const KEPT_BYTES_MAX: usize = 4 << 10;
const ATTRIBUTES_MAX: usize = 64;
const ATTRIBUTE_BYTES_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 256;
const PATH_BYTES_MAX: usize = 16 << 10;
const SHOWN_CHARS_MAX: usize = 64;
