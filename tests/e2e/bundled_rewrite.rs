//! `builtin:rewrite` on a real route: requests and responses that change, with values of the request.

use harness::{Config, Echo, Upstream};

use crate::GATEWAY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_change_as_their_route_says() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY
        .start(Config::to(&origin).builtin("rewrite").route(
            r#"
filters:
  - use: rewrite
    config:
      request:
        method: PUT
        authority: users.internal
        path: { strip_prefix: /api, regex: { match: "^/users/([^/]+)", replace: "/people/${capture.1}" } }
        query: { remove: [debug], set: { by: "${request.header.x-team}" } }
        headers: { set: { x-from: "${client.ip} ${request.method} ${request.path}" }, remove: [x-secret] }
      response:
        status: { 200: 203 }
        headers: { set: { x-path: "${request.path}" } }
"#,
        ))
        .await;
    let mut client = gateway.client().await;
    let lines = ["POST /api/users/42/posts?a=1&debug=1 HTTP/1.1", "Host: a", "X-Team: a&b", "X-Secret: 1"];
    let answer = client.ask(&lines, "").await;
    assert_eq!((answer.status, answer.field("x-path")), (203, Some("/api/users/42/posts")));
    let echo = Echo::read(&answer.body);
    assert_eq!((echo.method.as_str(), echo.target.as_str()), ("PUT", "/people/42/posts?a=1&by=a%26b"));
    assert_eq!((echo.fields.get("host"), echo.fields.get("x-secret")), (Some("users.internal"), None));
    assert_eq!(echo.fields.get("x-from"), Some("127.0.0.1 POST /api/users/42/posts"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_without_a_rule_is_not_called() {
    for isolation in ["shared", "fresh"] {
        for (config, sent, got, called) in [
            ("request: { headers: { set: { x-a: '1' } } }", true, false, ["request"].as_slice()),
            ("response: { headers: { set: { x-a: '1' } } }", false, true, &["response"]),
            ("response: { headers: { set: { x-a: '${request.path}' } } }", false, true, &["request", "response"]),
            ("request: {}", false, false, &[]),
        ] {
            let origin = Upstream::echo().await;
            let route = format!("filters: [{{ use: rewrite, config: {{ {config} }} }}]");
            let plugin = format!(
                "admin: {{ address: '127.0.0.1:0' }}\nplugins: {{ rewrite: {{ source: 'builtin:rewrite', isolation: {isolation} }} }}"
            );
            let gateway = GATEWAY.start(Config::to(&origin).top(&plugin).route(&route)).await;
            for _ in 0..2 {
                let answer = gateway.client().await.get("/").await;
                let was_sent = answer.echo().fields.get("x-a").is_some();
                assert_eq!((answer.status, was_sent, answer.field("x-a").is_some()), (200, sent, got), "{config}");
            }
            let metrics = gateway.admin().get("/metrics").await.text();
            let calls = |hook: &str| {
                let series = format!("witgate_plugin_calls_total{{hook=\"{hook}\",outcome=\"ok\"");
                metrics.lines().any(|line| line.starts_with(&series) && !line.ends_with(" 0"))
            };
            let seen: Vec<_> = ["request", "response"].into_iter().filter(|hook| calls(hook)).collect();
            assert_eq!(seen, called, "{isolation}: {config}");
        }
    }
}
