//! Events: told as they happen, to as many as may listen, and to none that does not keep up.

use super::*;

fn event(kind: &'static str, number: usize) -> Event {
    let mut detail = serde_json::Map::new();
    detail.insert("number".to_owned(), number.into());
    Event { kind, time: "2026-01-01T00:00:00Z".to_owned(), detail }
}

/// A reader that has its head, and so hears everything from now on.
async fn listen(admin: &Admin) -> (TcpStream, String) {
    let mut stream = admin.connect().await;
    stream.write_all(&bytes("GET /api/events", "", b"")).await.unwrap();
    let mut text = String::new();
    read_until(&mut stream, &mut text, "\r\n\r\n").await;
    (stream, text)
}

async fn read_until(stream: &mut TcpStream, text: &mut String, end: &str) {
    let mut piece = [0; 4096];
    while !text.contains(end) {
        let read = within(stream.read(&mut piece)).await.unwrap();
        assert!(read > 0, "the stream ended before {end:?}: {text}");
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
}

#[tokio::test]
async fn what_happens_is_told() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    let (mut stream, mut text) = listen(&admin).await;
    assert!(text.to_ascii_lowercase().contains("content-type: text/event-stream"), "{text}");
    for kind in ["swap", "rollback"] {
        operator.events.send(event(kind, 1)).unwrap();
        let line =
            format!("event: {kind}\ndata: {{\"kind\":\"{kind}\",\"time\":\"2026-01-01T00:00:00Z\",\"number\":1}}\n\n");
        read_until(&mut stream, &mut text, &line).await;
    }
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives() {
    let admin = Admin::with_limits(Arc::default(), |limits| limits.stream_silence = Duration::from_millis(10)).await;
    let (mut stream, mut text) = listen(&admin).await;
    read_until(&mut stream, &mut text, ":\n\n").await;
}

#[tokio::test]
async fn a_reader_that_lags_is_told_and_cut() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    let (mut stream, mut text) = listen(&admin).await;
    // No await in between: the server has no turn, as if the reader's socket were full.
    for number in 0..EVENTS + 3 {
        operator.events.send(event("swap", number)).unwrap();
    }
    read_until(&mut stream, &mut text, "event: lagged\ndata: {\"missed\":3}\n\n").await;
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.unwrap();
    assert!(!text.contains("event: swap") && !String::from_utf8(rest).unwrap().contains("event:"), "{text}");
}

#[tokio::test]
async fn as_many_streams_as_allowed_are_open_at_once() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::with_limits(operator.clone(), |limits| {
        limits.streams = 1;
        limits.stream_silence = Duration::from_millis(10);
    })
    .await;
    let first = listen(&admin).await;
    assert!(admin.get("/api/events").await.problem(503).contains("1 streams"));
    drop(first);
    // The server notices with the next thing that it has to say.
    within(async {
        loop {
            let mut stream = admin.connect().await;
            stream.write_all(&bytes("GET /api/events", "", b"")).await.unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.unwrap();
            if &start == b"HTTP/1.1 200" {
                break;
            }
        }
    })
    .await;
}
