//! `compress`: gzip, brotli or zstd for responses that gain from it (RFC 9110 §8.4).
//!
//! It leaves alone what is small, encoded already, partial, or said not to be transformed. A stream is sent on as promptly as it
//! comes: when the upstream pauses, what is inside the encoder is flushed.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap,
    HeaderValue, VARY,
};
use http::{Method, StatusCode};
use http_body::{Body as _, Frame};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Context;
use crate::config::scalar::Size;
use crate::filter::{Exchange, Filter, Step, Verdict};
use crate::message::{Body, BodyError, accepted, forget_old_body, has_token};

/// What is compressed, and how.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Compress")]
pub(super) struct Options {
    /// In the order in which they are preferred where a client takes several as gladly. Default: `[zstd, br, gzip]`.
    encodings: Option<Vec<Encoding>>,
    /// Bodies that are known to be smaller are left as they are. Default: 1KiB.
    min_size: Option<Size>,
    /// Media types, `text/*` for a whole family. Default: text, JSON, XML, JavaScript, SVG, wasm and fonts that are not compressed.
    types: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
enum Encoding {
    #[serde(rename = "zstd")]
    Zstd,
    #[serde(rename = "br")]
    Brotli,
    #[serde(rename = "gzip")]
    Gzip,
}

/// The filter.
struct Compress {
    encodings: Vec<Encoding>,
    bytes_min: u64,
    types: Vec<Box<str>>,
}

impl super::Options for Options {
    fn build(self, _: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        let encodings = self.encodings.unwrap_or_else(|| vec![Encoding::Zstd, Encoding::Brotli, Encoding::Gzip]);
        if encodings.is_empty() {
            return Err("encodings: there is none in here".to_owned());
        }
        let types = self.types.unwrap_or_else(|| TYPES.map(str::to_owned).to_vec());
        if let Some((at, name)) = types.iter().enumerate().find(|(_, name)| !name.contains('/')) {
            return Err(format!("types[{at}]: `{name}` is no media type"));
        }
        Ok(Arc::new(Compress {
            encodings,
            bytes_min: self.min_size.map_or(BYTES_MIN, |Size(size)| size.0),
            types: types.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
        }))
    }
}

impl Filter for Compress {
    fn name(&self) -> &'static str {
        "compress"
    }

    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        if !self.suits(exchange) {
            return Step::Done(Verdict::Next);
        }
        let headers = &mut exchange.response.headers;
        // Whatever this client takes, the next one may take something else.
        add_vary(headers);
        if let Some(encoding) = self.chosen(&exchange.headers) {
            let is_stream = headers.get(CONTENT_LENGTH).is_none();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
            headers.remove(CONTENT_LENGTH);
            forget_old_body(headers);
            if exchange.method != Method::HEAD {
                let body = std::mem::take(&mut exchange.response_body);
                exchange.response_body = Body::Filtered(Box::pin(Compressed::new(body, encoding, is_stream)));
            }
        }
        Step::Done(Verdict::Next)
    }
}

impl Compress {
    /// Whether the response, as it is, should be compressed for those who take it.
    fn suits(&self, exchange: &Exchange) -> bool {
        let response = &exchange.response;
        let headers = &response.headers;
        let has_body =
            !matches!(response.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
        let is_whole = response.status != StatusCode::PARTIAL_CONTENT && !headers.contains_key(CONTENT_RANGE);
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length = length.or_else(|| exchange.response_body.size_hint().exact());
        // The answer to a HEAD has no body, but is about one.
        let is_small = match exchange.method == Method::HEAD {
            true => headers.get(CONTENT_LENGTH).is_some() && length.is_some_and(|length| length < self.bytes_min),
            false => length.is_some_and(|length| length < self.bytes_min),
        };
        has_body
            && is_whole
            && !is_small
            && !headers.contains_key(CONTENT_ENCODING)
            && !has_token(headers, &CACHE_CONTROL, "no-transform")
            && self.knows(headers)
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
        let name = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.types.iter().any(|known| match known.strip_suffix('*') {
            Some(family) => name.starts_with(family),
            None => name == **known,
        })
    }

    /// By what the client says it takes (RFC 9110 §12.5.3); of what it takes as gladly, the first of ours.
    fn chosen(&self, request: &HeaderMap) -> Option<Encoding> {
        let codings: Vec<_> = accepted(request, &ACCEPT_ENCODING).collect();
        let weight = |name: &str| {
            codings.iter().find(|coding| coding.what.eq_ignore_ascii_case(name)).map(|coding| coding.weight)
        };
        let any = weight("*").unwrap_or(0);
        let weights = self.encodings.iter().map(|encoding| (*encoding, weight(encoding.name()).unwrap_or(any)));
        // The body as it is counts as accepted unless it is refused.
        let as_it_is = weight("identity").unwrap_or(0);
        // The last of equals is what `max_by_key` gives.
        let (encoding, weight) = weights.rev().max_by_key(|(_, weight)| *weight)?;
        (weight > 0 && weight >= as_it_is).then_some(encoding)
    }
}

fn add_vary(headers: &mut HeaderMap) {
    if !has_token(headers, &VARY, "accept-encoding") && !has_token(headers, &VARY, "*") {
        headers.append(VARY, HeaderValue::from(ACCEPT_ENCODING));
    }
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// A body on its way through an encoder.
struct Compressed {
    body: Body,
    encoder: Option<Encoder>,
    /// Whether pauses of the upstream are passed on.
    is_stream: bool,
    /// Whether the encoder holds what nobody has seen.
    is_dirty: bool,
    /// What comes after the last data.
    trailers: Option<Frame<Bytes>>,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressed {
    fn new(body: Body, encoding: Encoding, is_stream: bool) -> Self {
        Self { body, encoder: Some(Encoder::new(encoding)), is_stream, is_dirty: false, trailers: None }
    }
}

impl Encoder {
    fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
            Encoding::Brotli => {
                let writer = brotli::CompressorWriter::new(Vec::new(), BUFFER_BYTES, BROTLI_LEVEL, BROTLI_WINDOW);
                Self::Brotli(Box::new(writer))
            }
            Encoding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).expect("the level is one");
                // What browsers are asked to hold (RFC 9659).
                encoder.window_log(ZSTD_WINDOW).expect("the window is one");
                Self::Zstd(encoder)
            }
        }
    }

    fn write(&mut self, data: &[u8]) -> io::Result<Bytes> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(data)?,
            Self::Brotli(encoder) => encoder.write_all(data)?,
            Self::Zstd(encoder) => encoder.write_all(data)?,
        }
        Ok(self.take())
    }

    fn flush(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Gzip(encoder) => encoder.flush()?,
            Self::Brotli(encoder) => encoder.flush()?,
            Self::Zstd(encoder) => encoder.flush()?,
        }
        Ok(self.take())
    }

    fn finish(self) -> io::Result<Bytes> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
        .map(Bytes::from)
    }

    fn take(&mut self) -> Bytes {
        std::mem::take(match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
        .into()
    }
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let compressed = self.get_mut();
        loop {
            let Some(encoder) = &mut compressed.encoder else {
                return Poll::Ready(compressed.trailers.take().map(Ok));
            };
            let polled = Pin::new(&mut compressed.body).poll_frame(context);
            if polled.is_pending() && compressed.is_stream && std::mem::take(&mut compressed.is_dirty) {
                // Whoever waits for the rest of an event should not wait for the next one.
                match encoder.flush() {
                    Ok(bytes) if bytes.is_empty() => return Poll::Pending,
                    Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                    Err(_) => return Poll::Ready(Some(Err(BodyError::BrokenOff))),
                }
            }
            let bytes = match ready!(polled) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        compressed.is_dirty = true;
                        encoder.write(&data)
                    }
                    Err(trailers) => {
                        compressed.trailers = Some(trailers);
                        continue;
                    }
                },
                None => match compressed.encoder.take() {
                    Some(encoder) => encoder.finish(),
                    None => Ok(Bytes::new()),
                },
            };
            match bytes {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                // Memory takes everything; an encoder that fails all the same must not end a body as if it were whole.
                Err(_) => return Poll::Ready(Some(Err(BodyError::BrokenOff))),
            }
        }
    }
}

const BYTES_MIN: u64 = 1 << 10;
const TYPES: [&str; 13] = [
    "text/*",
    "application/json",
    "application/problem+json",
    "application/ld+json",
    "application/xml",
    "application/xhtml+xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/javascript",
    "application/wasm",
    "application/x-ndjson",
    "image/svg+xml",
    "font/ttf",
];
/// Levels that a server can afford for each response.
const GZIP_LEVEL: u32 = 5;
const BROTLI_LEVEL: u32 = 4;
const BROTLI_WINDOW: u32 = 19;
const ZSTD_LEVEL: i32 = 3;
const ZSTD_WINDOW: u32 = 21;
const BUFFER_BYTES: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use http::HeaderName;
    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;
    use crate::filter::native::tests::{exchange, faults, filter};

    fn answer(accepts: &str, fields: &[(&str, &str)], body: &str) -> Exchange {
        let mut exchange = exchange("GET", "/", &[("accept-encoding", accepts)]);
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            exchange.response.headers.insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        exchange.response_body = Body::Full(body.to_owned().into());
        let filter = filter("compress", json!({}));
        assert!(matches!(filter.on_response(&mut exchange), Step::Done(Verdict::Next)));
        exchange
    }

    fn encoding(exchange: &Exchange) -> Option<&str> {
        exchange.response.headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok())
    }

    #[tokio::test]
    async fn a_body_can_be_read_back_whatever_the_encoding() {
        let text = "All that is gold does not glitter. ".repeat(1000);
        for name in ["gzip", "br", "zstd"] {
            let exchange =
                answer(name, &[("content-type", "text/html"), ("etag", "\"1\""), ("content-length", "35000")], &text);
            let headers = &exchange.response.headers;
            assert_eq!(encoding(&exchange), Some(name));
            assert_eq!(
                (&headers["etag"], &headers["vary"]),
                (&HeaderValue::from_static("W/\"1\""), &HeaderValue::from_static("accept-encoding"))
            );
            assert!(!headers.contains_key(CONTENT_LENGTH));
            let bytes = exchange.response_body.collect().await.expect("whole").to_bytes();
            assert!(bytes.len() < text.len() / 10, "{name}: {} bytes", bytes.len());
            let mut back = String::new();
            match name {
                "gzip" => flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut back),
                "br" => brotli::Decompressor::new(&*bytes, 4096).read_to_string(&mut back),
                _ => zstd::stream::read::Decoder::new(&*bytes).expect("zstd").read_to_string(&mut back),
            }
            .expect("it can be read");
            assert_eq!(back, text);
        }
    }

    #[test]
    fn clients_get_what_they_like_best() {
        let text = "x".repeat(2000);
        for (accepts, expected) in [
            ("gzip, br, zstd", Some("zstd")),
            ("gzip;q=1, br;q=0.5", Some("gzip")),
            ("gzip;q=0.5, br;q=0.5", Some("br")),
            ("*", Some("zstd")),
            ("zstd;q=0, *;q=0.1", Some("br")),
            ("gzip;q=0", None),
            ("identity, gzip;q=0.5", None),
            ("deflate", None),
            ("", None),
        ] {
            assert_eq!(
                encoding(&answer(accepts, &[("content-type", "application/json; charset=utf-8")], &text)),
                expected,
                "{accepts}"
            );
        }
    }

    #[test]
    fn what_gains_nothing_or_must_not_change_is_left_alone() {
        let text = "x".repeat(2000);
        let html = ("content-type", "text/html");
        for fields in [
            &[("content-type", "image/png")][..],
            &[],
            &[html, ("content-encoding", "br")],
            &[html, ("cache-control", "public, no-transform")],
            &[html, ("content-range", "bytes 0-1/2")],
        ] {
            assert_eq!(
                encoding(&answer("gzip", fields, &text)),
                fields.iter().find(|(name, _)| *name == "content-encoding").map(|(_, value)| *value)
            );
        }
        assert_eq!(encoding(&answer("gzip", &[html], "small")), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({"encodings": []}), "encodings: there is none"),
            (json!({"encodings": ["deflate"]}), "expected"),
            (json!({"types": ["text/html", "json"]}), "types[1]: `json`"),
        ] {
            let error = faults("compress", config);
            assert!(error.contains(expected), "{error}");
        }
    }
}
