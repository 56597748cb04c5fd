//! A body that can be sent more than once: what has passed is kept, up to a limit.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::{Body, BodyError};

/// A body, and what has been read of it. Clones share both.
#[derive(Clone)]
pub struct Replay(Rc<RefCell<Recording>>);

struct Recording {
    source: Body,
    /// What has been read, unless it was too much.
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    bytes: usize,
    bytes_max: usize,
    /// The source has said all.
    has_ended: bool,
    /// Something is missing from `pieces`: there was too much, or the source failed.
    is_lost: bool,
    /// The number of the newest reader: it alone reads on.
    newest: u32,
}

/// One reading of it, from the beginning.
struct Reader {
    recording: Rc<RefCell<Recording>>,
    number: u32,
    /// Pieces that were read.
    at: usize,
    gave_trailers: bool,
}

impl Replay {
    /// Keeps up to `bytes_max` bytes of data.
    pub fn new(source: Body, bytes_max: usize) -> Self {
        let recording = Recording {
            source,
            pieces: Vec::new(),
            trailers: None,
            bytes: 0,
            bytes_max,
            has_ended: false,
            is_lost: false,
            newest: 0,
        };
        Self(Rc::new(RefCell::new(recording)))
    }

    /// The whole body, from its beginning: what was read before, then the rest as it arrives. `None` when the beginning is
    /// gone. A reader that was given out before reads no further than what is kept by then.
    pub fn body(&self) -> Option<Body> {
        let mut recording = self.0.borrow_mut();
        if recording.is_lost {
            return None;
        }
        recording.newest += 1;
        let reader = Reader { recording: self.0.clone(), number: recording.newest, at: 0, gave_trailers: false };
        Some(Body::Filtered(Box::pin(reader)))
    }

    /// Whether it can be read again.
    pub fn can_repeat(&self) -> bool {
        !self.0.borrow().is_lost
    }

    /// Whether all of it is kept, so that several can read at a time.
    pub fn is_whole(&self) -> bool {
        let recording = self.0.borrow();
        !recording.is_lost && recording.is_at_end()
    }
}

impl Recording {
    fn is_at_end(&self) -> bool {
        self.has_ended || self.source.is_end_stream()
    }

    fn keep(&mut self, piece: &Bytes) {
        self.bytes += piece.len();
        if self.bytes > self.bytes_max {
            self.is_lost = true;
            self.pieces = Vec::new();
        }
        if !self.is_lost {
            self.pieces.push(piece.clone());
        }
    }

    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.source).poll_frame(context));
        match &frame {
            None => self.has_ended = true,
            Some(Err(_)) => self.is_lost = true,
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(piece), _) => self.keep(piece),
                (None, trailers) => {
                    self.trailers = trailers.cloned();
                    self.has_ended = true;
                }
            },
        }
        Poll::Ready(frame)
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let reader = self.get_mut();
        let mut recording = reader.recording.borrow_mut();
        if let Some(piece) = recording.pieces.get(reader.at) {
            reader.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        if recording.has_ended {
            let trailers = recording.trailers.clone().filter(|_| !std::mem::replace(&mut reader.gave_trailers, true));
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        if reader.number != recording.newest {
            return Poll::Ready(Some(Err(BodyError::BrokenOff)));
        }
        let frame = ready!(recording.poll_source(context));
        reader.at = recording.pieces.len();
        reader.gave_trailers = recording.trailers.is_some();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let recording = self.recording.borrow();
        let gave_all = recording.trailers.is_none() || self.gave_trailers;
        self.at >= recording.pieces.len() && recording.is_at_end() && gave_all
    }

    fn size_hint(&self) -> SizeHint {
        let recording = self.recording.borrow();
        let kept: usize = recording.pieces.iter().skip(self.at).map(Bytes::len).sum();
        if recording.trailers.is_some() {
            // A length would leave no room for them.
            return SizeHint::new();
        }
        let rest = recording.source.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + kept as u64);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + kept as u64);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::message::WholeBody;

    /// Given last first.
    struct Frames(Vec<Frame<Bytes>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop().map(Ok))
        }
    }

    fn source(pieces: &[&'static str], trailers: Option<HeaderMap>) -> Body {
        let data = pieces.iter().map(|piece| Frame::data(Bytes::from_static(piece.as_bytes())));
        Body::Filtered(Box::pin(Frames(data.chain(trailers.map(Frame::trailers)).rev().collect())))
    }

    async fn read(replay: &Replay) -> WholeBody {
        WholeBody::collect(replay.body().expect("it can be read"), 1000).await.expect("it is whole")
    }

    #[tokio::test]
    async fn it_is_read_again_with_its_trailers() {
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("6"))]);
        for trailers in [None, Some(trailers)] {
            let replay = Replay::new(source(&["ab", "cd"], trailers.clone()), 4);
            for _ in 0..3 {
                let whole = read(&replay).await;
                assert_eq!((&*whole.bytes, &whole.trailers), (b"abcd".as_slice(), &trailers));
            }
            assert!(replay.is_whole());
        }
    }

    #[tokio::test]
    async fn what_was_begun_goes_on_where_the_source_stands() {
        let replay = Replay::new(source(&["ab", "cd", "ef"], None), 6);
        let mut first = replay.body().expect("it can be read");
        first.frame().await.expect("a piece").expect("a good one");
        assert!(!replay.is_whole());
        assert_eq!(&*read(&replay).await.bytes, b"abcdef");
        // The first reader is not the newest any more, but all of it is there.
        assert_eq!(&*WholeBody::collect(first, 9).await.expect("the rest").bytes, b"cdef");
    }

    #[tokio::test]
    async fn an_old_reader_does_not_take_what_the_newest_waits_for() {
        let replay = Replay::new(source(&["ab", "cd"], None), 6);
        let mut first = replay.body().expect("it can be read");
        let _second = replay.body().expect("it can be read");
        let error = first.frame().await.expect("an end").expect_err("a bad one");
        assert!(matches!(error, BodyError::BrokenOff), "{error}");
    }

    #[tokio::test]
    async fn beyond_the_limit_it_passes_once() {
        let replay = Replay::new(source(&["ab", "cd", "e"], None), 4);
        let whole = read(&replay).await;
        assert_eq!(&*whole.bytes, b"abcde");
        assert!(!replay.can_repeat() && !replay.is_whole() && replay.body().is_none());
    }
}
