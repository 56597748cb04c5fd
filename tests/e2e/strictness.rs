//! Requests of HTTP/1 that two servers could read in two ways (RFC 9112 §11.2): each is refused and nothing behind it is served; and
//! what is right, however odd, is served once and reaches the upstream in one plain form.

use harness::{Client, Config, Gateway, Upstream, http};

use crate::GATEWAY;

/// What stands behind every message here: if it is ever served, a part of a message was taken for another.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Bytes that are refused with this status, before anything of them reaches an upstream.
type Refused = (&'static str, u16, &'static [u8]);

async fn gateway(origin: &Upstream) -> Gateway {
    GATEWAY.start(Config::to(origin).listener("limits: { headers: 8KiB, target: 1KiB, header_count: 20 }")).await
}

async fn assert_refused(cases: &[Refused]) {
    let origin = Upstream::echo().await;
    let gateway = gateway(&origin).await;
    for (what, status, bytes) in cases {
        for cut in [bytes.len(), bytes.len() / 2, 1] {
            let mut client = gateway.client().await;
            send_in_two(&mut client, &[bytes, SMUGGLED].concat(), cut).await;
            let answer = client.response_to("GET").await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(answer.status, *status, "{what}: {}", answer.text());
            answer.problem(*status);
            assert_eq!(answer.field("connection"), Some("close"), "{what}");
            client.closed().await;
        }
    }
    let seen: Vec<_> = origin.requests().iter().map(|request| request.target.clone()).collect();
    assert!(seen.is_empty(), "the upstream saw {seen:?}");
    // Whoever comes next is served as ever.
    assert_eq!(gateway.client().await.get("/").await.status, 200);
}

/// The second part may meet a gateway that has answered the first.
async fn send_in_two(client: &mut Client, bytes: &[u8], cut: usize) {
    client.send(&bytes[..cut]).await;
    tokio::task::yield_now().await;
    let _ = client.try_send(&bytes[cut..]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_line_has_one_form() {
    assert_refused(&[
        ("two spaces before the target", 400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("two spaces before the version", 400, b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a tab before the target", 400, b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a tab before the version", 400, b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a space before the method", 400, b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a space behind the version", 400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        ("no method", 400, b"/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a method that is no token", 400, b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a method that is too long", 400, b"GETGETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no target", 400, b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no version", 400, b"GET /\r\nHost: a\r\n\r\n"),
        ("HTTP/0.9", 400, b"GET /\r\n"),
        ("a version in lower case", 400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
        ("a version in mixed case", 400, b"GET / HTTp/1.1\r\nHost: a\r\n\r\n"),
        ("another protocol", 400, b"GET / RTSP/1.0\r\nHost: a\r\n\r\n"),
        ("half a version", 400, b"GET / HTTP/1\r\nHost: a\r\n\r\n"),
        ("a version with too many digits", 400, b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
        ("a version with leading zeros", 400, b"GET / HTTP/01.1\r\nHost: a\r\n\r\n"),
        ("a version from the future", 505, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        ("HTTP/2 as text", 505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        ("half the preface of HTTP/2", 505, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
        ("HTTP/0.9 with a version", 505, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
        ("a line that ends in LF", 400, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("a line that ends in CR", 400, b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
        ("two empty lines before it", 400, b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an empty line of LF before it", 400, b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a TLS greeting", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("NUL", 400, b"\0"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_has_one_of_four_forms() {
    assert_refused(&[
        ("a fragment", 400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an empty fragment", 400, b"GET /a?b# HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("bytes that are not ASCII", 400, b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("bytes that are not ASCII in the query", 400, b"GET /?q=\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("NUL", 400, b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a control byte", 400, b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("DEL", 400, b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("CR", 400, b"GET /\r/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a path that does not begin with a slash", 400, b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a query alone", 400, b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a backslash", 400, b"GET /\\a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an authority for another method than CONNECT", 400, b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an authority that looks like a host", 400, b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("CONNECT", 400, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        ("CONNECT to a path", 400, b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an asterisk for another method than OPTIONS", 400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an asterisk and more", 400, b"OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a user", 400, b"GET http://me@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a user, also as Host", 400, b"GET http://me@a/ HTTP/1.1\r\nHost: me@a\r\n\r\n"),
        ("an authority that Host contradicts", 400, b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a port that Host contradicts", 400, b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an authority with an empty Host", 400, b"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n"),
        ("an authority and no Host", 400, b"GET http://a/ HTTP/1.1\r\n\r\n"),
        ("a scheme that is none of ours", 400, b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an escape that is none", 400, b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_one_host() {
    assert_refused(&[
        ("none", 400, b"GET / HTTP/1.1\r\n\r\n"),
        ("two", 400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("the same twice", 400, b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
        ("two, with a target that has one", 400, b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("a list", 400, b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        ("two words", 400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        ("a path", 400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        ("a URL", 400, b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"),
        ("a query", 400, b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n"),
        ("a fragment", 400, b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n"),
        ("a user", 400, b"GET / HTTP/1.1\r\nHost: me@a\r\n\r\n"),
        ("a port that is no number", 400, b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
        ("two ports", 400, b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"),
        ("a backslash", 400, b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n"),
        ("quotes", 400, b"GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n"),
        ("bytes that are not ASCII", 400, b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n"),
        ("half an IPv6 address", 400, b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_fields_have_one_form() {
    assert_refused(&[
        ("a space before the colon", 400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        ("a tab before the colon", 400, b"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"),
        ("a space in the name", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n"),
        ("an empty name", 400, b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"),
        ("no colon", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        ("a space before the first", 400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("a tab before the first", 400, b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"),
        ("a folded line", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
        ("a line folded by a tab", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n"),
        ("a fold that looks empty", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n \r\n\r\n"),
        ("a line that ends in LF", 400, b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"),
        ("a line that ends in CR", 400, b"GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n"),
        ("a line that ends in CR CR LF", 400, b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
        ("an empty line of LF", 400, b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
        ("an empty line of CR", 400, b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n"),
        ("NUL in a value", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\0\r\n\r\n"),
        ("a control byte in a value", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n"),
        ("DEL in a value", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"),
        ("NUL in a name", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX\0: 1\r\n\r\n"),
        ("a byte of no ASCII in a name", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: 1\r\n\r\n"),
        ("a name with a bracket", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX[0]: 1\r\n\r\n"),
        ("a name with a slash", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX/Y: 1\r\n\r\n"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn a_body_has_one_length() {
    assert_refused(&[
        (
            "both framings",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "both framings, the other way",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        (
            "both framings, one odd",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n"),
        ("one length twice", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n"),
        ("a list of lengths", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n"),
        ("no length", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
        ("a length with a plus", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n"),
        ("a length with a minus", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -0\r\n\r\n"),
        ("a length in hexadecimal", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n"),
        ("a length with a fraction", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0.0\r\n\r\n"),
        ("a length in two parts", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0 0\r\n\r\n"),
        ("a length in quotes", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"0\"\r\n\r\n"),
        ("a length of 2^64", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n"),
        (
            "a length with twenty digits",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00000000000000000000\r\n\r\n",
        ),
        ("a length that is named with `_`", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 0\r\n\r\n"),
        (
            "an encoding that is named with `_`",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n",
        ),
        ("another encoding", 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
        (
            "another encoding first",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "another encoding last",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
        ("no encoding", 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
        ("identity", 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        ("chunked twice", 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        (
            "chunked on two lines",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked with a parameter",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        ),
        ("chunked in quotes", 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
        ("nearly chunked", 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("chunked behind a comma", 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
        (
            "chunked with a vertical tab",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        ),
        ("chunked from HTTP/1.0", 400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ])
    .await;
}

/// The request is under way by then: it fails with 400, and its connection with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_have_one_form() {
    const BODIES: &[(&str, u16, &[u8])] = &[
        ("no size", 400, b"\r\n\r\n"),
        ("an extension without a size", 400, b";x\r\n\r\n"),
        ("a size that is no number", 400, b"g\r\n\r\n"),
        ("a size with a plus", 400, b"+0\r\n\r\n"),
        ("a size with a minus", 400, b"-0\r\n\r\n"),
        ("a size with 0x", 400, b"0x0\r\n\r\n"),
        ("a size with an underscore", 400, b"0_0\r\n\r\n"),
        ("a space before the size", 400, b" 0\r\n\r\n"),
        ("a space behind the size", 400, b"0 \r\n\r\n"),
        ("a tab behind the size", 400, b"0\t\r\n\r\n"),
        ("a space before an extension", 400, b"0 ;x\r\n\r\n"),
        ("a size that ends in LF", 400, b"0\n\r\n"),
        ("a size that ends in CR", 400, b"0\r0\r\n\r\n"),
        ("an extension that ends in LF", 400, b"0;x\n\r\n"),
        ("an extension with CR", 400, b"0;x\ry\r\n\r\n"),
        ("an extension with NUL", 400, b"0;\0\r\n\r\n"),
        ("a size with too many digits", 400, b"00000000000000000\r\n\r\n"),
        ("a size beyond 64 bits", 400, b"10000000000000000\r\n\r\n"),
        ("data that is too long", 400, b"1\r\nab\r\n0\r\n\r\n"),
        ("data that is too short", 400, b"3\r\nab\r\n0\r\n\r\n"),
        ("data that ends in LF", 400, b"1\r\na\n0\r\n\r\n"),
        ("data that ends in nothing", 400, b"1\r\na0\r\n\r\n"),
        ("an end of LF", 400, b"0\r\n\n"),
        ("an end of CR", 400, b"0\r\n\rX"),
        ("a trailer that is folded", 400, b"0\r\nX: 1\r\n 2\r\n\r\n"),
        ("a trailer with a space before its colon", 400, b"0\r\nX : 1\r\n\r\n"),
        ("a trailer without a name", 400, b"0\r\n: 1\r\n\r\n"),
        ("a trailer that is no field", 400, b"0\r\nGET / HTTP/1.1\r\n\r\n"),
        ("a trailer that ends in LF", 400, b"0\r\nX: 1\n\r\n"),
        ("a trailer with NUL", 400, b"0\r\nX: \0\r\n\r\n"),
        ("a length as trailer", 400, b"0\r\nContent-Length: 5\r\n\r\n"),
        ("an encoding as trailer", 400, b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a host as trailer", 400, b"0\r\nHost: b\r\n\r\n"),
        ("credentials as trailer", 400, b"0\r\nAuthorization: Basic x\r\n\r\n"),
    ];
    let origin = Upstream::echo().await;
    let gateway = gateway(&origin).await;
    for (what, status, body) in BODIES {
        for cut in [body.len(), 1] {
            let mut client = gateway.client().await;
            let head = http(&["POST /x HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"], "");
            let bytes = [&head, *body, SMUGGLED].concat();
            send_in_two(&mut client, &bytes, head.len() + cut).await;
            let answer = client.response_to("POST").await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(answer.status, *status, "{what}: {}", answer.text());
            assert_eq!(answer.field("connection"), Some("close"), "{what}");
            client.closed().await;
        }
    }
    assert!(origin.requests().is_empty(), "the upstream saw {:?}", origin.requests());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn framing_of_a_body_has_limits() {
    let origin = Upstream::echo().await;
    let gateway = gateway(&origin).await;
    let extension = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes));
    let trailer = |bytes: usize| format!("1\r\nx\r\n0\r\nX:{}\r\n\r\n", "e".repeat(bytes - 3));
    for (what, body, is_served) in [
        ("an extension of 256 bytes", extension(256), true),
        ("an extension of 257 bytes", extension(257), false),
        ("trailers of 8 KiB", trailer(8 << 10), true),
        ("trailers of 8 KiB and one byte", trailer((8 << 10) + 1), false),
    ] {
        let mut client = gateway.client().await;
        client.send(http(&["POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"], body)).await;
        assert_eq!(client.response_to("POST").await.expect(what).status, if is_served { 200 } else { 400 }, "{what}");
    }
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_have_limits_with_names() {
    let origin = Upstream::echo().await;
    let gateway = gateway(&origin).await;
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(count - 1));
    let name = |bytes: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}: 1\r\n\r\n", "x".repeat(bytes));
    let head = |bytes: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes - 32));
    for (what, bytes, status) in [
        ("a target of 1 KiB", target(1024), 200),
        ("a target of 1 KiB and one byte", target(1025), 414),
        ("a target without end", "GET /".to_owned() + &"x".repeat(1 << 20), 414),
        ("20 fields", fields(20), 200),
        ("21 fields", fields(21), 431),
        ("a name of 256 bytes", name(256), 200),
        ("a name of 257 bytes", name(257), 431),
        ("a name without end", "GET / HTTP/1.1\r\n".to_owned() + &"x".repeat(1 << 20), 431),
        ("a head of 8 KiB", head(8 << 10), 200),
        ("a head of 8 KiB and one byte", head((8 << 10) + 1), 431),
        ("a value without end", "GET / HTTP/1.1\r\nHost: ".to_owned() + &"x".repeat(1 << 20), 431),
        ("a method without end", "x".repeat(1 << 20), 400),
    ] {
        let mut client = gateway.client().await;
        let _ = client.try_send(&bytes).await;
        let answer = client.response_to("GET").await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
    assert_eq!(origin.requests().len(), 4);
}

/// What is right is served, and its neighbours too, however the bytes are cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_right_is_served_once_and_in_one_form() {
    const CASES: &[(&str, &[u8], &str, &str)] = &[
        ("an empty line before it", b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", "/a", ""),
        ("white space around a value", b"GET /a HTTP/1.1\r\nHost:\t a \t\r\nX-V:\r\n\r\n", "/a", ""),
        ("a tab and bytes of no ASCII in a value", b"GET /a HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\t\xff\r\n\r\n", "/a", ""),
        ("an absolute target", b"GET http://A:80/a?b HTTP/1.1\r\nHost: a\r\n\r\n", "/a?b", ""),
        ("an absolute target without a path", b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "/", ""),
        ("an asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "/", ""),
        ("an empty Host", b"GET /a HTTP/1.1\r\nHost:\r\n\r\n", "/a", ""),
        ("a host with a port", b"GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "/a", ""),
        ("a length", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "/a", "hello"),
        ("a length with leading zeros", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\nhello", "/a", "hello"),
        ("a body that looks like a request", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n", "/a", "GET / HTTP/1.1\r\n\r\n"),
        ("chunks", b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=\"b c\"\r\nhel\r\n02\r\nlo\r\n000\r\nX-T: 1\r\n\r\n", "/a", "hello"),
        ("a body of a GET", b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "/a", "hello"),
        ("a wish for HTTP/2 that is not granted", b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "/a", ""),
    ];
    let origin = Upstream::echo().await;
    let gateway = gateway(&origin).await;
    for (what, bytes, target, body) in CASES {
        let last = b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
        let whole = [bytes, last].concat();
        for cut in [whole.len(), bytes.len() - 3, bytes.len() / 2, 1] {
            let mut client = gateway.client().await;
            send_in_two(&mut client, &whole, cut).await;
            let echo = client.response().await.echo();
            assert_eq!(echo.target, *target, "{what}");
            assert_eq!(echo.body_sha256, harness::sha256(body.as_bytes()), "{what}");
            assert_eq!(client.response().await.echo().target, "/last", "{what}");
            let raw = origin.requests().iter().rev().nth(1).expect("two requests").raw.clone();
            assert_canonical(what, &raw);
        }
    }
}

/// What goes upstream has no leniency left in it.
fn assert_canonical(what: &str, raw: &[u8]) {
    let text: String = raw.iter().map(|&byte| char::from(byte)).collect();
    let head = text.split("\r\n\r\n").next().expect("a head");
    let framings = head.lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("content-length:") || line.starts_with("transfer-encoding:")
    });
    assert!(framings.count() <= 1, "{what}: {head}");
    assert!(!head.to_ascii_lowercase().contains("content-length: 0005"), "{what}: {head}");
    assert!(!text.contains(";a="), "{what}: extensions are for one connection: {text}");
    assert!(!head.to_ascii_lowercase().contains("upgrade"), "{what}: {head}");
    let mut lines = head.split("\r\n");
    let start: Vec<_> = lines.next().expect("a request line").split(' ').collect();
    assert!(start.len() == 3 && start[1].starts_with('/') && start[2] == "HTTP/1.1", "{what}: {head}");
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{what}: {line:?}"));
        assert!(!name.contains(' ') && value.trim() == value, "{what}: {line:?}");
    }
}

/// Requests before a bad one are answered; the bad one is refused behind them, and nothing that follows is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_is_served_up_to_its_fault() {
    let mut origin = Upstream::manual().await;
    let gateway = gateway(&origin).await;
    let mut client = gateway.client().await;
    let good = http(&["GET /good HTTP/1.1", "Host: a"], "");
    let bad = http(&["GET /bad HTTP/1.1", "Host: a", "X : 1"], "");
    client.send([&good, &bad, SMUGGLED].concat()).await;
    let mut exchange = origin.next().await;
    assert_eq!(exchange.target(), "/good");
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 4"], "good")).await;
    exchange.keep_alive();
    let answer = client.response().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
    client.response().await.problem(400);
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_waits_for_a_long_answer_before_it() {
    let body = "x".repeat(3 << 20);
    let origin =
        Upstream::answering(http(&["HTTP/1.1 200 OK", &format!("Content-Length: {}", body.len())], &body)).await;
    let gateway = gateway(&origin).await;
    let mut client = gateway.client().await;
    client.send([&http(&["GET / HTTP/1.1", "Host: a"], ""), b"GET  / HTTP/1.1\r\n".as_slice()].concat()).await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    client.response().await.problem(400);
    client.closed().await;
}

/// A client that sends a lot of what it was told not to still hears why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_still_sending_hears_why() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { body: 1KiB }")).await;
    for (start, status) in [
        (http(&["POST / HTTP/1.1", "Host: a", "Content-Length: 500000"], ""), 413),
        (b"POST / HTTP/3.7\r\n".to_vec(), 505),
    ] {
        let mut client = gateway.client().await;
        let _ = client.try_send([start, vec![b'x'; 500_000]].concat()).await;
        assert_eq!(client.response_to("POST").await.expect("the reason").status, status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_counted() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).top("probes: { address: 127.0.0.1:0 }")).await;
    let mut client = gateway.client().await;
    client.send("GET  / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.response().await.problem(400);
    harness::within("the count", async {
        loop {
            let metrics = Client::connect(gateway.probes()).await.get("/metrics").await.text();
            if metrics.contains("witgate_clients_refused_total{reason=\"malformed\"} 1") {
                assert!(metrics.contains("witgate_overload_state 0"), "{metrics}");
                break;
            }
        }
    })
    .await;
}
