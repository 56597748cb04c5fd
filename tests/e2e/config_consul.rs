//! A configuration in Consul's store, which the harness plays by its documented API: followed, and kept while the agent fails.

use harness::{Consul, ConsulFault, Fault, Gateway, Relay, Tls, TlsOptions, http};

use crate::GATEWAY;
use crate::config_servers::{MAIN, answering, folder, said, until};

const GONE: &str = "the source of the configuration cannot be read";
const BACK: &str = "the source of the configuration can be read again";

async fn agent() -> Consul {
    let consul = Consul::start().await;
    consul.put("prod/", "");
    consul.put("prod/main.yaml", MAIN);
    consul.put("prod/routes.yaml", &answering("one"));
    consul.put("production/other.yaml", "no: configuration\n");
    consul
}

async fn following(consul: &Consul) -> Gateway {
    let source = format!("consul://{consul}/prod/?timeout=1s");
    let gateway = GATEWAY.start_on(folder(), &[&source]).await;
    assert_eq!(said(&gateway).await, "one");
    gateway
}

async fn changed(gateway: &Gateway, consul: &Consul, text: &str) {
    let from = gateway.log().len();
    consul.put("prod/routes.yaml", &answering(text));
    let line = until(gateway, from, "the change", "reloaded").await;
    assert_eq!(line.field("source"), Some("consul"));
    assert_eq!(said(gateway).await, text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_in_consul_is_a_configuration_that_follows_it() {
    let consul = agent().await;
    let gateway = following(&consul).await;
    assert_eq!(consul.questions()[0], "/v1/kv/prod/?recurse=true");
    let waits = |index: u64| move |question: &str| question.ends_with(&format!("&index={index}&wait=300s"));
    consul.asked(1, waits(5)).await;
    changed(&gateway, &consul, "two").await;
    // An answer without a change is none.
    let asked = consul.questions().len();
    consul.put("elsewhere", "x");
    consul.asked(asked, waits(7)).await;
    // An index that goes backwards begins anew, and what came with it counts.
    let asked = consul.questions().len();
    consul.go_back_to(3);
    consul.asked(asked, |question| question == "/v1/kv/prod/?recurse=true").await;
    consul.asked(asked, waits(3)).await;
    changed(&gateway, &consul, "three").await;
    let generation = gateway.admin().get("/api/status").await.json()["generation"].as_u64();
    assert_eq!(generation, Some(3), "only what changed was made a snapshot of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_fails_changes_nothing_and_is_followed_again() {
    let mut consul = agent().await;
    let gateway = following(&consul).await;
    let answer =
        |line: &str, body: &str| http(&[line, &format!("Content-Length: {}", body.len()), "X-Consul-Index: 9"], body);
    let base64 = r#"[{"Key":"prod/main.yaml","Value":"%%%"}]"#;
    let endless =
        [http(&["HTTP/1.1 200 OK", "Connection: close", "X-Consul-Index: 9"], ""), vec![b' '; 100 << 20]].concat();
    for (fault, why) in [
        (
            ConsulFault::Instead(answer("HTTP/1.1 500 Internal Server Error", "no leader")),
            "the server answered 500 Internal Server Error: no leader",
        ),
        (ConsulFault::Instead(answer("HTTP/1.1 200 OK", "<garbage>")), "cannot be understood"),
        (ConsulFault::Instead(answer("HTTP/1.1 200 OK", base64)), "it is not base64"),
        (ConsulFault::Instead(answer("HTTP/1.1 404 Not Found", "")), "there is nothing below this prefix"),
        (ConsulFault::Instead(endless), "the answer is larger than 86 MiB"),
        (ConsulFault::Drip, "no answer within"),
    ] {
        let from = gateway.log().len();
        consul.set(fault);
        let line = until(&gateway, from, why, GONE).await;
        assert!(line.text.contains(why), "{why}: {}", line.text);
        assert_eq!(said(&gateway).await, "one");
        let asked = consul.questions().len();
        consul.asked(asked + 1, |question| question == "/v1/kv/prod/?recurse=true").await;
        consul.set(ConsulFault::None);
        until(&gateway, from, "that it is back", BACK).await;
        let lines = gateway.log().lines();
        let told = lines[from..].iter().filter(|line| line.message().starts_with(GONE)).count();
        assert_eq!(told, 1, "{why}: {}", gateway.log().text());
    }
    let from = gateway.log().len();
    consul.kill().await;
    until(&gateway, from, "that it is gone", GONE).await;
    consul.put("prod/routes.yaml", &answering("meanwhile"));
    consul.restart();
    until(&gateway, from, "what changed meanwhile", "reloaded").await;
    assert_eq!(said(&gateway).await, "meanwhile");
    changed(&gateway, &consul, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_an_index_is_not_asked_without_end() {
    let consul = agent().await;
    consul.set(ConsulFault::Index(0));
    let gateway = following(&consul).await;
    let asked = consul.questions().len();
    // The pauses grow; without them, some thousand questions would fit between these.
    consul.asked(asked + 3, |question| question == "/v1/kv/prod/?recurse=true").await;
    let began = std::time::Instant::now();
    consul.asked(asked + 5, |_| true).await;
    assert!(began.elapsed() > std::time::Duration::from_millis(500), "{:?}", began.elapsed());
    changed(&gateway, &consul, "two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_refused_may_be_replaced() {
    let consul = agent().await;
    consul.ask_for("let-me-in");
    let folder = folder();
    std::fs::write(folder.path().join("token"), "let-me-in\n").expect("it takes files");
    let source = format!("consul://{consul}/prod/?token=file:token&timeout=1s");
    let gateway = GATEWAY.start_on(folder, &[&source]).await;
    let status = gateway.admin().get("/api/status").await.json();
    assert_eq!(status["config_source"], format!("consul://{consul}/prod/"), "what it is let in by is not shown");
    let from = gateway.log().len();
    consul.ask_for("another");
    consul.put("prod/routes.yaml", &answering("two"));
    let line = until(&gateway, from, "that it is refused", GONE).await;
    assert!(line.text.contains("the server answered 403 Forbidden: Permission denied"), "{}", line.text);
    assert_eq!(said(&gateway).await, "one");
    std::fs::write(gateway.folder().join("token"), "another\n").expect("it takes files");
    until(&gateway, from, "the change", "reloaded").await;
    assert_eq!(said(&gateway).await, "two");
    let log = gateway.log().text();
    assert!(!log.contains("let-me-in") && !log.contains("another"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consul_over_tls_wants_certificates_of_both_sides() {
    let consul = agent().await;
    let tls = Tls::with(consul.address(), TlsOptions { wants_identity: true, ..TlsOptions::default() }).await;
    let host = tls.origin().replace("https://", "consuls://");
    let (cert, key) = tls.identity();
    let (ca, identity) = (tls.authority(), format!("cert={}&key={}", cert.display(), key.display()));
    let refused = GATEWAY.try_start_on(folder(), &[&format!("{host}/prod/?{identity}")]).await.err().expect("no CA");
    assert!(refused.stderr.contains("name it by `ca=PATH`"), "{}", refused.stderr);
    let nobody = format!("{host}/prod/?ca={}", ca.display());
    let refused = GATEWAY.try_start_on(folder(), &[&nobody]).await.err().expect("no certificate");
    assert!(refused.stderr.contains("`cert=PATH` and `key=PATH`"), "{}", refused.stderr);
    let gateway = GATEWAY.start_on(folder(), &[&format!("{nobody}&{identity}")]).await;
    assert_eq!(said(&gateway).await, "one");
    changed(&gateway, &consul, "two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_falls_silent_is_noticed_though_it_may_take_minutes_to_answer() {
    let consul = agent().await;
    let relay = Relay::to(consul.address()).await;
    let source = format!("consul://{}/prod/?timeout=1s", relay.address());
    let gateway = GATEWAY.start_on(folder(), &[&source]).await;
    consul.asked(1, |question| question.ends_with("&wait=300s")).await;
    let from = gateway.log().len();
    relay.set(Fault::Silent);
    consul.put("prod/routes.yaml", &answering("meanwhile"));
    let line = until(&gateway, from, "that nothing comes", GONE).await;
    assert!(line.text.contains("no answer within 1s"), "{}", line.text);
    assert_eq!(said(&gateway).await, "one");
    relay.set(Fault::None);
    until(&gateway, from, "that it is back", BACK).await;
    until(&gateway, from, "what changed meanwhile", "reloaded").await;
    assert_eq!(said(&gateway).await, "meanwhile");
}
