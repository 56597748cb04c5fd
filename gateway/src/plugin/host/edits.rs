//! `edits`: lists of edits that a guest makes again and again, kept for it and made by their numbers.
//!
//! They are kept as they were said: what repeats them adds them to the verdict, and whoever carries that out checks them as any others.

use std::collections::VecDeque;

use super::State;
use crate::plugin::bindings::witgate::plugin::edits;
use crate::plugin::bindings::witgate::plugin::types::{RequestEdit, ResponseEdit};
use crate::plugin::failure::LimitHit;

/// The lists of one instance, and what the running call repeats of them.
#[derive(Default)]
pub(in crate::plugin) struct EditsPort {
    /// The latest, in the order of their numbers.
    kept: VecDeque<Kept>,
    /// The number of the first that is kept.
    first: u64,
    bytes: usize,
    repeated: Edits,
    repeated_bytes: usize,
}

struct Kept {
    edits: Edits,
    bytes: usize,
}

#[derive(Default)]
enum Edits {
    /// Of a hook that makes no edits with its verdict.
    #[default]
    None,
    Request(Vec<RequestEdit>),
    Response(Vec<ResponseEdit>),
}

impl EditsPort {
    /// A hook is called that may make edits to a request with its verdict.
    pub(in crate::plugin) fn open_request(&mut self) {
        self.repeated = Edits::Request(Vec::new());
    }

    /// The same for a response.
    pub(in crate::plugin) fn open_response(&mut self) {
        self.repeated = Edits::Response(Vec::new());
    }

    /// Puts what the call repeated before what it said itself.
    pub(in crate::plugin) fn repeat_in_request(&mut self, said: &mut Vec<RequestEdit>) {
        if let Edits::Request(repeated) = &mut self.repeated {
            prepend(repeated, said);
        }
    }

    /// The same for a response.
    pub(in crate::plugin) fn repeat_in_response(&mut self, said: &mut Vec<ResponseEdit>) {
        if let Edits::Response(repeated) = &mut self.repeated {
            prepend(repeated, said);
        }
    }

    /// The call is over.
    pub(super) fn close(&mut self) {
        self.repeated = Edits::None;
        self.repeated_bytes = 0;
    }

    fn keep(&mut self, edits: Edits, bytes: usize) -> Option<u64> {
        if bytes > BYTES_MAX {
            return None;
        }
        while self.kept.len() >= LISTS_MAX || self.bytes + bytes > BYTES_MAX {
            self.bytes -= self.kept.pop_front().map_or(0, |oldest| oldest.bytes);
            self.first += 1;
        }
        self.kept.push_back(Kept { edits, bytes });
        self.bytes += bytes;
        Some(self.first + self.kept.len() as u64 - 1)
    }

    fn repeat(&mut self, number: u64) -> wasmtime::Result<bool> {
        let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let Some(kept) = place.and_then(|place| self.kept.get(place)) else { return Ok(false) };
        self.repeated_bytes += kept.bytes;
        if self.repeated_bytes > BYTES_MAX {
            let detail = format!("{} bytes, of at most {BYTES_MAX}", self.repeated_bytes);
            return Err(wasmtime::Error::new(LimitHit { name: "edits repeated in a call", detail }));
        }
        match (&kept.edits, &mut self.repeated) {
            (Edits::Request(edits), Edits::Request(repeated)) => repeated.extend_from_slice(edits),
            (Edits::Response(edits), Edits::Response(repeated)) => repeated.extend_from_slice(edits),
            _ => return Err(wasmtime::Error::msg("`edits.repeat` names edits that this hook cannot make")),
        }
        Ok(true)
    }
}

impl edits::Host for State {
    fn remember_request(&mut self, edits: Vec<RequestEdit>) -> wasmtime::Result<Option<u64>> {
        self.host_call()?;
        let bytes = edits.iter().map(request_bytes).sum();
        Ok(self.edits.keep(Edits::Request(edits), bytes))
    }

    fn remember_response(&mut self, edits: Vec<ResponseEdit>) -> wasmtime::Result<Option<u64>> {
        self.host_call()?;
        let bytes = edits.iter().map(response_bytes).sum();
        Ok(self.edits.keep(Edits::Response(edits), bytes))
    }

    fn repeat(&mut self, number: u64) -> wasmtime::Result<bool> {
        self.host_call()?;
        self.edits.repeat(number)
    }
}

fn prepend<E>(repeated: &mut Vec<E>, said: &mut Vec<E>) {
    if !repeated.is_empty() {
        repeated.append(said);
        std::mem::swap(repeated, said);
    }
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
    size_of::<RequestEdit>() + text
}

fn response_bytes(edit: &ResponseEdit) -> usize {
    let text = match edit {
        ResponseEdit::SetHeader((name, value)) | ResponseEdit::AppendHeader((name, value)) => name.len() + value.len(),
        ResponseEdit::SetAttribute((name, value)) => name.len() + value.len(),
        ResponseEdit::RemoveHeader(name) => name.len(),
        ResponseEdit::SetStatus(_) => 0,
    };
    size_of::<ResponseEdit>() + text
}

/// Of one instance, and of what one call repeats.
const BYTES_MAX: usize = 256 << 10;
const LISTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn list(text: &str) -> (Edits, usize) {
        let edits = vec![RequestEdit::SetPath(text.to_owned())];
        let bytes = edits.iter().map(request_bytes).sum();
        (Edits::Request(edits), bytes)
    }

    fn keep(port: &mut EditsPort, text: &str) -> u64 {
        let (edits, bytes) = list(text);
        port.keep(edits, bytes).unwrap()
    }

    /// What a request hook says that repeats these and says `/own` itself.
    fn said(port: &mut EditsPort, numbers: &[u64]) -> Vec<String> {
        port.open_request();
        numbers.iter().for_each(|number| assert!(port.repeat(*number).unwrap()));
        let mut edits = vec![RequestEdit::SetPath("/own".to_owned())];
        port.repeat_in_request(&mut edits);
        port.close();
        let path = |edit| if let RequestEdit::SetPath(path) = edit { Some(path) } else { None };
        edits.into_iter().filter_map(path).collect()
    }

    #[test]
    fn what_is_repeated_stands_before_what_is_said() {
        let mut port = EditsPort::default();
        let (a, b) = (keep(&mut port, "/a"), keep(&mut port, "/b"));
        assert_eq!(said(&mut port, &[]), ["/own"]);
        assert_eq!(said(&mut port, &[b, a, b]), ["/b", "/a", "/b", "/own"]);
    }

    #[test]
    fn the_latest_are_kept() {
        let mut port = EditsPort::default();
        let first = keep(&mut port, "/first");
        let numbers: Vec<u64> = (0..LISTS_MAX).map(|number| keep(&mut port, &format!("/{number}"))).collect();
        port.open_request();
        assert!(!port.repeat(first).unwrap() && !port.repeat(u64::MAX).unwrap());
        assert_eq!(said(&mut port, &numbers[..2]), ["/0", "/1", "/own"]);

        // One that takes all the room.
        let (_, bytes_without) = list("");
        let large = "x".repeat(BYTES_MAX - bytes_without);
        let largest = keep(&mut port, &large);
        assert_eq!((port.kept.len(), port.bytes), (1, BYTES_MAX));
        assert_eq!(said(&mut port, &[largest])[0], large);
        let (edits, bytes) = list(&format!("{large}x"));
        assert_eq!(port.keep(edits, bytes), None);
    }

    #[test]
    fn a_call_repeats_so_much() {
        let mut port = EditsPort::default();
        let (_, bytes_without) = list("");
        let half = keep(&mut port, &"x".repeat(BYTES_MAX / 2 - bytes_without));
        assert_eq!(said(&mut port, &[half, half]).len(), 3);
        port.open_request();
        assert!(port.repeat(half).unwrap() && port.repeat(half).unwrap());
        let error = port.repeat(half).unwrap_err();
        assert_eq!(error.downcast_ref::<LimitHit>().unwrap().name, "edits repeated in a call");
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
