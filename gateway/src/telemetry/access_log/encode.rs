//! An entry as a line: of bounded length, and still whole where something had to be cut.

use super::clock::Clock;
use super::entry::Entry;
use super::escape::Escape;
use super::field::Plain;
use super::format::{Piece, Place, Shape};
use super::ip_text::IpText;
use super::line::{Line, microseconds};
use super::redact::REDACTED;
use super::rules::AccessLog;

/// Writes lines to the end of a buffer.
pub(super) struct Encoder<'l> {
    log: &'l AccessLog,
    line: Line<'l>,
    clock: &'l mut Clock,
}

impl<'l> Encoder<'l> {
    /// For a line whose values have so much room.
    pub(super) fn new(log: &'l AccessLog, room: usize, line: &'l mut Vec<u8>, clock: &'l mut Clock) -> Self {
        let escape = if matches!(log.format.0, Shape::Json(_)) { Escape::Json } else { Escape::Hex };
        Self { log, line: Line::new(line, escape, room), clock }
    }

    /// Appends the line of an entry, with the end of the line.
    pub(super) fn encode(&mut self, entry: &Entry<'_>) {
        match &self.log.format.0 {
            Shape::Json(places) => {
                for (key, place) in places {
                    self.line.fixed(key.as_bytes());
                    self.place(entry, place);
                }
                self.line.fixed(b"}\n");
            }
            Shape::Text(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => self.line.fixed(text.as_bytes()),
                        Piece::Field(place) => self.place(entry, place),
                    }
                }
                self.line.fixed(b"\n");
            }
        }
    }

    fn place(&mut self, entry: &Entry<'_>, place: &Place) {
        let header = |values: &[Option<http::HeaderValue>], place: usize| values.get(place).cloned().flatten();
        match place {
            Place::Plain(plain) => self.plain(entry, *plain),
            Place::Attribute(name) => self.line.text_or_none(entry.attribute(name).map(str::as_bytes)),
            Place::RequestHeader(place) => {
                let name = &self.log.request_headers()[*place];
                let value = header(entry.request_headers, *place);
                match value {
                    Some(_) if self.log.redact.hides_header(name) => self.line.text(REDACTED.as_bytes()),
                    Some(value) if *name == http::header::REFERER => {
                        self.line.text(&self.log.redact.url(value.as_bytes()));
                    }
                    value => self.line.text_or_none(value.as_ref().map(http::HeaderValue::as_bytes)),
                }
            }
            Place::ResponseHeader(place) => {
                let hides = self.log.redact.hides_header(&self.log.response_headers()[*place]);
                match header(entry.response_headers, *place) {
                    Some(_) if hides => self.line.text(REDACTED.as_bytes()),
                    value => self.line.text_or_none(value.as_ref().map(http::HeaderValue::as_bytes)),
                }
            }
        }
    }

    fn plain(&mut self, entry: &Entry<'_>, plain: Plain) {
        match plain {
            Plain::Ts => self.line.quoted(|line| self.clock.rfc3339(line.to, entry.began)),
            Plain::Time => self.line.quoted(|line| self.clock.common(line.to, entry.began)),
            Plain::RequestId => self.line.text(entry.request_id),
            Plain::TraceId => self.line.text_or_none(entry.trace_id.map(str::as_bytes)),
            Plain::Client => self.line.text(IpText::of(entry.client).as_str().as_bytes()),
            Plain::User => self.line.text_or_none(entry.attribute("user").map(str::as_bytes)),
            Plain::Method => self.line.text(entry.method.as_bytes()),
            Plain::Scheme => self.line.text(entry.scheme.as_bytes()),
            Plain::Host => self.line.text(entry.host),
            Plain::Path => self.path(entry),
            Plain::Query => {
                self.line
                    .text_or_none(entry.query.map(|query| self.log.redact.query(query)).as_deref().map(str::as_bytes));
            }
            Plain::Protocol => self.line.text(entry.protocol().as_bytes()),
            Plain::Status => self.line.number(entry.status.into()),
            Plain::BytesIn => self.line.number(entry.bytes_in),
            Plain::BytesOut => self.line.number(entry.bytes_out),
            Plain::DurationMs => self.line.milliseconds(entry.duration),
            Plain::OverheadMs => self.line.milliseconds(entry.overhead),
            Plain::UpstreamMs => match entry.upstream_time() {
                Some(time) => self.line.milliseconds(time),
                None => self.line.none(),
            },
            Plain::Listener => self.line.name(Some(entry.listener)),
            Plain::Route => self.line.name(Some(entry.route).filter(|route| !route.is_empty())),
            Plain::Generation => self.line.number(entry.generation),
            Plain::Upstream => self.line.name(entry.upstream),
            Plain::Endpoint => match entry.endpoint {
                Some((host, Some(port))) => self.line.quoted(|line| {
                    line.value(host.as_bytes());
                    line.to.push(b':');
                    line.number(port.into());
                }),
                Some((path, None)) => self.line.quoted(|line| {
                    line.value(b"unix:");
                    line.value(path.as_bytes());
                }),
                None => self.line.none(),
            },
            Plain::Attempts => self.line.number(entry.attempts.into()),
            Plain::Filters => self.filters(entry),
            Plain::Flags => {
                let is_json = self.line.is_json();
                self.line.name(Some(entry.flags).filter(|flags| is_json || !flags.is_empty()));
            }
        }
    }

    fn path(&mut self, entry: &Entry<'_>) {
        self.line.quoted(|line| {
            line.value(entry.path.as_bytes());
            if let Some(query) = entry.query {
                line.value(b"?");
                line.value(self.log.redact.query(query).as_bytes());
            }
        });
    }

    /// In JSON a list of objects, in a text names with microseconds and outcomes: `cors:3:ok`.
    fn filters(&mut self, entry: &Entry<'_>) {
        if !self.line.is_json() && entry.filters.is_empty() {
            return self.line.none();
        }
        if self.line.is_json() {
            self.line.to.push(b'[');
        }
        for (at, filter) in entry.filters.iter().enumerate() {
            if !self.line.has_room_for(FILTER_BYTES_MAX) {
                break;
            }
            if at > 0 {
                self.line.to.push(b',');
            }
            let took_us = microseconds(filter.took);
            if !self.line.is_json() {
                self.line.value(filter.name.as_bytes());
                self.line.to.push(b':');
                self.line.number(took_us);
                self.line.to.push(b':');
                self.line.to.extend_from_slice(filter.outcome.as_bytes());
                continue;
            }
            self.line.to.extend_from_slice(b"{\"name\":");
            self.line.text(filter.name.as_bytes());
            if let Some(version) = &filter.version {
                self.line.to.extend_from_slice(b",\"version\":");
                self.line.text(version);
            }
            self.line.to.extend_from_slice(b",\"us\":");
            self.line.number(took_us);
            self.line.to.extend_from_slice(b",\"outcome\":");
            self.line.text(filter.outcome.as_bytes());
            self.line.to.push(b'}');
        }
        if self.line.is_json() {
            self.line.to.push(b']');
        }
    }
}

/// A filter with the longest name there is.
const FILTER_BYTES_MAX: usize = 192;

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use http::{HeaderValue, Version};

    use super::super::entry::FilterCall;
    use super::super::rules::Output;
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            began: UNIX_EPOCH + Duration::from_millis(1_796_020_081_042),
            request_id: b"id-1",
            trace_id: Some("0af7651916cd43dd8448eb211c80319c"),
            client: [192, 0, 2, 1].into(),
            scheme: "https",
            method: "GET",
            host: b"api.example.com",
            path: "/users/1",
            query: Some("a=1&token=s3cret"),
            version: Version::HTTP_2,
            status: 200,
            bytes_in: 0,
            bytes_out: 1234,
            duration: Duration::from_micros(12_345),
            overhead: Duration::from_micros(45),
            listener: "https",
            route: "users",
            generation: 3,
            upstream: Some("origin"),
            endpoint: Some(("10.0.0.5", Some(8080))),
            attempts: 1,
            filters: &[],
            flags: "",
            attributes: &[],
            request_headers: &[],
            response_headers: &[],
        }
    }

    fn line(log: &AccessLog, entry: &Entry<'_>) -> String {
        let (mut line, mut clock) = (Vec::new(), Clock::default());
        Encoder::new(log, log.room(), &mut line, &mut clock).encode(entry);
        String::from_utf8(line).expect("lines are UTF-8")
    }

    fn json(entry: &Entry<'_>) -> serde_json::Value {
        let log = AccessLog::json(None, &[]).expect("the usual fields");
        serde_json::from_str(&line(&log, entry)).expect("JSON")
    }

    #[test]
    fn a_json_line_has_the_fields_that_were_promised() {
        let filters = [
            FilterCall { name: "cors", version: None, took: Duration::from_micros(3), outcome: "ok" },
            FilterCall {
                name: "jwt",
                version: Some(*b"ba7816bf8f01"),
                took: Duration::from_micros(17),
                outcome: "respond",
            },
        ];
        let attributes = [("user".into(), "ada".into())];
        let told = json(&Entry { filters: &filters, attributes: &attributes, flags: "PD", ..entry() });
        let expected = serde_json::json!({
            "ts": "2026-11-30T06:28:01.042Z", "request_id": "id-1", "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "client": "192.0.2.1", "user": "ada", "method": "GET", "host": "api.example.com",
            "path": "/users/1?a=1&token=[redacted]", "protocol": "HTTP/2.0", "status": 200, "bytes_in": 0,
            "bytes_out": 1234, "duration_ms": 12.345, "overhead_ms": 0.045, "upstream_ms": 12.3, "listener": "https",
            "route": "users", "generation": 3, "upstream": "origin", "endpoint": "10.0.0.5:8080", "attempts": 1,
            "filters": [
                { "name": "cors", "us": 3, "outcome": "ok" },
                { "name": "jwt", "version": "ba7816bf8f01", "us": 17, "outcome": "respond" },
            ],
            "flags": "PD",
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_not_there_is_null_in_json_and_a_dash_in_a_text() {
        let nothing = Entry { upstream: None, endpoint: None, attempts: 0, route: "", trace_id: None, ..entry() };
        let told = json(&nothing);
        for field in ["user", "trace_id", "route", "upstream", "endpoint", "upstream_ms"] {
            assert!(told[field].is_null(), "{field}: {told}");
        }
        assert_eq!((told["flags"].as_str(), told["filters"].as_array().map(Vec::len)), (Some(""), Some(0)));
        let log =
            AccessLog::text("${user} ${route} ${upstream_ms} ${filters} ${flags} ${attribute.x}").expect("fields");
        assert_eq!(line(&log, &nothing), "- - - - - -\n");
    }

    #[test]
    fn the_common_formats_are_those_of_other_servers() {
        let log = AccessLog::text("common").expect("a format");
        let common =
            r#"192.0.2.1 - - [30/Nov/2026:06:28:01 +0000] "GET /users/1?a=1&token=[redacted] HTTP/2.0" 200 1234"#;
        assert_eq!(line(&log, &entry()), format!("{common}\n"));
        let log = AccessLog::text("combined").expect("a format");
        let headers = [&b"https://a/?token=s"[..], b"evil\" \xff"].map(|value| HeaderValue::from_bytes(value).ok());
        let told = line(&log, &Entry { request_headers: &headers, ..entry() });
        assert_eq!(told, format!("{common} \"https://a/?token=[redacted]\" \"evil\\x22 \\xFF\"\n"));
    }

    #[test]
    fn credentials_in_headers_are_not_shown() {
        let more = ["request.header.authorization", "response.header.set-cookie", "response.header.x-a"];
        let log = AccessLog::json(Some(&[]), &more.map(str::to_owned)).expect("fields");
        let request = [Some(HeaderValue::from_static("Bearer s3cret"))];
        let response = [Some(HeaderValue::from_static("s3cret")), Some(HeaderValue::from_static("shown"))];
        let told = line(&log, &Entry { request_headers: &request, response_headers: &response, ..entry() });
        let expected = r#"{"request.header.authorization":"[redacted]","response.header.set-cookie":"[redacted]","response.header.x-a":"shown"}"#;
        assert_eq!(told.trim_end(), expected);
    }

    #[test]
    fn no_line_is_longer_than_the_limit_and_each_is_whole() {
        let long = "\u{1}é\"/".repeat(20_000);
        let name = "x".repeat(63);
        let filter = FilterCall { name: &name, version: Some([b'0'; 12]), took: Duration::MAX, outcome: "deadline" };
        let filters = vec![filter; 500];
        let hostile = Entry {
            path: &long,
            query: Some(&long),
            host: long.as_bytes(),
            method: &long,
            duration: Duration::MAX,
            overhead: Duration::ZERO,
            began: SystemTime::now(),
            filters: &filters,
            ..entry()
        };
        let mut log = AccessLog::json(None, &[]).expect("the usual fields");
        for limit in [log.line_bytes_least(), 4096, 8192] {
            log.line_bytes_max = limit;
            let told = line(&log, &hostile);
            assert!(told.len() <= limit, "{} of {limit}", told.len());
            let told: serde_json::Value = serde_json::from_str(&told).expect("it is whole");
            assert!(told["path"].as_str().is_some_and(|path| path.ends_with("...")), "{told}");
            assert_eq!(told["route"], "users", "what is short is there");
        }
        let mut log = AccessLog::text("${path} ${host} ${filters} ${status}").expect("fields");
        log.line_bytes_max = log.line_bytes_least();
        log.output = Output::Stdout;
        let told = line(&log, &hostile);
        assert!(told.len() <= log.line_bytes_max && told.ends_with(" 200\n"), "{told}");
    }
}
