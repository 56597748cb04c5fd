//! Limits: each has a test at it and one beyond it.

use super::*;

#[tokio::test]
async fn a_component_may_be_as_large_as_allowed_and_no_larger() {
    let admin = Admin::of(Arc::default()).await;
    assert_eq!(admin.ask("PUT /api/plugins/jwt", WASM, &[0; 1000]).await.status, 200);
    let told = admin.ask("PUT /api/plugins/jwt", WASM, &[0; 1001]).await.problem(413);
    assert!(told.contains("1000 bytes") && told.contains("`runtime.component`"), "{told}");
    let chunk = [b"3e9\r\n", &[0; 1001][..], b"\r\n0\r\n\r\n"].concat();
    let fields = format!("{WASM}Transfer-Encoding: chunked\r\n");
    admin.ask("PUT /api/plugins/jwt", &fields, &chunk).await.problem(413);
}

#[tokio::test]
async fn a_client_that_still_sends_sees_why_it_was_refused() {
    // More than the buffers of a socket hold: whoever closes with bytes unread resets the connection.
    let large = vec![0; 8 << 20];
    let admin = Admin::with_limits(Arc::default(), |limits| limits.upload_bytes = 4 << 20).await;
    admin.ask("PUT /api/plugins/jwt", WASM, &large).await.problem(413);
    ask(admin.connect().await, &bytes("PUT /api/plugins/jwt", WASM, &large)).await.problem(401);
}

#[tokio::test]
async fn a_client_that_waits_for_leave_is_refused_before_it_sends() {
    let admin = Admin::of(Arc::default()).await;
    let fields = format!("{WASM}Expect: 100-continue\r\nContent-Length: 1001\r\n");
    admin.ask("PUT /api/plugins/jwt", &fields, b"").await.problem(413);
}

#[tokio::test]
async fn a_json_body_may_be_as_large_as_allowed_and_no_larger() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::with_limits(operator, |limits| limits.json_bytes = 100).await;
    let json = "Content-Type: application/json\r\n";
    let body = |length: usize| {
        let frame = r#"{"source": ""}"#.len();
        format!(r#"{{"source": "{}"}}"#, "x".repeat(length - frame)).into_bytes()
    };
    assert_eq!(admin.ask("PUT /api/plugins/jwt", json, &body(100)).await.status, 200);
    admin.ask("PUT /api/plugins/jwt", json, &body(101)).await.problem(413);
}

#[tokio::test]
async fn a_head_beyond_its_limit_is_refused() {
    let admin = Admin::with_limits(Arc::default(), |limits| limits.head_bytes = 1000).await;
    let padded = |length: usize| {
        let fixed = bytes("GET /livez", "X-Pad: \r\n", b"").len();
        bytes("GET /livez", &format!("X-Pad: {}\r\n", "x".repeat(length - fixed)), b"")
    };
    assert_eq!(ask(admin.connect().await, &padded(990)).await.status, 200);
    assert_eq!(ask(admin.connect().await, &padded(1010)).await.status, 431);
}

#[tokio::test]
async fn as_many_uploads_as_allowed_are_taken_at_once() {
    let operator = Recorder::waiting();
    let admin = Admin::with_limits(operator.clone(), |limits| limits.uploads = 1).await;
    let mut first = admin.connect().await;
    first.write_all(&bytes("PUT /api/plugins/jwt", &format!("{DEPLOYER}{WASM}"), b"abc")).await.unwrap();
    until(|| !operator.calls().is_empty()).await;
    let said = admin.ask("PUT /api/plugins/jwt", WASM, b"abc").await;
    assert!(said.problem(503).contains("under way"));
    assert!(said.head.contains("retry-after: 1"), "{said:?}");
    operator.go_on();
    assert_eq!(read(first).await.unwrap().status, 200);
    operator.go_on();
    assert_eq!(admin.ask("PUT /api/plugins/jwt", WASM, b"abc").await.status, 200);
}

#[tokio::test]
async fn as_many_requests_as_allowed_are_answered_at_once() {
    let operator = Recorder::waiting();
    let admin = Admin::with_limits(operator.clone(), |limits| limits.requests = 1).await;
    let mut first = admin.connect().await;
    first.write_all(&bytes("POST /api/reload", DEPLOYER, b"")).await.unwrap();
    until(|| !operator.calls().is_empty()).await;
    assert!(admin.get("/api/status").await.problem(503).contains("at once"));
    operator.go_on();
    assert_eq!(read(first).await.unwrap().status, 200);
    assert_eq!(admin.get("/api/status").await.status, 200);
}

#[tokio::test]
async fn as_many_connections_as_allowed_are_open_at_once() {
    let operator = Recorder::waiting();
    let admin = Admin::with_limits(operator.clone(), |limits| limits.connections = 1).await;
    let mut first = admin.connect().await;
    first.write_all(&bytes("POST /api/reload", DEPLOYER, b"")).await.unwrap();
    until(|| !operator.calls().is_empty()).await;
    let mut second = admin.connect().await;
    // It is closed, with or without a reset, before it has said anything.
    assert!(matches!(within(second.read(&mut [0])).await, Ok(0) | Err(_)));
    operator.go_on();
    assert_eq!(read(first).await.unwrap().status, 200, "who is busy is not disturbed");
    assert_eq!(admin.get("/livez").await.status, 200);
}

#[tokio::test]
async fn the_connection_that_was_idle_for_longest_makes_room() {
    let admin = Admin::with_limits(Arc::default(), |limits| limits.connections = 2).await;
    let keep = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (mut silent, mut kept) = (admin.connect().await, admin.connect().await);
    kept.write_all(keep).await.unwrap();
    within(kept.read_exact(&mut [0])).await.unwrap();
    assert_eq!(admin.get("/livez").await.status, 200, "a third one is served");
    assert!(matches!(within(silent.read(&mut [0])).await, Ok(0) | Err(_)), "the first is closed");
    kept.write_all(keep).await.unwrap();
    let mut answers = String::new();
    while answers.matches("ok\n").count() < 2 {
        let mut piece = [0; 512];
        let read = within(kept.read(&mut piece)).await.unwrap();
        assert!(read > 0, "the second is served on: {answers}");
        answers.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
}

#[tokio::test]
async fn who_was_refused_and_sends_on_slowly_makes_room() {
    let admin = Admin::with_limits(Arc::default(), |limits| limits.connections = 1).await;
    let mut slow = admin.connect().await;
    let request = bytes("PUT /api/plugins/jwt", &format!("{WASM}Content-Length: 1000\r\n"), b"abc");
    slow.write_all(&request).await.unwrap();
    assert_eq!(admin.get("/livez").await.status, 200);
    assert!(matches!(within(slow.read_to_end(&mut Vec::new())).await, Ok(_) | Err(_)), "it is closed");
}

#[tokio::test]
async fn a_head_of_too_many_fields_is_refused() {
    let admin = Admin::of(Arc::default()).await;
    let flood: String = (0..200).map(|number| format!("x{number}: 1\r\n")).collect();
    assert_eq!(ask(admin.connect().await, &bytes("GET /livez", &flood, b"")).await.status, 431);
    assert_eq!(admin.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut() {
    let admin = Admin::with_limits(Arc::default(), |limits| limits.head_timeout = Duration::from_millis(50)).await;
    for begun in [&b""[..], b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: local"] {
        let mut stream = admin.connect().await;
        stream.write_all(begun).await.unwrap();
        // What comes in its place is no answer to the request.
        assert!(!matches!(read(stream).await, Ok(Said { status: 200, .. })));
    }
}

#[tokio::test]
async fn a_connection_that_stays_idle_is_closed() {
    let admin = Admin::with_limits(Arc::default(), |limits| limits.head_timeout = Duration::from_millis(50)).await;
    let mut stream = admin.connect().await;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(read(stream).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_end_is_refused() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::with_limits(operator.clone(), |limits| limits.body_timeout = Duration::from_millis(50)).await;
    let said = admin.ask("PUT /api/plugins/jwt", &format!("{WASM}Content-Length: 10\r\n"), b"abc").await;
    assert!(said.problem(408).contains("50ms"));
    assert_eq!(operator.calls(), [""; 0]);
}
