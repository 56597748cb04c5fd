//! `edits`: lists of edits that a guest makes again and again, kept for it and made by their numbers.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use super::State;
use crate::plugin::bindings::witgate::plugin::edits;
use crate::plugin::bindings::witgate::plugin::types::{RequestEdit, ResponseEdit};
use crate::plugin::failure::Failure;
use crate::plugin::remembered::{Remembered, Repeated};

/// The lists of one instance, and what the running call repeats of them.
#[derive(Default)]
pub(in crate::plugin) struct EditsPort {
    /// The latest, in the order of their numbers.
    kept: VecDeque<Kept>,
    /// The number of the first that is kept.
    first: u64,
    bytes: usize,
    /// What the running call may repeat.
    open: Option<Message>,
    repeated_bytes: usize,
    /// Of the last call that could.
    in_request: Repeated<RequestEdit>,
    in_response: Repeated<ResponseEdit>,
}

struct Kept {
    edits: Edits,
    bytes: usize,
}

enum Edits {
    Request(Arc<[Remembered<RequestEdit>]>),
    Response(Arc<[Remembered<ResponseEdit>]>),
}

/// What a hook makes edits to with its verdict.
#[derive(Clone, Copy)]
enum Message {
    Request,
    Response,
}

impl EditsPort {
    /// A hook is called that may make edits to a request with its verdict.
    pub(in crate::plugin) fn open_request(&mut self) {
        self.in_request.clear();
        self.open = Some(Message::Request);
    }

    /// The same for a response.
    pub(in crate::plugin) fn open_response(&mut self) {
        self.in_response.clear();
        self.open = Some(Message::Response);
    }

    /// The call is over.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.repeated_bytes = 0;
    }

    /// What the last hook over a request repeated.
    pub(in crate::plugin) fn take_in_request(&mut self) -> Repeated<RequestEdit> {
        mem::take(&mut self.in_request)
    }

    /// The same over a response.
    pub(in crate::plugin) fn take_in_response(&mut self) -> Repeated<ResponseEdit> {
        mem::take(&mut self.in_response)
    }

    fn keep(&mut self, bytes: usize, edits: impl FnOnce() -> Result<Edits, Failure>) -> wasmtime::Result<Option<u64>> {
        if bytes > BYTES_MAX {
            return Ok(None);
        }
        let edits = edits().map_err(wasmtime::Error::new)?;
        while self.kept.len() >= LISTS_MAX || self.bytes + bytes > BYTES_MAX {
            self.bytes -= self.kept.pop_front().map_or(0, |oldest| oldest.bytes);
            self.first += 1;
        }
        self.kept.push_back(Kept { edits, bytes });
        self.bytes += bytes;
        Ok(Some(self.first + self.kept.len() as u64 - 1))
    }

    fn repeat(&mut self, number: u64) -> wasmtime::Result<bool> {
        let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let Some(kept) = place.and_then(|place| self.kept.get(place)) else { return Ok(false) };
        self.repeated_bytes += kept.bytes;
        Failure::at_most("edits repeated in a call", self.repeated_bytes, BYTES_MAX).map_err(wasmtime::Error::new)?;
        match (&kept.edits, self.open) {
            (Edits::Request(edits), Some(Message::Request)) => self.in_request.push(edits.clone()),
            (Edits::Response(edits), Some(Message::Response)) => self.in_response.push(edits.clone()),
            _ => return Err(wasmtime::Error::msg("`edits.repeat` names edits that this hook cannot make")),
        }
        Ok(true)
    }
}

impl edits::Host for State {
    fn remember_request(&mut self, edits: Vec<RequestEdit>) -> wasmtime::Result<Option<u64>> {
        self.host_call()?;
        self.edits.keep(edits.iter().map(request_bytes).sum(), || Ok(Edits::Request(checked(edits)?)))
    }

    fn remember_response(&mut self, edits: Vec<ResponseEdit>) -> wasmtime::Result<Option<u64>> {
        self.host_call()?;
        self.edits.keep(edits.iter().map(response_bytes).sum(), || Ok(Edits::Response(checked(edits)?)))
    }

    fn repeat(&mut self, number: u64) -> wasmtime::Result<bool> {
        self.host_call()?;
        self.edits.repeat(number)
    }
}

fn checked<E>(edits: Vec<E>) -> Result<Arc<[Remembered<E>]>, Failure>
where
    Remembered<E>: TryFrom<E, Error = Failure>,
{
    edits.into_iter().map(Remembered::try_from).collect()
}

/// The room that an edit takes.
fn request_bytes(edit: &RequestEdit) -> usize {
    let text = match edit {
        RequestEdit::SetHeader((name, value)) | RequestEdit::AppendHeader((name, value)) => name.len() + value.len(),
        RequestEdit::SetAttribute((name, value)) => name.len() + value.len(),
        RequestEdit::Keep(bytes) => bytes.len(),
        RequestEdit::RemoveHeader(text)
        | RequestEdit::SetPath(text)
        | RequestEdit::SetQuery(text)
        | RequestEdit::SetMethod(text)
        | RequestEdit::SetAuthority(text)
        | RequestEdit::SelectUpstream(text) => text.len(),
    };
    size_of::<Remembered<RequestEdit>>() + text
}

fn response_bytes(edit: &ResponseEdit) -> usize {
    let text = match edit {
        ResponseEdit::SetHeader((name, value)) | ResponseEdit::AppendHeader((name, value)) => name.len() + value.len(),
        ResponseEdit::SetAttribute((name, value)) => name.len() + value.len(),
        ResponseEdit::RemoveHeader(name) => name.len(),
        ResponseEdit::SetStatus(_) => 0,
    };
    size_of::<Remembered<ResponseEdit>>() + text
}

/// Of one instance, and of what one call repeats.
const BYTES_MAX: usize = 256 << 10;
const LISTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn list(text: &str) -> (usize, Vec<RequestEdit>) {
        let edits = vec![RequestEdit::SetPath(text.to_owned())];
        (edits.iter().map(request_bytes).sum(), edits)
    }

    fn try_keep(port: &mut EditsPort, text: &str) -> Option<u64> {
        let (bytes, edits) = list(text);
        port.keep(bytes, || Ok(Edits::Request(checked(edits)?))).unwrap()
    }

    fn keep(port: &mut EditsPort, text: &str) -> u64 {
        try_keep(port, text).unwrap()
    }

    /// The paths that a request hook repeats with these.
    fn repeated(port: &mut EditsPort, numbers: &[u64]) -> Vec<String> {
        port.open_request();
        numbers.iter().for_each(|number| assert!(port.repeat(*number).unwrap()));
        port.close();
        let path = |edit| if let RequestEdit::SetPath(path) = edit { Some(path) } else { None };
        port.take_in_request().iter().flat_map(|edits| edits.iter()).map(RequestEdit::from).filter_map(path).collect()
    }

    #[test]
    fn edits_are_repeated_in_the_order_of_asking() {
        let mut port = EditsPort::default();
        let (a, b) = (keep(&mut port, "/a"), keep(&mut port, "/b"));
        assert_eq!(repeated(&mut port, &[b, a, b]), ["/b", "/a", "/b"]);
        assert!(repeated(&mut port, &[]).is_empty());
    }

    #[test]
    fn the_latest_are_kept() {
        let mut port = EditsPort::default();
        let first = keep(&mut port, "/first");
        let numbers: Vec<u64> = (0..LISTS_MAX).map(|number| keep(&mut port, &format!("/{number}"))).collect();
        port.open_request();
        assert!(!port.repeat(first).unwrap() && !port.repeat(u64::MAX).unwrap());
        assert_eq!(repeated(&mut port, &numbers[..2]), ["/0", "/1"]);

        // One that takes all the room.
        let (bytes_without, _) = list("");
        let large = "x".repeat(BYTES_MAX - bytes_without);
        let largest = keep(&mut port, &large);
        assert_eq!((port.kept.len(), port.bytes), (1, BYTES_MAX));
        assert_eq!(repeated(&mut port, &[largest]), [&*large]);
        assert_eq!(try_keep(&mut port, &format!("{large}x")), None);
    }

    #[test]
    fn a_call_repeats_so_much() {
        let mut port = EditsPort::default();
        let (bytes_without, _) = list("");
        let half = keep(&mut port, &"x".repeat(BYTES_MAX / 2 - bytes_without));
        assert_eq!(repeated(&mut port, &[half, half]).len(), 2);
        port.open_request();
        assert!(port.repeat(half).unwrap() && port.repeat(half).unwrap());
        let error = port.repeat(half).unwrap_err();
        let limit = error.downcast_ref().unwrap();
        assert!(matches!(limit, Failure::Limit { limit: "edits repeated in a call", .. }));
    }

    #[test]
    fn edits_are_made_in_their_own_hooks() {
        let mut port = EditsPort::default();
        let number = keep(&mut port, "/a");
        assert!(port.repeat(number).is_err());
        port.open_response();
        assert!(port.repeat(number).is_err());
    }
}
