//! HTTP/2 by the letter: what RFC 9113 and RFC 7541 say a server must do with frames that are odd or wrong, section by section.
//!
//! A table: bytes that follow the handshake, and what may come of them. An error of a stream may always be treated as one of the
//! connection (RFC 9113 §5.4.1); a malformed request may be answered with 400 (§8.1.1). Where the `h2` crate says PROTOCOL_ERROR for
//! something that has a code of its own, both are allowed.

use harness::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Outcome, PADDED, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, RawHttp2, SETTINGS, WINDOW_UPDATE, block, frame, get, get_block, literal, post,
};
use harness::{Config, Upstream};

use crate::GATEWAY;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;

/// What may come of a case.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// The connection goes on as if nothing had been.
    Alive,
    /// Stream 1 is answered.
    Status(u16),
    /// The connection ends, with one of these codes.
    Connection(&'static [u32]),
    /// Stream 1 is reset with one of these codes, or the connection ends with one.
    Stream(&'static [u32]),
    /// Stream 1 is a malformed request.
    Malformed,
    /// Stream 1 is a malformed request; the `h2` crate leaves out what is wrong, and nobody else sees it.
    Dropped,
}

impl Expected {
    fn allows(self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::Alive, Outcome::Alive) => true,
            (Self::Status(expected), Outcome::Status(status)) => expected == *status,
            (Self::Connection(codes) | Self::Stream(codes), Outcome::GoAway(code)) => codes.contains(code),
            (Self::Stream(codes), Outcome::Reset(code)) => codes.contains(code),
            (Self::Malformed | Self::Dropped, Outcome::Status(400)) | (Self::Dropped, Outcome::Status(200)) => true,
            (Self::Malformed | Self::Dropped, Outcome::Reset(code) | Outcome::GoAway(code)) => *code == PROTOCOL_ERROR,
            _ => false,
        }
    }
}

type Case = (&'static str, &'static str, Vec<u8>, Expected);

async fn check(cases: Vec<Case>) {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let address = gateway.listener("http");
    let mut faults = Vec::new();
    for (section, what, bytes, expected) in cases {
        let mut client = RawHttp2::connect(address, &[]).await;
        client.send(&bytes).await;
        let outcome = match expected {
            Expected::Alive | Expected::Connection(_) => client.outcome(1).await,
            Expected::Status(_) | Expected::Stream(_) | Expected::Malformed | Expected::Dropped => {
                client.answer(1).await
            }
        };
        if !expected.allows(&outcome) {
            faults.push(format!("{section}, {what}: {outcome:?}, not {expected:?}"));
        } else if matches!(outcome, Outcome::GoAway(_)) {
            // A connection that failed is closed (RFC 9113 §5.4.1).
            client.goodbye().await;
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    // None of it cost the gateway anything that others would miss.
    assert_eq!(gateway.http2().await.get("/").await.status, 200);
}

fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let pairs: Vec<u8> =
        pairs.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, pairs)
}

fn request(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, block(fields))
}

fn request_with(more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, get_block(more))
}

fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, by.to_be_bytes())
}

fn parts(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn frames_and_their_sizes() {
    use Expected::{Alive, Connection, Status, Stream};
    let too_large = vec![0; (1 << 14) + 1];
    check(vec![
        ("§4.1", "a frame of a type that nobody knows", frame(0xbe, 0xff, 0, [1; 20]), Alive),
        (
            "§4.1",
            "such a frame on a stream",
            parts(&[post(1, &[]), frame(0xbe, 0, 1, []), frame(DATA, END_STREAM, 1, [])]),
            Status(200),
        ),
        ("§4.1", "flags that nobody knows", frame(PING, 0xfe, 0, [0; 8]), Alive),
        ("§4.1", "the reserved bit", frame(PING, 0, 1 << 31, [0; 8]), Alive),
        (
            "§4.1",
            "the reserved bit of a stream",
            frame(HEADERS, END_HEADERS | END_STREAM, 1 << 31 | 1, get_block(&[])),
            Status(200),
        ),
        (
            "§4.2",
            "DATA of 2^14 bytes",
            parts(&[post(1, &[]), frame(DATA, END_STREAM, 1, vec![0; 1 << 14])]),
            Status(200),
        ),
        (
            "§4.2",
            "DATA that is too large",
            parts(&[post(1, &[]), frame(DATA, END_STREAM, 1, &too_large)]),
            Stream(&[FRAME_SIZE_ERROR]),
        ),
        (
            "§4.2",
            "HEADERS that are too large",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &too_large),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        (
            "§4.2",
            "SETTINGS that are too large",
            frame(SETTINGS, 0, 0, vec![0; 6 * 2731]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        ("§6.1", "DATA without a stream", frame(DATA, 0, 0, [0]), Connection(&[PROTOCOL_ERROR])),
        (
            "§6.1",
            "padding as long as the payload",
            parts(&[post(1, &[]), frame(DATA, PADDED | END_STREAM, 1, [5, 0, 0, 0, 0])]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "§6.1",
            "padding without a length",
            parts(&[post(1, &[]), frame(DATA, PADDED | END_STREAM, 1, [])]),
            Connection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        ),
        (
            "§6.1",
            "padding that is right",
            parts(&[post(1, &[]), frame(DATA, PADDED | END_STREAM, 1, [2, b'x', 0, 0])]),
            Status(200),
        ),
        (
            "§6.2",
            "HEADERS without a stream",
            frame(HEADERS, END_HEADERS | END_STREAM, 0, get_block(&[])),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "§6.2",
            "HEADERS with too much padding",
            frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, [&[255][..], &get_block(&[])].concat()),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "§6.2",
            "HEADERS with padding and priority",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM | PADDED | 0x20,
                1,
                [&[1, 0, 0, 0, 0, 16][..], &get_block(&[]), &[0]].concat(),
            ),
            Status(200),
        ),
        ("§6.3", "PRIORITY without a stream", frame(PRIORITY, 0, 0, [0, 0, 0, 0, 16]), Connection(&[PROTOCOL_ERROR])),
        ("§6.3", "PRIORITY of another size", frame(PRIORITY, 0, 1, [0, 0, 0, 0]), Stream(&[FRAME_SIZE_ERROR])),
        ("§6.3", "PRIORITY of an idle stream", frame(PRIORITY, 0, 7, [0, 0, 0, 0, 16]), Alive),
        ("§6.4", "RST_STREAM without a stream", frame(RST_STREAM, 0, 0, [0, 0, 0, 8]), Connection(&[PROTOCOL_ERROR])),
        ("§6.4", "RST_STREAM of an idle stream", frame(RST_STREAM, 0, 1, [0, 0, 0, 8]), Connection(&[PROTOCOL_ERROR])),
        (
            "§6.4",
            "RST_STREAM of another size",
            parts(&[post(1, &[]), frame(RST_STREAM, 0, 1, [0, 0, 8])]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
        (
            "§6.4",
            "RST_STREAM with a code that nobody knows",
            parts(&[post(1, &[]), frame(RST_STREAM, 0, 1, [0xff; 4])]),
            Alive,
        ),
        (
            "§6.6",
            "PUSH_PROMISE by a client",
            parts(&[post(1, &[]), frame(PUSH_PROMISE, END_HEADERS, 1, [&[0, 0, 0, 2][..], &get_block(&[])].concat())]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        ("§6.7", "PING on a stream", frame(PING, 0, 1, [0; 8]), Connection(&[PROTOCOL_ERROR])),
        ("§6.7", "PING of another size", frame(PING, 0, 0, [0; 6]), Connection(&[FRAME_SIZE_ERROR])),
        ("§6.7", "an answer to a PING that nobody sent", frame(PING, ACK, 0, [7; 8]), Alive),
        ("§6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, [0; 8]), Connection(&[PROTOCOL_ERROR])),
        (
            "§6.9",
            "WINDOW_UPDATE of another size",
            frame(WINDOW_UPDATE, 0, 0, [0, 0, 1]),
            Connection(&[FRAME_SIZE_ERROR]),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn states_of_streams() {
    use Expected::{Connection, Status, Stream};
    let reset = |stream| frame(RST_STREAM, 0, stream, [0, 0, 0, 8]);
    check(vec![
        ("§5.1", "DATA on an idle stream", frame(DATA, END_STREAM, 1, [0]), Connection(&[PROTOCOL_ERROR])),
        ("§5.1", "WINDOW_UPDATE on an idle stream", window_update(1, 1), Connection(&[PROTOCOL_ERROR])),
        (
            "§5.1",
            "CONTINUATION on an idle stream",
            frame(CONTINUATION, END_HEADERS, 1, get_block(&[])),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "§5.1",
            "DATA on a stream whose request is over",
            parts(&[post(1, &[]), frame(DATA, END_STREAM, 1, []), frame(DATA, END_STREAM, 1, [0])]),
            Stream(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "§5.1",
            "HEADERS on a stream whose request is over",
            parts(&[post(1, &[]), frame(DATA, END_STREAM, 1, []), get(1)]),
            Stream(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "§5.1",
            "CONTINUATION on a stream whose request is over",
            parts(&[get(1), frame(CONTINUATION, END_HEADERS, 1, get_block(&[]))]),
            Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        (
            "§5.1",
            "HEADERS on a stream that was reset",
            parts(&[post(1, &[]), reset(1), get(1)]),
            Stream(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "§5.1",
            "CONTINUATION on a stream that was reset",
            parts(&[post(1, &[]), reset(1), frame(CONTINUATION, END_HEADERS, 1, get_block(&[]))]),
            Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        (
            "§5.1",
            "WINDOW_UPDATE and RST_STREAM on a stream that was reset",
            parts(&[post(3, &[]), reset(3), window_update(3, 1), reset(3)]),
            Expected::Alive,
        ),
        ("§5.1.1", "a stream with an even number", get(2), Connection(&[PROTOCOL_ERROR])),
        (
            "§5.1.1",
            "a stream with a lower number than the last",
            parts(&[get(5), get(3)]),
            Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        ("§5.1.1", "streams that were left out", parts(&[get(1)]), Status(200)),
        (
            "§5.3.1",
            "a stream that depends on itself",
            frame(HEADERS, END_HEADERS | END_STREAM | 0x20, 1, [&[0, 0, 0, 1, 16][..], &get_block(&[])].concat()),
            Expected::Malformed,
        ),
        (
            "§5.5",
            "an unknown frame within a header block",
            parts(&[frame(HEADERS, END_STREAM, 1, get_block(&[])), frame(0xbe, 0, 1, [])]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "§6.2",
            "PRIORITY within a header block",
            parts(&[frame(HEADERS, END_STREAM, 1, get_block(&[])), frame(PRIORITY, 0, 1, [0, 0, 0, 0, 16])]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "§6.2",
            "another stream within a header block",
            parts(&[frame(HEADERS, END_STREAM, 1, get_block(&[])), get(3)]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        ("§6.10", "a header block in many pieces", many_pieces(), Status(200)),
        (
            "§6.10",
            "CONTINUATION behind a block that is over",
            parts(&[post(1, &[]), frame(CONTINUATION, END_HEADERS, 1, block(&[("x", "1")]))]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "§6.10",
            "CONTINUATION without a stream",
            parts(&[frame(HEADERS, END_STREAM, 1, get_block(&[])), frame(CONTINUATION, END_HEADERS, 0, [])]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "§6.10",
            "CONTINUATION of another stream",
            parts(&[frame(HEADERS, END_STREAM, 1, get_block(&[])), frame(CONTINUATION, END_HEADERS, 3, [])]),
            Connection(&[PROTOCOL_ERROR]),
        ),
        (
            "§6.10",
            "CONTINUATION behind DATA",
            parts(&[post(1, &[]), frame(DATA, 0, 1, [0]), frame(CONTINUATION, END_HEADERS, 1, [])]),
            Connection(&[PROTOCOL_ERROR]),
        ),
    ])
    .await;
}

fn many_pieces() -> Vec<u8> {
    let whole = get_block(&[("x", "1")]);
    let mut bytes = frame(HEADERS, END_STREAM, 1, &whole[..1]);
    for piece in whole[1..].chunks(20) {
        bytes.extend(frame(CONTINUATION, 0, 1, piece));
    }
    bytes.extend(frame(CONTINUATION, END_HEADERS, 1, []));
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn settings_and_flow_control() {
    use Expected::{Alive, Connection, Stream};
    check(vec![
        ("§6.5", "an acknowledgement with a payload", frame(SETTINGS, ACK, 0, [0; 6]), Connection(&[FRAME_SIZE_ERROR])),
        ("§6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, []), Connection(&[PROTOCOL_ERROR])),
        ("§6.5", "half a setting", frame(SETTINGS, 0, 0, [0; 3]), Connection(&[FRAME_SIZE_ERROR])),
        ("§6.5.2", "ENABLE_PUSH that is neither 0 nor 1", settings(&[(2, 2)]), Connection(&[PROTOCOL_ERROR])),
        (
            "§6.5.2",
            "INITIAL_WINDOW_SIZE beyond 31 bits",
            settings(&[(4, 1 << 31)]),
            Connection(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
        ),
        ("§6.5.2", "MAX_FRAME_SIZE that is too small", settings(&[(5, (1 << 14) - 1)]), Connection(&[PROTOCOL_ERROR])),
        ("§6.5.2", "MAX_FRAME_SIZE that is too large", settings(&[(5, 1 << 24)]), Connection(&[PROTOCOL_ERROR])),
        ("§6.5.2", "a setting that nobody knows", settings(&[(0x7f, 1)]), Alive),
        ("§6.5.3", "the same setting twice", settings(&[(4, 1), (4, 100)]), Alive),
        ("§6.9", "an increment of 0 for the connection", window_update(0, 0), Connection(&[PROTOCOL_ERROR])),
        (
            "§6.9",
            "an increment of 0 for a stream",
            parts(&[post(1, &[]), window_update(1, 0)]),
            Stream(&[PROTOCOL_ERROR]),
        ),
        (
            "§6.9.1",
            "a window of the connection beyond 31 bits",
            parts(&[window_update(0, (1 << 31) - 1), window_update(0, 1 << 16)]),
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "§6.9.1",
            "a window of a stream beyond 31 bits",
            parts(&[post(1, &[]), window_update(1, (1 << 31) - 1), window_update(1, (1 << 31) - 1)]),
            Stream(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "§6.9.2",
            "settings that take a window beyond 31 bits",
            parts(&[post(1, &[]), window_update(1, (1 << 31) - 1 - 65_535), settings(&[(4, 70_000)])]),
            Connection(&[FLOW_CONTROL_ERROR]),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn header_blocks_by_hpack() {
    use Expected::{Connection, Status};
    const COMPRESSION: Expected = Connection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);
    let with = |bytes: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, 1, [&get_block(&[]), bytes].concat());
    let before = |bytes: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, 1, [bytes, &get_block(&[])].concat());
    check(vec![
        ("RFC 7541 §2.3.3", "a place beyond the table", with(&[0xc6]), COMPRESSION),
        ("RFC 7541 §6.1", "place 0", with(&[0x80]), COMPRESSION),
        (
            "RFC 7541 §6.1",
            "the static table",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                [&[0x82, 0x86, 0x84][..], &literal(b":authority", b"a")].concat(),
            ),
            Status(200),
        ),
        ("RFC 7541 §4.2", "an update of the table's size behind a field", with(&[0x20]), COMPRESSION),
        ("RFC 7541 §6.3", "an update of the table's size beyond the limit", before(&[0x3f, 0xe2, 0x1f]), COMPRESSION),
        (
            "RFC 7541 §6.3",
            "an update of the table's size to 0 and back",
            before(&[0x20, 0x3f, 0xe1, 0x1f]),
            Status(200),
        ),
        (
            "RFC 7541 §5.1",
            "a number that does not end",
            with(&[0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            COMPRESSION,
        ),
        ("RFC 7541 §5.2", "text that is longer than the block", with(&[0x00, 0x05, b'x']), COMPRESSION),
        (
            "RFC 7541 §5.2",
            "Huffman's code with padding of more than 7 bits",
            with(&[0x00, 0x01, b'x', 0x82, 0x1f, 0xff]),
            COMPRESSION,
        ),
        ("RFC 7541 §5.2", "Huffman's code padded with zeros", with(&[0x00, 0x01, b'x', 0x81, 0x18]), COMPRESSION),
        (
            "RFC 7541 §5.2",
            "Huffman's code with the end in it",
            with(&[0x00, 0x01, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]),
            COMPRESSION,
        ),
        (
            "RFC 7541 §6.2.1",
            "a field for the table, and its place",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                [&get_block(&[])[..], &[0x40, 0x01, b'x', 0x01, b'1', 0xbe]].concat(),
            ),
            Status(200),
        ),
        (
            "§4.3",
            "a block that ends within a field",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_block(&[])[..9]),
            COMPRESSION,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn requests_and_their_fields() {
    use Expected::{Dropped, Malformed, Status};
    let (method, scheme, path, authority) =
        ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"));
    let raw = |name: &[u8], value: &[u8]| {
        frame(HEADERS, END_HEADERS | END_STREAM, 1, [get_block(&[]), literal(name, value)].concat())
    };
    check(vec![
        (
            "§8.1",
            "trailers",
            parts(&[
                post(1, &[]),
                frame(DATA, 0, 1, [0]),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, block(&[("x-sum", "1")])),
            ]),
            Status(200),
        ),
        (
            "§8.1",
            "trailers that do not end the stream",
            parts(&[post(1, &[]), frame(DATA, 0, 1, [0]), frame(HEADERS, END_HEADERS, 1, block(&[("x", "1")]))]),
            Malformed,
        ),
        (
            "§8.1",
            "a pseudo-field among trailers",
            parts(&[post(1, &[]), frame(HEADERS, END_HEADERS | END_STREAM, 1, block(&[(":path", "/")]))]),
            Dropped,
        ),
        ("§8.2.1", "a name in upper case", raw(b"X-Upper", b"1"), Malformed),
        ("§8.2.1", "a name with a space", raw(b"x y", b"1"), Malformed),
        ("§8.2.1", "a name with a colon", raw(b"x:y", b"1"), Malformed),
        ("§8.2.1", "an empty name", raw(b"", b"1"), Malformed),
        ("§8.2.1", "a name with NUL", raw(b"x\0", b"1"), Malformed),
        ("§8.2.1", "a name of no ASCII", raw(b"x\xc3\xa9", b"1"), Malformed),
        ("§8.2.1", "a value with NUL", raw(b"x", b"1\0"), Malformed),
        ("§8.2.1", "a value with CR LF", raw(b"x", b"1\r\ny: 2"), Malformed),
        ("§8.2.1", "a value with LF", raw(b"x", b"1\n"), Malformed),
        ("§8.2.1", "a value that begins with a space", raw(b"x", b" 1"), Malformed),
        ("§8.2.1", "a value that ends with a tab", raw(b"x", b"1\t"), Malformed),
        ("§8.2.1", "an empty value", raw(b"x", b""), Status(200)),
        ("§8.2.2", "connection", request_with(&[("connection", "close")]), Malformed),
        ("§8.2.2", "keep-alive", request_with(&[("keep-alive", "1")]), Malformed),
        ("§8.2.2", "proxy-connection", request_with(&[("proxy-connection", "close")]), Malformed),
        ("§8.2.2", "transfer-encoding", request_with(&[("transfer-encoding", "chunked")]), Malformed),
        ("§8.2.2", "upgrade", request_with(&[("upgrade", "websocket")]), Malformed),
        ("§8.2.2", "te that is not trailers", request_with(&[("te", "gzip")]), Malformed),
        ("§8.2.2", "te that is more than trailers", request_with(&[("te", "trailers, gzip")]), Malformed),
        ("§8.2.2", "te: trailers", request_with(&[("te", "trailers")]), Status(200)),
        ("§8.3", "a pseudo-field that nobody knows", request_with(&[(":test", "1")]), Malformed),
        ("§8.3", "a pseudo-field of responses", request_with(&[(":status", "200")]), Malformed),
        ("§8.3", "a pseudo-field behind a field", request(&[method, scheme, path, ("x", "1"), authority]), Malformed),
        ("§8.3.1", "no :method", request(&[scheme, path, authority]), Malformed),
        ("§8.3.1", "no :scheme", request(&[method, path, authority]), Malformed),
        ("§8.3.1", "no :path", request(&[method, scheme, authority]), Malformed),
        ("§8.3.1", "two :method", request(&[method, method, scheme, path, authority]), Malformed),
        ("§8.3.1", "two :scheme", request(&[method, scheme, scheme, path, authority]), Malformed),
        ("§8.3.1", "two :path", request(&[method, scheme, path, path, authority]), Malformed),
        ("§8.3.1", "two :authority", request(&[method, scheme, path, authority, authority]), Malformed),
        ("§8.3.1", "an empty :path", request(&[method, scheme, (":path", ""), authority]), Malformed),
        (
            "§8.3.1",
            "a :path that does not begin with a slash",
            request(&[method, scheme, (":path", "a/b"), authority]),
            Malformed,
        ),
        ("§8.3.1", "a :path that is a URL", request(&[method, scheme, (":path", "http://b/"), authority]), Malformed),
        ("§8.3.1", "a :path with a space", request(&[method, scheme, (":path", "/ HTTP/1.1"), authority]), Malformed),
        ("§8.3.1", "a :path with CR LF", request(&[method, scheme, (":path", "/\r\nx: 1"), authority]), Malformed),
        ("§8.3.1", "a :path of no ASCII", request(&[method, scheme, (":path", "/\u{e9}"), authority]), Malformed),
        ("§8.3.1", "a :path with a fragment", request(&[method, scheme, (":path", "/a#b"), authority]), Dropped),
        ("§8.3.1", "an asterisk for GET", request(&[method, scheme, (":path", "*"), authority]), Malformed),
        (
            "§8.3.1",
            "an asterisk for OPTIONS",
            request(&[(":method", "OPTIONS"), scheme, (":path", "*"), authority]),
            Status(200),
        ),
        (
            "§8.3.1",
            "a :scheme that is none of ours",
            request(&[method, (":scheme", "ftp"), path, authority]),
            Malformed,
        ),
        ("§8.3.1", "a :method that is no token", request(&[(":method", "GE T"), scheme, path, authority]), Malformed),
        ("§8.3.1", "an :authority with a user", request(&[method, scheme, path, (":authority", "me@a")]), Malformed),
        ("§8.3.1", "an :authority that is none", request(&[method, scheme, path, (":authority", "a b")]), Malformed),
        ("§8.3.1", "an :authority that host contradicts", request_with(&[("host", "b")]), Malformed),
        ("§8.3.1", "an :authority that host repeats", request_with(&[("host", "A:80")]), Status(200)),
        ("§8.3.1", "host alone", request(&[method, scheme, path, ("host", "a")]), Status(200)),
        ("§8.3.1", "two hosts", request(&[method, scheme, path, ("host", "a"), ("host", "a")]), Malformed),
        ("§8.3.1", "neither :authority nor host", request(&[method, scheme, path]), Malformed),
        ("§8.5", "CONNECT", request(&[(":method", "CONNECT"), authority]), Malformed),
        ("§8.5", "CONNECT with a path", request(&[(":method", "CONNECT"), scheme, path, authority]), Malformed),
        (
            "§8.1.1",
            "less data than content-length",
            parts(&[post(1, &[("content-length", "2")]), frame(DATA, END_STREAM, 1, [0])]),
            Malformed,
        ),
        (
            "§8.1.1",
            "more data than content-length",
            parts(&[post(1, &[("content-length", "1")]), frame(DATA, END_STREAM, 1, [0, 0])]),
            Malformed,
        ),
        (
            "§8.1.1",
            "more frames than content-length",
            parts(&[post(1, &[("content-length", "1")]), frame(DATA, 0, 1, [0]), frame(DATA, END_STREAM, 1, [0])]),
            Malformed,
        ),
        ("§8.1.1", "no data with a content-length", request_with(&[("content-length", "1")]), Malformed),
        (
            "§8.1.1",
            "a content-length that is no number",
            parts(&[post(1, &[("content-length", "x")]), frame(DATA, END_STREAM, 1, [0])]),
            Malformed,
        ),
        (
            "§8.1.1",
            "two lengths",
            parts(&[post(1, &[("content-length", "1"), ("content-length", "2")]), frame(DATA, END_STREAM, 1, [0])]),
            Malformed,
        ),
        (
            "§8.1.1",
            "a content-length that is right",
            parts(&[post(1, &[("content-length", "1")]), frame(DATA, END_STREAM, 1, [0])]),
            Status(200),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_acknowledged_and_pings_answered_as_they_were() {
    let gateway = GATEWAY.start(Config::to(&Upstream::echo().await)).await;
    let mut client = RawHttp2::connect(gateway.listener("http"), &[]).await;
    client.send([settings(&[(3, 100)]), frame(PING, 0, 0, *b"12345678")].concat()).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let frame = client.next().await.expect("a frame").expect("a frame");
        if frame.kind == SETTINGS || frame.kind == PING {
            seen.push((frame.kind, frame.flags, frame.payload));
        }
    }
    assert_eq!(seen, [(SETTINGS, ACK, vec![]), (PING, ACK, b"12345678".to_vec())]);
}

/// RFC 9113 §6.9: never more than the window, and the rest when it opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_fits_the_window() {
    let origin = Upstream::answering(harness::http(&["HTTP/1.1 200 OK", "Content-Length: 10"], "0123456789")).await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = RawHttp2::connect(gateway.listener("http"), &[(4, 1)]).await;
    client.send(get(1)).await;
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    while pieces.concat().len() < 10 {
        let frame = client.next().await.expect("a frame").expect("a frame");
        if frame.kind == DATA && !frame.payload.is_empty() {
            pieces.push(frame.payload);
            client.send(window_update(1, 3)).await;
        }
    }
    let lengths: Vec<_> = pieces.iter().map(Vec::len).collect();
    assert_eq!((lengths.as_slice(), pieces.concat().as_slice()), ([1, 3, 3, 3].as_slice(), b"0123456789".as_slice()));
}

/// RFC 9113 §5.1.2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_above_the_limit_are_refused() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { streams: 2 }")).await;
    let mut client = RawHttp2::connect(gateway.listener("http"), &[]).await;
    client.send([get(1), get(3), get(5)].concat()).await;
    assert!(matches!(client.answer(5).await, Outcome::Reset(REFUSED_STREAM | PROTOCOL_ERROR)));
    let (first, _second) = (origin.next().await, origin.next().await);
    drop(first);
}
