//! The frames of an HTTP/2 connection (RFC 9113 §4, §6), counted by their headers: payloads are skipped, hyper reads them.
//!
//! Frames that cost the gateway work and carry nothing have a price, and each connection has so much to spend in a time. What is wrong
//! with single frames and streams is for the `h2` crate, which keeps its own limits.

use std::io::IoSlice;
use std::time::Instant;

use super::super::pulse::Pulse;

/// Both directions of a connection.
pub(super) struct Frames {
    received: Walk,
    sent: Walk,
    last_stream: u32,
    /// What is owed for frames without use, now less than it was at `since`.
    debt: u64,
    since: Instant,
    /// Frames that belong to what was sent: window updates and pings of clients that measure.
    thanks: u64,
}

impl Frames {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            received: Walk::default(),
            sent: Walk::default(),
            last_stream: 0,
            debt: 0,
            since: now,
            thanks: THANKS_AT_FIRST,
        }
    }

    /// Counts what the client sent; if it has to go for it, with which code.
    pub(super) fn received(&mut self, mut bytes: &[u8], pulse: &Pulse) -> Result<(), u32> {
        let mut price = 0;
        while let Some(frame) = self.received.next(&mut bytes) {
            if !frame.has_right_size() {
                return Err(FRAME_SIZE_ERROR);
            }
            price += self.price(&frame);
        }
        price += std::mem::take(&mut self.sent.resets) * RESET_PRICE;
        if price == 0 || self.pay(price, pulse) { Ok(()) } else { Err(ENHANCE_YOUR_CALM) }
    }

    /// Counts what was sent to the client: the first `written` bytes of these.
    pub(super) fn sent(&mut self, slices: &[IoSlice<'_>], mut written: usize) {
        for slice in slices {
            let (mut bytes, _) = slice.split_at(written.min(slice.len()));
            written -= bytes.len();
            while let Some(frame) = self.sent.next(&mut bytes) {
                match frame.kind {
                    RST_STREAM => self.sent.resets += 1,
                    DATA | HEADERS => self.thanks += 1 + (frame.payload_bytes / BYTES_FOR_A_THANK) as u64,
                    _ => {}
                }
            }
        }
    }

    /// GOAWAY (RFC 9113 §6.8), unless it would land in the middle of another frame.
    pub(super) fn goaway(&self, code: u32) -> Option<[u8; 17]> {
        let mut frame = *b"\0\0\x08\x07\0\0\0\0\0LASTCODE";
        frame[9..13].copy_from_slice(&self.last_stream.to_be_bytes());
        frame[13..].copy_from_slice(&code.to_be_bytes());
        self.sent.is_between_frames().then_some(frame)
    }

    fn price(&mut self, frame: &Frame) -> u64 {
        match frame.kind {
            HEADERS if frame.stream > self.last_stream => {
                self.last_stream = frame.stream;
                // Requests pay for some that are given up.
                self.debt = self.debt.saturating_sub(1);
                self.thanks += 1;
                u64::from(frame.payload_bytes == 0)
            }
            HEADERS => u64::from(frame.payload_bytes == 0),
            DATA => u64::from(frame.payload_bytes == 0 && frame.flags & END_STREAM == 0),
            RST_STREAM => RESET_PRICE,
            WINDOW_UPDATE | PING => {
                self.thanks = self.thanks.min(THANKS_MAX);
                let is_thank = self.thanks > 0;
                self.thanks = self.thanks.saturating_sub(1);
                u64::from(!is_thank)
            }
            _ => 1,
        }
    }

    fn pay(&mut self, price: u64, pulse: &Pulse) -> bool {
        let (most, time) = pulse.http2_abuse();
        let now = pulse.now();
        let passed = now.saturating_duration_since(self.since).as_secs_f64() / time.as_secs_f64();
        // It is forgotten in whole units; what is left of the time counts for the next.
        let forgotten = (passed * most as f64) as u64;
        if forgotten > 0 {
            self.debt = self.debt.saturating_sub(forgotten);
            self.since = now;
        }
        self.debt += price;
        self.debt <= most
    }
}

/// A way through the frames of one direction.
#[derive(Debug, Default)]
struct Walk {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    payload_left: usize,
    resets: u64,
}

/// A frame's header, without its reserved bit.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    payload_bytes: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frame {
    /// Where the type has one size (RFC 9113 §6). `h2` hangs up, too, but with another code.
    fn has_right_size(&self) -> bool {
        match self.kind {
            PRIORITY => self.payload_bytes == 5,
            RST_STREAM | WINDOW_UPDATE => self.payload_bytes == 4,
            SETTINGS if self.flags & ACK != 0 => self.payload_bytes == 0,
            SETTINGS => self.payload_bytes.is_multiple_of(6),
            PING => self.payload_bytes == 8,
            _ => true,
        }
    }
}

impl Walk {
    /// The next frame whose header is complete; `None` at the end of these bytes.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let skipped = self.payload_left.min(bytes.len());
        self.payload_left -= skipped;
        *bytes = &bytes[skipped..];
        let taken = (HEADER_BYTES - self.header_bytes).min(bytes.len());
        self.header[self.header_bytes..self.header_bytes + taken].copy_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        self.header_bytes += taken;
        if self.header_bytes < HEADER_BYTES {
            return None;
        }
        self.header_bytes = 0;
        let [a, b, c, kind, flags, stream @ ..] = self.header;
        self.payload_left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let stream = u32::from_be_bytes(stream) & u32::MAX >> 1;
        Some(Frame { payload_bytes: self.payload_left, kind, flags, stream })
    }

    fn is_between_frames(&self) -> bool {
        self.header_bytes == 0 && self.payload_left == 0
    }
}

const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const FRAME_SIZE_ERROR: u32 = 6;
/// For more than `limits.http2_abuse`.
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;
/// A stream that is given up has cost a request; one in four may be, for ever.
const RESET_PRICE: u64 = 4;
const BYTES_FOR_A_THANK: usize = 1 << 10;
const THANKS_AT_FIRST: u64 = 16;
const THANKS_MAX: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes()[1..].to_vec();
        bytes.extend([kind, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn frames_are_found_however_they_arrive() {
        let bytes =
            [frame(4, 0, &[0; 12]), frame(1, 0x8000_0003, b"abc"), frame(0, 3, &[]), frame(6, 0, &[9; 8])].concat();
        let expected = [(12, 4, 0), (3, 1, 3), (0, 0, 3), (8, 6, 0)];
        for step in 1..=bytes.len() {
            let mut walk = Walk::default();
            let mut found = Vec::new();
            for mut piece in bytes.chunks(step) {
                while let Some(frame) = walk.next(&mut piece) {
                    found.push((frame.payload_bytes, frame.kind, frame.stream));
                }
            }
            assert_eq!(found, expected, "in pieces of {step}");
            assert!(walk.is_between_frames());
        }
    }
}
