//! What no client of good will sends: it is refused, nothing happens, and the next one is served.

use super::*;

#[tokio::test]
async fn bytes_that_are_no_http_are_answered_or_dropped_and_nothing_else() {
    let admin = Admin::of(Arc::default()).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET\t/livez\tHTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: local\0host\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut stream = admin.connect().await;
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let said = read(stream).await;
        assert!(said.as_ref().map_or(true, |said| said.status >= 400), "{garbage:?}: {said:?}");
        assert_eq!(admin.get("/livez").await.status, 200, "after {garbage:?}");
    }
}

#[tokio::test]
async fn bodies_of_garbage_are_refused_wherever_json_or_yaml_is_expected() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    let json = "Content-Type: application/json\r\n";
    let deep = "[".repeat(50_000);
    for garbage in [&b"\xff\xfe\0"[..], b"{", b"[]", b"null", b"{\"source\":{\"source\":1}}", deep.as_bytes()] {
        admin.ask("PUT /api/plugins/jwt", json, garbage).await.problem(400);
        admin.ask("POST /api/explain", "", garbage).await.problem(400);
    }
    admin.ask("PUT /api/config", "If-Match: *\r\n", b"\xff\xfe\0").await.problem(400);
    admin.ask("POST /api/config/validate", "", b"\xff\xfe\0").await.problem(400);
    assert_eq!(operator.calls(), [""; 0]);
}

#[tokio::test]
async fn what_is_pipelined_passes_the_gate_one_by_one_and_in_order() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    let request = |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let evil = "GET /api/status HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let all = [
        request("POST /api/reload", DEPLOYER),
        // The token of the one before does not count for this one.
        request("POST /api/drain", ""),
        evil.to_owned(),
        request("GET /livez", "Connection: close\r\n"),
    ];
    let mut stream = admin.connect().await;
    stream.write_all(all.concat().as_bytes()).await.unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "401", "421", "200"], "{text}");
    assert_eq!(operator.calls(), ["reload by bot"]);
}

#[tokio::test]
async fn a_body_that_nobody_let_in_and_that_does_not_end_is_not_waited_for() {
    let admin = Admin::with_limits(Arc::default(), |limits| limits.head_timeout = Duration::from_millis(50)).await;
    let mut stream = admin.connect().await;
    let request = bytes("PUT /api/config", "Content-Length: 1000000\r\n", b"version:");
    stream.write_all(&request).await.unwrap();
    read(stream).await.unwrap().problem(401);
}

#[tokio::test]
async fn methods_and_paths_that_nobody_thought_of_need_the_most() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    for request in ["TRACE /api/status", "CONNECT localhost:1", "OPTIONS /api/config", "BREW /", "PATCH /api/config"] {
        let said = ask(admin.connect().await, &bytes(request, VIEWER, b"")).await;
        assert!((400..500).contains(&said.status), "{request}: {said:?}");
    }
    for path in ["/api/../api/status", "//api/status", "/api/plugins/%2e%2e", "/api/status%00", "/..%2f..%2fetc/passwd"]
    {
        assert!(admin.get(path).await.status >= 400, "{path}");
    }
    assert_eq!(operator.calls(), [""; 0]);
}
