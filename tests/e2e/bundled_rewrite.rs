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
