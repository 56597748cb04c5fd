//! HTTP/2 as frames on a socket (RFC 9113 §4), with header blocks written by hand (RFC 7541): what no client library sends.
//!
//! Responses are understood as far as tests need them: frames, and the status of a header block.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::within;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection on which frames are sent and received as they are.
pub struct RawHttp2 {
    socket: TcpStream,
    buffer: BytesMut,
}

/// How a connection or a stream went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The head of a response.
    Status(u16),
    /// RST_STREAM, with its code.
    Reset(u32),
    /// GOAWAY, with its code.
    GoAway(u32),
    /// The end, without a word.
    Closed,
    /// The answer to a PING that was sent last: until then nothing of the other kinds came.
    Alive,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("payloads of tests are small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block: each field literally, without Huffman's code and without a place in the table.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect()
}

/// One field of a header block.
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let text = |text: &[u8]| {
        let mut bytes = Vec::new();
        if text.len() < 127 {
            bytes.push(u8::try_from(text.len()).expect("below 127"));
        } else {
            bytes.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).expect("a byte"));
        }
        bytes.extend_from_slice(text);
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}

/// The header block of an ordinary request, and more fields.
pub fn get_block(more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    block(&[&usual, more].concat())
}

/// An ordinary request without a body.
pub fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, get_block(&[]))
}

/// The head of a request with a body, and more fields.
pub fn post(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    frame(HEADERS, END_HEADERS, stream, block(&[&usual, more].concat()))
}

impl RawHttp2 {
    /// Connect, and exchange prefaces and settings; these settings are the client's.
    pub async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> RawHttp2 {
        let socket = within("a connection", TcpStream::connect(address)).await.expect("the listener accepts");
        socket.set_nodelay(true).expect("a connected socket takes TCP_NODELAY");
        let mut connection = RawHttp2 { socket, buffer: BytesMut::new() };
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        connection.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, payload)].concat()).await;
        let first = connection.next().await.expect("the gateway's preface").expect("the gateway's preface");
        assert_eq!((first.kind, first.flags), (SETTINGS, 0), "a preface begins with settings (RFC 9113 §3.4)");
        connection.send(frame(SETTINGS, ACK, 0, [])).await;
        loop {
            let frame = connection.next().await.expect("an acknowledgement").expect("an acknowledgement");
            if (frame.kind, frame.flags) == (SETTINGS, ACK) {
                return connection;
            }
        }
    }

    /// Send bytes; a gateway that has hung up takes none, which is seen when its frames are read.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("the gateway to take bytes", self.socket.write_all(bytes.as_ref())).await;
    }

    /// Send as much as the gateway takes before it hangs up. Says whether it did.
    pub async fn send_until_closed(&mut self, bytes: &[u8]) -> bool {
        within("the gateway to take bytes", self.socket.write_all(bytes)).await.is_err()
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// The connection was cut within a frame.
    pub async fn next(&mut self) -> io::Result<Option<RawFrame>> {
        loop {
            if let [a, b, c, kind, flags, s, t, u, v, ..] = self.buffer[..] {
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if self.buffer.len() >= 9 + length {
                    self.buffer.advance(9);
                    let payload = self.buffer.split_to(length).to_vec();
                    return Ok(Some(RawFrame { kind, flags, stream: u32::from_be_bytes([s, t, u, v]), payload }));
                }
            }
            let read = within("a frame", self.socket.read_buf(&mut self.buffer)).await;
            match read {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Send a PING, and see what comes first of what concerns the connection or this stream.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        self.send(frame(PING, 0, 0, MARK)).await;
        loop {
            match self.next().await {
                Ok(Some(frame)) => {
                    if let Some(outcome) = frame.outcome(stream) {
                        return outcome;
                    }
                }
                Ok(None) | Err(_) => return Outcome::Closed,
            }
        }
    }

    /// The head of the response on this stream, or what came in its place.
    pub async fn answer(&mut self, stream: u32) -> Outcome {
        loop {
            match self.next().await {
                Ok(Some(frame)) => match frame.outcome(stream) {
                    Some(Outcome::Alive) | None => {}
                    Some(outcome) => return outcome,
                },
                Ok(None) | Err(_) => return Outcome::Closed,
            }
        }
    }

    /// The code of the GOAWAY that ends the connection; `None` when it ends without one.
    pub async fn goodbye(&mut self) -> Option<u32> {
        let mut code = None;
        while let Ok(Some(frame)) = self.next().await {
            if frame.kind == GOAWAY {
                code = frame.code();
            }
        }
        code
    }
}

impl RawFrame {
    /// The code of a RST_STREAM or GOAWAY.
    pub fn code(&self) -> Option<u32> {
        let code = match self.kind {
            RST_STREAM => self.payload.get(..4),
            GOAWAY => self.payload.get(4..8),
            _ => None,
        };
        Some(u32::from_be_bytes(code?.try_into().ok()?))
    }

    fn outcome(&self, stream: u32) -> Option<Outcome> {
        match self.kind {
            HEADERS if self.stream == stream => Some(Outcome::Status(status(&self.payload))),
            RST_STREAM if self.stream == stream => self.code().map(Outcome::Reset),
            GOAWAY => self.code().map(Outcome::GoAway),
            PING if self.flags & ACK != 0 && self.payload == MARK => Some(Outcome::Alive),
            _ => None,
        }
    }
}

/// The status that begins a header block: from the static table, or three digits, be they in Huffman's code (RFC 7541, appendices A, B).
fn status(block: &[u8]) -> u16 {
    const TABLE: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // Updates of the table's size may come first.
    let start = block.iter().position(|byte| byte & 0xE0 != 0x20).unwrap_or(block.len());
    match block[start..] {
        [index @ 0x88..=0x8e, ..] => TABLE[usize::from(index - 0x88)],
        [_, length, ref text @ ..] if length & 0x80 == 0 => {
            let digits = &text[..usize::from(length)];
            std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
        }
        [_, length, ref text @ ..] => {
            let bits = text[..usize::from(length & 0x7f)].iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            let mut left = 8 * u32::from(length & 0x7f);
            (0..3).fold(0, |status, _| {
                let five = (bits >> (left - 5)) & 0x1f;
                // Digits from 3 on have six bits, and begin with the code of 0x19 and above.
                let (digit, width) =
                    if five <= 2 { (five, 5) } else { (((bits >> (left - 6)) & 0x3f).saturating_sub(0x19) + 3, 6) };
                left -= width;
                status * 10 + u16::try_from(digit).unwrap_or(0)
            })
        }
        _ => 0,
    }
}

const MARK: [u8; 8] = *b"are you?";
