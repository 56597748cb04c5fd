//! The configuration over the API: what reaches the operator, and what comes back.

use super::*;

#[tokio::test]
async fn a_configuration_is_read_and_replaced_by_its_tag() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    let tag = format!("etag: \"{}\"", "ab".repeat(32));
    let said = admin.get("/api/config").await;
    assert!(said.status == 200 && said.head.contains(&tag), "{said:?}");
    let said = admin.ask("PUT /api/config", "If-Match: \"x\"\r\n", b"version: 1").await;
    assert!(said.status == 200 && said.head.contains(&tag), "{said:?}");
    admin.ask("PUT /api/config", "", b"version: 1").await.problem(428);
    admin.ask("PUT /api/config", "If-Match: *\r\n", b"\xff").await.problem(400);
    assert_eq!(operator.calls(), ["replace version: 1 of \"x\" by bot"]);
}

#[tokio::test]
async fn a_configuration_may_be_so_large_and_no_larger() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::with_limits(operator.clone(), |limits| limits.config_bytes = 8).await;
    assert_eq!(admin.ask("POST /api/config/validate", "", b"12345678").await.status, 200);
    admin.ask("POST /api/config/validate", "", b"123456789").await.problem(413);
    assert_eq!(operator.calls(), ["check 12345678"]);
}

#[tokio::test]
async fn faults_are_told_one_by_one() {
    let faults = serde_json::json!([{ "message": "unknown key", "line": 3 }]);
    let refusal = |by_plugin| OperationError::Faults { text: "many".to_owned(), faults: faults.clone(), by_plugin };
    for (by_plugin, status) in [(false, 400), (true, 422)] {
        let admin = Admin::of(Recorder::refusing(refusal(by_plugin))).await;
        let said = admin.ask("POST /api/config/validate", "", b"x").await;
        said.problem(status);
        assert_eq!(said.json()["faults"], faults);
    }
    let stale = Recorder::refusing(OperationError::Stale("changed".to_owned()));
    Admin::of(stale).await.ask("PUT /api/config", "If-Match: *\r\n", b"x").await.problem(412);
}

#[tokio::test]
async fn what_served_before_may_serve_again() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    assert_eq!(admin.get("/api/config/history").await.json()[0]["number"], 1);
    assert_eq!(admin.ask("POST /api/config/rollback?number=3", "", b"").await.status, 200);
    assert_eq!(admin.ask("POST /api/config/rollback", "", b"").await.status, 200);
    admin.ask("POST /api/config/rollback?number=x", "", b"").await.problem(400);
    assert_eq!(operator.calls(), ["roll back config to Some(3) by bot", "roll back config to None by bot"]);
}

#[tokio::test]
async fn a_request_is_explained_to_whoever_may_read() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    let body = br#"{ "method": "GET", "url": "/a", "headers": { "x-a": "1" } }"#;
    assert_eq!(admin.ask("POST /api/explain", "", body).await.status, 200);
    admin.ask("POST /api/explain", "", br#"{ "url": "/a" }"#).await.problem(400);
    assert_eq!(operator.calls(), ["explain GET /a {\"x-a\": \"1\"}"]);
}
