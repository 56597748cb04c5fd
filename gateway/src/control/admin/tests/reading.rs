//! Reading: what the gateway serves, whether it serves, and its metrics.

use super::*;

#[tokio::test]
async fn each_view_is_json() {
    let admin = Admin::of(Arc::default()).await;
    let status = admin.get("/api/status").await.json();
    assert_eq!((&status["generation"], &status["uptime_s"]), (&7.into(), &1.5.into()));
    assert_eq!(status["plugins"][0]["override"], Value::Null);
    assert_eq!(admin.get("/api/routes").await.json()[0]["name"], "all");
    assert!(admin.get("/api/upstreams").await.json()["origin"].is_object());
    assert_eq!(admin.get("/api/plugins").await.json()[0]["name"], "jwt");
    let one = admin.get("/api/plugins/jwt").await;
    assert_eq!((one.status, &one.json()["source"]), (200, &"builtin:jwt".into()));
    assert!(one.head.contains("content-type: application/json"), "{one:?}");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_that_says_so() {
    let admin = Admin::of(Arc::default()).await;
    assert!(admin.get("/api/plugins/jvt").await.problem(404).contains("`jvt`"));
    for path in ["/index.html", "/api", "/api/configs", "/api/plugins/", "/api/plugins/a/b/c"] {
        admin.get(path).await.problem(404);
    }
    admin.get("/api/plugins/%ff").await.problem(400);
    let said = admin.ask("POST /api/status", "", b"").await;
    said.problem(405);
    assert!(said.head.contains("allow: get"), "{said:?}");
    admin.ask("DELETE /api/plugins/jwt", "", b"").await.problem(405);
}

#[tokio::test]
async fn probes_tell_whether_it_lives_and_whether_it_serves() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    for (ready, status, word) in [(true, 200, "ready\n"), (false, 503, "not ready\n")] {
        operator.ready.store(ready, Ordering::Relaxed);
        let said = admin.get("/readyz").await;
        assert_eq!((said.status, said.body.as_str()), (status, word));
        let said = admin.get("/livez").await;
        assert_eq!((said.status, said.body.as_str()), (200, "ok\n"));
    }
}

#[tokio::test]
async fn metrics_are_in_prometheus_text_format() {
    let said = Admin::of(Arc::default()).await.get("/metrics").await;
    assert!(said.head.contains("content-type: text/plain; version=0.0.4"), "{said:?}");
    assert_eq!(said.body, "witgate_config_generation 7\n");
}

#[tokio::test]
async fn a_foreign_host_and_a_foreign_page_read_nothing() {
    let admin = Admin::of(Arc::default()).await;
    let request = |fields: &str| format!("GET /api/status HTTP/1.1\r\nConnection: close\r\n{fields}\r\n").into_bytes();
    let said = ask(admin.connect().await, &request("Host: evil.example\r\n")).await;
    assert!(said.problem(421).contains("allowed_hosts"));
    let said = ask(admin.connect().await, &request("Host: localhost\r\nOrigin: http://evil.example\r\n")).await;
    said.problem(403);
    assert!(!said.head.contains("access-control"), "{said:?}");
    ask(admin.connect().await, &request("")).await.problem(400);
    let absolute = b"GET http://evil.example/api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    ask(admin.connect().await, absolute).await.problem(421);
}

#[tokio::test]
async fn a_wrong_token_is_challenged() {
    let admin = Admin::of(Arc::default()).await;
    let wrong = "Authorization: Bearer nobody-has-this-one\r\n";
    let said = ask(admin.connect().await, &bytes("GET /api/status", wrong, b"")).await;
    said.problem(401);
    assert!(said.head.contains("www-authenticate: bearer realm=\"witgate\", error=\"invalid_token\""), "{said:?}");
}
