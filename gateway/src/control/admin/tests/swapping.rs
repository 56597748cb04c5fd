//! Swaps and what follows them: what reaches the operator, and what comes back.

use super::*;
use crate::control::{SwapMode, SwapSource};

#[tokio::test]
async fn an_uploaded_component_reaches_the_operator_whole() {
    for kind in ["application/wasm", "application/octet-stream", "Application/WASM; v=1"] {
        let operator = Arc::<Recorder>::default();
        let admin = Admin::of(operator.clone()).await;
        let request = "PUT /api/plugins/jwt?canary=5&sticky=client-ip&reason=because";
        let said = admin.ask(request, &format!("Content-Type: {kind}\r\n"), b"\0asm-and-more").await;
        assert_eq!((said.status, &said.json()["state"]), (200, &"serving".into()), "{said:?}");
        let swap = operator.swaps.lock().unwrap().remove(0);
        assert!(matches!(swap.from, SwapSource::Component(bytes) if &bytes[..] == b"\0asm-and-more"));
        let sticky = Some("client-ip".to_owned());
        assert_eq!(swap.mode, SwapMode::Canary { percent: 5.0, sticky });
        let told = (swap.plugin.as_str(), swap.actor.as_str(), swap.reason.as_deref(), swap.sha256);
        assert_eq!(told, ("jwt", "bot", Some("because"), None));
    }
}

#[tokio::test]
async fn a_component_may_come_in_chunks() {
    let operator = Arc::<Recorder>::default();
    let fields = format!("{WASM}Transfer-Encoding: chunked\r\n");
    let said = Admin::of(operator.clone())
        .await
        .ask("PUT /api/plugins/jwt", &fields, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .await;
    assert_eq!(said.status, 200, "{said:?}");
    let swap = operator.swaps.lock().unwrap().remove(0);
    assert!(matches!(swap.from, SwapSource::Component(bytes) if &bytes[..] == b"abcde"));
}

#[tokio::test]
async fn a_source_reaches_the_operator_as_it_is_written() {
    let operator = Arc::<Recorder>::default();
    let json = "Content-Type: application/json\r\n";
    let body = format!(r#"{{"source": "https://x/y.wasm", "sha256": "{}", "reason": "why"}}"#, "0f".repeat(32));
    let said = Admin::of(operator.clone()).await.ask("PUT /api/plugins/jwt?shadow=true", json, body.as_bytes()).await;
    assert_eq!(said.status, 200, "{said:?}");
    let swap = operator.swaps.lock().unwrap().remove(0);
    assert!(matches!(&swap.from, SwapSource::Source(source) if source == "https://x/y.wasm"));
    assert_eq!((swap.mode, swap.sha256, swap.reason.as_deref()), (SwapMode::Shadow, Some([0x0f; 32]), Some("why")));
}

#[tokio::test]
async fn bodies_that_cannot_be_meant_are_refused() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    let json = "Content-Type: application/json\r\n";
    let put = |query: &str| format!("PUT /api/plugins/jwt{query}");
    assert!(admin.ask(&put(""), "", b"x").await.problem(415).contains("application/wasm"));
    assert!(admin.ask(&put(""), "Content-Type: application/x-www-form-urlencoded\r\n", b"x").await.status == 415);
    admin.ask(&put(""), &format!("{WASM}Content-Encoding: gzip\r\n"), b"x").await.problem(415);
    assert!(admin.ask(&put(""), WASM, b"").await.problem(400).contains("empty"));
    assert!(admin.ask(&put(""), json, b"{\"sauce\": 1}").await.problem(400).contains("sauce"));
    assert!(admin.ask(&put(""), json, b"{").await.problem(400).contains("malformed"));
    assert!(admin.ask(&put("?cannary=5"), WASM, b"x").await.problem(400).contains("cannary"));
    assert!(admin.ask(&put("?canary=200"), WASM, b"x").await.problem(400).contains("200"));
    assert_eq!(operator.calls(), [""; 0]);
}

#[tokio::test]
async fn a_truncated_upload_is_refused_and_changes_nothing() {
    for (fields, sent) in [
        ("Content-Length: 1000\r\n", &b"\0asm"[..]),
        ("Transfer-Encoding: chunked\r\n", b"4\r\n\0asm\r\n"),
        ("Transfer-Encoding: chunked\r\n", b"4\r\n\0a"),
    ] {
        let operator = Arc::<Recorder>::default();
        let admin = Admin::of(operator.clone()).await;
        let mut stream = admin.connect().await;
        stream.write_all(&bytes("PUT /api/plugins/jwt", &format!("{DEPLOYER}{WASM}{fields}"), sent)).await.unwrap();
        stream.shutdown().await.unwrap();
        let said = read(stream).await.unwrap();
        assert!(said.problem(400).contains("before it was whole"), "{fields}");
        assert_eq!(operator.calls(), [""; 0]);
    }
}

#[tokio::test]
async fn what_follows_a_swap_is_one_request_each() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    for action in ["promote", "rollback", "reset"] {
        let said = admin.ask(&format!("POST /api/plugins/jwt/{action}"), "", b"").await;
        assert_eq!((said.status, &said.json()["plugin"]), (200, &"jwt".into()), "{said:?}");
    }
    let said = admin.ask("POST /api/reload", "", b"").await;
    assert_eq!((said.status, &said.json()["generation"]), (200, &8.into()), "{said:?}");
    let said = admin.ask("POST /api/drain", "", b"").await;
    assert_eq!((said.status, said.json()), (202, serde_json::json!({ "draining": true })));
    let calls = ["promote jwt by bot", "rollback jwt by bot", "reset jwt by bot", "reload by bot", "drain by bot"];
    assert_eq!(operator.calls(), calls);
}

#[tokio::test]
async fn each_refusal_of_the_operator_has_its_status() {
    let text = || "the reason".to_owned();
    for (error, status) in [
        (OperationError::UnknownPlugin("jvt".to_owned()), 404),
        (OperationError::Invalid(text()), 400),
        (OperationError::Refused(text()), 422),
        (OperationError::Conflict(text()), 409),
        (OperationError::Forbidden(text()), 403),
        (OperationError::Draining, 503),
        (OperationError::Failed(text()), 500),
    ] {
        let told = error.to_string();
        let admin = Admin::of(Recorder::refusing(error)).await;
        assert_eq!(admin.ask("PUT /api/plugins/jwt", WASM, b"\0asm").await.problem(status), told);
    }
}

#[tokio::test]
async fn a_mutation_without_the_right_token_reaches_nobody() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::of(operator.clone()).await;
    for (request, body) in
        [("PUT /api/plugins/jwt", &b"\0asm"[..]), ("POST /api/reload", b""), ("POST /api/drain", b"")]
    {
        let said = ask(admin.connect().await, &bytes(request, WASM, body)).await;
        said.problem(401);
        assert!(said.head.contains("www-authenticate: bearer realm=\"witgate\""), "{said:?}");
        let said = ask(admin.connect().await, &bytes(request, &format!("{VIEWER}{WASM}"), body)).await;
        assert!(said.problem(403).contains("the role `"));
    }
    assert_eq!(operator.calls(), [""; 0]);
}

#[tokio::test]
async fn tokens_may_change_while_it_serves() {
    let admin = Admin::of(Arc::default()).await;
    assert_eq!(admin.ask("POST /api/reload", "", b"").await.status, 200);
    admin.server.set_access(&Access::default()).unwrap();
    assert_eq!(admin.ask("POST /api/reload", "", b"").await.status, 401);
}
