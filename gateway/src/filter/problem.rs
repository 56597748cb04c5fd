//! Problem documents (RFC 9457) that filters answer with: they tell which request they are about, as the gateway's own do.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::exchange::Reply;

/// Adds the members `request_id` and, where requests are traced, `trace_id` to a problem that lacks them. A filter would have to ask for the id on every request, to tell it on the
/// few that it refuses.
pub(super) fn identify(reply: &mut Reply, request_id: &HeaderValue, trace_id: &str) {
    let media_type = reply.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/problem+json") {
        return;
    }
    // What is compressed, or no document at all, is the filter's own affair.
    let Ok(mut problem) = serde_json::from_slice::<Map<String, Value>>(&reply.body) else { return };
    let ids = [("request_id", request_id.to_str().unwrap_or_default()), ("trace_id", trace_id)];
    let missing: Vec<_> = ids.into_iter().filter(|(key, id)| !id.is_empty() && !problem.contains_key(*key)).collect();
    if !missing.is_empty() {
        problem.extend(missing.into_iter().map(|(key, id)| (key.to_owned(), id.into())));
        reply.body = Value::Object(problem).to_string().into();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn only_problems_without_an_id_get_one() {
        let problem = "application/problem+json";
        for (media_type, body, expected) in [
            (problem, r#"{"status":403}"#, r#"{"request_id":"r1","status":403}"#),
            ("Application/Problem+JSON; charset=utf-8", "{}", r#"{"request_id":"r1"}"#),
            (problem, r#"{"request_id":"mine"}"#, r#"{"request_id":"mine"}"#),
            (problem, "[1]", "[1]"),
            (problem, "oh no", "oh no"),
            ("application/json", "{}", "{}"),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
            let mut reply = Reply { status: StatusCode::FORBIDDEN, headers, body: Bytes::from_static(body.as_bytes()) };
            identify(&mut reply, &HeaderValue::from_static("r1"), "");
            let parsed = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
            match parsed(expected.as_bytes()) {
                Some(expected) => assert_eq!(parsed(&reply.body), Some(expected), "{media_type} {body}"),
                None => assert_eq!(reply.body, expected),
            }
        }
    }
}
