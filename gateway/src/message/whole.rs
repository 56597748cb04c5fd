//! Whole bodies: collecting one up to a limit, and sending one on, with its trailers, under a head that describes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;

use super::{Body, BodyError};

/// A body that was collected to its end.
#[derive(Debug, Default)]
pub struct WholeBody {
    pub bytes: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// Why a body was not collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error("the body has more than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl WholeBody {
    /// Reads a body to its end. One that says beforehand that it is too large is not read at all.
    ///
    /// # Errors
    /// Any [`CollectError`].
    pub async fn collect(mut body: Body, bytes_max: usize) -> Result<Self, CollectError> {
        let too_large = CollectError::TooLarge { bytes_max };
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > bytes_max {
            return Err(too_large);
        }
        let mut pieces = Pieces::default();
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) if pieces.bytes() + data.len() > bytes_max => return Err(too_large),
                Ok(data) => pieces.push(data, announced),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok(Self { bytes: pieces.join(), trailers })
    }

    /// The body as it is sent on, under a head that tells its length. With trailers there can be none (RFC 9112 §6.5).
    pub fn send_on(self, headers: &mut HeaderMap) -> Body {
        match self.trailers {
            None => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(self.bytes.len()));
                if self.bytes.is_empty() { Body::Empty } else { Body::Full(self.bytes) }
            }
            Some(trailers) => {
                headers.remove(CONTENT_LENGTH);
                let data = (!self.bytes.is_empty()).then_some(self.bytes);
                Body::Filtered(Box::pin(WithTrailers { data, trailers: Some(trailers) }))
            }
        }
    }
}

/// Removes what a head says about a body that is no more: digests of it (RFC 9530, RFC 3230, RFC 1864), ranges of it, and
/// that a copy is the same byte for byte (RFC 9110 §8.8.3).
pub fn forget_old_body(headers: &mut HeaderMap) {
    for name in DIGESTS {
        headers.remove(name);
    }
    headers.remove(ACCEPT_RANGES);
    let Some(etag) = headers.get_mut(ETAG) else { return };
    if !etag.as_bytes().starts_with(b"W/") {
        let weak = [b"W/", etag.as_bytes()].concat();
        // Two letters before a valid value leave it valid.
        if let Ok(weak) = HeaderValue::from_bytes(&weak) {
            *etag = weak;
        }
    }
}

/// Data in the pieces in which it came: one is handed on as it is.
#[derive(Default)]
pub(super) struct Pieces {
    first: Bytes,
    more: BytesMut,
}

impl Pieces {
    pub(super) fn bytes(&self) -> usize {
        if self.more.is_empty() { self.first.len() } else { self.more.len() }
    }

    pub(super) fn push(&mut self, data: Bytes, announced: usize) {
        if self.bytes() == 0 {
            self.first = data;
            return;
        }
        if self.more.is_empty() {
            self.more.reserve(announced.max(self.first.len() + data.len()));
            self.more.extend_from_slice(&self.first);
        }
        self.more.extend_from_slice(&data);
    }

    pub(super) fn join(self) -> Bytes {
        if self.more.is_empty() { self.first } else { self.more.freeze() }
    }
}

/// Bytes and then trailers; of no known length, so that it is sent in chunks.
struct WithTrailers {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        let data = body.data.take().map(Frame::data);
        Poll::Ready(data.or_else(|| body.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }
}

const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("6"))])
    }

    fn stream(pieces: &[&str]) -> Body {
        let frames = pieces.iter().map(|piece| Frame::data(Bytes::copy_from_slice(piece.as_bytes())));
        let frames: Vec<_> = frames.chain([Frame::trailers(trailers())]).rev().collect();
        Body::Filtered(Box::pin(Frames(frames)))
    }

    /// Given last first.
    struct Frames(Vec<Frame<Bytes>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop().map(Ok))
        }
    }

    #[tokio::test]
    async fn a_body_is_collected_up_to_its_limit() {
        for pieces in [&["abcdef"] as &[_], &["ab", "", "cd", "ef"], &["abc", "def"]] {
            let whole = WholeBody::collect(stream(pieces), 6).await.expect("it fits");
            assert_eq!((&*whole.bytes, whole.trailers), (b"abcdef".as_slice(), Some(trailers())), "{pieces:?}");
            let error = WholeBody::collect(stream(pieces), 5).await.expect_err("one too many");
            assert!(matches!(error, CollectError::TooLarge { bytes_max: 5 }), "{error}");
        }
        let error = WholeBody::collect(Body::Full(Bytes::from_static(b"abc")), 2).await.expect_err("one too many");
        assert!(matches!(error, CollectError::TooLarge { bytes_max: 2 }), "{error}");
    }

    #[tokio::test]
    async fn what_is_sent_on_is_described_by_its_head() {
        let mut headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("1"))]);
        let whole = WholeBody { bytes: Bytes::from_static(b"abc"), trailers: None };
        assert_eq!(whole.send_on(&mut headers).size_hint().exact(), Some(3));
        assert_eq!(headers[CONTENT_LENGTH], "3");

        let whole = WholeBody { bytes: Bytes::from_static(b"abc"), trailers: Some(trailers()) };
        let body = whole.send_on(&mut headers);
        assert_eq!((headers.len(), body.size_hint().exact()), (0, None), "trailers need chunks");
        let whole = WholeBody::collect(body, 3).await.expect("it fits");
        assert_eq!((&*whole.bytes, whole.trailers), (b"abc".as_slice(), Some(trailers())));
    }

    #[test]
    fn a_head_forgets_its_old_body() {
        let mut headers: HeaderMap =
            [("content-md5", "x"), ("etag", "\"a\""), ("accept-ranges", "bytes"), ("vary", "*")]
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
        forget_old_body(&mut headers);
        assert_eq!((headers.len(), &headers[ETAG]), (2, &HeaderValue::from_static("W/\"a\"")));
        forget_old_body(&mut headers);
        assert_eq!(headers[ETAG], "W/\"a\"", "it is weak already");
    }
}
