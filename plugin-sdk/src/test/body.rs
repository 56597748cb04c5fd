//! The gateway's side of the body hooks in a test: opens a transform, hands it the pieces, and collects what they become.

use super::edit;
use super::message::push;
use crate::{Reply, Transform, wire};

/// A body that has passed a transform.
pub(super) struct Passed {
    pub(super) body: Vec<Vec<u8>>,
    pub(super) kept: Option<Vec<u8>>,
}

/// Drives one body; the error is what the transform broke it off with.
#[track_caller]
pub(super) fn pass(open: impl FnOnce() -> Option<Box<dyn Transform>>, pieces: &[Vec<u8>]) -> Result<Passed, Reply> {
    let Some(mut transform) = open() else { return Ok(Passed { body: pieces.to_vec(), kept: None }) };
    let mut body = Vec::new();
    let bounded = pieces.iter().flat_map(|piece| piece.chunks(PIECE_BYTES_MAX));
    let mut rest = bounded.clone();
    for piece in bounded {
        match transform.chunk(piece).into_wire() {
            wire::Step::Unchanged => body.push(piece.to_vec()),
            wire::Step::Replace(bytes) => push(&mut body, &bytes),
            wire::Step::PassRest => {
                body.extend(rest.map(<[u8]>::to_vec));
                return Ok(Passed { body, kept: None });
            }
            wire::Step::Abort(reply) => return Err(Reply::from_wire(reply)),
        }
        rest.next();
    }
    match transform.finish().into_wire() {
        wire::End::Done(ending) => {
            push(&mut body, &ending.tail.unwrap_or_default());
            Ok(Passed { body, kept: ending.keep.map(edit::check_kept) })
        }
        wire::End::Abort(reply) => Err(Reply::from_wire(reply)),
    }
}

/// Puts the new body of a whole hook, if there is one, in the place of the old.
pub(super) fn replace(body: &mut Vec<Vec<u8>>, replaced: Option<Vec<u8>>) {
    if let Some(bytes) = replaced {
        body.clear();
        push(body, &bytes);
    }
}

/// What a whole hook takes, by what it asked for.
pub(super) fn bytes_max(asked: Option<u32>) -> usize {
    asked.map_or(WHOLE_BYTES_DEFAULT, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

const PIECE_BYTES_MAX: usize = 64 << 10;
const WHOLE_BYTES_DEFAULT: usize = 64 << 10;
