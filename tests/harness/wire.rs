//! HTTP/1.1 as bytes on a socket (RFC 9112): heads, bodies and trailers, read exactly as they came.
//!
//! It is a second reading of the standard, independent of the one inside the gateway, so that both cannot be wrong in the same way.
//! Who speaks on the socket is the affair of `client` and `upstream`.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A message: `lines` of a head, each ended as the standard wants it, the empty line, and then `body` as it is.
pub fn http(lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut message = Vec::new();
    for line in lines {
        message.extend_from_slice(line.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(body.as_ref());
    message
}

/// Fields in the order and the case in which they came; each byte of a value is one `char`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The first value of a field, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every value of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.0.iter().filter(named).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether the field is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        let is_token = |part: &str| part.trim().eq_ignore_ascii_case(token);
        self.all(name).iter().any(|value| value.split(',').any(is_token))
    }
}

/// The head of a message.
#[derive(Clone, Debug)]
pub struct Head {
    /// The request line or status line.
    pub start: String,
    pub fields: Fields,
}

impl Head {
    /// The word at `index` of the start line: method, target, version or version, status, reason.
    pub fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    /// The status of a response; 0 when the start line has none.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// Whether the sender said that this message is the last on its connection.
    pub fn closes(&self) -> bool {
        self.fields.lists("connection", "close") || self.start.starts_with("HTTP/1.0")
    }

    fn parse(raw: &[u8]) -> io::Result<Head> {
        let text: String = raw.iter().map(|&byte| char::from(byte)).collect();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(field).collect::<io::Result<_>>()?;
        Ok(Head { start, fields: Fields(fields) })
    }
}

/// What a connection runs over: a socket, or TLS over one.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// The socket at the bottom of it.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for tokio_rustls::client::TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// One connection, seen as HTTP/1.1.
pub struct Wire {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    /// Every byte that was read as part of a message, when somebody wants them.
    record: Option<Vec<u8>>,
}

impl Wire {
    pub fn new(stream: impl Stream + 'static) -> Wire {
        // Each write of a test is one event on the other side; waiting to fill a segment would only blur that.
        stream.socket().set_nodelay(true).expect("a connected socket takes TCP_NODELAY");
        Wire { stream: Box::new(stream), buffer: BytesMut::new(), record: None }
    }

    /// Keep every byte that is read from here on; [`Wire::take_record`] hands them over.
    pub fn recording(mut self) -> Wire {
        self.record = Some(Vec::new());
        self
    }

    /// The bytes read since the last call.
    pub fn take_record(&mut self) -> Vec<u8> {
        self.record.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Write bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Write some bytes, as many as the socket takes at once.
    pub async fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.stream.write(bytes).await?;
        self.stream.flush().await?;
        Ok(sent)
    }

    /// Send no more; the other direction stays open.
    pub async fn finish_sending(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Close with a reset in place of an orderly end.
    pub fn reset(self) {
        self.stream.socket().set_zero_linger().expect("a connected socket takes SO_LINGER");
    }

    /// Read a head. `None` is an end of stream before its first byte.
    ///
    /// # Errors
    /// `UnexpectedEof` when the stream ends inside the head, `InvalidData` when it is none.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let raw = self.take(end + 4);
                return Head::parse(&raw).map(Some);
            }
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(cut("inside a head")) };
            }
        }
    }

    /// Read exactly so many bytes, which are of no message.
    ///
    /// # Errors
    /// `UnexpectedEof` when the stream ends before.
    pub async fn bytes(&mut self, count: usize) -> io::Result<Bytes> {
        while self.buffer.len() < count {
            if self.fill().await? == 0 {
                return Err(cut("inside a tunnel"));
            }
        }
        Ok(self.take(count))
    }

    /// Wait for the end of the stream.
    ///
    /// # Errors
    /// `InvalidData` with the bytes that came in its place. A reset counts as an end.
    pub async fn end(&mut self) -> io::Result<()> {
        while self.buffer.is_empty() {
            match self.fill().await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(invalid(format!("expected the end, got {:?}", String::from_utf8_lossy(&self.buffer))))
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let raw = self.take(end + 2);
                return Ok(raw[..end].iter().map(|&byte| char::from(byte)).collect());
            }
            if self.fill().await? == 0 {
                return Err(cut("inside a line"));
            }
        }
    }

    async fn some(&mut self, at_most: u64) -> io::Result<Bytes> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let length = self.buffer.len().min(usize::try_from(at_most).unwrap_or(usize::MAX));
        Ok(self.take(length))
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(64 * 1024);
        self.stream.read_buf(&mut self.buffer).await
    }

    fn take(&mut self, length: usize) -> Bytes {
        let bytes = self.buffer.split_to(length).freeze();
        if let Some(record) = &mut self.record {
            record.extend_from_slice(&bytes);
        }
        bytes
    }
}

/// A body that is being read, by the framing its head announced (RFC 9112 §6.3).
#[derive(Debug)]
pub struct Body {
    framing: Framing,
    /// What came after a chunked body; empty before its end.
    pub trailers: Fields,
}

#[derive(Debug)]
enum Framing {
    Length(u64),
    /// Bytes left of the current chunk; 0 stands before a chunk's size line.
    Chunked(u64),
    UntilClose,
    Ended,
}

impl Body {
    /// The body that follows the head of a request.
    pub fn of_request(head: &Head) -> Body {
        Body::framed(head, Framing::Ended)
    }

    /// The body that follows the head of a response to `method`.
    pub fn of_response(head: &Head, method: &str) -> Body {
        let bodyless = method == "HEAD" || head.status() < 200 || matches!(head.status(), 204 | 304);
        if bodyless {
            Body { framing: Framing::Ended, trailers: Fields::default() }
        } else {
            Body::framed(head, Framing::UntilClose)
        }
    }

    fn framed(head: &Head, otherwise: Framing) -> Body {
        let length = head.fields.get("content-length").and_then(|value| value.parse().ok());
        let framing = match length {
            _ if head.fields.lists("transfer-encoding", "chunked") => Framing::Chunked(0),
            Some(bytes) => Framing::Length(bytes),
            None => otherwise,
        };
        Body { framing, trailers: Fields::default() }
    }

    /// The next piece, as soon as there is one; `None` after the last.
    ///
    /// # Errors
    /// `UnexpectedEof` when the stream ends before the framing does, `InvalidData` when the framing is broken.
    pub async fn next(&mut self, wire: &mut Wire) -> io::Result<Option<Bytes>> {
        loop {
            match self.framing {
                Framing::Ended => return Ok(None),
                Framing::Length(0) => self.framing = Framing::Ended,
                Framing::Length(left) => {
                    let piece = within_body(wire.some(left).await?)?;
                    self.framing = Framing::Length(left - piece.len() as u64);
                    return Ok(Some(piece));
                }
                Framing::Chunked(0) => self.next_chunk(wire).await?,
                Framing::Chunked(left) => {
                    let piece = within_body(wire.some(left).await?)?;
                    self.framing = Framing::Chunked(left - piece.len() as u64);
                    if piece.len() as u64 == left && !wire.line().await?.is_empty() {
                        return Err(invalid("no line end after a chunk".to_owned()));
                    }
                    return Ok(Some(piece));
                }
                Framing::UntilClose => {
                    let piece = wire.some(u64::MAX).await?;
                    if !piece.is_empty() {
                        return Ok(Some(piece));
                    }
                    self.framing = Framing::Ended;
                }
            }
        }
    }

    /// Everything that is left.
    ///
    /// # Errors
    /// As [`Body::next`].
    pub async fn rest(&mut self, wire: &mut Wire) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next(wire).await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    async fn next_chunk(&mut self, wire: &mut Wire) -> io::Result<()> {
        let line = wire.line().await?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| invalid(format!("no chunk size: {line:?}")))?;
        self.framing = Framing::Chunked(size);
        if size == 0 {
            loop {
                match wire.line().await?.as_str() {
                    "" => break,
                    line => self.trailers.0.push(field(line)?),
                }
            }
            self.framing = Framing::Ended;
        }
        Ok(())
    }
}

fn field(line: &str) -> io::Result<(String, String)> {
    let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("no field: {line:?}")))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn within_body(piece: Bytes) -> io::Result<Bytes> {
    if piece.is_empty() { Err(cut("inside a body")) } else { Ok(piece) }
}

fn cut(place: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the stream ended {place}"))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
