//! The line that is being written: values, each of bounded length, as its format has them.

use std::time::Duration;

use super::escape::{Escape, append};

/// A line at the end of a buffer.
pub(super) struct Line<'b> {
    pub(super) to: &'b mut Vec<u8>,
    escape: Escape,
    /// Where in the buffer the line's values have to end.
    end: usize,
    /// The bytes that one value may have.
    value_max: usize,
}

impl<'b> Line<'b> {
    /// A line whose values have so much room.
    pub(super) fn new(to: &'b mut Vec<u8>, escape: Escape, room: usize) -> Self {
        let end = to.len() + room;
        // One long value must not leave nothing to those behind it.
        Self { to, escape, end, value_max: room / 4 }
    }

    pub(super) fn is_json(&self) -> bool {
        self.escape == Escape::Json
    }

    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.to.len() + bytes <= self.end
    }

    /// Appends what is in the line in any case; its room was set aside.
    pub(super) fn fixed(&mut self, text: &[u8]) {
        self.to.extend_from_slice(text);
        self.end += text.len();
    }

    /// A name of the configuration, or a word of our own: short, plain, and room is set aside for it.
    pub(super) fn name(&mut self, name: Option<&str>) {
        match name {
            Some(name) => self.quoted(|line| line.to.extend_from_slice(name.as_bytes())),
            None => self.none(),
        }
    }

    pub(super) fn text_or_none(&mut self, text: Option<&[u8]>) {
        match text {
            Some(text) if self.is_json() || !text.is_empty() => self.text(text),
            _ => self.none(),
        }
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.quoted(|line| line.value(text));
    }

    pub(super) fn none(&mut self) {
        self.to.extend_from_slice(if self.is_json() { b"null" } else { b"-" });
    }

    pub(super) fn quoted(&mut self, write: impl FnOnce(&mut Self)) {
        if self.is_json() {
            self.to.push(b'"');
            write(self);
            self.to.push(b'"');
        } else {
            write(self);
        }
    }

    /// A value, or as much of it as there is room for, and a mark.
    pub(super) fn value(&mut self, text: &[u8]) {
        let end = self.end.min(self.to.len() + self.value_max);
        if !append(self.to, text, self.escape, end) {
            self.to.extend_from_slice(CUT);
        }
    }

    pub(super) fn milliseconds(&mut self, time: Duration) {
        let us = microseconds(time);
        self.number(us / 1000);
        let part = us % 1000;
        let digit = |value: u64| b'0' + (value % 10) as u8;
        self.to.extend_from_slice(&[b'.', digit(part / 100), digit(part / 10), digit(part)]);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.to.extend_from_slice(&digits[at..]);
    }
}

/// In 64 bits, which do for longer than anything runs.
pub(super) fn microseconds(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros().into())
}

/// Stands where a value was cut.
const CUT: &[u8] = b"...";
