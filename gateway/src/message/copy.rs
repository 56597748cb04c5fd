//! A copy of a body that is made while it passes, for whoever wants to have it too.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::whole::Pieces;
use super::{Body, BodyError, WholeBody};

/// Takes the copy; `None` when the body was longer than what is copied. Not called for a body that fails.
type TakeCopy = Box<dyn FnOnce(Option<WholeBody>)>;

impl Body {
    /// The same body; `take` gets a copy of up to `bytes_max` bytes as soon as all of it has passed, which is now if there
    /// is none. It is never held back for that.
    #[must_use]
    pub fn copied(self, bytes_max: usize, take: Box<dyn FnOnce(Option<WholeBody>)>) -> Self {
        let announced = usize::try_from(self.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > bytes_max {
            take(None);
            return self;
        }
        if self.is_end_stream() {
            take(Some(WholeBody::default()));
            return self;
        }
        let copy = Copying { source: self, pieces: Pieces::default(), announced, bytes_max, take: Some(take) };
        Self::Filtered(Box::pin(copy))
    }
}

struct Copying {
    source: Body,
    pieces: Pieces,
    announced: usize,
    bytes_max: usize,
    take: Option<TakeCopy>,
}

impl Copying {
    fn note(&mut self, frame: Option<&Frame<Bytes>>) {
        if self.take.is_none() {
            return;
        }
        let trailers = frame.and_then(Frame::trailers_ref).cloned();
        if let Some(data) = frame.and_then(Frame::data_ref) {
            if self.pieces.bytes() + data.len() > self.bytes_max {
                self.pieces = Pieces::default();
                return self.end(None);
            }
            self.pieces.push(data.clone(), self.announced);
        }
        if frame.is_none() || trailers.is_some() || self.source.is_end_stream() {
            let bytes = std::mem::take(&mut self.pieces).join();
            self.end(Some(WholeBody { bytes, trailers }));
        }
    }

    fn end(&mut self, copy: Option<WholeBody>) {
        if let Some(take) = self.take.take() {
            take(copy);
        }
    }
}

impl http_body::Body for Copying {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let copying = self.get_mut();
        let frame = ready!(Pin::new(&mut copying.source).poll_frame(context));
        match &frame {
            Some(Err(_)) => drop(copying.take.take()),
            Some(Ok(frame)) => copying.note(Some(frame)),
            None => copying.note(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// What passes, and what is copied.
    async fn copy(body: &'static str, bytes_max: usize) -> (Bytes, Option<Option<Bytes>>) {
        let copied = Rc::new(RefCell::new(None));
        let take = copied.clone();
        let take = Box::new(move |copy: Option<WholeBody>| *take.borrow_mut() = Some(copy.map(|copy| copy.bytes)));
        let body = Body::Full(Bytes::from_static(body.as_bytes())).copied(bytes_max, take);
        let passed = WholeBody::collect(body, 1000).await.expect("it passes").bytes;
        (passed, copied.take())
    }

    #[tokio::test]
    async fn a_body_is_copied_up_to_its_limit_and_passes_in_any_case() {
        let some = |text: &'static str| Some(Some(Bytes::from_static(text.as_bytes())));
        assert_eq!(copy("abc", 3).await, (Bytes::from_static(b"abc"), some("abc")));
        assert_eq!(copy("abcd", 3).await, (Bytes::from_static(b"abcd"), Some(None)));
        assert_eq!(copy("", 0).await, (Bytes::new(), some("")));
    }
}
