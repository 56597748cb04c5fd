//! HTTP/2 clients that make work and carry nothing: each is told to be calm, and gone; the others notice nothing of it.

use harness::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Outcome, PING, PRIORITY, RST_STREAM, RawHttp2, SETTINGS,
    WINDOW_UPDATE, block, frame, get, get_block, literal, post,
};
use harness::{Config, Gateway, Upstream};

use crate::GATEWAY;

const ENHANCE_YOUR_CALM: u32 = 11;

async fn gateway(origin: &Upstream) -> Gateway {
    GATEWAY.start(Config::to(origin).top("workers: 1").listener("limits: { http2_abuse: 100/10s }")).await
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, [0, 0, 0, 8])
}

/// Streams of a client, by their count.
fn stream(count: u32) -> u32 {
    2 * count + 1
}

fn flood(count: u32, piece: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(piece).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_calmed() {
    let origin = Upstream::echo().await;
    let gateway = gateway(&origin).await;
    let address = gateway.listener("http");
    type Piece = fn(u32) -> Vec<u8>;
    let floods: &[(&str, Piece)] = &[
        ("requests that are given up at once (CVE-2023-44487)", |stream| [get(stream), reset(stream)].concat()),
        ("streams that the gateway must reset (CVE-2025-8671)", |stream| {
            [post(stream, &[]), frame(WINDOW_UPDATE, 0, stream, [0x7f, 0xff, 0xff, 0xff])].concat()
        }),
        ("requests that are malformed", |stream| {
            frame(HEADERS, END_HEADERS | END_STREAM, stream, block(&[(":path", "/")]))
        }),
        ("empty header blocks", |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, [])),
        ("pings (CVE-2019-9512)", |_| frame(PING, 0, 0, [0; 8])),
        ("settings (CVE-2019-9515)", |_| frame(SETTINGS, 0, 0, [])),
        ("priorities (CVE-2019-9513)", |stream| frame(PRIORITY, 0, stream, [0, 0, 0, 0, 1])),
        ("updates of the window", |_| frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 1])),
        ("empty data (CVE-2019-9518)", |_| frame(DATA, 0, 1, [])),
        ("frames that nobody knows", |_| frame(0xbe, 0, 0, [])),
    ];
    for (what, piece) in floods {
        let mut client = RawHttp2::connect(address, &[]).await;
        client.send(post(1, &[])).await;
        let mut outcome = Outcome::Alive;
        for count in 0..20 {
            client.send(flood(100, |n| piece(stream(100 * count + n + 1)))).await;
            outcome = client.outcome(0).await;
            if outcome != Outcome::Alive {
                break;
            }
        }
        assert_eq!(outcome, Outcome::GoAway(ENHANCE_YOUR_CALM), "{what}");
        client.goodbye().await;
    }
    assert_eq!(gateway.http2().await.get("/").await.status, 200);
}

/// CVE-2024-27316 and its like: a header block without end costs no more than a header block may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_blocks_end_at_a_limit() {
    let origin = Upstream::echo().await;
    let gateway = gateway(&origin).await;
    let address = gateway.listener("http");
    let begin = || frame(HEADERS, END_STREAM, 1, get_block(&[]));
    let long = literal(b"x", "x".repeat(8_000).as_bytes());
    for (what, bytes) in [
        ("many pieces", [begin(), flood(20_000, |_| frame(CONTINUATION, 0, 1, literal(b"x", b"1")))].concat()),
        ("empty pieces", [begin(), flood(20_000, |_| frame(CONTINUATION, 0, 1, []))].concat()),
        ("large pieces", [begin(), flood(2_000, |_| frame(CONTINUATION, 0, 1, &long))].concat()),
    ] {
        let before = gateway.memory_bytes();
        let mut client = RawHttp2::connect(address, &[]).await;
        client.send(&bytes).await;
        let answer = client.answer(1).await;
        assert!(!matches!(answer, Outcome::Status(200) | Outcome::Alive), "{what}: {answer:?}");
        client.goodbye().await;
        let after = gateway.memory_bytes();
        assert!(after < before + (16 << 20), "{what}: {before} bytes became {after}");
    }
    assert!(origin.requests().is_empty());
    assert_eq!(gateway.http2().await.get("/").await.status, 200);
}

/// A few bytes that stand for many: a field of 4,000 bytes in the table, and its place again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_of_hpack_does_not_go_off() {
    let origin = Upstream::echo().await;
    let gateway = gateway(&origin).await;
    let before = gateway.memory_bytes();
    let mut client = RawHttp2::connect(gateway.listener("http"), &[]).await;
    let mut entry = literal(b"x", "x".repeat(4_000).as_bytes());
    entry[0] = 0x40;
    for count in 0..20 {
        let bomb = [get_block(&[]), entry.clone(), vec![0xbe; 8_000]].concat();
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream(count), bomb)).await;
        let answer = client.answer(stream(count)).await;
        assert!(matches!(answer, Outcome::Status(431) | Outcome::Reset(_) | Outcome::GoAway(_)), "{answer:?}");
        if matches!(answer, Outcome::GoAway(_)) {
            break;
        }
    }
    let after = gateway.memory_bytes();
    assert!(after < before + (16 << 20), "{before} bytes became {after}");
    assert!(origin.requests().is_empty());
}

/// A proxy in front of many people, some of whom change their minds, is no attacker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_in_ten_may_be_given_up_for_ever() {
    let origin = Upstream::echo().await;
    let gateway = gateway(&origin).await;
    let mut client = RawHttp2::connect(gateway.listener("http"), &[]).await;
    for count in 0..1_000 {
        client.send(get(stream(count))).await;
        if count % 10 == 0 {
            client.send(reset(stream(count))).await;
            client.send(frame(WINDOW_UPDATE, 0, 0, 300_u32.to_be_bytes())).await;
        } else {
            client.send(frame(WINDOW_UPDATE, 0, 0, 300_u32.to_be_bytes())).await;
            assert_eq!(client.answer(stream(count)).await, Outcome::Status(200), "request {count}");
        }
    }
    assert_eq!(client.outcome(1).await, Outcome::Alive);
}
