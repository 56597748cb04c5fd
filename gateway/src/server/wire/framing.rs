//! Where one message of a connection ends and the next begins, by this gateway's own reading.
//!
//! hyper is given what has been found right, and no part of a head before all of it has been.

use super::chunks::Chunks;
use super::fault::Fault;
use super::head::{Content, Head, HeadLimits};

/// What a connection is in the middle of.
#[derive(Debug)]
pub(super) struct Framing {
    place: Place,
    limits: HeadLimits,
    /// The request under way asks for another protocol behind it.
    asks_upgrade: bool,
    heads: usize,
    messages: usize,
}

#[derive(Debug)]
enum Place {
    Head(Head),
    Length(u64),
    Chunks(Box<Chunks>),
    /// Behind a request that asked for another protocol: whether this is HTTP, its answer tells.
    Undecided,
}

/// What a scan has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Bytes that may be passed on.
    pub(super) good: usize,
    pub(super) end: End,
}

/// What begins behind the bytes that may be passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing: all is good.
    All,
    /// A head that is not all there, or bytes that nobody knows yet how to read.
    Held,
    /// A head that is refused.
    BadHead(Fault),
    /// A body whose framing is broken.
    BadBody(Fault),
}

impl Framing {
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self { place: Place::Head(Head::default()), limits, asks_upgrade: false, heads: 0, messages: 0 }
    }

    /// Reads on. Where the last scan held bytes back, `bytes` begin with those.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let mut good = 0;
        loop {
            let rest = &bytes[good..];
            if rest.is_empty() {
                return Scanned { good, end: End::All };
            }
            match &mut self.place {
                Place::Head(head) => match head.scan(rest, &self.limits) {
                    Ok(Some(content)) => {
                        good += head.scanned;
                        self.asks_upgrade = head.asks_upgrade;
                        self.enter(content);
                    }
                    Ok(None) => return Scanned { good, end: End::Held },
                    Err(fault) => return Scanned { good, end: End::BadHead(fault) },
                },
                Place::Length(left) => {
                    let taken = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= taken as u64;
                    good += taken;
                    if *left == 0 {
                        self.over();
                    }
                }
                Place::Chunks(chunks) => match chunks.scan(rest) {
                    Ok(taken) => {
                        good += taken;
                        if chunks.is_over() {
                            self.over();
                        }
                    }
                    Err(fault) => return Scanned { good, end: End::BadBody(fault) },
                },
                Place::Undecided => return Scanned { good, end: End::Held },
            }
        }
    }

    pub(super) fn limits(&self) -> &HeadLimits {
        &self.limits
    }

    /// Whether what comes next is HTTP only if the request under way is answered without a switch of protocols.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.place, Place::Undecided)
    }

    /// Whether the client is in the middle of a request's body.
    pub(super) fn is_in_body(&self) -> bool {
        matches!(self.place, Place::Length(_) | Place::Chunks(_))
    }

    /// The request was answered, and the protocol is still this one.
    pub(super) fn decide(&mut self) {
        if self.is_undecided() {
            self.place = Place::Head(Head::default());
        }
    }

    /// Heads that were found right, and messages whose ends were found.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.heads, self.messages)
    }

    fn enter(&mut self, content: Content) {
        self.heads += 1;
        match content {
            Content::Length(0) => self.over(),
            Content::Length(bytes) => self.place = Place::Length(bytes),
            Content::Chunked => self.place = Place::Chunks(Box::default()),
        }
    }

    fn over(&mut self) {
        self.messages += 1;
        let undecided = std::mem::take(&mut self.asks_upgrade);
        self.place = if undecided { Place::Undecided } else { Place::Head(Head::default()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, target_bytes: 64, fields: 8 };

    #[test]
    fn messages_follow_each_other() {
        let bytes =
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nGETPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        for step in 1..bytes.len() {
            let mut framing = Framing::new(LIMITS);
            let (mut held, mut passed) = (Vec::new(), 0);
            for piece in bytes.chunks(step) {
                held.extend_from_slice(piece);
                let scanned = framing.scan(&held);
                assert!(matches!(scanned.end, End::All | End::Held), "{scanned:?}");
                assert_eq!(scanned.end == End::All, scanned.good == held.len());
                passed += scanned.good;
                held.drain(..scanned.good);
            }
            assert_eq!((passed, held.len()), (bytes.len(), 0), "in pieces of {step}");
        }
    }

    #[test]
    fn a_bad_head_is_held_back_from_its_first_byte() {
        let mut framing = Framing::new(LIMITS);
        let good = b"GET / HTTP/1.1\r\n\r\n";
        let scanned = framing.scan(&[good.as_slice(), b"GET / HTTP/1.1\r\nA : b\r\n"].concat());
        assert_eq!(scanned.good, good.len());
        assert!(matches!(scanned.end, End::BadHead(Fault::Malformed(_))), "{scanned:?}");
    }

    #[test]
    fn what_follows_a_wish_for_another_protocol_waits_for_the_answer() {
        let ask = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx";
        let mut framing = Framing::new(LIMITS);
        let scanned = framing.scan(&[ask.as_slice(), b"\x81\x05"].concat());
        assert_eq!(scanned, Scanned { good: ask.len(), end: End::Held });
        assert!(framing.is_undecided());
        framing.decide();
        assert!(matches!(framing.scan(b"\x81\x05").end, End::BadHead(_)));
    }
}
